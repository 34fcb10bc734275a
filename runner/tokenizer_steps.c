/* Running the steps; see tokenizer_steps.h. Their meaning is that of Hugging Face's tokenizers
 * (tokenizer/normalizer.rs). */
#include "runner/tokenizer_steps.h"
#include "runner/tokenizer_bytemap.h"
#include "runner/tokenizer_utf8.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#define MAX_STEPS 256
/* Sorting combining marks takes quadratic time in utf8proc; Unicode's stream-safe text format (UAX 15) allows
 * runs of 30. */
#define MAX_MARKS 1024

enum entro_error entro_steps_add(struct entro_steps *steps, struct entro_step step,
                                 struct entro_message *message)
{
    enum entro_error error = ENTRO_OK;
    if (steps->n == MAX_STEPS)
        error = entro_fail(message, ENTRO_ERROR_FORMAT, "the tokenizer has more than %d steps", MAX_STEPS);
    void *items = steps->items;
    if (error == ENTRO_OK)
        error = entro_grow(&items, &steps->capacity, steps->n + 1, sizeof *steps->items, message);
    steps->items = items;
    if (error == ENTRO_OK) {
        steps->items[steps->n++] = step;
    } else {
        entro_regex_free(step.regex);
        entro_text_free(&step.content);
    }
    return error;
}

void entro_steps_free(struct entro_steps *steps)
{
    for (size_t i = 0; i < steps->n; i++) {
        entro_regex_free(steps->items[i].regex);
        entro_text_free(&steps->items[i].content);
    }
    free(steps->items);
    *steps = (struct entro_steps){0};
}

static enum entro_error add_piece(struct entro_pieces *pieces, size_t start, size_t size,
                                  struct entro_message *message)
{
    void *items = pieces->items;
    enum entro_error error =
        entro_grow(&items, &pieces->capacity, pieces->n + 1, sizeof *pieces->items, message);
    pieces->items = items;
    if (error == ENTRO_OK)
        pieces->items[pieces->n++] = (struct entro_piece){.start = (uint32_t)start, .size = (uint32_t)size};
    return error;
}

enum entro_error entro_steps_start(struct entro_steps_workspace *workspace, const char *text, size_t size,
                                   bool at_origin, struct entro_message *message)
{
    workspace->now.text.size = 0;
    workspace->now.n = 0;
    workspace->now.at_origin = at_origin;
    if (size == 0)
        return ENTRO_OK;
    enum entro_error error = entro_text_append(&workspace->now.text, text, size, message);
    return error == ENTRO_OK ? add_piece(&workspace->now, 0, size, message) : error;
}

/* The pieces are cut, their text stays. */
struct cutting {
    const struct entro_step *step;
    struct entro_pieces *out;
    const struct entro_piece *piece;
    size_t base; /* the first of the piece's cuts in `out` */
    bool was_match;
    struct entro_message *message;
};

/* The next span of a piece, a match or what lies between two; empty matches come too. */
static enum entro_error cut(struct cutting *cutting, size_t start, size_t end, bool is_match)
{
    is_match = is_match != cutting->step->invert;
    struct entro_pieces *out = cutting->out;
    bool joins = false;
    bool is_first = out->n == cutting->base;
    switch (cutting->step->behavior) {
    case ENTRO_SPLIT_REMOVED:
        if (is_match)
            return ENTRO_OK;
        break;
    case ENTRO_SPLIT_ISOLATED:
        break;
    case ENTRO_SPLIT_CONTIGUOUS:
        joins = !is_first && is_match == cutting->was_match;
        break;
    case ENTRO_SPLIT_MERGED_WITH_PREVIOUS:
        joins = !is_first && is_match && !cutting->was_match;
        break;
    case ENTRO_SPLIT_MERGED_WITH_NEXT:
        joins = !is_first && !is_match && cutting->was_match;
        break;
    }
    cutting->was_match = is_match;
    if (joins) {
        out->items[out->n - 1].size += (uint32_t)(end - start);
        return ENTRO_OK;
    }
    return add_piece(out, start, end - start, cutting->message);
}

static void drop_empty(struct entro_pieces *pieces, size_t base)
{
    size_t n = base;
    for (size_t i = base; i < pieces->n; i++) {
        if (pieces->items[i].size > 0)
            pieces->items[n++] = pieces->items[i];
    }
    pieces->n = n;
}

/* Calls `visit` on the spans of text[0..size), matches and what lies between them, in order. After an empty
 * match the search goes on one character later, as Oniguruma's iterator does. */
