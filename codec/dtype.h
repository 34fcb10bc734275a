/*
 * Element types of tensors: those of safetensors and those of GGUF (whose block types code several elements
 * in one record). Facts only; conversions are in half.h and ggml_blocks.h.
 */
#ifndef ENTRO_DTYPE_H
#define ENTRO_DTYPE_H

#include <stdbool.h>
#include <stdint.h>

/* The numbers are part of the image format (FORMAT.md): never renumbered, only added to. */
enum entro_dtype {
    ENTRO_DTYPE_NONE = 0,
    ENTRO_DTYPE_F32 = 1,
    ENTRO_DTYPE_F16 = 2,
    ENTRO_DTYPE_BF16 = 3,
    ENTRO_DTYPE_F64 = 4,
    ENTRO_DTYPE_BOOL = 5,
    ENTRO_DTYPE_U8 = 6,
    ENTRO_DTYPE_I8 = 7,
    ENTRO_DTYPE_U16 = 8,
    ENTRO_DTYPE_I16 = 9,
    ENTRO_DTYPE_U32 = 10,
    ENTRO_DTYPE_I32 = 11,
    ENTRO_DTYPE_U64 = 12,
    ENTRO_DTYPE_I64 = 13,
    ENTRO_DTYPE_C64 = 14,
    ENTRO_DTYPE_F8_E4M3 = 15,
    ENTRO_DTYPE_F8_E5M2 = 16,
    ENTRO_DTYPE_F8_E8M0 = 17,
    ENTRO_DTYPE_F8_E4M3FNUZ = 18,
    ENTRO_DTYPE_F8_E5M2FNUZ = 19,
    ENTRO_DTYPE_F4 = 20,
    ENTRO_DTYPE_F6_E2M3 = 21,
    ENTRO_DTYPE_F6_E3M2 = 22,
    /* GGUF block types: 64 + the type's number in GGUF. */
    ENTRO_DTYPE_Q4_0 = 64 + 2,
    ENTRO_DTYPE_Q4_1 = 64 + 3,
    ENTRO_DTYPE_Q5_0 = 64 + 6,
    ENTRO_DTYPE_Q5_1 = 64 + 7,
    ENTRO_DTYPE_Q8_0 = 64 + 8,
    ENTRO_DTYPE_Q8_1 = 64 + 9,
    ENTRO_DTYPE_Q2_K = 64 + 10,
    ENTRO_DTYPE_Q3_K = 64 + 11,
    ENTRO_DTYPE_Q4_K = 64 + 12,
    ENTRO_DTYPE_Q5_K = 64 + 13,
    ENTRO_DTYPE_Q6_K = 64 + 14,
    ENTRO_DTYPE_Q8_K = 64 + 15,
    ENTRO_DTYPE_IQ2_XXS = 64 + 16,
    ENTRO_DTYPE_IQ2_XS = 64 + 17,
    ENTRO_DTYPE_IQ3_XXS = 64 + 18,
    ENTRO_DTYPE_IQ1_S = 64 + 19,
    ENTRO_DTYPE_IQ4_NL = 64 + 20,
    ENTRO_DTYPE_IQ3_S = 64 + 21,
    ENTRO_DTYPE_IQ2_S = 64 + 22,
    ENTRO_DTYPE_IQ4_XS = 64 + 23,
    ENTRO_DTYPE_IQ1_M = 64 + 29,
    ENTRO_DTYPE_TQ1_0 = 64 + 34,
    ENTRO_DTYPE_TQ2_0 = 64 + 35,
    ENTRO_DTYPE_MXFP4 = 64 + 39,
};

#define ENTRO_MAX_RANK 8

struct entro_dtype_info {
    enum entro_dtype dtype;
    const char *name;        /* as safetensors or GGUF spell it: "BF16", "Q4_K" */
    uint16_t block_elements; /* elements coded together; 1 for plain types */
    uint16_t block_bytes;    /* bytes of such a block */
    int16_t gguf_type;       /* the type's number in GGUF, or -1 */
    bool in_safetensors;
};

/* NULL for an unknown dtype. All functions here are thread-safe and allocate nothing. */
const struct entro_dtype_info *entro_dtype_info(enum entro_dtype dtype);

/* By the name safetensors uses / by GGUF's number; NULL where there is none. */
const struct entro_dtype_info *entro_dtype_from_safetensors(const char *name);
const struct entro_dtype_info *entro_dtype_from_gguf(uint32_t gguf_type);

/* Product of a shape (1 for rank 0); false where it, or that of the dimensions other than 0, does not fit 64
 * bits. */
bool entro_shape_elements(const uint64_t *shape, unsigned rank, uint64_t *n_elements);

/*
 * Bytes of a tensor of this dtype and shape (row-major, outermost first). False where the size does not fit,
 * or where the innermost dimension of a GGUF block type (the whole element count for sub-byte safetensors
 * types) is no multiple of its block.
 */
bool entro_dtype_size_bytes(enum entro_dtype dtype, const uint64_t *shape, unsigned rank,
                            uint64_t *size_bytes);

#endif
