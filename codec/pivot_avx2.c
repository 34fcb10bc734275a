/*
 * The kernels for AVX2: 32 symbols a step, two lanes of 16 bytes. What AVX-512 expands and compresses is
 * shuffled here, by a row of a table for each byte of a bitmap; the tables take 8 KiB of the first cache.
 */
#include "codec/pivot_kernels.h"

#include <immintrin.h>
#include <stdbool.h>

#include "codec/bytes.h"
#include "codec/pivot_rows.h"
#include "codec/pivot_variant.h"

#define STEP ((size_t)32)
#define LANE ((size_t)16)

static inline __m128i load_lane(const uint8_t *bytes)
{
    return _mm_loadu_si128((const __m128i *)(const void *)bytes);
}

static inline __m128i load_halves(const uint8_t *low, const uint8_t *high)
{
    __m128 half = _mm_castsi128_ps(_mm_loadu_si64(low));
    return _mm_castps_si128(_mm_loadh_pi(half, (const __m64 *)(const void *)high));
}

static inline void store_halves(uint8_t *low, uint8_t *high, __m128i bytes)
{
    _mm_storeu_si64(low, bytes);
    _mm_storeh_pi((__m64 *)(void *)high, _mm_castsi128_ps(bytes));
}

static inline __m256i load_step(const uint8_t *bytes)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)bytes);
}

static inline __m256i load_lanes(const uint8_t *low, const uint8_t *high)
{
    return _mm256_inserti128_si256(_mm256_castsi128_si256(load_lane(low)), load_lane(high), 1);
}

static inline void store_step(uint8_t *target, __m256i bytes)
{
    _mm256_storeu_si256((__m256i *)(void *)target, bytes);
}

/* The first n of a step's bytes, and no others. */
static inline void store_first(uint8_t *target, __m256i bytes, size_t n)
{
    uint8_t all[STEP];
    store_step(all, bytes);
    memcpy(target, all, n);
}

static inline uint32_t first_bits(uint32_t bits, size_t n)
{
    return _bzhi_u32(bits, (unsigned)n);
}

static inline size_t count_ones(uint64_t bits)
{
    return (size_t)_mm_popcnt_u64(bits);
}

/*
 * Of the outputs under one byte of a bitmap: how many come from the right before each, with the high bit
 * where the output itself comes from the left. Beside it what two bytes of a bitmap need that share a lane:
 * read from LOWER on, a row is that of the lower byte, whose ones count for all of the upper one's; read from
 * UPPER on, that of the upper one. Their sum is the shuffle of the right list, whose high bits make zeros.
 */
#define UPPER 0
#define LOWER 8

#define ZERO(bits, i)       0
#define FROM_RIGHT(bits, i) (ENTRO_ONES_BELOW(bits, i) | (ENTRO_BIT_AT(bits, i) ? 0 : 0x80))
#define N_ONES(bits, i)     ENTRO_ONES_BELOW(bits, 8)
#define MERGE_ROW(bits)                                                                                      \
    {                                                                                                        \
        ENTRO_ROW(ZERO, bits), ENTRO_ROW(FROM_RIGHT, bits), ENTRO_ROW(N_ONES, bits)                          \
    }
static const uint8_t merge_rows[256][24] = {ENTRO_ALL_ROWS(MERGE_ROW)};

/* One side of a merge. A constant has its byte everywhere, so that any shuffle does. */
struct merge_side {
    __m256i constant;
    const uint8_t *list;
    bool is_constant;
};

static inline struct merge_side merge_side(const uint8_t *list, bool is_constant)
{
    return (struct merge_side){
        .constant = _mm256_set1_epi8((char)*list), .list = list, .is_constant = is_constant};
}

/* What a step takes its first 16 outputs from, and the others: the bytes from two places of the list on. */
static inline __m256i side_bytes(const struct merge_side *side, size_t low, size_t high)
{
    return side->is_constant ? side->constant : load_lanes(side->list + low, side->list + high);
}