static enum entro_error for_each_span(const struct entro_regex *regex,
                                      struct entro_regex_workspace *workspace, const char *text, size_t size,
                                      enum entro_error (*visit)(void *, size_t, size_t, bool), void *context,
                                      struct entro_message *message)
{
    enum entro_error error = ENTRO_OK;
    size_t done = 0;
    size_t from = 0;
    while (from <= size && error == ENTRO_OK) {
        bool found;
        size_t start;
        size_t end;
        error = entro_regex_next(regex, workspace, text, size, from, &found, &start, &end, message);
        if (error != ENTRO_OK || !found)
            break;
        /* Right after a match an empty one does not count. */
        if (start != end || start != done || done == 0) {
            if (done < start)
                error = visit(context, done, start, false);
            if (error == ENTRO_OK)
                error = visit(context, start, end, true);
            done = end;
        }
        from = end;
        if (start == end)
            from += from < size ? entro_utf8_length(text[from]) : 1;
    }
    if (error == ENTRO_OK && done < size)
        error = visit(context, done, size, false);
    return error;
}

static enum entro_error visit_cut(void *context, size_t start, size_t end, bool is_match)
{
    struct cutting *cutting = context;
    return cut(cutting, cutting->piece->start + start, cutting->piece->start + end, is_match);
}

static enum entro_error run_split(const struct entro_step *step, struct entro_steps_workspace *workspace,
                                  struct entro_message *message)
{
    enum entro_error error = ENTRO_OK;
    workspace->next.n = 0;
    for (size_t i = 0; i < workspace->now.n && error == ENTRO_OK; i++) {
        const struct entro_piece *piece = &workspace->now.items[i];
        struct cutting cutting = {.step = step,
                                  .out = &workspace->next,
                                  .piece = piece,
                                  .base = workspace->next.n,
                                  .message = message};
        error = for_each_span(step->regex, workspace->regex, workspace->now.text.data + piece->start,
                              piece->size, visit_cut, &cutting, message);
        drop_empty(&workspace->next, cutting.base);
    }
    workspace->now.at_origin = workspace->now.at_origin && workspace->next.n > 0 &&
                               workspace->next.items[0].start == workspace->now.items[0].start;
    struct entro_piece *items = workspace->now.items;
    size_t capacity = workspace->now.capacity;
    workspace->now.items = workspace->next.items;
    workspace->now.capacity = workspace->next.capacity;
    workspace->now.n = workspace->next.n;
    workspace->next.items = items;
    workspace->next.capacity = capacity;
    return error;
}

static enum entro_error write_prefixed(const struct entro_step *step, const struct entro_piece *piece,
                                       bool at_origin, const char *text, struct entro_text *out,
                                       struct entro_message *message)
{
    const struct entro_text *prefix = &step->content;
    bool is_there = prefix->size == 0 ||
                    (piece->size >= prefix->size && memcmp(text, prefix->data, prefix->size) == 0);
    bool wanted = step->when == ENTRO_PREFIX_ALWAYS ||
                  (!is_there && (step->when == ENTRO_PREFIX_UNLESS_THERE || at_origin));
    enum entro_error error = ENTRO_OK;
    if (wanted)
        error = entro_text_append(out, prefix->data, prefix->size, message);
    if (error == ENTRO_OK)
        error = entro_text_append(out, text, piece->size, message);
    return error;
}

struct replacing {
    const struct entro_step *step;
    const char *text;
    struct entro_text *out;
    struct entro_message *message;
};

static enum entro_error visit_replace(void *context, size_t start, size_t end, bool is_match)
{
    struct replacing *replacing = context;
    if (is_match)
        return entro_text_append(replacing->out, replacing->step->content.data, replacing->step->content.size,
                                 replacing->message);
    return entro_text_append(replacing->out, replacing->text + start, end - start, replacing->message);
}

static enum entro_error check_marks(const char *text, size_t size, struct entro_message *message)
{
    size_t n_marks = 0;
    for (size_t at = 0; at < size; at += entro_utf8_length(text[at])) {
        const utf8proc_property_t *property =
            utf8proc_get_property((utf8proc_int32_t)entro_utf8_code_point(text + at));
        n_marks = property->combining_class > 0 ? n_marks + 1 : 0;
        if (n_marks > MAX_MARKS)
            return entro_fail(message, ENTRO_ERROR_UNSUPPORTED,
                              "the text has more than %d combining marks in a row", MAX_MARKS);
    }
    return ENTRO_OK;
}

static bool is_ascii(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if ((unsigned char)text[i] >= 0x80)
            return false;
    }
    return true;
}

