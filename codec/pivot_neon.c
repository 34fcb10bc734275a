/*
 * The kernels for NEON: 64 symbols a step, 16 a register. A merge is a shuffle of both lists together, by a
 * row of a table for each byte of a bitmap.
 */
#include "codec/pivot_kernels.h"

#include <arm_neon.h>
#include <stdbool.h>

#include "codec/bytes.h"
#include "codec/pivot_rows.h"
#include "codec/pivot_variant.h"

#define STEP 64
#define LANE 16

static inline size_t at_most(size_t n, size_t limit)
{
    return n < limit ? n : limit;
}

/* The first n of 16 bytes, and no others. */
static inline void store_first(uint8_t *target, uint8x16_t bytes, size_t n)
{
    if (n == LANE) {
        vst1q_u8(target, bytes);
        return;
    }
    uint8_t all[LANE];
    vst1q_u8(all, bytes);
    memcpy(target, all, n);
}

static inline uint64_t first_bits(uint64_t bits, size_t n)
{
    return n < 64 ? bits & (((uint64_t)1 << n) - 1) : bits;
}

static inline uint8_t byte_of(uint64_t word, unsigned i)
{
    return (uint8_t)(word >> 8 * i);
}

/* Byte i: how many ones there are in the bytes 0 to i. */
static inline uint64_t ones_to_byte(uint64_t bits)
{
    uint64_t in_byte = vget_lane_u64(vreinterpret_u64_u8(vcnt_u8(vcreate_u8(bits))), 0);
    return in_byte * 0x0101010101010101;
}

/*
 * Where the eight outputs under a byte of a bitmap come from, among 16 bytes of the left list, 0 to 15, and
 * 16 of the right one, 16 to 31. For the upper one of two bytes that share 16 outputs this depends on the
 * ones of the lower one: added to its row, they make the place of an output from the right, and that from the
 * left with the wrong sign.
 */
struct merge_row {
    uint8_t lower[8];
    int8_t upper[8];
};

#define LEFT_BELOW(bits, i) ((i)-ENTRO_ONES_BELOW(bits, i))
#define LOWER_FROM(bits, i) (ENTRO_BIT_AT(bits, i) ? LANE + ENTRO_ONES_BELOW(bits, i) : LEFT_BELOW(bits, i))
#define UPPER_FROM(bits, i)                                                                                  \
    (ENTRO_BIT_AT(bits, i) ? LANE + ENTRO_ONES_BELOW(bits, i) : -8 - LEFT_BELOW(bits, i))
#define MERGE_ROW(bits)                                                                                      \
    {                                                                                                        \
        {ENTRO_ROW(LOWER_FROM, bits)},                                                                       \
        {                                                                                                    \
            ENTRO_ROW(UPPER_FROM, bits)                                                                      \
        }                                                                                                    \
    }
static const struct merge_row merge_rows[256] = {ENTRO_ALL_ROWS(MERGE_ROW)};

/* One side of a merge. */
struct merge_side {
    const uint8_t *list;
    uint8x16_t constant;
    bool is_constant;
};

/* The 16 outputs under two bytes of a bitmap, the lower of which has ones_8 ones. `l` and `r` are how many
 * symbols of each list are used up. */
static inline uint8x16_t merge_lane(uint8_t lower_bits, uint8_t upper_bits, unsigned ones_8,
                                    const struct merge_side *left, size_t l, const struct merge_side *right,
                                    size_t r)
{
    int8x8_t upper = vadd_s8(vld1_s8(merge_rows[upper_bits].upper), vdup_n_s8((int8_t)ones_8));
    uint8x16_t from = vcombine_u8(vld1_u8(merge_rows[lower_bits].lower), vreinterpret_u8_s8(vabs_s8(upper)));
    /* A place out of range leaves the constant. */
    if (right->is_constant)
        return vqtbx1q_u8(right->constant, vld1q_u8(left->list + l), from);
    if (left->is_constant)
        return vqtbx1q_u8(left->constant, vld1q_u8(right->list + r), vsubq_u8(from, vdupq_n_u8(LANE)));
    uint8x16x2_t both = {{vld1q_u8(left->list + l), vld1q_u8(right->list + r)}};
    return vqtbl2q_u8(both, from);
}

/* What is done in a step's lanes: the whole of a step, or less at the end. Unrolled in the first case. */
#define FOR_LANES(i, n_step) _Pragma("GCC unroll 4") for (unsigned i = 0; i * LANE < (n_step); i++)

