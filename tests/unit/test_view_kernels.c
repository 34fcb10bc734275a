/* Every variant of the view kernels against the portable code, for all types, bits, factors and lengths. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "codec/bytes.h"
#include "codec/half.h"
#include "codec/view_kernels.h"

#define MAX_ROWS    9
#define MAX_COLUMNS 391
#define MAX         (MAX_ROWS * MAX_COLUMNS)

static uint32_t random_state = 7;

static uint32_t next_random(void)
{
    random_state = random_state * 1664525U + 1013904223U;
    return random_state >> 8;
}

struct model {
    struct entro_tensor tensor;
    uint8_t rows[2 * MAX_ROWS], columns[2 * MAX_COLUMNS];
    uint8_t codes[MAX];
};

static void make_model(struct model *model, unsigned bits, float scale, int32_t zero_point, bool has_rows,
                       bool has_columns, uint64_t n_rows, uint64_t n_columns)
{
    model->tensor = (struct entro_tensor){.name = "t",
                                          .dtype = ENTRO_DTYPE_F32,
                                          .scheme = ENTRO_SCHEME_BALANCED,
                                          .bits = bits,
                                          .rank = 2,
                                          .shape = {n_rows, n_columns},
                                          .n_elements = n_rows * n_columns,
                                          .n_rows = n_rows,
                                          .n_columns = n_columns,
                                          .row_scale = has_rows ? 1 : ENTRO_NONE,
                                          .column_scale = has_columns ? 2 : ENTRO_NONE,
                                          .outliers = ENTRO_NONE,
                                          .scale = scale,
                                          .zero_point = zero_point};
    for (size_t i = 0; i < MAX; i++)
        model->codes[i] = (uint8_t)next_random();
    /* All finite F16: normal, subnormal, zero, negative. */
    for (size_t i = 0; i < MAX_ROWS; i++)
        entro_store_u16(model->rows + 2 * i, (uint16_t)(next_random() & 0xfbffU));
    for (size_t i = 0; i < MAX_COLUMNS; i++)
        entro_store_u16(model->columns + 2 * i, (uint16_t)(next_random() & 0xfbffU));
}

static struct entro_view *create(const struct model *model, enum entro_dtype dtype,
                                 const struct entro_view_kernels *kernels)
{
    struct entro_view_parts parts = {.row_scale = model->rows, .column_scale = model->columns};
    struct entro_view *view;
    struct entro_message message;
    if (entro_view_create(&view, &model->tensor, dtype, &parts, &message) != ENTRO_OK)
        fail_msg("%s", message.text);
    entro_view_use_kernels(view, kernels);
    return view;
}

static void check_range(const struct entro_view *portable, const struct entro_view *fast, const char *name,
                        const struct model *model, size_t element_bytes, uint64_t first, size_t n)
{
    /* Exact sizes: a sanitizer sees what is read or written beyond. */
    size_t n_codes = model->tensor.bits == 8 ? n : (n + 1) / 2;
    uint8_t *codes = malloc(n_codes + 1), *expected = malloc(n * element_bytes + 1),
            *found = malloc(n * element_bytes + 1);
    assert_true(codes != NULL && expected != NULL && found != NULL);
    uint8_t *unaligned = codes + 1;
    memcpy(unaligned, model->codes + first * model->tensor.bits / 8, n_codes);
    entro_view_convert(portable, first, n, unaligned, expected + 1);
    entro_view_convert(fast, first, n, unaligned, found + 1);
    for (size_t i = 0; i < n; i++)
        if (memcmp(expected + 1 + i * element_bytes, found + 1 + i * element_bytes, element_bytes) != 0)
            fail_msg("%s: element %zu of %zu from %llu: bits %u, scale %a, zero point %d", name, i, n,
                     (unsigned long long)first, model->tensor.bits, (double)model->tensor.scale,
                     (int)model->tensor.zero_point);
    free(found);
    free(expected);
    free(codes);
}

static void check_model(const struct model *model, enum entro_dtype dtype,
                        const struct entro_view_kernels *kernels)
{
    size_t element_bytes = dtype == ENTRO_DTYPE_F32 ? 4 : 2, n_elements = (size_t)model->tensor.n_elements;
    struct entro_view *portable = create(model, dtype, NULL), *fast = create(model, dtype, kernels);
    check_range(portable, fast, kernels->name, model, element_bytes, 0, n_elements);
    for (unsigned k = 0; k < 12; k++) {
        uint64_t first = next_random() % n_elements / 2 * 2;
        size_t n = 1 + next_random() % (n_elements - (size_t)first);
        check_range(portable, fast, kernels->name, model, element_bytes, first, n);
    }
    entro_view_free(fast);
    entro_view_free(portable);
}

static void every_variant_gives_the_portable_bytes(void **state)
{
    (void)state;
    static const enum entro_dtype dtypes[] = {ENTRO_DTYPE_F32, ENTRO_DTYPE_F16, ENTRO_DTYPE_BF16};
    static const struct {
        float scale;
        int32_t zero_point;
    } grids[] = {{0x1.84p-8F, 128},
                 {0x1.fffffep-3F, 7},    /* all bits of the scale are used */
                 {0x1.234566p-120F, 3},  /* results are subnormal */
                 {0x1.8p-16F, 0},        /* subnormal in F16 */
                 {0x1.555556p120F, 129}, /* near the largest F32; beyond F16 */
                 {257.0F, 255},          /* ties of BF16 */
                 {0x1.004p0F, -5000},    /* ties of F16 */
                 {1.0F, 8},              /* ties everywhere: products of few bits */
                 {0x1p-20F, 8},          /* and of F16's subnormal numbers */
                 {0.37F, (1 << 23) - 1}, /* the last that the kernels take */
                 {0.37F, -(1 << 23)},    /* and what they leave alone */
                 {0.37F, -2000000011}};
    static const uint64_t columns[] = {1, 15, 64, 130, 391};
    struct model *model = malloc(sizeof *model);
    assert_non_null(model);
    const struct entro_view_kernels *kernels;
    for (unsigned v = 0; (kernels = entro_view_kernels_at(v)) != NULL; v++)
        for (size_t g = 0; g < sizeof grids / sizeof grids[0]; g++)
            for (unsigned bits = 4; bits <= 8; bits += 4)
                for (unsigned factors = 0; factors < 4; factors++)
                    for (size_t c = 0; c < sizeof columns / sizeof columns[0]; c++) {
                        make_model(model, bits, grids[g].scale, grids[g].zero_point, (factors & 1) != 0,
                                   (factors & 2) != 0, MAX_ROWS, columns[c]);
                        for (size_t d = 0; d < 3; d++)
                            check_model(model, dtypes[d], kernels);
                    }
    free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_variant_gives_the_portable_bytes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
