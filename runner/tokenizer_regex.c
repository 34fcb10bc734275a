/* Translation from Oniguruma's syntax, and PCRE2 behind it; see tokenizer_regex.h. */
#include "runner/tokenizer_regex.h"
#include "runner/tokenizer_text.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#define MAX_PATTERN_SIZE ((size_t)16 << 10)
/* A hostile expression can backtrack for ever; honest ones need a few steps a character and no recursion to
 * speak of. */
#define MATCH_LIMIT          5000000u
#define MATCH_LIMIT_PER_BYTE 8u
#define HEAP_LIMIT_KIB       (64u << 10)
#define JIT_STACK_SIZE       ((size_t)1 << 20)

struct entro_regex {
    pcre2_code *code;
};

struct entro_regex_workspace {
    pcre2_match_data *data;
    pcre2_match_context *context;
    pcre2_jit_stack *jit_stack; /* or NULL: this machine has no JIT */
};

#define WORD "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}"

/* What the two engines define differently: Oniguruma's in terms of Unicode's properties. */
static const struct {
    char letter;
    const char *inside;  /* what it is in a bracketed class, or NULL: has no form there */
    const char *outside; /* elsewhere */
} classes[] = {
    {'s', "\\p{White_Space}", "\\p{White_Space}"},
    {'S', "\\P{White_Space}", "\\P{White_Space}"},
    {'w', WORD, "[" WORD "]"},
    {'W', NULL, "[^" WORD "]"},
    {'b', "\\x08", "(?:(?<=[" WORD "])(?![" WORD "])|(?<![" WORD "])(?=[" WORD "]))"},
    {'B', NULL, "(?:(?<=[" WORD "])(?=[" WORD "])|(?<![" WORD "])(?![" WORD "]))"},
    {'h', "0-9A-Fa-f", "[0-9A-Fa-f]"},
    {'H', NULL, "[^0-9A-Fa-f]"},
};

struct translation {
    const char *pattern;
    size_t size;
    size_t at;
    bool in_class;
    struct entro_text *out;
    struct entro_message *message;
};

static enum entro_error put(struct translation *t, const char *text, size_t size)
{
    return entro_text_append(t->out, text, size, t->message);
}

static enum entro_error refuse(const struct translation *t, const char *what)
{
    return entro_fail(t->message, ENTRO_ERROR_UNSUPPORTED,
                      "the regular expression \"%.*s\" has %s, which is not supported",
                      (int)(t->size < 200 ? t->size : 200), t->pattern, what);
}

/* Copies `\x{...}`, `\p{...}` and the like up to the brace, so that it is not taken for a quantifier. */
static enum entro_error translate_escape(struct translation *t)
{
    if (t->at + 1 == t->size)
        return refuse(t, "a backslash at its end");
    char letter = t->pattern[t->at + 1];
    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++) {
        if (classes[i].letter != letter)
            continue;
        const char *text = t->in_class ? classes[i].inside : classes[i].outside;
        if (text == NULL)
            return refuse(t, "a negated class within a class");
        t->at += 2;
        return put(t, text, strlen(text));
    }
    size_t end = t->at + 2;
    if (strchr("pPxogku", letter) != NULL && end < t->size && t->pattern[end] == '{') {
        const char *brace = memchr(t->pattern + end, '}', t->size - end);
        if (brace == NULL)
            return refuse(t, "a brace that nothing closes");
        end = (size_t)(brace - t->pattern) + 1;
    }
    enum entro_error error = put(t, t->pattern + t->at, end - t->at);
    t->at = end;
    return error;
}

static enum entro_error translate_in_class(struct translation *t, size_t class_start)
{
    char letter = t->pattern[t->at];
    char following = t->at + 1 < t->size ? t->pattern[t->at + 1] : '\0';
    if (letter == '&' && following == '&')
        return refuse(t, "an intersection of classes");
    if (letter == '[' && following != ':')
        return refuse(t, "a class within a class");
    size_t length = 1;
    if (letter == '[') {
        const char *colon = memmem(t->pattern + t->at + 2, t->size - t->at - 2, ":]", 2);
        if (colon == NULL)
            return refuse(t, "a class within a class");
        length = (size_t)(colon - t->pattern) + 2 - t->at;
    } else if (letter == ']' && t->at > class_start) {
        t->in_class = false;
    }
    enum entro_error error = put(t, t->pattern + t->at, length);
    t->at += length;
    return error;
}

/* A possessive {n,m}+ of PCRE2 is a repeated {n,m} in Ruby. */
static bool is_repeated_interval(const struct translation *t)
{
    size_t at = t->at + 1;
    while (at < t->size && (isdigit((unsigned char)t->pattern[at]) || t->pattern[at] == ','))
        at++;
    return at > t->at + 1 && at + 1 < t->size && t->pattern[at] == '}' && t->pattern[at + 1] == '+';
}

static enum entro_error translate(struct translation *t)
{
    enum entro_error error = ENTRO_OK;
    size_t class_start = 0;
    while (t->at < t->size && error == ENTRO_OK) {
        char letter = t->pattern[t->at];
        if (letter == '\\') {
            error = translate_escape(t);
        } else if (t->in_class) {
            error = translate_in_class(t, class_start);
        } else if (letter == '{' && is_repeated_interval(t)) {
            error = refuse(t, "a repeated interval");
        } else {
            if (letter == '[') {
                t->in_class = true;
                /* A bracket that comes first, also after ^, is an ordinary character. */
                class_start = t->at + 1;
                if (class_start < t->size && t->pattern[class_start] == '^')
                    class_start++;
            }
            error = put(t, t->pattern + t->at, 1);
            t->at++;
            if (t->in_class && t->at < class_start && error == ENTRO_OK) {
                error = put(t, "^", 1);
                t->at++;
            }
        }
    }
    return error;
}