/* One step of a merge, whose lists are used up to l and r; returns the number of ones. */
static inline size_t merge_step(uint8_t *target, size_t n_step, uint64_t ones, const struct merge_side *left,
                                size_t l, const struct merge_side *right, size_t r)
{
    uint64_t ones_to = ones_to_byte(ones);
    FOR_LANES(i, n_step)
    {
        unsigned before = i == 0 ? 0 : byte_of(ones_to, 2 * i - 1);
        unsigned ones_8 = byte_of(ones_to, 2 * i) - before;
        uint8x16_t merged = merge_lane(byte_of(ones, 2 * i), byte_of(ones, 2 * i + 1), ones_8, left,
                                       l + i * LANE - before, right, r + before);
        store_first(target + i * LANE, merged, at_most(n_step - i * LANE, LANE));
    }
    return byte_of(ones_to, 7);
}

static inline size_t merge(uint8_t *target, size_t n, const uint8_t *bitmap, const uint8_t *left,
                           const uint8_t *right, const uint8_t *ahead, bool left_constant,
                           bool right_constant)
{
    const struct merge_side left_side = {left, vdupq_n_u8(*left), left_constant};
    const struct merge_side right_side = {right, vdupq_n_u8(*right), right_constant};
    size_t done = 0, sum = 0;
    for (; n - done >= STEP; done += STEP) {
        __builtin_prefetch(ahead + ENTRO_PIVOT_AHEAD_BYTES(done), 0, 2);
        sum += merge_step(target + done, STEP, entro_load_u64(bitmap + done / 8), &left_side, done - sum,
                          &right_side, sum);
    }
    if (done < n)
        sum += merge_step(target + done, n - done, first_bits(entro_load_u64(bitmap + done / 8), n - done),
                          &left_side, done - sum, &right_side, sum);
    return sum;
}

/* 1, 2, 4 ... 128, twice. */
static inline uint8x16_t bit_of_byte(void)
{
    return vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201));
}

static inline size_t merge_constants_step(uint8_t *target, size_t n_step, uint64_t ones, uint8x16_t left,
                                          uint8x16_t right)
{
    FOR_LANES(i, n_step)
    {
        uint8x16_t bits = vcombine_u8(vdup_n_u8(byte_of(ones, 2 * i)), vdup_n_u8(byte_of(ones, 2 * i + 1)));
        uint8x16_t merged = vbslq_u8(vtstq_u8(bits, bit_of_byte()), right, left);
        store_first(target + i * LANE, merged, at_most(n_step - i * LANE, LANE));
    }
    return byte_of(ones_to_byte(ones), 7);
}

static size_t merge_constants(uint8_t *target, size_t n, const uint8_t *bitmap, const uint8_t *left,
                              const uint8_t *right, const uint8_t *ahead)
{
    const uint8x16_t left_bytes = vdupq_n_u8(*left), right_bytes = vdupq_n_u8(*right);
    size_t done = 0, sum = 0;
    for (; n - done >= STEP; done += STEP) {
        __builtin_prefetch(ahead + ENTRO_PIVOT_AHEAD_BYTES(done), 0, 2);
        sum += merge_constants_step(target + done, STEP, entro_load_u64(bitmap + done / 8), left_bytes,
                                    right_bytes);
    }
    if (done < n)
        sum += merge_constants_step(target + done, n - done,
                                    first_bits(entro_load_u64(bitmap + done / 8), n - done), left_bytes,
                                    right_bytes);
    return sum;
}

/* A table of 2^width symbols: up to 64 in each part. */
struct table {
    uint8x16x4_t part[4];
};

static inline struct table load_table(const uint8_t *symbols, unsigned width)
{
    struct table table = {0};
    for (unsigned i = 0; i * LANE < 1u << width; i++)
        table.part[i / 4].val[i % 4] = vld1q_u8(symbols + LANE * i);
    return table;
}

static inline uint8x16_t look_up(const struct table *table, uint8x16_t numbers, unsigned width)
{
    if (width <= 4)
        return vqtbl1q_u8(table->part[0].val[0], numbers);
    if (width == 5) {
        uint8x16x2_t two = {{table->part[0].val[0], table->part[0].val[1]}};
        return vqtbl2q_u8(two, numbers);
    }
    uint8x16_t found = vqtbl4q_u8(table->part[0], numbers);
    for (unsigned i = 1; i < 1u << (width - 6); i++) {
        numbers = vsubq_u8(numbers, vdupq_n_u8(4 * LANE));
        found = vqtbx4q_u8(found, table->part[i], numbers);
    }
    return found;
}

/* How `width` times 16 bits become 16 bytes: the two bytes in which each number lies, and by how much they
 * are shifted to the left. */
struct spreading {
    uint8x16_t lower, upper;
    int8x16_t lower_shift, upper_shift;
};

