/* Every variant of the runner's kernels against a plain sum in F64, on odd sizes and unaligned rows. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "codec/half.h"
#include "runner/kernels.h"

static const char *const variants[] = {"portable", "avx2", "avx512", "vnni", "amx", "neon"};
static const size_t sizes[] = {0,  1,  2,  3,  7,  8,  9,   15,  16,  17,   31,  32,
                               33, 47, 63, 64, 65, 96, 127, 129, 576, 1001, 1536};

static uint64_t random_state;

static uint32_t random_u32(void)
{
    random_state = random_state * 6364136223846793005U + 1442695040888963407U;
    return (uint32_t)(random_state >> 33);
}

static float random_float(void)
{
    return (float)random_u32() / (float)(1U << 30) - 1.0F;
}

/* How many bytes n elements take, and element i's value, for each kind of row. */
enum kind { U8, U4, F32, F16, BF16, N_KINDS };

static size_t row_bytes(enum kind kind, size_t n)
{
    return kind == U8 ? n : kind == U4 ? (n + 1) / 2 : kind == F32 ? 4 * n : 2 * n;
}

static double element(enum kind kind, const uint8_t *row, size_t i)
{
    switch (kind) {
    case U8:
        return row[i];
    case U4:
        return i % 2 == 0 ? row[i / 2] % 16 : row[i / 2] / 16;
    case F32:
        return entro_load_f32(row + 4 * i);
    case F16:
        return entro_f16_to_f32(entro_load_u16(row + 2 * i));
    default:
        return entro_bf16_to_f32(entro_load_u16(row + 2 * i));
    }
}

static void fill_row(enum kind kind, uint8_t *row, size_t n)
{
    if (kind == U8 || kind == U4)
        for (size_t i = 0; i < row_bytes(kind, n); i++)
            row[i] = (uint8_t)random_u32();
    for (size_t i = 0; i < n; i++) {
        if (kind == F32)
            entro_store_f32(row + 4 * i, random_float());
        else if (kind == F16)
            entro_store_u16(row + 2 * i, entro_f32_to_f16(random_float()));
        else if (kind == BF16)
            entro_store_u16(row + 2 * i, entro_f32_to_bf16(random_float()));
    }
}

static entro_dot_function *dot_of(const struct entro_kernels *kernels, enum kind kind)
{
    entro_dot_function *const functions[] = {kernels->dot_u8, kernels->dot_u4, kernels->dot_f32,
                                             kernels->dot_f16, kernels->dot_bf16};
    return functions[kind];
}

static void check_dot(const struct entro_kernels *kernels, enum kind kind, size_t n, size_t misalignment)
{
    /* Exactly as large as the row, so that AddressSanitizer sees a read behind it. */
    uint8_t *block = malloc(row_bytes(kind, n) + misalignment + 1);
    float *x = malloc((n + 1) * sizeof *x);
    assert_non_null(block);
    assert_non_null(x);
    uint8_t *row = block + misalignment;
    fill_row(kind, row, n);
    double sum = 0, magnitude = 0;
    for (size_t i = 0; i < n; i++) {
        x[i] = random_float();
        sum += element(kind, row, i) * x[i];
        magnitude += fabs(element(kind, row, i) * x[i]);
    }
    double error = fabs((double)dot_of(kernels, kind)(row, x, n) - sum);
    if (error > 1e-6 * magnitude)
        fail_msg("%s, kind %d, n = %zu: off by %g of %g", kernels->name, (int)kind, n, error, magnitude);
    free(block);
    free(x);
}

static void every_variant_gives_the_same_dot_products(void **state)
{
    (void)state;
    for (size_t v = 0; v < sizeof variants / sizeof variants[0]; v++) {
        const struct entro_kernels *kernels = entro_kernels_by_name(variants[v]);
        if (kernels == NULL)
            continue;
        for (int kind = 0; kind < N_KINDS; kind++)
            for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++)
                for (size_t misalignment = 0; misalignment < 4; misalignment++)
                    check_dot(kernels, (enum kind)kind, sizes[s], misalignment);
    }
}

static void adding_a_scaled_row_touches_nothing_behind_it(void **state)
{
    (void)state;
    for (size_t v = 0; v < sizeof variants / sizeof variants[0]; v++) {
        const struct entro_kernels *kernels = entro_kernels_by_name(variants[v]);
        if (kernels == NULL)
            continue;
        for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
            size_t n = sizes[s];
            uint8_t *row = malloc(2 * n + 1);
            float *y = malloc((n + 1) * sizeof *y);
            double *expected = malloc((n + 1) * sizeof *expected);
            assert_true(row != NULL && y != NULL && expected != NULL);
            fill_row(F16, row, n);
            for (size_t i = 0; i < n; i++) {
                y[i] = random_float();
                expected[i] = (double)y[i] + 0.75 * element(F16, row, i);
            }
            y[n] = 42.0F;
            kernels->add_f16(y, 0.75F, row, n);
            for (size_t i = 0; i < n; i++)
                assert_float_equal(y[i], (float)expected[i], 1e-6);
            assert_true(y[n] == 42.0F);
            free(row);
            free(y);
            free(expected);
        }
    }
}

