/* Splitting records into planes and joining them; see layout.h. Records that are one word, or two of four
 * bytes, have loops of their own. */
#include "codec/layout.h"

#include <string.h>

#include "codec/bytes.h"

const struct entro_layout entro_layout_bytes = {.record_bytes = 1, .n_fields = 1, .field_bytes = {1}};

static const struct {
    enum entro_dtype dtype;
    struct entro_layout layout;
} layouts[] = {
    {ENTRO_DTYPE_F32, {4, 4, 4, {1, 1, 1, 1}}},
    {ENTRO_DTYPE_F16, {2, 2, 2, {1, 1}}},
    {ENTRO_DTYPE_BF16, {2, 2, 2, {1, 1}}},
    {ENTRO_DTYPE_F64, {8, 8, 8, {1, 1, 1, 1, 1, 1, 1, 1}}},
    {ENTRO_DTYPE_C64, {8, 4, 8, {1, 1, 1, 1, 1, 1, 1, 1}}},
    {ENTRO_DTYPE_U16, {2, 0, 2, {1, 1}}},
    {ENTRO_DTYPE_I16, {2, 0, 2, {1, 1}}},
    {ENTRO_DTYPE_U32, {4, 0, 4, {1, 1, 1, 1}}},
    {ENTRO_DTYPE_I32, {4, 0, 4, {1, 1, 1, 1}}},
    {ENTRO_DTYPE_U64, {8, 0, 8, {1, 1, 1, 1, 1, 1, 1, 1}}},
    {ENTRO_DTYPE_I64, {8, 0, 8, {1, 1, 1, 1, 1, 1, 1, 1}}},
    {ENTRO_DTYPE_Q4_0, {18, 0, 3, {1, 1, 16}}},
    {ENTRO_DTYPE_Q4_1, {20, 0, 5, {1, 1, 1, 1, 16}}},
    {ENTRO_DTYPE_Q5_0, {22, 0, 4, {1, 1, 4, 16}}},
    {ENTRO_DTYPE_Q5_1, {24, 0, 6, {1, 1, 1, 1, 4, 16}}},
    {ENTRO_DTYPE_Q8_0, {34, 0, 3, {1, 1, 32}}},
    {ENTRO_DTYPE_Q4_K, {144, 0, 6, {1, 1, 1, 1, 12, 128}}},
    {ENTRO_DTYPE_Q5_K, {176, 0, 7, {1, 1, 1, 1, 12, 32, 128}}},
    {ENTRO_DTYPE_Q6_K, {210, 0, 5, {128, 64, 16, 1, 1}}},
};

struct entro_layout entro_layout_of_dtype(enum entro_dtype dtype)
{
    for (size_t i = 0; i < sizeof layouts / sizeof layouts[0]; i++) {
        if (layouts[i].dtype == dtype)
            return layouts[i].layout;
    }
    return entro_layout_bytes;
}

bool entro_layout_is_valid(const struct entro_layout *layout)
{
    unsigned rotate = layout->rotate_bytes, sum = 0;
    if (layout->record_bytes == 0 || layout->record_bytes > ENTRO_LAYOUT_MAX_BYTES)
        return false;
    if (layout->n_fields == 0 || layout->n_fields > ENTRO_MAX_FIELDS)
        return false;
    if (rotate != 0 && rotate != 2 && rotate != 4 && rotate != 8)
        return false;
    if (rotate != 0 && layout->record_bytes % rotate != 0)
        return false;
    for (unsigned i = 0; i < ENTRO_MAX_FIELDS; i++) {
        if ((layout->field_bytes[i] > 0) != (i < layout->n_fields))
            return false;
        sum += layout->field_bytes[i];
    }
    return sum == layout->record_bytes;
}

bool entro_layout_equal(const struct entro_layout *a, const struct entro_layout *b)
{
    return a->record_bytes == b->record_bytes && a->rotate_bytes == b->rotate_bytes &&
           a->n_fields == b->n_fields && memcmp(a->field_bytes, b->field_bytes, sizeof a->field_bytes) == 0;
}

/* Rotates each word of a record; left when splitting, right (by width - 1 to the left) when joining. */
static void rotate_record(uint8_t *record, size_t record_bytes, unsigned rotate_bytes, bool to_left)
{
    for (size_t at = 0; rotate_bytes != 0 && at < record_bytes; at += rotate_bytes) {
        if (rotate_bytes == 2) {
            unsigned word = entro_load_u16(record + at);
            entro_store_u16(record + at,
                            (uint16_t)(to_left ? word << 1 | word >> 15 : word >> 1 | word << 15));
        } else if (rotate_bytes == 4) {
            uint32_t word = entro_load_u32(record + at);
            entro_store_u32(record + at, to_left ? word << 1 | word >> 31 : word >> 1 | word << 31);
        } else {
            uint64_t word = entro_load_u64(record + at);
            entro_store_u64(record + at, to_left ? word << 1 | word >> 63 : word >> 1 | word << 63);
        }
    }
}