static inline struct spreading spreading_of(unsigned width)
{
    uint8_t bytes[2][LANE];
    int8_t shifts[2][LANE];
    for (unsigned i = 0; i < LANE; i++) {
        unsigned bit = i * width;
        bytes[0][i] = (uint8_t)(bit / 8);
        bytes[1][i] = (uint8_t)(bit / 8 + 1);
        shifts[0][i] = (int8_t) - (int)(bit % 8);
        shifts[1][i] = (int8_t)(8 - bit % 8);
    }
    return (struct spreading){vld1q_u8(bytes[0]), vld1q_u8(bytes[1]), vld1q_s8(shifts[0]),
                              vld1q_s8(shifts[1])};
}

static inline uint8x16_t spread_numbers(uint8x16_t packed, const struct spreading *by, unsigned width)
{
    if (width == 8)
        return packed;
    uint8x16_t lower = vshlq_u8(vqtbl1q_u8(packed, by->lower), by->lower_shift);
    uint8x16_t upper = vshlq_u8(vqtbl1q_u8(packed, by->upper), by->upper_shift);
    return vandq_u8(vorrq_u8(lower, upper), vdupq_n_u8((uint8_t)((1 << width) - 1)));
}

static inline void unpack(uint8_t *target, size_t n, const uint8_t *packed, const uint8_t *symbols,
                          unsigned width)
{
    const struct spreading spreading = spreading_of(width);
    const struct table table = load_table(symbols, width);
    for (; n >= LANE; target += LANE, packed += LANE / 8 * width, n -= LANE)
        vst1q_u8(target, look_up(&table, spread_numbers(vld1q_u8(packed), &spreading, width), width));
    if (n > 0)
        store_first(target, look_up(&table, spread_numbers(vld1q_u8(packed), &spreading, width), width), n);
}

/* The first `width` bytes of both 64-bit words, together. */
static inline uint8x16_t gather_index(unsigned width)
{
    uint8_t index[LANE];
    for (unsigned i = 0; i < LANE; i++)
        index[i] = (uint8_t)(i < 2 * width ? i / width * 8 + i % width : 0xff);
    return vld1q_u8(index);
}

/* Eight numbers of `width` bits each in the low bits of their word: joined in pairs, in fours, all. */
static inline uint8x16_t pack_lane(uint8x16_t numbers, uint8x16_t index, unsigned width)
{
    if (width == 8)
        return numbers;
    uint16x8_t twos = vreinterpretq_u16_u8(numbers);
    twos = vorrq_u16(vandq_u16(twos, vdupq_n_u16(0xff)),
                     vshlq_u16(vshrq_n_u16(twos, 8), vdupq_n_s16((int16_t)width)));
    uint32x4_t fours = vreinterpretq_u32_u16(twos);
    fours = vorrq_u32(vandq_u32(fours, vdupq_n_u32(0xffff)),
                      vshlq_u32(vshrq_n_u32(fours, 16), vdupq_n_s32((int32_t)(2 * width))));
    uint64x2_t eights = vreinterpretq_u64_u32(fours);
    eights = vorrq_u64(vandq_u64(eights, vdupq_n_u64(0xffffffff)),
                       vshlq_u64(vshrq_n_u64(eights, 32), vdupq_n_s64((int64_t)(4 * width))));
    return vqtbl1q_u8(vreinterpretq_u8_u64(eights), index);
}

static inline void pack(uint8_t *packed, const uint8_t *ranks, size_t n, uint8_t first_rank, unsigned width)
{
    static const uint8_t places[LANE] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const uint8x16_t index = gather_index(width), first = vdupq_n_u8(first_rank);
    const size_t lane_bytes = LANE / 8 * width;
    /* Whole registers are stored as long as what is behind a lane's own bytes is to be written too. */
    const size_t room = LANE * 8 / width + 1;
    for (; n >= room && n >= LANE; packed += lane_bytes, ranks += LANE, n -= LANE)
        vst1q_u8(packed, pack_lane(vsubq_u8(vld1q_u8(ranks), first), index, width));
    for (; n > 0; packed += lane_bytes, ranks += LANE) {
        size_t n_lane = at_most(n, LANE);
        uint8x16_t used = vcltq_u8(vld1q_u8(places), vdupq_n_u8((uint8_t)n_lane));
        uint8x16_t numbers = vandq_u8(vsubq_u8(vld1q_u8(ranks), first), used);
        store_first(packed, pack_lane(numbers, index, width), (n_lane * width + 7) / 8);
        n -= n_lane;
    }
}

/* A bit for each byte that is at least the split's. */
static inline uint64_t compare(const uint8x16_t bytes[4], uint8x16_t split)
{
    uint8x16_t bits[4];
    for (unsigned i = 0; i < 4; i++)
        bits[i] = vandq_u8(vcgeq_u8(bytes[i], split), bit_of_byte());
    uint8x16_t of_words = vpaddq_u8(vpaddq_u8(bits[0], bits[1]), vpaddq_u8(bits[2], bits[3]));
    return vgetq_lane_u64(vreinterpretq_u64_u8(vpaddq_u8(of_words, of_words)), 0);
}