/* The 32 outputs under four bytes of a bitmap. */
static inline __m256i merge_step(const uint8_t ones[4], __m256i left, __m256i right)
{
    const __m256i positions = _mm256_broadcastsi128_si256(_mm_setr_epi8(
        -128, -127, -126, -125, -124, -123, -122, -121, -120, -119, -118, -117, -116, -115, -114, -113));
    __m256i lower = load_lanes(merge_rows[ones[0]] + LOWER, merge_rows[ones[2]] + LOWER);
    __m256i upper = load_lanes(merge_rows[ones[1]] + UPPER, merge_rows[ones[3]] + UPPER);
    __m256i from_right = _mm256_add_epi8(lower, upper);
    /* What does not come from the right comes from the left. */
    __m256i from_left = _mm256_sub_epi8(positions, from_right);
    return _mm256_or_si256(_mm256_shuffle_epi8(left, from_left), _mm256_shuffle_epi8(right, from_right));
}

static inline size_t merge(uint8_t *target, size_t n, const uint8_t *bitmap, const uint8_t *left,
                           const uint8_t *right, const uint8_t *ahead, bool left_constant,
                           bool right_constant)
{
    const struct merge_side left_side = merge_side(left, left_constant);
    const struct merge_side right_side = merge_side(right, right_constant);
    size_t done = 0, sum = 0;
    for (; n - done >= 2 * STEP; done += 2 * STEP, bitmap += 2 * STEP / 8) {
        _mm_prefetch(ahead + ENTRO_PIVOT_AHEAD_BYTES(done), _MM_HINT_T1);
        uint64_t ones = entro_load_u64(bitmap);
        const size_t ones_16 = count_ones(ones << 48), ones_32 = count_ones(ones << 32),
                     ones_48 = count_ones(ones << 16), l = done - sum;
        __m256i from_left = side_bytes(&left_side, l, l + 16 - ones_16);
        __m256i from_right = side_bytes(&right_side, sum, sum + ones_16);
        store_step(target + done, merge_step(bitmap, from_left, from_right));
        from_left = side_bytes(&left_side, l + 32 - ones_32, l + 48 - ones_48);
        from_right = side_bytes(&right_side, sum + ones_32, sum + ones_48);
        store_step(target + done + STEP, merge_step(bitmap + STEP / 8, from_left, from_right));
        sum += count_ones(ones);
    }
    for (; done < n; done += STEP, bitmap += STEP / 8) {
        size_t n_step = n - done < STEP ? n - done : STEP;
        uint32_t ones = first_bits(entro_load_u32(bitmap), n_step);
        const size_t ones_16 = count_ones(ones & 0xffff), l = done - sum;
        uint8_t bytes[4];
        entro_store_u32(bytes, ones);
        __m256i from_left = side_bytes(&left_side, l, l + 16 - ones_16);
        __m256i from_right = side_bytes(&right_side, sum, sum + ones_16);
        store_first(target + done, merge_step(bytes, from_left, from_right), n_step);
        sum += count_ones(ones);
    }
    return sum;
}

/* A byte for each bit: `differing` where it is set. */
static inline __m256i spread_bits(uint32_t bits, __m256i differing)
{
    const __m256i byte_of_bit =
        _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201);
    __m256i bytes = _mm256_shuffle_epi8(_mm256_set1_epi32((int)bits), byte_of_bit);
    return _mm256_and_si256(_mm256_cmpeq_epi8(_mm256_and_si256(bytes, bit), bit), differing);
}

static size_t merge_constants(uint8_t *target, size_t n, const uint8_t *bitmap, const uint8_t *left,
                              const uint8_t *right, const uint8_t *ahead)
{
    const __m256i left_bytes = _mm256_set1_epi8((char)*left);
    const __m256i differing = _mm256_xor_si256(left_bytes, _mm256_set1_epi8((char)*right));
    size_t sum = 0;
    for (; n >= STEP; target += STEP, bitmap += STEP / 8, ahead += STEP / 4, n -= STEP) {
        _mm_prefetch(ahead, _MM_HINT_T1);
        uint32_t ones = entro_load_u32(bitmap);
        sum += count_ones(ones);
        store_step(target, _mm256_xor_si256(left_bytes, spread_bits(ones, differing)));
    }
    if (n > 0) {
        uint32_t ones = first_bits(entro_load_u32(bitmap), n);
        sum += count_ones(ones);
        store_first(target, _mm256_xor_si256(left_bytes, spread_bits(ones, differing)), n);
    }
    return sum;
}