/* rotation is 0 or 1 bit of 16. */
static inline void split_2(const uint8_t *restrict records, size_t n, uint8_t *restrict low,
                           uint8_t *restrict high, unsigned rotation)
{
    for (size_t i = 0; i < n; i++) {
        unsigned word = entro_load_u16(records + 2 * i);
        word = word << rotation | (word >> 15 & rotation);
        low[i] = (uint8_t)word;
        high[i] = (uint8_t)(word >> 8);
    }
}

static inline void join_2(const uint8_t *restrict low, const uint8_t *restrict high, size_t n,
                          uint8_t *restrict records, unsigned rotation)
{
    for (size_t i = 0; i < n; i++) {
        unsigned word = (unsigned)(low[i] | high[i] << 8);
        word = word >> rotation | (word & rotation) << 15;
        entro_store_u16(records + 2 * i, (uint16_t)word);
    }
}

static inline void split_4(const uint8_t *restrict records, size_t n, uint8_t *const planes[],
                           unsigned rotation)
{
    uint8_t *restrict p0 = planes[0], *restrict p1 = planes[1], *restrict p2 = planes[2],
                      *restrict p3 = planes[3];
    for (size_t i = 0; i < n; i++) {
        uint32_t word = entro_load_u32(records + 4 * i);
        word = word << rotation | (word >> 31 & rotation);
        p0[i] = (uint8_t)word;
        p1[i] = (uint8_t)(word >> 8);
        p2[i] = (uint8_t)(word >> 16);
        p3[i] = (uint8_t)(word >> 24);
    }
}

static inline void join_4(const uint8_t *const planes[], size_t n, uint8_t *restrict records,
                          unsigned rotation)
{
    const uint8_t *restrict p0 = planes[0], *restrict p1 = planes[1], *restrict p2 = planes[2],
                            *restrict p3 = planes[3];
    for (size_t i = 0; i < n; i++) {
        uint32_t word =
            (uint32_t)p0[i] | (uint32_t)p1[i] << 8 | (uint32_t)p2[i] << 16 | (uint32_t)p3[i] << 24;
        word = word >> rotation | (word & rotation) << 31;
        entro_store_u32(records + 4 * i, word);
    }
}

/* Swaps the bits of the mask with those `shift` above them in another word. */
static inline void swap_bits(uint64_t *low, uint64_t *high, unsigned shift, uint64_t mask)
{
    uint64_t different = (*low >> shift ^ *high) & mask;
    *high ^= different;
    *low ^= different << shift;
}

/* Eight words as a matrix of bytes, transposed in place: four-byte squares, then two-byte ones, then bytes
 * (Warren, "Hacker's Delight", 7-3). */
static inline void transpose_8(uint64_t words[8])
{
    for (unsigned i = 0; i < 4; i++)
        swap_bits(&words[i], &words[i + 4], 32, 0x00000000ffffffff);
    for (unsigned i = 0; i < 8; i += 4) {
        swap_bits(&words[i], &words[i + 2], 16, 0x0000ffff0000ffff);
        swap_bits(&words[i + 1], &words[i + 3], 16, 0x0000ffff0000ffff);
    }
    for (unsigned i = 0; i < 8; i += 2)
        swap_bits(&words[i], &words[i + 1], 8, 0x00ff00ff00ff00ff);
}

/* The lowest bits of the words that are rotated. */
static uint64_t lowest_bits(unsigned rotate_bytes)
{
    return rotate_bytes == 8 ? 1 : rotate_bytes == 4 ? 0x0000000100000001 : 0;
}

static inline uint64_t rotate_left(uint64_t word, unsigned rotation, uint64_t lowest, unsigned width)
{
    return (word << rotation & ~lowest) | (word >> (width - 1) & lowest);
}

static inline uint64_t rotate_right(uint64_t word, unsigned rotation, uint64_t lowest, unsigned width)
{
    return (word & ~lowest) >> rotation | (word & lowest) << (width - 1);
}

