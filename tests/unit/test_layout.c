/* Layouts: what each dtype's planes hold, and that joining is the inverse of splitting. */
#include "codec/layout.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "random.h"

#define MAX_RECORDS 301

static void fill_random(uint8_t *bytes, size_t size, uint64_t seed)
{
    struct random random = random_from(seed);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)random_next(&random);
}

/* The specification, slowly: rotate each word bit by bit, then deal out fields. */
static void split_slowly(const struct entro_layout *layout, const uint8_t *records, size_t n_records,
                         uint8_t *const planes[])
{
    for (size_t i = 0; i < n_records; i++) {
        uint8_t rotated[ENTRO_LAYOUT_MAX_BYTES];
        const uint8_t *record = records + i * layout->record_bytes;
        unsigned n_bits = layout->rotate_bytes * 8u;
        for (unsigned at = 0; at < layout->record_bytes; at++)
            rotated[at] = record[at];
        for (unsigned word = 0; n_bits > 0 && word < layout->record_bytes; word += layout->rotate_bytes) {
            memset(rotated + word, 0, layout->rotate_bytes);
            for (unsigned bit = 0; bit < n_bits; bit++) {
                unsigned to = (bit + 1) % n_bits;
                rotated[word + to / 8] |= (uint8_t)((record[word + bit / 8] >> bit % 8 & 1) << to % 8);
            }
        }
        unsigned at = 0;
        for (unsigned field = 0; field < layout->n_fields; field++) {
            for (unsigned k = 0; k < layout->field_bytes[field]; k++)
                planes[field][i * layout->field_bytes[field] + k] = rotated[at++];
        }
    }
}

/* Splits and joins in heap blocks of the exact size. */
static void assert_splits_and_joins(const struct entro_layout *layout, size_t n_records)
{
    assert_true(entro_layout_is_valid(layout));
    size_t size = n_records * layout->record_bytes;
    uint8_t *records = malloc(size + 1), *joined = malloc(size + 1);
    uint8_t *planes[ENTRO_MAX_FIELDS], *expected[ENTRO_MAX_FIELDS];
    assert_non_null(records);
    assert_non_null(joined);
    fill_random(records, size, size);
    for (unsigned field = 0; field < layout->n_fields; field++) {
        planes[field] = malloc(n_records * layout->field_bytes[field]);
        expected[field] = malloc(n_records * layout->field_bytes[field]);
        assert_true(n_records == 0 || (planes[field] != NULL && expected[field] != NULL));
    }
    entro_layout_split(layout, records, n_records, planes);
    split_slowly(layout, records, n_records, expected);
    joined[size] = 0x5a;
    entro_layout_join(layout, (const uint8_t *const *)planes, n_records, joined);
    assert_memory_equal(joined, records, size);
    assert_int_equal(joined[size], 0x5a);
    for (unsigned field = 0; field < layout->n_fields; field++) {
        assert_memory_equal(planes[field], expected[field], n_records * layout->field_bytes[field]);
        free(planes[field]);
        free(expected[field]);
    }
    free(records);
    free(joined);
}