/*
 * How `width` times 16 bits become 16 bytes: the pairs of bytes in which the even and the odd numbers lie,
 * each multiplied so that the number begins at the upper byte.
 */
struct spreading {
    __m256i even_pairs, odd_pairs, even_factors, odd_factors;
};

static inline struct spreading spreading_of(unsigned width)
{
    uint8_t pairs[2][LANE];
    uint16_t factors[2][LANE / 2];
    for (unsigned i = 0; i < LANE; i++) {
        unsigned bit = i * width;
        pairs[i % 2][i - i % 2] = (uint8_t)(bit / 8);
        pairs[i % 2][i - i % 2 + 1] = (uint8_t)(bit / 8 + 1);
        factors[i % 2][i / 2] = (uint16_t)(1 << (8 - bit % 8));
    }
    return (struct spreading){
        load_lanes(pairs[0], pairs[0]),
        load_lanes(pairs[1], pairs[1]),
        _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)factors[0])),
        _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)factors[1])),
    };
}

static inline __m256i spread_numbers(__m256i packed, const struct spreading *by, unsigned width)
{
    if (width == 8)
        return packed;
    __m256i even = _mm256_mullo_epi16(_mm256_shuffle_epi8(packed, by->even_pairs), by->even_factors);
    __m256i odd = _mm256_mullo_epi16(_mm256_shuffle_epi8(packed, by->odd_pairs), by->odd_factors);
    const int mask = (1 << width) - 1;
    return _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(even, 8), _mm256_set1_epi16((short)mask)),
                           _mm256_and_si256(odd, _mm256_set1_epi16((short)(mask << 8))));
}

/* A table of 2^width symbols, 16 in a register: of the first and the ninth their bytes, of the others what
 * they differ by from those before them. */
struct table {
    __m256i part[16];
};

static inline struct table load_table(const uint8_t *symbols, unsigned width)
{
    struct table table;
    unsigned n_parts = width <= 4 ? 1 : 1u << (width - 4);
    for (unsigned i = 0; i < n_parts; i++) {
        table.part[i] = load_lanes(symbols + LANE * i, symbols + LANE * i);
        if (i % 8 != 0) {
            const uint8_t *before = symbols + LANE * (i - 1);
            table.part[i] = _mm256_xor_si256(table.part[i], load_lanes(before, before));
        }
    }
    return table;
}

/* A number of 128 or more finds zero. Each part adds its difference for the numbers that reach it: for the
 * others, what is left has the high bit. The subtraction is the saturated one, so that it keeps it. */
static inline __m256i look_up_parts(const __m256i *parts, unsigned n_parts, __m256i numbers)
{
    __m256i found = _mm256_shuffle_epi8(parts[0], numbers);
    for (unsigned i = 1; i < n_parts; i++) {
        numbers = _mm256_subs_epi8(numbers, _mm256_set1_epi8((char)LANE));
        found = _mm256_xor_si256(found, _mm256_shuffle_epi8(parts[i], numbers));
    }
    return found;
}

static inline __m256i look_up(const struct table *table, __m256i numbers, unsigned width)
{
    if (width < 8)
        return look_up_parts(table->part, width <= 4 ? 1 : 1u << (width - 4), numbers);
    __m256i from_128 = _mm256_xor_si256(numbers, _mm256_set1_epi8(-128));
    return _mm256_xor_si256(look_up_parts(table->part, 8, numbers),
                            look_up_parts(table->part + 8, 8, from_128));
}

static inline void unpack(uint8_t *target, size_t n, const uint8_t *packed, const uint8_t *symbols,
                          unsigned width)
{
    const struct spreading spreading = spreading_of(width);
    const struct table table = load_table(symbols, width);
    for (; n > 0; target += STEP, packed += STEP / 8 * width) {
        __m256i numbers = spread_numbers(load_lanes(packed, packed + LANE / 8 * width), &spreading, width);
        __m256i found = look_up(&table, numbers, width);
        if (n < STEP) {
            store_first(target, found, n);
            break;
        }
        store_step(target, found);
        n -= STEP;
    }
}

