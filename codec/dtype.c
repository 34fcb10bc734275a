/* The table of element types and the sizes that follow from it; see dtype.h. */
#include "codec/dtype.h"

#include <stddef.h>
#include <string.h>

#include "codec/bytes.h"

#define NOT_IN_GGUF (-1)
/* A GGUF block type: its number in the format is 64 more than in GGUF. */
#define BLOCK_TYPE(name, elements, bytes)                                                                    \
    {                                                                                                        \
        ENTRO_DTYPE_##name, #name, elements, bytes, ENTRO_DTYPE_##name - 64, false                           \
    }

static const struct entro_dtype_info dtypes[] = {
    {ENTRO_DTYPE_F32, "F32", 1, 4, 0, true},
    {ENTRO_DTYPE_F16, "F16", 1, 2, 1, true},
    {ENTRO_DTYPE_BF16, "BF16", 1, 2, 30, true},
    {ENTRO_DTYPE_F64, "F64", 1, 8, 28, true},
    {ENTRO_DTYPE_BOOL, "BOOL", 1, 1, NOT_IN_GGUF, true},
    {ENTRO_DTYPE_U8, "U8", 1, 1, NOT_IN_GGUF, true},
    {ENTRO_DTYPE_I8, "I8", 1, 1, 24, true},
    {ENTRO_DTYPE_U16, "U16", 1, 2, NOT_IN_GGUF, true},
    {ENTRO_DTYPE_I16, "I16", 1, 2, 25, true},
    {ENTRO_DTYPE_U32, "U32", 1, 4, NOT_IN_GGUF, true},
    {ENTRO_DTYPE_I32, "I32", 1, 4, 26, true},
    {ENTRO_DTYPE_U64, "U64", 1, 8, NOT_IN_GGUF, true},
    {ENTRO_DTYPE_I64, "I64", 1, 8, 27, true},
    {ENTRO_DTYPE_C64, "C64", 1, 8, NOT_IN_GGUF, true},
    {ENTRO_DTYPE_F8_E4M3, "F8_E4M3", 1, 1, NOT_IN_GGUF, true},
    {ENTRO_DTYPE_F8_E5M2, "F8_E5M2", 1, 1, NOT_IN_GGUF, true},
    {ENTRO_DTYPE_F8_E8M0, "F8_E8M0", 1, 1, NOT_IN_GGUF, true},
    {ENTRO_DTYPE_F8_E4M3FNUZ, "F8_E4M3FNUZ", 1, 1, NOT_IN_GGUF, true},
    {ENTRO_DTYPE_F8_E5M2FNUZ, "F8_E5M2FNUZ", 1, 1, NOT_IN_GGUF, true},
    {ENTRO_DTYPE_F4, "F4", 2, 1, NOT_IN_GGUF, true},
    {ENTRO_DTYPE_F6_E2M3, "F6_E2M3", 4, 3, NOT_IN_GGUF, true},
    {ENTRO_DTYPE_F6_E3M2, "F6_E3M2", 4, 3, NOT_IN_GGUF, true},
    BLOCK_TYPE(Q4_0, 32, 18),
    BLOCK_TYPE(Q4_1, 32, 20),
    BLOCK_TYPE(Q5_0, 32, 22),
    BLOCK_TYPE(Q5_1, 32, 24),
    BLOCK_TYPE(Q8_0, 32, 34),
    BLOCK_TYPE(Q8_1, 32, 36),
    BLOCK_TYPE(Q2_K, 256, 84),
    BLOCK_TYPE(Q3_K, 256, 110),
    BLOCK_TYPE(Q4_K, 256, 144),
    BLOCK_TYPE(Q5_K, 256, 176),
    BLOCK_TYPE(Q6_K, 256, 210),
    BLOCK_TYPE(Q8_K, 256, 292),
    BLOCK_TYPE(IQ2_XXS, 256, 66),
    BLOCK_TYPE(IQ2_XS, 256, 74),
    BLOCK_TYPE(IQ3_XXS, 256, 98),
    BLOCK_TYPE(IQ1_S, 256, 50),
    BLOCK_TYPE(IQ4_NL, 32, 18),
    BLOCK_TYPE(IQ3_S, 256, 110),
    BLOCK_TYPE(IQ2_S, 256, 82),
    BLOCK_TYPE(IQ4_XS, 256, 136),
    BLOCK_TYPE(IQ1_M, 256, 56),
    BLOCK_TYPE(TQ1_0, 256, 54),
    BLOCK_TYPE(TQ2_0, 256, 66),
    BLOCK_TYPE(MXFP4, 32, 17),
};

#define N_DTYPES (sizeof dtypes / sizeof dtypes[0])

const struct entro_dtype_info *entro_dtype_info(enum entro_dtype dtype)
{
    for (size_t i = 0; i < N_DTYPES; i++)
        if (dtypes[i].dtype == dtype)
            return &dtypes[i];
    return NULL;
}

const struct entro_dtype_info *entro_dtype_from_safetensors(const char *name)
{
    for (size_t i = 0; i < N_DTYPES; i++)
        if (dtypes[i].in_safetensors && strcmp(dtypes[i].name, name) == 0)
            return &dtypes[i];
    return NULL;
}

const struct entro_dtype_info *entro_dtype_from_gguf(uint32_t gguf_type)
{
    for (size_t i = 0; i < N_DTYPES; i++)
        if (dtypes[i].gguf_type >= 0 && (uint32_t)dtypes[i].gguf_type == gguf_type)
            return &dtypes[i];
    return NULL;
}

bool entro_shape_elements(const uint64_t *shape, unsigned rank, uint64_t *n_elements)
{
    uint64_t product = 1;
    bool empty = false;
    for (unsigned i = 0; i < rank; i++) {
        if (shape[i] == 0)
            empty = true;
        else if (!entro_mul_u64(product, shape[i], &product))
            return false;
    }
    *n_elements = empty ? 0 : product;
    return true;
}

bool entro_dtype_size_bytes(enum entro_dtype dtype, const uint64_t *shape, unsigned rank,
                            uint64_t *size_bytes)
{
    const struct entro_dtype_info *info = entro_dtype_info(dtype);
    uint64_t n_elements;
    if (info == NULL || !entro_shape_elements(shape, rank, &n_elements))
        return false;
    uint64_t run = n_elements;
    if (!info->in_safetensors)
        run = rank > 0 ? shape[rank - 1] : 1;
    if (run % info->block_elements != 0)
        return false;
    return entro_mul_u64(n_elements / info->block_elements, info->block_bytes, size_bytes);
}
