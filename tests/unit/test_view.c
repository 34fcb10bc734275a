/* Dequantized views against a direct transcription of the definition in view.h, and against values worked out
 * by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>

#include "codec/bytes.h"
#include "codec/half.h"
#include "codec/view.h"

#define N_ROWS    5
#define N_COLUMNS 96
#define N         (N_ROWS * N_COLUMNS)

static struct entro_tensor make_tensor(unsigned bits, float scale, int32_t zero_point)
{
    return (struct entro_tensor){
        .name = "t",
        .dtype = ENTRO_DTYPE_BF16,
        .scheme = ENTRO_SCHEME_ASYMMETRIC,
        .bits = bits,
        .rank = 2,
        .shape = {N_ROWS, N_COLUMNS},
        .n_elements = N,
        .n_rows = N_ROWS,
        .n_columns = N_COLUMNS,
        .row_scale = ENTRO_NONE,
        .column_scale = ENTRO_NONE,
        .outliers = ENTRO_NONE,
        .scale = scale,
        .zero_point = zero_point,
    };
}

static void fill_codes(uint8_t *codes, size_t n)
{
    uint32_t state = 12345;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525U + 1013904223U;
        codes[i] = (uint8_t)(state >> 24);
    }
}

static unsigned code_of(const struct entro_tensor *tensor, const uint8_t *codes, size_t i)
{
    return tensor->bits == 8 ? codes[i] : (i % 2 == 0 ? codes[i / 2] & 15U : (unsigned)codes[i / 2] >> 4);
}

struct factors {
    uint8_t rows[2 * N_ROWS];
    uint8_t columns[2 * N_COLUMNS];
    uint8_t outliers[12 * 4];
};

static void make_factors(struct factors *factors)
{
    static const uint64_t elements[4] = {0, 95, 96, N - 1};
    static const float values[4] = {123.456F, -7e10F, 1e-9F, 0.333333F};
    for (size_t i = 0; i < N_ROWS; i++)
        entro_store_u16(factors->rows + 2 * i, entro_f32_to_f16(0.37F + (float)i * 1.01F));
    for (size_t j = 0; j < N_COLUMNS; j++)
        entro_store_u16(factors->columns + 2 * j,
                        entro_f32_to_f16(j % 7 == 0 ? -0.011F : 1.3F / (float)(j + 1)));
    for (size_t k = 0; k < 4; k++) {
        entro_store_u64(factors->outliers + 12 * k, elements[k]);
        entro_store_f32(factors->outliers + 12 * k + 8, values[k]);
    }
}

/* The definition, element by element: the number that a view rounds, which F64 holds. */
static double expected_value(const struct entro_tensor *tensor, const struct entro_view_parts *parts,
                             const uint8_t *codes, size_t i)
{
    for (size_t k = 0; k < parts->n_outliers; k++)
        if (entro_load_u64(parts->outliers + 12 * k) == i)
            return (double)entro_load_f32(parts->outliers + 12 * k + 8);
    float t = (float)((double)tensor->scale * ((int)code_of(tensor, codes, i) - tensor->zero_point));
    if (parts->row_scale == NULL && parts->column_scale == NULL)
        return (double)t;
    double factor = 1;
    if (parts->row_scale != NULL)
        factor *= (double)entro_f16_to_f32(entro_load_u16(parts->row_scale + 2 * (i / N_COLUMNS)));
    if (parts->column_scale != NULL)
        factor *= (double)entro_f16_to_f32(entro_load_u16(parts->column_scale + 2 * (i % N_COLUMNS)));
    return (double)t * factor;
}

/* A number rounded to a type with `precision` bits of fraction and the leading one, whose smallest normal
 * number is 2^lowest: to nearest, ties to even, in F64 alone. */
static double rounded(double value, int precision, int lowest)
{
    int exponent;
    (void)frexp(value, &exponent);
    int unit = (exponent - 1 > lowest ? exponent - 1 : lowest) - precision + 1;
    return ldexp(nearbyint(ldexp(value, -unit)), unit);
}