/* The first `width` bytes of each 64-bit word, together, in each lane. */
static inline __m256i gather_index(unsigned width)
{
    uint8_t index[LANE];
    for (unsigned i = 0; i < LANE; i++)
        index[i] = (uint8_t)(i < 2 * width ? i / width * 8 + i % width : 0x80);
    return load_lanes(index, index);
}

/* Eight numbers of `width` bits each in the low bits of their word: joined in pairs, in fours, all. */
static inline __m256i pack_step(__m256i numbers, __m256i index, unsigned width)
{
    if (width == 8)
        return numbers;
    const __m256i pairs = _mm256_set1_epi16((short)(1 | 1 << width << 8));
    const __m256i fours = _mm256_set1_epi32(1 | 1 << 2 * width << 16);
    numbers = _mm256_maddubs_epi16(pairs, numbers);
    numbers = _mm256_madd_epi16(numbers, fours);
    numbers = _mm256_or_si256(_mm256_and_si256(numbers, _mm256_set1_epi64x(0xffffffff)),
                              _mm256_slli_epi64(_mm256_srli_epi64(numbers, 32), (int)(4 * width)));
    return _mm256_shuffle_epi8(numbers, index);
}

/* The lanes of a packed step, each 2 * width bytes, one behind the other. */
static inline void store_packed(uint8_t *packed, __m256i lanes, unsigned width)
{
    _mm_storeu_si128((__m128i *)(void *)packed, _mm256_castsi256_si128(lanes));
    _mm_storeu_si128((__m128i *)(void *)(packed + LANE / 8 * width), _mm256_extracti128_si256(lanes, 1));
}

static inline void pack(uint8_t *packed, const uint8_t *ranks, size_t n, uint8_t first_rank, unsigned width)
{
    const __m256i index = gather_index(width), first = _mm256_set1_epi8((char)first_rank);
    const __m256i places = _mm256_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18,
                                            19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31);
    const size_t step_bytes = STEP / 8 * width;
    /* A step writes LANE bytes from its middle on, of which half a step's are its own. */
    const size_t room = (LANE + LANE / 8 * width) * 8 / width + 1;
    for (; n >= room && n >= STEP; packed += step_bytes, ranks += STEP, n -= STEP)
        store_packed(packed, pack_step(_mm256_sub_epi8(load_step(ranks), first), index, width), width);
    for (; n > 0; packed += step_bytes, ranks += STEP) {
        uint8_t bytes[STEP + LANE];
        size_t n_step = n < STEP ? n : STEP;
        __m256i used = _mm256_cmpgt_epi8(_mm256_set1_epi8((char)n_step), places);
        __m256i numbers = _mm256_and_si256(_mm256_sub_epi8(load_step(ranks), first), used);
        store_packed(bytes, pack_step(numbers, index, width), width);
        memcpy(packed, bytes, (n_step * width + 7) / 8);
        n -= n_step;
    }
}

/* A step's bytes by four rows, eight by eight, to four places. What a row has first is what goes to this
 * list: of each eight bytes that are written, the rest is written over by the next. */
static inline void compress_step(uint8_t *at[4], __m256i bytes, const uint8_t *rows[4])
{
    const __m128i eights = _mm_set_epi64x(0x0808080808080808, 0);
    for (unsigned i = 0; i < 4; i += 2) {
        __m128i index = load_halves(rows[i], rows[i + 1]);
        __m128i lane = i == 0 ? _mm256_castsi256_si128(bytes) : _mm256_extracti128_si256(bytes, 1);
        __m128i ordered = _mm_shuffle_epi8(lane, _mm_add_epi8(index, eights));
        store_halves(at[i], at[i + 1], ordered);
    }
}

