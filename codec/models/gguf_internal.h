/* What the three files on GGUF share. */
#ifndef ENTRO_MODELS_GGUF_INTERNAL_H
#define ENTRO_MODELS_GGUF_INTERNAL_H

#include "codec/models/gguf.h"

/* Bytes of a value of fixed size; 0 for strings and arrays. */
size_t entro_gguf_scalar_bytes(enum entro_gguf_type type);

/* Bytes from `position` to the next multiple of the alignment, a power of two. */
static inline uint64_t entro_gguf_padding(uint64_t position, uint32_t alignment)
{
    return -position & (alignment - 1);
}

#endif
