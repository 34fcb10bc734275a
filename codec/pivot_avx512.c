/*
 * The kernels for AVX-512 with VBMI and VBMI2: 64 symbols a step. Two traps shape them, both on Zen 4 and 5:
 * an expand or compress that is zero-masked, or whose destination is a source, waits for the destination's
 * old value; compress to memory is microcoded. So expands are merged into a register that is ready, and
 * compresses go through a register.
 */
#include "codec/pivot_kernels.h"

#include <immintrin.h>
#include <stdbool.h>

#include "codec/bytes.h"
#include "codec/pivot_variant.h"

#define STEP ((size_t)64)

static inline __mmask64 first_bits(size_t n)
{
    return _bzhi_u64(~(uint64_t)0, (unsigned)n);
}

/* One step of a merge under the bits of `ones`; moves the lists along. */
static inline __m512i merge_step(__mmask64 ones, const uint8_t **left, const uint8_t **right,
                                 __m512i left_bytes, __m512i right_bytes, bool left_constant,
                                 bool right_constant, size_t n_ones)
{
    if (left_constant && right_constant)
        return _mm512_mask_blend_epi8(ones, left_bytes, right_bytes);
    if (left_constant) {
        right_bytes = _mm512_loadu_si512(*right);
        *right += n_ones;
        return _mm512_mask_expand_epi8(left_bytes, ones, right_bytes);
    }
    left_bytes = _mm512_loadu_si512(*left);
    *left += STEP - n_ones;
    if (right_constant)
        return _mm512_mask_expand_epi8(right_bytes, _knot_mask64(ones), left_bytes);
    right_bytes = _mm512_loadu_si512(*right);
    *right += n_ones;
    __m512i zeros_filled = _mm512_mask_expand_epi8(_mm512_setzero_si512(), _knot_mask64(ones), left_bytes);
    return _mm512_mask_expand_epi8(zeros_filled, ones, right_bytes);
}

static inline size_t merge(uint8_t *target, size_t n, const uint8_t *bitmap, const uint8_t *left,
                           const uint8_t *right, const uint8_t *ahead, bool left_constant,
                           bool right_constant)
{
    __m512i left_bytes = _mm512_set1_epi8((char)*left), right_bytes = _mm512_set1_epi8((char)*right);
    size_t sum = 0;
    for (; n >= STEP; target += STEP, bitmap += STEP / 8, ahead += STEP / 4, n -= STEP) {
        _mm_prefetch(ahead, _MM_HINT_T1);
        uint64_t ones = entro_load_u64(bitmap);
        size_t n_ones = (size_t)_mm_popcnt_u64(ones);
        sum += n_ones;
        _mm512_storeu_si512(target, merge_step(ones, &left, &right, left_bytes, right_bytes, left_constant,
                                               right_constant, n_ones));
    }
    if (n > 0) {
        uint64_t ones = entro_load_u64(bitmap) & first_bits(n);
        size_t n_ones = (size_t)_mm_popcnt_u64(ones);
        sum += n_ones;
        _mm512_mask_storeu_epi8(
            target, first_bits(n),
            merge_step(ones, &left, &right, left_bytes, right_bytes, left_constant, right_constant, n_ones));
    }
    return sum;
}

static size_t merge_constants(uint8_t *target, size_t n, const uint8_t *bitmap, const uint8_t *left,
                              const uint8_t *right, const uint8_t *ahead)
{
    return merge(target, n, bitmap, left, right, ahead, true, true);
}

/* The `width` bytes of the j-th eight numbers go to the j-th 64-bit lane. */
static inline __m512i spread_index(unsigned width)
{
    uint8_t index[STEP];
    for (unsigned i = 0; i < STEP; i++)
        index[i] = (uint8_t)(i / 8 * width + (i % 8 < width ? i % 8 : 0));
    return _mm512_loadu_si512(index);
}

/* Where each of the eight numbers of a lane begins, in bits. */
static inline __m512i lane_shifts(unsigned width)
{
    uint64_t shifts = 0;
    for (unsigned i = 0; i < 8; i++)
        shifts |= (uint64_t)(i * width) << 8 * i;
    return _mm512_set1_epi64((long long)shifts);
}