static enum entro_error write_normalized(enum entro_normalization form, const char *text, size_t size,
                                         struct entro_text *out, struct entro_message *message)
{
    if (is_ascii(text, size))
        return entro_text_append(out, text, size, message);
    enum entro_error error = check_marks(text, size, message);
    if (error != ENTRO_OK)
        return error;
    bool composed = form == ENTRO_NFC || form == ENTRO_NFKC;
    bool compatible = form == ENTRO_NFKC || form == ENTRO_NFKD;
    utf8proc_option_t options = UTF8PROC_STABLE | (composed ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE);
    if (compatible)
        options |= UTF8PROC_COMPAT;
    utf8proc_uint8_t *normalized = NULL;
    utf8proc_ssize_t length =
        utf8proc_map((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)size, &normalized, options);
    if (length < 0)
        return entro_fail(message,
                          length == UTF8PROC_ERROR_NOMEM ? ENTRO_ERROR_NO_MEMORY : ENTRO_ERROR_FORMAT,
                          "the text cannot be normalized: %s", utf8proc_errmsg(length));
    error = entro_text_append(out, (const char *)normalized, (size_t)length, message);
    free(normalized);
    return error;
}

static enum entro_error write_bytes(const char *text, size_t size, struct entro_text *out,
                                    struct entro_message *message)
{
    enum entro_error error = entro_text_reserve(out, 2 * size, message);
    for (size_t i = 0; i < size && error == ENTRO_OK; i++)
        out->size +=
            entro_utf8_encode(entro_byte_to_character((unsigned char)text[i]), out->data + out->size);
    return error;
}

static enum entro_error rewrite_piece(const struct entro_step *step, struct entro_steps_workspace *workspace,
                                      const struct entro_piece *piece, struct entro_message *message)
{
    const char *text = workspace->now.text.data + piece->start;
    struct entro_text *out = &workspace->next.text;
    struct replacing replacing = {.step = step, .text = text, .out = out, .message = message};
    switch (step->kind) {
    case ENTRO_STEP_PREFIX:
        return write_prefixed(step, piece, workspace->now.at_origin && piece == workspace->now.items, text,
                              out, message);
    case ENTRO_STEP_REPLACE:
        return for_each_span(step->regex, workspace->regex, text, piece->size, visit_replace, &replacing,
                             message);
    case ENTRO_STEP_NORMALIZE:
        return write_normalized(step->form, text, piece->size, out, message);
    case ENTRO_STEP_BYTES:
        return write_bytes(text, piece->size, out, message);
    case ENTRO_STEP_SPLIT:
        break;
    }
    return ENTRO_OK;
}

static enum entro_error run_rewrite(const struct entro_step *step, struct entro_steps_workspace *workspace,
                                    struct entro_message *message)
{
    enum entro_error error = ENTRO_OK;
    struct entro_pieces *next = &workspace->next;
    next->text.size = 0;
    next->n = 0;
    next->at_origin = false;
    for (size_t i = 0; i < workspace->now.n && error == ENTRO_OK; i++) {
        size_t start = next->text.size;
        error = rewrite_piece(step, workspace, &workspace->now.items[i], message);
        if (error != ENTRO_OK || next->text.size == start)
            continue;
        next->at_origin = next->at_origin || (i == 0 && workspace->now.at_origin);
        error = add_piece(next, start, next->text.size - start, message);
    }
    if (error == ENTRO_OK && workspace->size_limit > 0 && next->text.size > workspace->size_limit)
        error = entro_fail(message, ENTRO_ERROR_UNSUPPORTED,
                           "the tokenizer makes a token longer than %zu bytes", workspace->size_limit);
    struct entro_pieces before = workspace->now;
    workspace->now = workspace->next;
    workspace->next = before;
    return error;
}

enum entro_error entro_steps_run(const struct entro_steps *steps, struct entro_steps_workspace *workspace,
                                 struct entro_message *message)
{
    enum entro_error error = ENTRO_OK;
    for (size_t i = 0; i < steps->n && error == ENTRO_OK; i++) {
        const struct entro_step *step = &steps->items[i];
        if (step->regex != NULL && workspace->regex == NULL)
            error = entro_regex_workspace_create(&workspace->regex, message);
        if (error == ENTRO_OK && step->kind == ENTRO_STEP_SPLIT)
            error = run_split(step, workspace, message);
        else if (error == ENTRO_OK)
            error = run_rewrite(step, workspace, message);
    }
    return error;
}

void entro_steps_workspace_free(struct entro_steps_workspace *workspace)
{
    entro_text_free(&workspace->now.text);
    entro_text_free(&workspace->next.text);
    free(workspace->now.items);
    free(workspace->next.items);
    entro_regex_workspace_destroy(workspace->regex);
    *workspace = (struct entro_steps_workspace){0};
}
