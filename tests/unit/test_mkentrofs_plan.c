/* What becomes of a tensor and how a mount shows it: mkentrofs/tensor_plan.h and mkentrofs/views.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "mkentrofs/tensor_plan.h"
#include "mkentrofs/views.h"

static const struct entro_plan_options mixed8 = {
    .treatment = ENTRO_TREATMENT_MIXED, .bits = 8, .scale_bits = 7};

static struct entro_source_tensor tensor_of(enum entro_dtype dtype, uint64_t rows, uint64_t columns)
{
    static char name[] = "model.layers.0.weight";
    return (struct entro_source_tensor){
        .name = name, .dtype = dtype, .rank = 2, .shape = {rows, columns}, .n_elements = rows * columns};
}

static const char *reason(const struct entro_plan_options *options, struct entro_source_tensor tensor)
{
    struct entro_tensor_plan plan = entro_tensor_plan(options, &tensor);
    assert_int_equal(plan.treatment == ENTRO_TREATMENT_LOSSLESS, plan.reason != NULL);
    return plan.reason ? plan.reason : "";
}

static void matrices_of_float_and_block_types_are_quantized(void **state)
{
    (void)state;
    static const enum entro_dtype dtypes[] = {
        ENTRO_DTYPE_F32,  ENTRO_DTYPE_F16,  ENTRO_DTYPE_BF16, ENTRO_DTYPE_Q8_0,   ENTRO_DTYPE_Q4_0,
        ENTRO_DTYPE_Q4_1, ENTRO_DTYPE_Q5_0, ENTRO_DTYPE_Q5_1, ENTRO_DTYPE_Q4_K,   ENTRO_DTYPE_Q5_K,
        ENTRO_DTYPE_Q6_K, ENTRO_DTYPE_Q2_K, ENTRO_DTYPE_Q3_K, ENTRO_DTYPE_IQ4_NL, ENTRO_DTYPE_IQ4_XS};
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        assert_string_equal(reason(&mixed8, tensor_of(dtypes[i], 16, 256)), "");
}

static void everything_else_is_kept_for_a_reason(void **state)
{
    (void)state;
    static const enum entro_dtype dtypes[] = {ENTRO_DTYPE_F64, ENTRO_DTYPE_I8, ENTRO_DTYPE_F8_E4M3,
                                              ENTRO_DTYPE_Q8_K};
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        assert_string_equal(reason(&mixed8, tensor_of(dtypes[i], 64, 256)), "dtype");
    assert_string_equal(reason(&mixed8, tensor_of(ENTRO_DTYPE_F32, 63, 65)), "small");
    assert_string_equal(reason(&mixed8, tensor_of(ENTRO_DTYPE_F32, 64, 64)), "");
    struct entro_source_tensor vector = tensor_of(ENTRO_DTYPE_F32, 65536, 1);
    vector.rank = 1;
    assert_string_equal(reason(&mixed8, vector), "one dimension");
}

static void keep_patterns_match_whole_names(void **state)
{
    (void)state;
    static const char *const keeps[] = {"model.layers.1.*", "*.layers.?.weight"};
    struct entro_plan_options options = mixed8;
    options.keeps = keeps;
    options.n_keeps = 1;
    assert_string_equal(reason(&options, tensor_of(ENTRO_DTYPE_F32, 64, 256)), "");
    options.n_keeps = 2;
    assert_string_equal(reason(&options, tensor_of(ENTRO_DTYPE_F32, 64, 256)), "--keep");
}

static struct entro_encoded encoded_of(unsigned bits, float scale, int32_t zero_point, int32_t lowest,
                                       int32_t highest)
{
    struct entro_source_tensor source = tensor_of(ENTRO_DTYPE_F32, 64, 256);
    struct entro_encoded encoded = {
        .tensor = entro_encoded_tensor(&source), .lowest = lowest, .highest = highest};
    encoded.tensor.scheme = ENTRO_SCHEME_ASYMMETRIC;
    encoded.tensor.bits = bits;
    encoded.tensor.scale = scale;
    encoded.tensor.zero_point = zero_point;
    return encoded;
}

static void safetensors_show_the_source_dtype(void **state)
{
    (void)state;
    struct entro_encoded encoded = encoded_of(8, 0x1p-10f, 128, -128, 127);
    assert_int_equal(entro_view_dtype(ENTRO_PART_SAFETENSORS, &encoded), ENTRO_DTYPE_F32);
    encoded.tensor.dtype = ENTRO_DTYPE_BF16;
    assert_int_equal(entro_view_dtype(ENTRO_PART_SAFETENSORS, &encoded), ENTRO_DTYPE_BF16);
}

static void gguf_shows_block_types_only_where_they_are_exact(void **state)
{
    (void)state;
    struct entro_encoded encoded = encoded_of(8, 0x1p-10f, 128, -128, 127);
    assert_int_equal(entro_view_dtype(ENTRO_PART_GGUF, &encoded), ENTRO_DTYPE_Q8_0);
    encoded = encoded_of(8, 0x1p-10f, 127, -127, 128); /* one code does not fit int8 */
    assert_int_equal(entro_view_dtype(ENTRO_PART_GGUF, &encoded), ENTRO_DTYPE_F16);
    encoded = encoded_of(8, 0x1.0008p-10f, 128, -128, 127); /* a scale that F16 has not */
    assert_int_equal(entro_view_dtype(ENTRO_PART_GGUF, &encoded), ENTRO_DTYPE_F16);
    encoded = encoded_of(4, 0x1.8p-4f, 7, -7, 8);
    assert_int_equal(entro_view_dtype(ENTRO_PART_GGUF, &encoded), ENTRO_DTYPE_Q4_1);
    encoded = encoded_of(4, 0x1.0008p-4f, 7, -7, 8);
    assert_int_equal(entro_view_dtype(ENTRO_PART_GGUF, &encoded), ENTRO_DTYPE_F16);
    encoded = encoded_of(4, 0x1.8p-4f, 7, -7, 8); /* rows that are no multiple of 32 */
    encoded.tensor.shape[0] = 256;
    encoded.tensor.shape[1] = 65;
    encoded.tensor.n_elements = 256 * 65;
    assert_int_equal(entro_view_dtype(ENTRO_PART_GGUF, &encoded), ENTRO_DTYPE_F16);
}