static void check_element(enum entro_dtype dtype, double expected, const uint8_t *found)
{
    if (dtype == ENTRO_DTYPE_F32)
        assert_int_equal(entro_load_u32(found), entro_f32_bits((float)expected));
    else if (dtype == ENTRO_DTYPE_BF16)
        assert_int_equal(entro_load_u16(found), entro_f32_bits((float)rounded(expected, 8, -126)) >> 16);
    else /* of a number of 11 bits the conversion rounds nothing, but for overflow */
        assert_int_equal(entro_load_u16(found), entro_f32_to_f16((float)rounded(expected, 11, -14)));
}

/* Converts in pieces of several sizes and compares each element with the definition. */
static void check_view(const struct entro_tensor *tensor, enum entro_dtype dtype,
                       const struct entro_view_parts *parts)
{
    static const size_t pieces[] = {2, 34, 94, 96, 100, 190, N};
    uint8_t codes[N];
    fill_codes(codes, sizeof codes);
    size_t element_bytes = entro_view_block_bytes(dtype);
    struct entro_view *view;
    assert_int_equal(entro_view_create(&view, tensor, dtype, parts, NULL), ENTRO_OK);
    for (size_t p = 0; p < sizeof pieces / sizeof pieces[0]; p++)
        for (size_t first = 0; first < N; first += pieces[p]) {
            size_t n = N - first < pieces[p] ? N - first : pieces[p];
            uint8_t *target =
                malloc(n * element_bytes + 8); /* so that a sanitizer and the guard see an overrun */
            memset(target + n * element_bytes, 0xa5, 8);
            entro_view_convert(view, first, n, codes + (tensor->bits == 8 ? first : first / 2), target);
            for (size_t i = 0; i < n; i++)
                check_element(dtype, expected_value(tensor, parts, codes, first + i),
                              target + i * element_bytes);
            assert_int_equal(entro_load_u64(target + n * element_bytes), 0xa5a5a5a5a5a5a5a5U);
            free(target);
        }
    entro_view_free(view);
}

static const enum entro_dtype float_types[] = {ENTRO_DTYPE_F32, ENTRO_DTYPE_F16, ENTRO_DTYPE_BF16};

static void a_view_without_factors_is_scale_times_code_minus_zero_point(void **state)
{
    (void)state;
    struct entro_view_parts none = {0};
    for (unsigned bits = 4; bits <= 8; bits += 4)
        for (size_t d = 0; d < 3; d++) {
            struct entro_tensor tensor = make_tensor(bits, 0.0123456789F, bits == 8 ? 131 : 7);
            check_view(&tensor, float_types[d], &none);
        }
}

static void factors_and_outliers_are_seen_by_every_float_view(void **state)
{
    (void)state;
    struct factors factors;
    make_factors(&factors);
    for (unsigned parts_mask = 1; parts_mask < 8; parts_mask++)
        for (unsigned bits = 4; bits <= 8; bits += 4)
            for (size_t d = 0; d < 3; d++) {
                struct entro_tensor tensor = make_tensor(bits, 0.0123456789F, bits == 8 ? 131 : 7);
                struct entro_view_parts parts = {0};
                if (parts_mask & 1) {
                    tensor.row_scale = 1;
                    parts.row_scale = factors.rows;
                }
                if (parts_mask & 2) {
                    tensor.column_scale = 2;
                    parts.column_scale = factors.columns;
                }
                if (parts_mask & 4) {
                    tensor.outliers = 3;
                    parts.outliers = factors.outliers;
                    parts.n_outliers = 4;
                }
                check_view(&tensor, float_types[d], &parts);
            }
}

/*
 * Products that round to a tie in F32 and are none. Factors and codes are chosen so: with the scale 1 and the
 * zero point 0, t * f is searched for such products, and the search must find many of each kind.
 */