/* Writes those of a step's bytes whose bits are set, and up to 8 bytes behind them. */
static inline void compress(uint8_t *target, const uint8x16_t bytes[4], size_t n_step, uint64_t bits,
                            uint64_t bits_to_byte)
{
    FOR_LANES(i, n_step)
    {
        uint8x8_t lower = vld1_u8(entro_pivot_partition_rows[byte_of(bits, 2 * i)][1]);
        uint8x8_t upper = vld1_u8(entro_pivot_partition_rows[byte_of(bits, 2 * i + 1)][1]);
        uint8x16_t index = vcombine_u8(lower, vadd_u8(upper, vdup_n_u8(8)));
        uint8x16_t compressed = vqtbl1q_u8(bytes[i], index);
        vst1_u8(target + (i == 0 ? 0 : byte_of(bits_to_byte, 2 * i - 1)), vget_low_u8(compressed));
        vst1_u8(target + byte_of(bits_to_byte, 2 * i), vget_high_u8(compressed));
    }
}

/* One step of a partition, to the ends of both lists; either may be NULL. Returns the number of ones. */
static inline size_t partition_step(uint8_t *bitmap, const uint8_t *ranks, size_t n_step, uint8x16_t split,
                                    uint8_t *left, uint8_t *right)
{
    uint8x16_t bytes[4];
    for (unsigned i = 0; i < 4; i++) /* all before any is written: right may be ranks */
        bytes[i] = vld1q_u8(ranks + i * LANE);
    uint64_t ones = first_bits(compare(bytes, split), n_step), ones_to = ones_to_byte(ones);
    if (n_step == STEP)
        entro_store_u64(bitmap, ones);
    else
        memcpy(bitmap, &ones, (n_step + 7) / 8);
    if (left != NULL)
        compress(left, bytes, n_step, ~ones, 0x4038302820181008 - ones_to);
    if (right != NULL)
        compress(right, bytes, n_step, ones, ones_to);
    return byte_of(ones_to, 7);
}

static inline size_t partition(uint8_t *bitmap, const uint8_t *ranks, size_t n, uint8_t split_rank,
                               uint8_t *left, uint8_t *right, const uint8_t *ahead, bool to_left,
                               bool to_right)
{
    const uint8x16_t split = vdupq_n_u8(split_rank);
    size_t done = 0, sum = 0;
    for (; n - done >= STEP; done += STEP) {
        __builtin_prefetch(ahead + ENTRO_PIVOT_AHEAD_BYTES(done), 0, 2);
        sum += partition_step(bitmap + done / 8, ranks + done, STEP, split,
                              to_left ? left + (done - sum) : NULL, to_right ? right + sum : NULL);
    }
    if (done < n)
        sum += partition_step(bitmap + done / 8, ranks + done, n - done, split,
                              to_left ? left + (done - sum) : NULL, to_right ? right + sum : NULL);
    return sum;
}

static size_t count_ones(const uint8_t *bitmap, size_t n)
{
    size_t sum = 0;
    for (; n >= 8 * LANE; bitmap += LANE, n -= 8 * LANE)
        sum += vaddvq_u8(vcntq_u8(vld1q_u8(bitmap)));
    for (; n >= STEP; bitmap += STEP / 8, n -= STEP)
        sum += vaddv_u8(vcnt_u8(vld1_u8(bitmap)));
    return sum + vaddv_u8(vcnt_u8(vcreate_u8(first_bits(entro_load_u64(bitmap), n))));
}

static uint8_t rank(uint8_t *ranks, const uint8_t *symbols, size_t n,
                    const uint8_t rank_of_symbol[ENTRO_N_SYMBOLS])
{
    const struct table table = load_table(rank_of_symbol, 8);
    uint8x16_t largest = vdupq_n_u8(0);
    size_t done = 0;
    for (; n - done >= LANE; done += LANE) {
        uint8x16_t found = look_up(&table, vld1q_u8(symbols + done), 8);
        largest = vmaxq_u8(largest, found);
        vst1q_u8(ranks + done, found);
    }
    if (done < n) { /* filled up with a symbol that is among them */
        uint8_t last[LANE];
        memset(last, symbols[done], LANE);
        memcpy(last, symbols + done, n - done);
        uint8x16_t found = look_up(&table, vld1q_u8(last), 8);
        largest = vmaxq_u8(largest, found);
        vst1q_u8(ranks + done, found);
    }
    return vmaxvq_u8(largest);
}

const struct entro_pivot_kernels entro_pivot_neon = {
    .name = "neon",
    ENTRO_PIVOT_VARIANT,
    .count_ones = count_ones,
    .rank = rank,
};