static void every_dtype_splits_and_joins(void **state)
{
    (void)state;
    unsigned n_known = 0;
    for (unsigned dtype = 0; dtype < 256; dtype++) {
        const struct entro_dtype_info *info = entro_dtype_info((enum entro_dtype)dtype);
        struct entro_layout layout = entro_layout_of_dtype((enum entro_dtype)dtype);
        static const size_t numbers[] = {0, 1, 2, 7, 31, 64, MAX_RECORDS};
        for (unsigned i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
            assert_splits_and_joins(&layout, numbers[i]);
        if (info != NULL) {
            n_known++;
            assert_true(layout.record_bytes == 1 || layout.record_bytes == info->block_bytes);
        }
    }
    assert_true(n_known > 40);
}

static void random_layouts_split_and_join(void **state)
{
    (void)state;
    struct random random = random_from(5);
    static const uint8_t rotations[] = {0, 2, 4, 8};
    for (unsigned trial = 0; trial < 500; trial++) {
        struct entro_layout layout = {.rotate_bytes = rotations[trial % 4],
                                      .n_fields = (uint8_t)(1 + random_below(&random, ENTRO_MAX_FIELDS))};
        unsigned sum = 0;
        for (unsigned field = 0; field < layout.n_fields; field++) {
            layout.field_bytes[field] = (uint16_t)(1 + random_below(&random, 1u << random_below(&random, 8)));
            sum += layout.field_bytes[field];
        }
        if (layout.rotate_bytes != 0) {
            unsigned missing = (layout.rotate_bytes - sum % layout.rotate_bytes) % layout.rotate_bytes;
            layout.field_bytes[0] = (uint16_t)(layout.field_bytes[0] + missing);
            sum += missing;
        }
        layout.record_bytes = (uint16_t)sum;
        assert_splits_and_joins(&layout, random_below(&random, 20));
    }
}

static void bf16_has_its_exponent_in_plane_1(void **state)
{
    (void)state;
    struct entro_layout layout = entro_layout_of_dtype(ENTRO_DTYPE_BF16);
    /* 1.0 is 0x3f80: exponent 127; -1.5 is 0xbfc0: the mantissa's top bit and the sign, which rotation puts
     * lowest. */
    static const uint8_t records[] = {0x80, 0x3f, 0xc0, 0xbf};
    uint8_t low[2], high[2], *planes[] = {low, high};
    assert_int_equal(layout.n_fields, 2);
    entro_layout_split(&layout, records, 2, planes);
    assert_int_equal(high[0], 127);
    assert_int_equal(high[1], 127);
    assert_int_equal(low[0], 0x00);
    assert_int_equal(low[1], 0x81);
}

static void f32_has_its_exponent_in_plane_3(void **state)
{
    (void)state;
    struct entro_layout layout = entro_layout_of_dtype(ENTRO_DTYPE_F32);
    static const uint8_t minus_two[] = {0x00, 0x00, 0x00, 0xc0};
    uint8_t bytes[4], *planes[] = {bytes, bytes + 1, bytes + 2, bytes + 3};
    entro_layout_split(&layout, minus_two, 1, planes);
    static const uint8_t expected[] = {0x01, 0x00, 0x00, 128};
    assert_memory_equal(bytes, expected, sizeof expected);
}

static void types_of_a_byte_and_unlisted_blocks_stay_whole(void **state)
{
    (void)state;
    static const enum entro_dtype whole[] = {
        ENTRO_DTYPE_BOOL, ENTRO_DTYPE_U8,      ENTRO_DTYPE_I8,   ENTRO_DTYPE_F8_E4M3, ENTRO_DTYPE_F8_E8M0,
        ENTRO_DTYPE_F4,   ENTRO_DTYPE_F6_E2M3, ENTRO_DTYPE_Q2_K, ENTRO_DTYPE_IQ4_XS,  ENTRO_DTYPE_NONE};
    for (unsigned i = 0; i < sizeof whole / sizeof whole[0]; i++) {
        struct entro_layout layout = entro_layout_of_dtype(whole[i]);
        assert_true(entro_layout_equal(&layout, &entro_layout_bytes));
    }
    struct entro_layout bf16 = entro_layout_of_dtype(ENTRO_DTYPE_BF16),
                        u16 = entro_layout_of_dtype(ENTRO_DTYPE_U16);
    assert_false(entro_layout_equal(&bf16, &u16));
    assert_true(entro_layout_equal(&bf16, &bf16));
}

static void layouts_that_the_format_does_not_allow_are_invalid(void **state)
{
    (void)state;
    static const struct entro_layout bad[] = {
        {0},
        {.record_bytes = 1, .n_fields = 0},
        {.record_bytes = 0, .n_fields = 1},
        {.record_bytes = 2, .n_fields = 1, .field_bytes = {1}},
        {.record_bytes = 1, .n_fields = 1, .field_bytes = {2}},
        {.record_bytes = 2, .n_fields = 2, .field_bytes = {2, 0}},
        {.record_bytes = 2, .n_fields = 1, .field_bytes = {1, 1}},
        {.record_bytes = 1, .n_fields = 1, .field_bytes = {1, 0, 0, 1}},
        {.record_bytes = 3, .rotate_bytes = 2, .n_fields = 1, .field_bytes = {3}},
        {.record_bytes = 4, .rotate_bytes = 8, .n_fields = 1, .field_bytes = {4}},
        {.record_bytes = 2, .rotate_bytes = 1, .n_fields = 1, .field_bytes = {2}},
        {.record_bytes = 6, .rotate_bytes = 3, .n_fields = 1, .field_bytes = {6}},
        {.record_bytes = 16, .rotate_bytes = 16, .n_fields = 1, .field_bytes = {16}},
        {.record_bytes = 17, .n_fields = 17, .field_bytes = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2}},
        {.record_bytes = ENTRO_LAYOUT_MAX_BYTES + 1,
         .n_fields = 1,
         .field_bytes = {ENTRO_LAYOUT_MAX_BYTES + 1}},
        {.record_bytes = 0, .n_fields = 2, .field_bytes = {0x8000, 0x8000}},
    };
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(entro_layout_is_valid(&bad[i]));
    struct entro_layout largest = {
        .record_bytes = ENTRO_LAYOUT_MAX_BYTES, .n_fields = 1, .field_bytes = {ENTRO_LAYOUT_MAX_BYTES}};
    assert_true(entro_layout_is_valid(&largest));
    assert_true(entro_layout_is_valid(&entro_layout_bytes));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_dtype_splits_and_joins),
        cmocka_unit_test(random_layouts_split_and_join),
        cmocka_unit_test(bf16_has_its_exponent_in_plane_1),
        cmocka_unit_test(f32_has_its_exponent_in_plane_3),
        cmocka_unit_test(types_of_a_byte_and_unlisted_blocks_stay_whole),
        cmocka_unit_test(layouts_that_the_format_does_not_allow_are_invalid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