static inline size_t partition(uint8_t *bitmap, const uint8_t *ranks, size_t n, uint8_t split_rank,
                               uint8_t *left, uint8_t *right, const uint8_t *ahead, bool to_left,
                               bool to_right)
{
    const __m256i split = _mm256_set1_epi8((char)split_rank);
    size_t sum = 0;
    for (size_t done = 0; done < n; done += STEP) {
        _mm_prefetch(ahead + ENTRO_PIVOT_AHEAD_BYTES(done), _MM_HINT_T1);
        __m256i bytes = load_step(ranks + done);
        __m256i at_least = _mm256_cmpeq_epi8(_mm256_max_epu8(bytes, split), bytes);
        uint32_t ones = (uint32_t)_mm256_movemask_epi8(at_least);
        if (n - done >= STEP) {
            entro_store_u32(bitmap + done / 8, ones);
        } else {
            ones = first_bits(ones, n - done);
            memcpy(bitmap + done / 8, &ones, (n - done + 7) / 8);
        }
        const size_t ones_8 = count_ones(ones << 24), ones_16 = count_ones(ones << 16),
                     ones_24 = count_ones(ones << 8);
        const uint8_t(*row[4])[8];
        for (unsigned i = 0; i < 4; i++)
            row[i] = entro_pivot_partition_rows[ones >> 8 * i & 0xff];
        if (to_left) {
            uint8_t *end = left + (done - sum);
            compress_step((uint8_t *[]){end, end + 8 - ones_8, end + 16 - ones_16, end + 24 - ones_24}, bytes,
                          (const uint8_t *[]){row[0][0], row[1][0], row[2][0], row[3][0]});
        }
        if (to_right) {
            uint8_t *end = right + sum;
            compress_step((uint8_t *[]){end, end + ones_8, end + ones_16, end + ones_24}, bytes,
                          (const uint8_t *[]){row[0][1], row[1][1], row[2][1], row[3][1]});
        }
        sum += count_ones(ones);
    }
    return sum;
}

/* Ones of a step, in each byte's place 0 to 8. Source: Mula, Kurz, Lemire, "Faster population counts using
 * AVX2 instructions", 2018. */
static inline __m256i count_step(__m256i bits)
{
    const __m256i of_nibble = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1, 2, 1,
                                               2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
    const __m256i nibble = _mm256_set1_epi8(0xf);
    __m256i low = _mm256_shuffle_epi8(of_nibble, _mm256_and_si256(bits, nibble));
    __m256i high = _mm256_shuffle_epi8(of_nibble, _mm256_and_si256(_mm256_srli_epi16(bits, 4), nibble));
    return _mm256_add_epi8(low, high);
}

static size_t count_bits(const uint8_t *bitmap, size_t n)
{
    __m256i sums = _mm256_setzero_si256();
    for (; n >= 8 * STEP; bitmap += STEP, n -= 8 * STEP)
        sums = _mm256_add_epi64(sums, _mm256_sad_epu8(count_step(load_step(bitmap)), _mm256_setzero_si256()));
    __m128i halves = _mm_add_epi64(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
    size_t sum = (size_t)_mm_cvtsi128_si64(halves) + (size_t)_mm_extract_epi64(halves, 1);
    for (; n >= 64; bitmap += 8, n -= 64)
        sum += (size_t)_mm_popcnt_u64(entro_load_u64(bitmap));
    return sum + (size_t)_mm_popcnt_u64(_bzhi_u64(entro_load_u64(bitmap), (unsigned)n));
}

static uint8_t rank(uint8_t *ranks, const uint8_t *symbols, size_t n,
                    const uint8_t rank_of_symbol[ENTRO_N_SYMBOLS])
{
    const struct table table = load_table(rank_of_symbol, 8);
    __m256i largest = _mm256_setzero_si256();
    for (; n >= STEP; ranks += STEP, symbols += STEP, n -= STEP) {
        __m256i found = look_up(&table, load_step(symbols), 8);
        largest = _mm256_max_epu8(largest, found);
        store_step(ranks, found);
    }
    if (n > 0) { /* filled up with a symbol that is among them */
        uint8_t last[STEP];
        memset(last, symbols[0], STEP);
        memcpy(last, symbols, n);
        __m256i found = look_up(&table, load_step(last), 8);
        largest = _mm256_max_epu8(largest, found);
        store_step(ranks, found);
    }
    uint8_t parts[STEP], result = 0;
    store_step(parts, largest);
    for (unsigned i = 0; i < STEP; i++)
        result = parts[i] > result ? parts[i] : result;
    return result;
}

const struct entro_pivot_kernels entro_pivot_avx2 = {
    .name = "avx2",
    ENTRO_PIVOT_VARIANT,
    .count_ones = count_bits,
    .rank = rank,
};
