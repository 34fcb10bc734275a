/* A tokenizer from the metadata of a GGUF: finds the arrays and hands them to tokenizer.h. */
#ifndef ENTRO_RUNNER_GGUF_VOCABULARY_H
#define ENTRO_RUNNER_GGUF_VOCABULARY_H

#include "codec/error.h"
#include "codec/models/gguf.h"
#include "runner/tokenizer.h"

/*
 * The caller owns *out. Nothing of `gguf` is kept. `path` is for messages. ENTRO_ERROR_FORMAT (missing or
 * mistyped metadata), and the errors of entro_tokenizer_from_vocab.
 */
enum entro_error entro_tokenizer_from_gguf(struct entro_tokenizer **out, const struct entro_gguf *gguf,
                                           const char *path, struct entro_message *message);

#endif
