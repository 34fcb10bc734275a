/*
 * The tiny models of tests/data/architectures, whose weights are worked out from their names: as directories
 * with the names and the order of rows of safetensors or of GGUF, and as references of what transformers
 * makes of them.
 */
#ifndef ENTRO_TESTS_TINY_MODEL_H
#define ENTRO_TESTS_TINY_MODEL_H

#include <jansson.h>

#include "codec/models/gguf.h"

/* How matrices are stored. */
enum tiny_encoding {
    TINY_BF16, /* as they are */
    TINY_U8,   /* codes of one scale, and a zero point */
    TINY_U4,
    TINY_U8_WIDENED, /* what such codes stand for, as F32 */
    TINY_U4_WIDENED,
};

/* The references, a list; the caller's to json_decref. */
json_t *tiny_references(void);

/* Writes tensors.json and the raw tensor files of a reference's model. */
void tiny_write(const char *directory, const json_t *reference, enum tiny_encoding encoding);

/* The same as a GGUF has them: its names, the rows of q and k of a "llama" permuted, 1 added to Gemma's
 * norms, Llama 3's rope scaling as a tensor. */
void tiny_write_gguf(const char *directory, const json_t *reference);

/* The metadata that such a GGUF has; the caller's to entro_gguf_free. */
void tiny_gguf_metadata(const json_t *reference, struct entro_gguf *out);

#endif