static void gguf_shows_f32_where_f16_would_lose_the_values(void **state)
{
    (void)state;
    struct entro_encoded encoded = encoded_of(8, 1024.0f * 1.0078125f, 0, 0, 255); /* infinite in F16 */
    assert_int_equal(entro_view_dtype(ENTRO_PART_GGUF, &encoded), ENTRO_DTYPE_F32);
    encoded = encoded_of(8, 0x1.02p-26f, 0, 0, 255); /* subnormal in F16 */
    assert_int_equal(entro_view_dtype(ENTRO_PART_GGUF, &encoded), ENTRO_DTYPE_F32);
}

/* A code stands for what may be twice its weight, where steps are coarse. */
static void gguf_shows_balanced_tensors_as_f16_where_no_value_can_be_infinite(void **state)
{
    (void)state;
    struct entro_encoded encoded = encoded_of(8, 0x1.0008p-10f, 128, 0, 0); /* Q8_0 has no such scale */
    encoded.tensor.scheme = ENTRO_SCHEME_BALANCED;
    encoded.largest = 32752;
    assert_int_equal(entro_view_dtype(ENTRO_PART_GGUF, &encoded), ENTRO_DTYPE_F16);
    encoded.largest = 65500;
    encoded.tensor.dtype = ENTRO_DTYPE_BF16;
    assert_int_equal(entro_view_dtype(ENTRO_PART_GGUF, &encoded), ENTRO_DTYPE_F32);
    encoded.tensor.dtype = ENTRO_DTYPE_F16; /* what would be beyond it is an outlier */
    assert_int_equal(entro_view_dtype(ENTRO_PART_GGUF, &encoded), ENTRO_DTYPE_F16);
}

static void lossless_tensors_are_shown_as_they_are(void **state)
{
    (void)state;
    struct entro_source_tensor source = tensor_of(ENTRO_DTYPE_Q4_K, 64, 256);
    struct entro_encoded encoded = {.tensor = entro_encoded_tensor(&source)};
    assert_int_equal(entro_view_dtype(ENTRO_PART_GGUF, &encoded), ENTRO_DTYPE_Q4_K);
    assert_true(isinf(encoded.tensor.snr_db));
}

static void the_file_type_is_that_of_most_quantized_weights(void **state)
{
    (void)state;
    struct entro_encoded encoded[3] = {encoded_of(8, 1, 128, -128, 127), encoded_of(8, 1, 128, -128, 127),
                                       encoded_of(8, 1, 128, -128, 127)};
    enum entro_dtype views[3] = {ENTRO_DTYPE_F16, ENTRO_DTYPE_Q8_0, ENTRO_DTYPE_Q8_0};
    assert_int_equal(entro_gguf_file_type(encoded, views, 3), 7);
    encoded[0].tensor.n_elements = 1 << 20;
    assert_int_equal(entro_gguf_file_type(encoded, views, 3), 1);
    encoded[0].tensor.scheme = ENTRO_SCHEME_LOSSLESS;
    assert_int_equal(entro_gguf_file_type(encoded, views, 3), 7);
    assert_int_equal(entro_gguf_file_type(encoded, views, 1), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matrices_of_float_and_block_types_are_quantized),
        cmocka_unit_test(everything_else_is_kept_for_a_reason),
        cmocka_unit_test(keep_patterns_match_whole_names),
        cmocka_unit_test(safetensors_show_the_source_dtype),
        cmocka_unit_test(gguf_shows_block_types_only_where_they_are_exact),
        cmocka_unit_test(gguf_shows_f32_where_f16_would_lose_the_values),
        cmocka_unit_test(gguf_shows_balanced_tensors_as_f16_where_no_value_can_be_infinite),
        cmocka_unit_test(lossless_tensors_are_shown_as_they_are),
        cmocka_unit_test(the_file_type_is_that_of_most_quantized_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
