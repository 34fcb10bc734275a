/* What all backends check; see backend.h. */
#include "runner/backend.h"

enum entro_error entro_backend_check_run(const struct entro_backend *backend,
                                         const struct entro_config *config, const uint32_t *tokens,
                                         size_t n_tokens, size_t position, struct entro_message *message)
{
    if (position > backend->n_context || n_tokens > backend->n_context - position)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT,
                          "%zu tokens from position %zu on do not fit a context of %zu", n_tokens, position,
                          backend->n_context);
    for (size_t i = 0; i < n_tokens; i++)
        if (tokens[i] >= config->n_vocabulary)
            return entro_fail(
                message, ENTRO_ERROR_ARGUMENT,
                "token %u is outside the model's vocabulary of %zu: tokenizer and weights do not match",
                tokens[i], config->n_vocabulary);
    return ENTRO_OK;
}