static void products_near_ties_are_rounded_once(void **state)
{
    (void)state;
    static const enum entro_dtype types[] = {ENTRO_DTYPE_BF16, ENTRO_DTYPE_F16};
    static const float scales[] = {0x1.35p-8F, 0x1.003p0F, 0x1.7ffp-20F, 0x1.abcdp-120F, 0x1.9p+12F};
    uint32_t random = 99;
    for (size_t d = 0; d < 2; d++) {
        size_t n_double = 0; /* elements that rounding twice would get wrong */
        for (size_t s = 0; s < 5; s++)
            for (unsigned round = 0; round < 400; round++) {
                struct factors factors;
                struct entro_tensor tensor = make_tensor(round % 2 == 0 ? 8 : 4, scales[s], 7);
                tensor.row_scale = 1;
                tensor.column_scale = 2;
                for (size_t i = 0; i < N_ROWS; i++, random = random * 1664525U + 1013904223U)
                    entro_store_u16(factors.rows + 2 * i, (uint16_t)(0x3800U + (random >> 20)));
                uint8_t codes[N], target[2 * N];
                fill_codes(codes, sizeof codes);
                for (size_t j = 0; j < N_COLUMNS; j++) {
                    /* Of some candidates, the column factor that makes the first row's product a false tie.
                     */
                    double t = (double)(tensor.scale * (float)((int)code_of(&tensor, codes, j) - 7));
                    for (unsigned k = 0; k < 256; k++, random = random * 1664525U + 1013904223U) {
                        uint16_t half = (uint16_t)((random >> 16 & 0x87ffU) + 0x3400U);
                        entro_store_u16(factors.columns + 2 * j, half);
                        double exact = t * (double)entro_f16_to_f32(entro_load_u16(factors.rows)) *
                                       (double)entro_f16_to_f32(half);
                        float once = (float)exact;
                        if ((double)once != exact && (entro_f32_bits(once) & 0xfffU) == 0)
                            break;
                    }
                }
                struct entro_view_parts parts = {.row_scale = factors.rows, .column_scale = factors.columns};
                struct entro_view *view;
                assert_int_equal(entro_view_create(&view, &tensor, types[d], &parts, NULL), ENTRO_OK);
                entro_view_convert(view, 0, N, codes, target);
                for (size_t i = 0; i < N; i++) {
                    double exact = expected_value(&tensor, &parts, codes, i);
                    check_element(types[d], exact, target + 2 * i);
                    uint16_t twice = types[d] == ENTRO_DTYPE_BF16 ? entro_f32_to_bf16((float)exact)
                                                                  : entro_f32_to_f16((float)exact);
                    n_double += twice != entro_load_u16(target + 2 * i);
                }
                entro_view_free(view);
            }
        assert_true(n_double > 20);
    }
}

/* A record of an image may claim more columns than any memory has, and need hardly a byte for it. */
static void row_factors_alone_take_no_memory_for_columns(void **state)
{
    (void)state;
    struct entro_message message;
    struct entro_view *view;
    struct factors factors;
    make_factors(&factors);
    struct entro_tensor tensor = make_tensor(8, 0.5F, 128);
    tensor.row_scale = 1;
    tensor.shape[1] = tensor.n_columns = (uint64_t)1 << 50;
    tensor.n_elements = N_ROWS * tensor.n_columns;
    struct entro_view_parts parts = {.row_scale = factors.rows};
    uint8_t codes[4] = {0, 1, 128, 255}, target[16];
    assert_int_equal(entro_view_create(&view, &tensor, ENTRO_DTYPE_F32, &parts, &message), ENTRO_OK);
    entro_view_convert(view, tensor.n_columns - 2, 4, codes, target); /* two of a row and two of the next */
    for (size_t i = 0; i < 4; i++) {
        float row = entro_f16_to_f32(entro_load_u16(factors.rows + 2 * (i / 2)));
        assert_true(entro_load_f32(target + 4 * i) == 0.5F * ((float)codes[i] - 128) * row);
    }
    entro_view_free(view);
}

static void an_odd_last_u4_element_is_converted_alone(void **state)
{
    (void)state;
    struct entro_tensor tensor = make_tensor(4, 0.5F, 3);
    tensor.rank = 1;
    tensor.shape[0] = tensor.n_elements = tensor.n_rows = 5;
    tensor.n_columns = 1;
    const uint8_t codes[3] = {0x21, 0x43, 0x0f};
    const float expected[5] = {-1, -0.5F, 0, 0.5F, 6};
    struct entro_view_parts none = {0};
    for (size_t d = 0; d < 3; d++) {
        struct entro_view *view;
        uint8_t target[20];
        assert_int_equal(entro_view_create(&view, &tensor, float_types[d], &none, NULL), ENTRO_OK);
        entro_view_convert(view, 0, 5, codes, target);
        for (size_t i = 0; i < 5; i++)
            check_element(float_types[d], expected[i], target + i * entro_view_block_bytes(float_types[d]));
        entro_view_convert(view, 4, 1, codes + 2, target);
        check_element(float_types[d], 6, target);
        entro_view_free(view);
    }
}