/* Fixed-point inputs: element j of a block of n lies at this place of a plane. */
static size_t place_of(enum entro_fixed_order order, size_t j)
{
    if (order == ENTRO_FIXED_IN_ORDER)
        return j;
    return j / 64 * 64 + (j % 2) * 32 + j % 64 / 2;
}

static void check_fixed(const struct entro_fixed_kernels *fixed, enum entro_fixed_order order, size_t n,
                        bool with_columns)
{
    size_t plane = entro_fixed_padded(n);
    float *x = malloc(n * sizeof *x), *column = malloc(n * sizeof *column);
    int8_t *digits = malloc(ENTRO_FIXED_DIGITS * plane);
    uint8_t *is_element = calloc(plane, 1);
    assert_true(x != NULL && column != NULL && digits != NULL && is_element != NULL);
    double largest = 0, sums[ENTRO_FIXED_DIGITS] = {0};
    for (size_t j = 0; j < n; j++) {
        x[j] = random_float() * (j == n / 2 ? 1000.0F : 1.0F);
        column[j] = with_columns ? 0.5F + (float)(j % 4) : 1.0F;
        largest = fmax(largest, fabs((double)x[j] * column[j]));
    }
    struct entro_fixed_block block;
    fixed->fix(x, with_columns ? column : NULL, n, order, digits, &block);
    for (size_t j = 0; j < n; j++) {
        size_t place = place_of(order, j);
        double value = 65536.0 * digits[place] + 256.0 * digits[plane + place] + digits[2 * plane + place];
        is_element[place] = 1;
        assert_true(fabs(value * block.scale - (double)x[j] * column[j]) <= largest / (1 << 22));
    }
    for (size_t d = 0; d < ENTRO_FIXED_DIGITS; d++) {
        for (size_t place = 0; place < plane; place++) {
            sums[d] += digits[d * plane + place];
            assert_true(is_element[place] || digits[d * plane + place] == 0);
        }
        assert_true(sums[d] == block.sums[d]);
    }
    free(x);
    free(column);
    free(digits);
    free(is_element);
}

static void fixed_point_inputs_keep_23_bits_and_know_their_sums(void **state)
{
    (void)state;
    for (size_t v = 0; v < sizeof variants / sizeof variants[0]; v++) {
        const struct entro_kernels *kernels = entro_kernels_by_name(variants[v]);
        if (kernels == NULL || kernels->fixed == NULL)
            continue;
        for (size_t s = 1; s < sizeof sizes / sizeof sizes[0]; s++)
            for (int kind = 0; kind < 4; kind++)
                check_fixed(kernels->fixed, kind % 2 == 0 ? ENTRO_FIXED_IN_ORDER : ENTRO_FIXED_BY_NIBBLE,
                            sizes[s], kind / 2 != 0);
        check_fixed(kernels->fixed, ENTRO_FIXED_IN_ORDER, ENTRO_FIXED_COLUMNS, true);
    }
}

/* The largest sums there are: they must not overflow. */
static void extreme_codes_and_inputs_do_not_overflow(void **state)
{
    (void)state;
    static uint8_t codes[ENTRO_FIXED_COLUMNS];
    static float x[ENTRO_FIXED_COLUMNS];
    static int8_t digits[ENTRO_FIXED_DIGITS * ENTRO_FIXED_COLUMNS];
    memset(codes, 255, sizeof codes);
    for (size_t j = 0; j < ENTRO_FIXED_COLUMNS; j++)
        x[j] = 3e38F / (ENTRO_FIXED_COLUMNS * 5000.0F);
    for (size_t v = 0; v < sizeof variants / sizeof variants[0]; v++) {
        const struct entro_kernels *kernels = entro_kernels_by_name(variants[v]);
        struct entro_fixed_block block;
        float y;
        if (kernels == NULL || kernels->fixed == NULL)
            continue;
        kernels->fixed->fix(x, NULL, ENTRO_FIXED_COLUMNS, ENTRO_FIXED_IN_ORDER, digits, &block);
        for (int32_t zero = -ENTRO_FIXED_MAX_ZERO; zero <= ENTRO_FIXED_MAX_ZERO;
             zero += ENTRO_FIXED_MAX_ZERO) {
            double expected = (255.0 - zero) * ENTRO_FIXED_COLUMNS * (double)x[0];
            kernels->fixed->dots_u8(codes, 0, 1, ENTRO_FIXED_COLUMNS, digits, &block, zero, &y, false);
            assert_true(fabs((double)y - expected) <= 1e-6 * fabs(expected));
        }
    }
}

static void an_unknown_variant_is_not_found(void **state)
{
    (void)state;
    assert_null(entro_kernels_by_name("sse9"));
    assert_null(entro_kernels_by_name(""));
    assert_ptr_equal(entro_kernels_by_name("portable"), &entro_kernels_portable);
    assert_non_null(entro_kernels_best());
}

int main(void)
{
    random_state = 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_variant_gives_the_same_dot_products),
        cmocka_unit_test(adding_a_scaled_row_touches_nothing_behind_it),
        cmocka_unit_test(fixed_point_inputs_keep_23_bits_and_know_their_sums),
        cmocka_unit_test(extreme_codes_and_inputs_do_not_overflow),
        cmocka_unit_test(an_unknown_variant_is_not_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
