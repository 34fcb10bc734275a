/* The tokenizer of a model directory: tokenizer.json, or where there is none tokenizer.model with what
 * tokenizer_config.json says of it. */
#ifndef ENTRO_TOKENIZER_OPEN_H
#define ENTRO_TOKENIZER_OPEN_H

#include "runner/tokenizer.h"

/* From the directory open as `directory_fd`, called `directory` in messages. The caller owns *out, NULL on
 * failure. Errors of the readers of files and tokenizers; ENTRO_ERROR_NOT_FOUND: there is neither file. */
enum entro_error entro_tokenizer_open(struct entro_tokenizer **out, int directory_fd, const char *directory,
                                      struct entro_message *message);

#endif