static void q8_0_records_hold_the_scale_and_the_shifted_codes(void **state)
{
    (void)state;
    struct entro_tensor tensor = make_tensor(8, 0.0078125F, 128);
    struct entro_view_parts none = {0};
    uint8_t codes[N], target[N / 32 * 34];
    fill_codes(codes, sizeof codes);
    struct entro_view *view;
    assert_int_equal(entro_view_create(&view, &tensor, ENTRO_DTYPE_Q8_0, &none, NULL), ENTRO_OK);
    entro_view_convert(view, 0, 64, codes, target);
    entro_view_convert(view, 64, N - 64, codes + 64, target + 68);
    for (size_t i = 0; i < N; i++) {
        const uint8_t *record = target + i / 32 * 34;
        assert_int_equal(entro_load_u16(record), 0x2000); /* 2^-7 */
        assert_int_equal((int8_t)record[2 + i % 32], (int)codes[i] - 128);
    }
    entro_view_free(view);
}

static void q4_1_records_give_back_the_exact_values(void **state)
{
    (void)state;
    struct entro_tensor tensor = make_tensor(4, 0.40625F, 9);
    struct entro_view_parts none = {0};
    uint8_t codes[N / 2], target[N / 32 * 20];
    fill_codes(codes, sizeof codes);
    struct entro_view *view;
    assert_int_equal(entro_view_create(&view, &tensor, ENTRO_DTYPE_Q4_1, &none, NULL), ENTRO_OK);
    entro_view_convert(view, 0, N, codes, target);
    for (size_t i = 0; i < N; i++) {
        const uint8_t *record = target + i / 32 * 20;
        size_t k = i % 32;
        unsigned nibble = k < 16 ? record[4 + k] & 15U : (unsigned)record[4 + k - 16] >> 4;
        float value = entro_f16_to_f32(entro_load_u16(record)) * (float)nibble +
                      entro_f16_to_f32(entro_load_u16(record + 2));
        assert_true(value == 0.40625F * (float)((int)code_of(&tensor, codes, i) - 9));
    }
    entro_view_free(view);
    tensor.zero_point = 0;
    assert_int_equal(entro_view_create(&view, &tensor, ENTRO_DTYPE_Q4_1, &none, NULL), ENTRO_OK);
    entro_view_convert(view, 0, 32, codes, target);
    assert_int_equal(entro_load_u16(target + 2), 0); /* +0, not -0 */
    entro_view_free(view);
}

static void undefined_views_are_refused(void **state)
{
    (void)state;
    struct entro_tensor tensor = make_tensor(8, 0.1F, 3);
    assert_true(entro_view_is_defined(&tensor, ENTRO_DTYPE_F32));
    assert_false(entro_view_is_defined(&tensor, ENTRO_DTYPE_Q8_0)); /* 0.1 is no F16 */
    assert_false(entro_view_is_defined(&tensor, ENTRO_DTYPE_Q4_1)); /* u8 */
    assert_false(entro_view_is_defined(&tensor, ENTRO_DTYPE_U8));
    assert_false(entro_view_is_defined(&tensor, ENTRO_DTYPE_F64));
    tensor.scale = 0.5F;
    assert_true(entro_view_is_defined(&tensor, ENTRO_DTYPE_Q8_0));
    tensor.outliers = 0;
    assert_false(entro_view_is_defined(&tensor, ENTRO_DTYPE_Q8_0));
    tensor.outliers = ENTRO_NONE;
    tensor.shape[1] = 80; /* no multiple of 32 */
    assert_false(entro_view_is_defined(&tensor, ENTRO_DTYPE_Q8_0));
    static const float bad_scales[] = {0, -1, INFINITY, NAN};
    for (size_t i = 0; i < 4; i++) {
        tensor.scale = bad_scales[i];
        assert_false(entro_view_is_defined(&tensor, ENTRO_DTYPE_F32));
    }
    tensor.scale = 3e38F; /* values overflow */
    assert_false(entro_view_is_defined(&tensor, ENTRO_DTYPE_F32));
    tensor.scale = 1;
    tensor.scheme = ENTRO_SCHEME_LOSSLESS;
    assert_false(entro_view_is_defined(&tensor, ENTRO_DTYPE_F32));
    struct entro_view *view;
    struct entro_view_parts none = {0};
    assert_int_equal(entro_view_create(&view, &tensor, ENTRO_DTYPE_F32, &none, NULL), ENTRO_ERROR_ARGUMENT);
    assert_null(view);
}

