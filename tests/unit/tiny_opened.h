/* A tiny model (tiny_model.h) written to a directory, mapped and ready for a backend. Fails the test where
 * anything goes wrong. */
#ifndef ENTRO_TESTS_TINY_OPENED_H
#define ENTRO_TESTS_TINY_OPENED_H

#include <jansson.h>

#include "codec/pool.h"
#include "runner/config.h"
#include "runner/manifest.h"
#include "runner/weights.h"
#include "tests/unit/tiny_model.h"

struct tiny_opened {
    char *directory;
    struct entro_config config;
    struct entro_manifest manifest;
    struct entro_weights weights;
    struct entro_pool *pool;
    size_t n_tokens; /* of the reference */
    uint32_t tokens[256];
};

const char *tiny_name(const json_t *reference);

/* The config under `key` of the reference, or that of its GGUF where `key` is NULL. */
void tiny_read_config(const json_t *reference, const char *key, struct entro_config *out);

/* With the tensors of a GGUF where config_key is NULL; `encoding` is then meaningless. */
void tiny_open(struct tiny_opened *out, const json_t *reference, const char *config_key,
               enum tiny_encoding encoding, unsigned n_threads);
void tiny_close(struct tiny_opened *opened);

#endif
