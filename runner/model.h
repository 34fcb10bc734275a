/*
 * A model directory (a mount, or the same files extracted) opened: config, tokenizer, chat template and
 * mapped weights. Reads nothing outside the directory. What computes with them is a backend (backend.h).
 */
#ifndef ENTRO_RUNNER_MODEL_H
#define ENTRO_RUNNER_MODEL_H

#include "codec/error.h"
#include "runner/config.h"
#include "runner/manifest.h"
#include "runner/tokenizer.h"
#include "runner/weights.h"

struct entro_model {
    struct entro_manifest manifest;
    struct entro_config config;
    struct entro_tokenizer *tokenizer;
    char *chat_template; /* the Jinja text, NUL-terminated, or NULL where the model has none */
    struct entro_weights weights;
};

/*
 * Opens the model in `directory` into *out, caller's memory; on success entro_model_close frees what it
 * holds, on failure nothing is left. ENTRO_ERROR_NOT_FOUND (no directory, a file missing), _FORMAT,
 * _UNSUPPORTED, _IO, _NO_MEMORY, each with a message that names the file.
 */
enum entro_error entro_model_open(struct entro_model *out, const char *directory,
                                  struct entro_message *message);
void entro_model_close(struct entro_model *model);

#endif
