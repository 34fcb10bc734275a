/* The generation loop; see generate.h. */
#include "runner/generate.h"

#include <stdlib.h>
#include <time.h>

static double now_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static bool is_interrupted(const struct entro_generation *generation)
{
    return generation->interrupted != NULL && *generation->interrupted != 0;
}

static enum entro_error run_prompt(const struct entro_generation *generation, const uint32_t *prompt,
                                   size_t n_prompt, float *logits, struct entro_generation_figures *figures,
                                   struct entro_message *message)
{
    struct entro_backend *backend = generation->backend;
    enum entro_error error = ENTRO_OK;
    double start = now_seconds();
    size_t done = 0;
    while (done < n_prompt && error == ENTRO_OK && !is_interrupted(generation)) {
        /* A batch at a time, so as to see an interruption. */
        size_t n = n_prompt - done < backend->n_batch ? n_prompt - done : backend->n_batch;
        error =
            backend->forward(backend, prompt + done, n, done, done + n == n_prompt ? logits : NULL, message);
        done += n;
    }
    figures->n_prompt = done;
    figures->prompt_seconds = now_seconds() - start;
    return error;
}

/* Hands out what the decoder has ready, and empties `text` for the next piece. */
static enum entro_error hand_out(const struct entro_generation *generation, struct entro_text *text,
                                 struct entro_message *message)
{
    if (text->size == 0)
        return ENTRO_OK;
    size_t size = text->size;
    text->size = 0;
    return generation->sink(generation->sink_context, text->data, size, message);
}

static enum entro_error generate_text(const struct entro_generation *generation, size_t position,
                                      float *logits, struct entro_token_decoder *decoder,
                                      struct entro_text *text, struct entro_generation_figures *figures,
                                      struct entro_message *message)
{
    struct entro_backend *backend = generation->backend;
    enum entro_error error;
    uint32_t token;
    for (;; position++) {
        figures->stop = ENTRO_STOP_INTERRUPTED;
        if (is_interrupted(generation))
            return ENTRO_OK;
        figures->stop = ENTRO_STOP_LENGTH;
        if (figures->n_generated >= generation->n_predict)
            return ENTRO_OK;
        if ((error = entro_sampler_pick(generation->sampler, logits, &token, message)) != ENTRO_OK)
            return error;
        figures->n_generated++;
        figures->stop = ENTRO_STOP_END_OF_TEXT;
        if (!generation->ignore_eos && entro_config_is_eos(generation->config, token))
            return ENTRO_OK;
        if ((error = entro_token_decoder_next(decoder, token, text, message)) != ENTRO_OK ||
            (error = hand_out(generation, text, message)) != ENTRO_OK)
            return error;
        if (figures->n_generated >= generation->n_predict)
            continue; /* nobody wants the logits behind the last token */
        figures->stop = ENTRO_STOP_CONTEXT;
        if (position >= backend->n_context)
            return ENTRO_OK;
        if ((error = backend->forward(backend, &token, 1, position, logits, message)) != ENTRO_OK)
            return error;
        figures->n_runs++;
    }
}

enum entro_error entro_generate(const struct entro_generation *generation, const uint32_t *prompt,
                                size_t n_prompt, struct entro_generation_figures *figures,
                                struct entro_message *message)
{
    struct entro_text text = {0};
    struct entro_token_decoder decoder;
    *figures = (struct entro_generation_figures){.stop = ENTRO_STOP_INTERRUPTED};
    if (n_prompt == 0)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT,
                          "the prompt is empty, and the model has no token to begin with");
    if (n_prompt > generation->backend->n_context)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT,
                          "the prompt has %zu tokens, the context holds %zu: shorten it, or make the context "
                          "larger with -c",
                          n_prompt, generation->backend->n_context);
    float *logits = malloc(generation->config->n_vocabulary * sizeof *logits);
    if (logits == NULL)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "no memory for the logits");
    enum entro_error error = run_prompt(generation, prompt, n_prompt, logits, figures, message);
    if (error != ENTRO_OK || is_interrupted(generation))
        goto free_logits;
    double start = now_seconds();
    entro_token_decoder_start(&decoder, generation->tokenizer, ENTRO_DECODE_CONTINUES);
    error = generate_text(generation, n_prompt, logits, &decoder, &text, figures, message);
    if (error == ENTRO_OK && (error = entro_token_decoder_finish(&decoder, &text, message)) == ENTRO_OK)
        error = hand_out(generation, &text, message);
    figures->generation_seconds = now_seconds() - start;
    entro_text_free(&text);
free_logits:
    free(logits);
    return error;
}