/* A table of 2^width symbols in as many registers as it needs. */
struct table {
    __m512i part[4];
};

static inline struct table load_table(const uint8_t *symbols, unsigned width)
{
    struct table table;
    if (width <= 4)
        table.part[0] = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)symbols));
    else
        table.part[0] = _mm512_loadu_si512(symbols);
    for (unsigned i = 1; i < 4; i++)
        table.part[i] = i < (1u << width) / STEP ? _mm512_loadu_si512(symbols + STEP * i) : table.part[0];
    return table;
}

static inline __m512i look_up(const struct table *table, __m512i numbers, unsigned width)
{
    if (width <= 4)
        return _mm512_shuffle_epi8(table->part[0], numbers);
    if (width <= 6)
        return _mm512_permutexvar_epi8(numbers, table->part[0]);
    __m512i low = _mm512_permutex2var_epi8(table->part[0], numbers, table->part[1]);
    if (width == 7)
        return low;
    __m512i high = _mm512_permutex2var_epi8(table->part[2], numbers, table->part[3]);
    return _mm512_mask_blend_epi8(_mm512_movepi8_mask(numbers), low, high);
}

static inline __m512i unpack_step(__m512i packed, __m512i index, __m512i shifts, __m512i mask,
                                  const struct table *table, unsigned width)
{
    if (width < 8) {
        __m512i lanes = _mm512_permutexvar_epi8(index, packed);
        packed = _mm512_and_si512(_mm512_multishift_epi64_epi8(shifts, lanes), mask);
    }
    return look_up(table, packed, width);
}

static inline void unpack(uint8_t *target, size_t n, const uint8_t *packed, const uint8_t *symbols,
                          unsigned width)
{
    const __m512i index = spread_index(width), shifts = lane_shifts(width);
    const __m512i mask = _mm512_set1_epi8((char)(uint8_t)((1u << width) - 1));
    const struct table table = load_table(symbols, width);
    for (; n >= STEP; target += STEP, packed += STEP / 8 * width, n -= STEP)
        _mm512_storeu_si512(target,
                            unpack_step(_mm512_loadu_si512(packed), index, shifts, mask, &table, width));
    if (n > 0)
        _mm512_mask_storeu_epi8(target, first_bits(n),
                                unpack_step(_mm512_loadu_si512(packed), index, shifts, mask, &table, width));
}

/* The first `width` bytes of each 64-bit lane, together. */
static inline __m512i gather_index(unsigned width)
{
    uint8_t index[STEP];
    for (unsigned i = 0; i < STEP; i++)
        index[i] = (uint8_t)(i < 8 * width ? i / width * 8 + i % width : 0);
    return _mm512_loadu_si512(index);
}

/* Eight numbers of `width` bits each in the low bits of their lane: joined in pairs, in fours, all. */
static inline __m512i pack_step(__m512i numbers, __m512i index, unsigned width)
{
    if (width == 8)
        return numbers;
    const __m512i pairs = _mm512_set1_epi16((short)(1 | 1 << width << 8));
    const __m512i fours = _mm512_set1_epi32(1 | 1 << 2 * width << 16);
    numbers = _mm512_maddubs_epi16(pairs, numbers);
    numbers = _mm512_madd_epi16(numbers, fours);
    numbers = _mm512_or_si512(_mm512_and_si512(numbers, _mm512_set1_epi64(0xffffffff)),
                              _mm512_slli_epi64(_mm512_srli_epi64(numbers, 32), 4 * width));
    return _mm512_permutexvar_epi8(index, numbers);
}

