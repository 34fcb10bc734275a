/* GGUF's block types against values that an independent implementation read: equal to the bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "codec/ggml_blocks.h"
#include "codec/half.h"
#include "tests/data/ggml_blocks/vectors.h"

struct vector {
    enum entro_dtype dtype;
    const uint8_t *blocks;
    size_t blocks_bytes;
    const uint32_t *bits;
    size_t n_elements;
};

#define VECTOR(type, name)                                                                                   \
    {                                                                                                        \
        ENTRO_DTYPE_##type, name##_blocks, sizeof name##_blocks, name##_bits,                                \
            sizeof name##_bits / sizeof(uint32_t)                                                            \
    }

static const struct vector vectors[] = {
    VECTOR(Q4_0, q4_0), VECTOR(Q4_1, q4_1), VECTOR(Q5_0, q5_0),     VECTOR(Q5_1, q5_1),
    VECTOR(Q8_0, q8_0), VECTOR(Q4_K, q4_k), VECTOR(Q5_K, q5_k),     VECTOR(Q6_K, q6_k),
    VECTOR(Q2_K, q2_k), VECTOR(Q3_K, q3_k), VECTOR(IQ4_NL, iq4_nl), VECTOR(IQ4_XS, iq4_xs),
};

static const enum entro_dtype plain[] = {ENTRO_DTYPE_F32, ENTRO_DTYPE_F16, ENTRO_DTYPE_BF16};

/* Reads copies that end exactly where they should and start at an odd address, so that a sanitizer sees a
 * step outside. */
static void check(enum entro_dtype dtype, const uint8_t *blocks, size_t blocks_bytes, const uint32_t *bits,
                  size_t n_elements)
{
    uint8_t *source = malloc(blocks_bytes + 1);
    float *target = malloc(n_elements * sizeof *target);
    assert_non_null(source);
    assert_non_null(target);
    memcpy(source + 1, blocks, blocks_bytes);
    entro_dequantize_f32(dtype, source + 1, n_elements, target);
    for (size_t i = 0; i < n_elements; i++)
        if (entro_f32_bits(target[i]) != bits[i])
            fail_msg("%s: element %zu is %a instead of %a", entro_dtype_info(dtype)->name, i,
                     (double)target[i], (double)entro_f32_from_bits(bits[i]));
    free(target);
    free(source);
}

static void every_block_type_is_bit_equal_to_the_reference(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        const struct vector *vector = &vectors[i];
        const struct entro_dtype_info *info = entro_dtype_info(vector->dtype);
        size_t n_blocks = vector->n_elements / info->block_elements;
        assert_true(n_blocks >= 2);
        assert_int_equal(vector->blocks_bytes, n_blocks * info->block_bytes);
        check(vector->dtype, vector->blocks, vector->blocks_bytes, vector->bits, vector->n_elements);
    }
}

static void a_part_of_a_tensor_reads_as_in_the_whole(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        const struct vector *vector = &vectors[i];
        const struct entro_dtype_info *info = entro_dtype_info(vector->dtype);
        check(vector->dtype, vector->blocks + info->block_bytes, info->block_bytes,
              vector->bits + info->block_elements, info->block_elements);
    }
}

static void plain_floats_are_converted(void **state)
{
    (void)state;
    static const float values[] = {0.0F, -0.0F, 1.0F, -2.5F, 65504.0F, 0x1p-24F, 0x1.8p-14F};
    enum { N = sizeof values / sizeof values[0] };
    uint8_t bytes[3][4 * N];
    uint32_t bits[3][N];
    for (size_t i = 0; i < N; i++) {
        uint16_t f16 = entro_f32_to_f16(values[i]);
        uint16_t bf16 = entro_f32_to_bf16(values[i]);
        entro_store_f32(bytes[0] + 4 * i, values[i]);
        entro_store_u16(bytes[1] + 2 * i, f16);
        entro_store_u16(bytes[2] + 2 * i, bf16);
        bits[0][i] = entro_f32_bits(values[i]);
        bits[1][i] = entro_f32_bits(values[i]); /* all of them exact in F16 */
        bits[2][i] = entro_f32_bits(entro_bf16_to_f32(bf16));
    }
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++)
        check(plain[i], bytes[i], N * entro_dtype_info(plain[i])->block_bytes, bits[i], N);
}

static void only_these_types_are_read(void **state)
{
    (void)state;
    for (int dtype = -1; dtype < 128; dtype++) {
        bool expected = false;
        for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++)
            expected = expected || (int)vectors[i].dtype == dtype;
        for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++)
            expected = expected || (int)plain[i] == dtype;
        assert_int_equal(entro_can_dequantize((enum entro_dtype)dtype), expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_block_type_is_bit_equal_to_the_reference),
        cmocka_unit_test(a_part_of_a_tensor_reads_as_in_the_whole),
        cmocka_unit_test(plain_floats_are_converted),
        cmocka_unit_test(only_these_types_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
