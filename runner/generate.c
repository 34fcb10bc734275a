/* The generation loop; see generate.h. */
#include "runner/generate.h"

#include <stdlib.h>

#include "runner/clock.h"

static bool is_interrupted(const struct entro_generation *generation)
{
    return generation->interrupted != NULL && *generation->interrupted != 0;
}

/* How many tokens of the prompt need not be run: those that were, but never the last, whose logits are
 * wanted. */
static size_t count_known(const struct entro_generation *generation, const uint32_t *prompt, size_t n_prompt)
{
    size_t n = 0;
    if (generation->past == NULL)
        return 0;
    while (n + 1 < n_prompt && n < generation->past->n && generation->past->ids[n] == prompt[n])
        n++;
    generation->past->n = n;
    return n;
}

/* Runs tokens behind what was run. Where that fails, what is known of the backend ends before them. */
static enum entro_error run_tokens(const struct entro_generation *generation, const uint32_t *tokens,
                                   size_t n, size_t position, float *logits, struct entro_message *message)
{
    enum entro_error error =
        generation->backend->forward(generation->backend, tokens, n, position, logits, message);
    for (size_t i = 0; error == ENTRO_OK && generation->past != NULL && i < n; i++)
        error = entro_tokens_append(generation->past, tokens[i], message);
    return error;
}

static enum entro_error run_prompt(const struct entro_generation *generation, const uint32_t *prompt,
                                   size_t n_prompt, float *logits, struct entro_generation_figures *figures,
                                   struct entro_message *message)
{
    size_t n_batch = generation->n_batch > 0 ? generation->n_batch : generation->backend->n_batch;
    enum entro_error error = ENTRO_OK;
    double start = entro_now_seconds();
    size_t done = count_known(generation, prompt, n_prompt);
    figures->n_known = done;
    while (done < n_prompt && error == ENTRO_OK && !is_interrupted(generation)) {
        /* A batch at a time, so as to see an interruption. */
        size_t n = n_prompt - done < n_batch ? n_prompt - done : n_batch;
        error = run_tokens(generation, prompt + done, n, done, done + n == n_prompt ? logits : NULL, message);
        done += n;
    }
    figures->n_prompt = done;
    figures->prompt_seconds = entro_now_seconds() - start;
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

/* The next token, from logits or, where those are NULL, by the backend. */
static enum entro_error pick_token(const struct entro_generation *generation, const float *logits,
                                   uint32_t *token, struct entro_message *message)
{
    if (logits != NULL)
        return entro_sampler_pick(generation->sampler, logits, token, message);
    struct entro_pick how = entro_sampler_delegate(generation->sampler);
    return generation->backend->pick(generation->backend, &how, token, message);
}

static enum entro_error generate_text(const struct entro_generation *generation, size_t position,
                                      float *logits, struct entro_token_decoder *decoder,
                                      struct entro_text *text, double start,
                                      struct entro_generation_figures *figures, struct entro_message *message)
{
    enum entro_error error;
    uint32_t token;
    for (;; position++) {
        figures->stop = ENTRO_STOP_INTERRUPTED;
        if (is_interrupted(generation))
            return ENTRO_OK;
        figures->stop = ENTRO_STOP_LENGTH;
        if (figures->n_generated >= generation->n_predict)
            return ENTRO_OK;
        if ((error = pick_token(generation, logits, &token, message)) != ENTRO_OK)
            return error;
        if (figures->n_generated++ == 0)
            figures->first_seconds = entro_now_seconds() - start;
        entro_sampler_accept(generation->sampler, token);
        figures->stop = ENTRO_STOP_END_OF_TEXT;
        if (!generation->ignore_eos && entro_config_is_eos(generation->config, token))
            return ENTRO_OK;
        if ((error = entro_token_decoder_next(decoder, token, text, message)) != ENTRO_OK ||
            (error = hand_out(generation, text, message)) != ENTRO_OK)
            return error;
        if (figures->n_generated >= generation->n_predict)
            continue; /* nobody wants the logits behind the last token */
        figures->stop = ENTRO_STOP_CONTEXT;
        if (position >= generation->backend->n_context)
            return ENTRO_OK;
        if ((error = run_tokens(generation, &token, 1, position, logits, message)) != ENTRO_OK)
            return error;
        figures->n_runs++;
    }
}

enum entro_error entro_generation_check(size_t n_prompt, size_t n_context, struct entro_message *message)
{
    if (n_prompt == 0)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT,
                          "the prompt is empty, and the model has no token to begin with");
    if (n_prompt > n_context)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT,
                          "the prompt has %zu tokens, the context holds %zu: shorten it, or make the context "
                          "larger with -c",
                          n_prompt, n_context);
    return ENTRO_OK;
}

enum entro_error entro_generate(const struct entro_generation *generation, const uint32_t *prompt,
                                size_t n_prompt, struct entro_generation_figures *figures,
                                struct entro_message *message)
{
    struct entro_text text = {0};
    struct entro_token_decoder decoder;
    *figures = (struct entro_generation_figures){.stop = ENTRO_STOP_INTERRUPTED};
    enum entro_error error = entro_generation_check(n_prompt, generation->backend->n_context, message);
    if (error != ENTRO_OK)
        return error;
    bool delegates = generation->backend->pick != NULL && entro_sampler_can_delegate(generation->sampler);
    float *logits = delegates ? NULL : malloc(generation->config->n_vocabulary * sizeof *logits);
    if (logits == NULL && !delegates)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "no memory for the logits");
    double begin = entro_now_seconds();
    error = run_prompt(generation, prompt, n_prompt, logits, figures, message);
    if (error != ENTRO_OK || is_interrupted(generation))
        goto free_logits;
    for (size_t i = 0; i < n_prompt; i++)
        entro_sampler_accept(generation->sampler, prompt[i]);
    double start = entro_now_seconds();
    entro_token_decoder_start(&decoder, generation->tokenizer, ENTRO_DECODE_CONTINUES);
    error = generate_text(generation, n_prompt, logits, &decoder, &text, begin, figures, message);
    if (error == ENTRO_OK && (error = entro_token_decoder_finish(&decoder, &text, message)) == ENTRO_OK)
        error = hand_out(generation, &text, message);
    figures->generation_seconds = entro_now_seconds() - start;
    entro_text_free(&text);
free_logits:
    free(logits);
    return error;
}