static void bad_outliers_and_factors_are_refused(void **state)
{
    (void)state;
    struct entro_tensor tensor = make_tensor(8, 1, 0);
    struct factors factors;
    make_factors(&factors);
    struct entro_view_parts parts = {.outliers = factors.outliers, .n_outliers = 4};
    struct entro_view *view;
    struct entro_message message;
    tensor.outliers = 3;
    entro_store_u64(factors.outliers + 12, 0); /* twice element 0 */
    assert_int_equal(entro_view_create(&view, &tensor, ENTRO_DTYPE_F32, &parts, &message),
                     ENTRO_ERROR_FORMAT);
    entro_store_u64(factors.outliers + 12, 95);
    entro_store_u64(factors.outliers + 36, N);
    assert_int_equal(entro_view_create(&view, &tensor, ENTRO_DTYPE_F32, &parts, &message),
                     ENTRO_ERROR_FORMAT);
    entro_store_u64(factors.outliers + 36, UINT64_MAX);
    assert_int_equal(entro_view_create(&view, &tensor, ENTRO_DTYPE_F32, &parts, &message),
                     ENTRO_ERROR_FORMAT);

    tensor.outliers = ENTRO_NONE;
    tensor.row_scale = 1;
    parts = (struct entro_view_parts){.row_scale = factors.rows};
    entro_store_u16(factors.rows + 2, 0x7c00); /* infinity */
    assert_int_equal(entro_view_create(&view, &tensor, ENTRO_DTYPE_F32, &parts, &message),
                     ENTRO_ERROR_FORMAT);
    parts.row_scale = NULL;
    assert_int_equal(entro_view_create(&view, &tensor, ENTRO_DTYPE_F32, &parts, &message),
                     ENTRO_ERROR_ARGUMENT);
}

static void products_beyond_53_bits_are_rounded_once(void **state)
{
    (void)state;
    /* scale (1 + 2^-23) times 2^31 - 1 - 2^7 and neighbours: compared with exact integer arithmetic. */
    struct entro_view_parts none = {0};
    uint8_t codes[N];
    fill_codes(codes, sizeof codes);
    for (uint32_t mantissa = 0x800001; mantissa < 0x1000000; mantissa += 0x34567) {
        struct entro_tensor tensor =
            make_tensor(8, (float)mantissa, -2147483647 + (int32_t)(mantissa & 0xff));
        struct entro_view *view;
        float values[N];
        assert_int_equal(entro_view_create(&view, &tensor, ENTRO_DTYPE_F32, &none, NULL), ENTRO_OK);
        entro_view_convert(view, 0, N, codes, (uint8_t *)values);
        for (size_t i = 0; i < N; i++) {
            uint64_t exact = (uint64_t)mantissa * (uint64_t)((int64_t)codes[i] - tensor.zero_point);
            assert_true(values[i] == (float)exact); /* the conversion of an integer rounds once */
        }
        entro_view_free(view);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_view_without_factors_is_scale_times_code_minus_zero_point),
        cmocka_unit_test(factors_and_outliers_are_seen_by_every_float_view),
        cmocka_unit_test(products_near_ties_are_rounded_once),
        cmocka_unit_test(row_factors_alone_take_no_memory_for_columns),
        cmocka_unit_test(an_odd_last_u4_element_is_converted_alone),
        cmocka_unit_test(q8_0_records_hold_the_scale_and_the_shifted_codes),
        cmocka_unit_test(q4_1_records_give_back_the_exact_values),
        cmocka_unit_test(undefined_views_are_refused),
        cmocka_unit_test(bad_outliers_and_factors_are_refused),
        cmocka_unit_test(products_beyond_53_bits_are_rounded_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