enum entro_error entro_regex_compile(struct entro_regex **out, const char *pattern, size_t size, bool literal,
                                     struct entro_message *message)
{
    *out = NULL;
    if (size > MAX_PATTERN_SIZE)
        return entro_fail(message, ENTRO_ERROR_FORMAT, "a regular expression of %zu bytes is too long", size);
    struct entro_text translated = {0};
    struct entro_regex *regex = NULL;
    enum entro_error error = ENTRO_OK;
    if (!literal) {
        struct translation t = {.pattern = pattern, .size = size, .out = &translated, .message = message};
        error = translate(&t);
        if (error != ENTRO_OK)
            goto out;
    }
    regex = calloc(1, sizeof *regex);
    if (regex == NULL) {
        error = entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory: a regular expression");
        goto out;
    }
    /* In Ruby ^ and $ are line anchors always. */
    uint32_t options =
        PCRE2_UTF | (literal ? PCRE2_LITERAL : PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C);
    const char *text = literal ? pattern : translated.data;
    size_t text_size = literal ? size : translated.size;
    int code;
    PCRE2_SIZE offset;
    regex->code =
        pcre2_compile((PCRE2_SPTR)(text_size == 0 ? "" : text), text_size, options, &code, &offset, NULL);
    if (regex->code == NULL) {
        PCRE2_UCHAR reason[128];
        pcre2_get_error_message(code, reason, sizeof reason);
        error = entro_fail(message, ENTRO_ERROR_FORMAT, "the regular expression \"%.*s\" is not one: %s",
                           (int)(size < 200 ? size : 200), pattern, (const char *)reason);
        goto out;
    }
    /* Without JIT everything works, slower. */
    (void)pcre2_jit_compile(regex->code, PCRE2_JIT_COMPLETE);
    *out = regex;
    regex = NULL;
out:
    entro_regex_free(regex);
    entro_text_free(&translated);
    return error;
}

void entro_regex_free(struct entro_regex *regex)
{
    if (regex == NULL)
        return;
    pcre2_code_free(regex->code);
    free(regex);
}

enum entro_error entro_regex_workspace_create(struct entro_regex_workspace **out,
                                              struct entro_message *message)
{
    *out = NULL;
    struct entro_regex_workspace *workspace = calloc(1, sizeof *workspace);
    if (workspace == NULL)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory: a match");
    workspace->data = pcre2_match_data_create(1, NULL);
    workspace->context = pcre2_match_context_create(NULL);
    if (workspace->data == NULL || workspace->context == NULL) {
        entro_regex_workspace_destroy(workspace);
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory: a match");
    }
    pcre2_set_heap_limit(workspace->context, HEAP_LIMIT_KIB);
    workspace->jit_stack = pcre2_jit_stack_create((size_t)32 << 10, JIT_STACK_SIZE, NULL);
    if (workspace->jit_stack != NULL)
        pcre2_jit_stack_assign(workspace->context, NULL, workspace->jit_stack);
    *out = workspace;
    return ENTRO_OK;
}

void entro_regex_workspace_destroy(struct entro_regex_workspace *workspace)
{
    if (workspace == NULL)
        return;
    pcre2_jit_stack_free(workspace->jit_stack);
    pcre2_match_context_free(workspace->context);
    pcre2_match_data_free(workspace->data);
    free(workspace);
}

enum entro_error entro_regex_next(const struct entro_regex *regex, struct entro_regex_workspace *workspace,
                                  const char *text, size_t size, size_t from, bool *found, size_t *start,
                                  size_t *end, struct entro_message *message)
{
    *found = false;
    size_t limit = size > (UINT32_MAX - MATCH_LIMIT) / MATCH_LIMIT_PER_BYTE
                       ? UINT32_MAX
                       : MATCH_LIMIT + size * MATCH_LIMIT_PER_BYTE;
    pcre2_set_match_limit(workspace->context, (uint32_t)limit);
    int result = pcre2_match(regex->code, (PCRE2_SPTR)text, size, from, PCRE2_NO_UTF_CHECK, workspace->data,
                             workspace->context);
    if (result == PCRE2_ERROR_NOMATCH)
        return ENTRO_OK;
    if (result < 0) {
        PCRE2_UCHAR reason[128];
        pcre2_get_error_message(result, reason, sizeof reason);
        return entro_fail(message, ENTRO_ERROR_UNSUPPORTED,
                          "a regular expression of the tokenizer cannot be matched: %s",
                          (const char *)reason);
    }
    const PCRE2_SIZE *offsets = pcre2_get_ovector_pointer(workspace->data);
    /* \K can move the start of a match about. */
    if (offsets[0] < from || offsets[1] < offsets[0] || offsets[1] > size)
        return entro_fail(message, ENTRO_ERROR_UNSUPPORTED,
                          "a regular expression of the tokenizer moves its match");
    *found = true;
    *start = offsets[0];
    *end = offsets[1];
    return ENTRO_OK;
}