/* Returns how many records are done: all but less than eight. */
static size_t split_8(const uint8_t *records, size_t n, uint8_t *const planes[], unsigned rotate_bytes)
{
    uint64_t lowest = lowest_bits(rotate_bytes);
    unsigned rotation = rotate_bytes != 0, width = rotate_bytes == 4 ? 32 : 64;
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        uint64_t words[8];
        for (unsigned j = 0; j < 8; j++)
            words[j] = rotate_left(entro_load_u64(records + 8 * (i + j)), rotation, lowest, width);
        transpose_8(words);
        for (unsigned j = 0; j < 8; j++)
            entro_store_u64(planes[j] + i, words[j]);
    }
    return i;
}

static size_t join_8(const uint8_t *const planes[], size_t n, uint8_t *records, unsigned rotate_bytes)
{
    uint64_t lowest = lowest_bits(rotate_bytes);
    unsigned rotation = rotate_bytes != 0, width = rotate_bytes == 4 ? 32 : 64;
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        uint64_t words[8];
        for (unsigned j = 0; j < 8; j++)
            words[j] = entro_load_u64(planes[j] + i);
        transpose_8(words);
        for (unsigned j = 0; j < 8; j++)
            entro_store_u64(records + 8 * (i + j), rotate_right(words[j], rotation, lowest, width));
    }
    return i;
}

/* A record of single bytes that is one word (rotated) or none: the cases with a loop of their own. */
static bool is_word(const struct entro_layout *layout, unsigned bytes)
{
    return layout->record_bytes == bytes && layout->n_fields == bytes &&
           (layout->rotate_bytes == 0 || layout->rotate_bytes == bytes);
}

/* Eight single bytes, one or two words. */
static bool is_pair(const struct entro_layout *layout)
{
    return is_word(layout, 8) ||
           (layout->record_bytes == 8 && layout->n_fields == 8 && layout->rotate_bytes == 4);
}

static void split_record(const struct entro_layout *layout, const uint8_t *record, size_t index,
                         uint8_t *const planes[])
{
    for (unsigned field = 0; field < layout->n_fields; field++) {
        size_t bytes = layout->field_bytes[field];
        memcpy(planes[field] + index * bytes, record, bytes);
        record += bytes;
    }
}

void entro_layout_split(const struct entro_layout *layout, const uint8_t *records, size_t n_records,
                        uint8_t *const planes[])
{
    size_t record_bytes = layout->record_bytes;
    if (layout->n_fields == 1 && layout->rotate_bytes == 0) {
        if (n_records > 0)
            memcpy(planes[0], records, n_records * record_bytes);
    } else if (is_word(layout, 2)) {
        split_2(records, n_records, planes[0], planes[1], layout->rotate_bytes != 0);
    } else if (is_word(layout, 4)) {
        split_4(records, n_records, planes, layout->rotate_bytes != 0);
    } else if (layout->rotate_bytes == 0 && !is_pair(layout)) {
        for (size_t i = 0; i < n_records; i++)
            split_record(layout, records + i * record_bytes, i, planes);
    } else {
        uint8_t rotated[ENTRO_LAYOUT_MAX_BYTES];
        size_t done = is_pair(layout) ? split_8(records, n_records, planes, layout->rotate_bytes) : 0;
        for (size_t i = done; i < n_records; i++) {
            memcpy(rotated, records + i * record_bytes, record_bytes);
            rotate_record(rotated, record_bytes, layout->rotate_bytes, true);
            split_record(layout, rotated, i, planes);
        }
    }
}

void entro_layout_join(const struct entro_layout *layout, const uint8_t *const planes[], size_t n_records,
                       uint8_t *records)
{
    size_t record_bytes = layout->record_bytes;
    if (layout->n_fields == 1 && layout->rotate_bytes == 0) {
        if (n_records > 0)
            memcpy(records, planes[0], n_records * record_bytes);
        return;
    }
    if (is_word(layout, 2)) {
        join_2(planes[0], planes[1], n_records, records, layout->rotate_bytes != 0);
        return;
    }
    if (is_word(layout, 4)) {
        join_4(planes, n_records, records, layout->rotate_bytes != 0);
        return;
    }
    size_t done = is_pair(layout) ? join_8(planes, n_records, records, layout->rotate_bytes) : 0;
    for (size_t i = done; i < n_records; i++) {
        uint8_t *record = records + i * record_bytes, *at = record;
        for (unsigned field = 0; field < layout->n_fields; field++) {
            size_t bytes = layout->field_bytes[field];
            memcpy(at, planes[field] + i * bytes, bytes);
            at += bytes;
        }
        rotate_record(record, record_bytes, layout->rotate_bytes, false);
    }
}