static inline void pack(uint8_t *packed, const uint8_t *ranks, size_t n, uint8_t first_rank, unsigned width)
{
    const __m512i index = gather_index(width), first = _mm512_set1_epi8((char)first_rank);
    for (; n >= STEP; packed += STEP / 8 * width, ranks += STEP, n -= STEP) {
        __m512i numbers = _mm512_sub_epi8(_mm512_loadu_si512(ranks), first);
        _mm512_mask_storeu_epi8(packed, first_bits(STEP / 8 * width), pack_step(numbers, index, width));
    }
    if (n > 0) {
        __m512i numbers = _mm512_maskz_sub_epi8(first_bits(n), _mm512_loadu_si512(ranks), first);
        _mm512_mask_storeu_epi8(packed, first_bits((n * width + 7) / 8), pack_step(numbers, index, width));
    }
}

static inline size_t partition(uint8_t *bitmap, const uint8_t *ranks, size_t n, uint8_t split_rank,
                               uint8_t *left, uint8_t *right, const uint8_t *ahead, bool to_left,
                               bool to_right)
{
    const __m512i split = _mm512_set1_epi8((char)split_rank), zero = _mm512_setzero_si512();
    size_t sum = 0;
    for (; n > 0; ahead += STEP / 4) {
        _mm_prefetch(ahead, _MM_HINT_T1);
        size_t n_step = n < STEP ? n : STEP;
        __mmask64 used = first_bits(n_step);
        __m512i bytes = _mm512_loadu_si512(ranks);
        uint64_t ones = _mm512_mask_cmpge_epu8_mask(used, bytes, split);
        size_t n_ones = (size_t)_mm_popcnt_u64(ones);
        sum += n_ones;
        if (n_step == STEP)
            entro_store_u64(bitmap, ones);
        else
            memcpy(bitmap, &ones, (n_step + 7) / 8);
        if (to_left) {
            _mm512_storeu_si512(left, _mm512_mask_compress_epi8(zero, _kandn_mask64(ones, used), bytes));
            left += n_step - n_ones;
        }
        if (to_right) {
            _mm512_storeu_si512(right, _mm512_mask_compress_epi8(zero, ones, bytes));
            right += n_ones;
        }
        ranks += n_step;
        bitmap += STEP / 8;
        n -= n_step;
    }
    return sum;
}

static size_t count_ones(const uint8_t *bitmap, size_t n)
{
    __m512i sums = _mm512_setzero_si512();
    for (; n >= 8 * STEP; bitmap += STEP, n -= 8 * STEP)
        sums = _mm512_add_epi64(sums, _mm512_popcnt_epi64(_mm512_loadu_si512(bitmap)));
    if (n > 0) {
        __m512i last = _mm512_maskz_loadu_epi8(first_bits(n / 8), bitmap);
        sums = _mm512_add_epi64(sums, _mm512_popcnt_epi64(last));
    }
    uint32_t bits = n % 8 > 0 ? _bzhi_u32(bitmap[n / 8], (unsigned)(n % 8)) : 0;
    return (size_t)_mm512_reduce_add_epi64(sums) + (size_t)_mm_popcnt_u32(bits);
}

static uint8_t rank(uint8_t *ranks, const uint8_t *symbols, size_t n,
                    const uint8_t rank_of_symbol[ENTRO_N_SYMBOLS])
{
    const struct table table = load_table(rank_of_symbol, 8);
    __m512i largest = _mm512_setzero_si512();
    for (; n >= STEP; ranks += STEP, symbols += STEP, n -= STEP) {
        __m512i found = look_up(&table, _mm512_loadu_si512(symbols), 8);
        largest = _mm512_max_epu8(largest, found);
        _mm512_storeu_si512(ranks, found);
    }
    if (n > 0) {
        __m512i found = look_up(&table, _mm512_maskz_loadu_epi8(first_bits(n), symbols), 8);
        largest = _mm512_mask_max_epu8(largest, first_bits(n), largest, found);
        _mm512_storeu_si512(ranks, found);
    }
    uint8_t parts[STEP], result = 0;
    _mm512_storeu_si512(parts, largest);
    for (unsigned i = 0; i < STEP; i++)
        result = parts[i] > result ? parts[i] : result;
    return result;
}

const struct entro_pivot_kernels entro_pivot_avx512 = {
    .name = "avx512",
    ENTRO_PIVOT_VARIANT,
    .count_ones = count_ones,
    .rank = rank,
};
