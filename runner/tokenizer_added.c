/* Added tokens; see tokenizer_added.h. The flags mean what they mean in Hugging Face's tokenizers
 * (tokenizer/added_vocabulary.rs). */
#include "runner/tokenizer_added.h"
#include "runner/tokenizer_utf8.h"

#include <stdlib.h>
#include <string.h>

struct entro_added_node {
    uint32_t child;
    uint32_t sibling;
    uint32_t token; /* 1 + its index in `tokens`, or 0 */
    unsigned char byte;
};

static int by_id(const void *left, const void *right)
{
    uint32_t a = ((const struct entro_added_token *)left)->id;
    uint32_t b = ((const struct entro_added_token *)right)->id;
    return (a > b) - (a < b);
}

enum entro_error entro_added_add(struct entro_added *added, struct entro_added_token token, const char *text,
                                 size_t size, struct entro_message *message)
{
    if (size == 0 || size > ENTRO_ADDED_TOKEN_MAX)
        return entro_fail(message, ENTRO_ERROR_FORMAT, "added token %u has %zu bytes, not 1 to %zu", token.id,
                          size, ENTRO_ADDED_TOKEN_MAX);
    token.offset = added->texts.size;
    token.size = size;
    enum entro_error error = entro_text_append(&added->texts, text, size, message);
    if (error != ENTRO_OK)
        return error;
    void *tokens = added->tokens;
    error = entro_grow(&tokens, &added->capacity, added->n + 1, sizeof *added->tokens, message);
    added->tokens = tokens;
    if (error == ENTRO_OK)
        added->tokens[added->n++] = token;
    return error;
}

enum entro_error entro_added_sort(struct entro_added *added, struct entro_message *message)
{
    if (added->n == 0)
        return ENTRO_OK;
    qsort(added->tokens, added->n, sizeof *added->tokens, by_id);
    for (size_t i = 1; i < added->n; i++) {
        if (added->tokens[i].id == added->tokens[i - 1].id)
            return entro_fail(message, ENTRO_ERROR_FORMAT, "two added tokens have id %u",
                              added->tokens[i].id);
    }
    return ENTRO_OK;
}

/* The node's child for that byte, or 0. */
static uint32_t find_child(const struct entro_added_trie *trie, uint32_t node, unsigned char byte)
{
    uint32_t child = trie->nodes[node].child;
    while (child != 0 && trie->nodes[child].byte != byte)
        child = trie->nodes[child].sibling;
    return child;
}

static enum entro_error add_node(struct entro_added_trie *trie, unsigned char byte, uint32_t *index,
                                 struct entro_message *message)
{
    size_t n = trie->n == 0 ? 1 : trie->n;
    void *nodes = trie->nodes;
    enum entro_error error = entro_grow(&nodes, &trie->capacity, n + 1, sizeof *trie->nodes, message);
    trie->nodes = nodes;
    if (error != ENTRO_OK)
        return error;
    trie->nodes[n] = (struct entro_added_node){.byte = byte};
    trie->n = n + 1;
    *index = (uint32_t)n;
    return ENTRO_OK;
}

enum entro_error entro_added_set_pattern(struct entro_added *added, size_t index, const char *pattern,
                                         size_t size, struct entro_message *message)
{
    struct entro_added_token *token = &added->tokens[index];
    bool is_own_text = pattern == NULL;
    if (is_own_text)
        size = token->size;
    struct entro_added_trie *trie = token->normalized ? &added->normalized : &added->raw;
    if (size == 0 || size > ENTRO_ADDED_TOKEN_MAX)
        return entro_fail(message, ENTRO_ERROR_FORMAT, "added token %u normalizes to %zu bytes, not 1 to %zu",
                          token->id, size, ENTRO_ADDED_TOKEN_MAX);
    token->pattern_offset = token->offset;
    token->pattern_size = size;
    enum entro_error error = ENTRO_OK;
    if (!is_own_text) {
        token->pattern_offset = added->texts.size;
        error = entro_text_append(&added->texts, pattern, size, message);
        if (error != ENTRO_OK)
            return error;
    }
    pattern = added->texts.data + token->pattern_offset;
    uint32_t node = 0;
    for (size_t i = 0; i < size; i++) {
        unsigned char byte = (unsigned char)pattern[i];
        uint32_t next = i == 0 ? trie->roots[byte] : find_child(trie, node, byte);
        if (next == 0) {
            error = add_node(trie, byte, &next, message);
            if (error != ENTRO_OK)
                return error;
            if (i == 0) {
                trie->roots[byte] = next;
            } else {
                trie->nodes[next].sibling = trie->nodes[node].child;
                trie->nodes[node].child = next;
            }
        }
        node = next;
    }
    if (trie->nodes[node].token != 0)
        return entro_fail(message, ENTRO_ERROR_FORMAT, "added tokens %u and %u have the same text",
                          added->tokens[trie->nodes[node].token - 1].id, token->id);
    trie->nodes[node].token = (uint32_t)index + 1;
    return ENTRO_OK;
}

void entro_added_free(struct entro_added *added)
{
    free(added->tokens);
    entro_text_free(&added->texts);
    free(added->raw.nodes);
    free(added->normalized.nodes);
    *added = (struct entro_added){0};
}

const struct entro_added_token *entro_added_by_id(const struct entro_added *added, uint32_t id)
{
    const struct entro_added_token key = {.id = id};
    return added->n == 0 ? NULL : bsearch(&key, added->tokens, added->n, sizeof key, by_id);
}

const struct entro_added_token *entro_added_by_text(const struct entro_added *added, const char *text,
                                                    size_t size)
{
    for (size_t i = 0; i < added->n; i++) {
        const struct entro_added_token *token = &added->tokens[i];
        if (token->size == size && memcmp(added->texts.data + token->offset, text, size) == 0)
            return token;
    }
    return NULL;
}

/* The longest token at `start`, or NULL. */
static const struct entro_added_token *longest_at(const struct entro_added_scan *scan, size_t start,
                                                  size_t *end)
{
    const struct entro_added_token *longest = NULL;
    uint32_t node = scan->trie->roots[(unsigned char)scan->text[start]];
    for (size_t at = start + 1; node != 0; at++) {
        uint32_t token = scan->trie->nodes[node].token;
        if (token != 0) {
            longest = &scan->added->tokens[token - 1];
            *end = at;
        }
        node = at < scan->size ? find_child(scan->trie, node, (unsigned char)scan->text[at]) : 0;
    }
    return longest;
}

static bool stands_alone(const struct entro_added_scan *scan, size_t start, size_t end)
{
    if (start > 0 &&
        entro_utf8_is_word(entro_utf8_code_point(scan->text + entro_utf8_previous(scan->text, start))))
        return false;
    return end == scan->size || !entro_utf8_is_word(entro_utf8_code_point(scan->text + end));
}

/* Start of the white space that ends at `start`, but not before `limit`. */
static size_t strip_left(const char *text, size_t limit, size_t start)
{
    while (start > limit) {
        size_t previous = entro_utf8_previous(text, start);
        if (!entro_utf8_is_space(entro_utf8_code_point(text + previous)))
            break;
        start = previous;
    }
    return start;
}

/* End of the white space that starts at `end`. The last run is remembered: tokens may lie in a run that one
 * before them took. */
static size_t strip_right(struct entro_added_scan *scan, size_t end)
{
    if (end >= scan->spaces_start && end < scan->spaces_end)
        return scan->spaces_end;
    scan->spaces_start = end;
    while (end < scan->size && entro_utf8_is_space(entro_utf8_code_point(scan->text + end)))
        end += entro_utf8_length(scan->text[end]);
    scan->spaces_end = end;
    return end;
}

/* The next token that counts; false at the end of the text. */
static bool find_token(struct entro_added_scan *scan, const struct entro_added_token **token, size_t *start,
                       size_t *end)
{
    while (scan->at < scan->size) {
        size_t found_end = 0;
        const struct entro_added_token *found = longest_at(scan, scan->at, &found_end);
        size_t found_start = scan->at;
        if (found == NULL) {
            scan->at++;
            continue;
        }
        /* What is passed over is text as a whole: no token is looked for inside it. */
        scan->at = found_end;
        if ((scan->skip_special && found->special) ||
            (found->single_word && !stands_alone(scan, found_start, found_end)))
            continue;
        if (found->lstrip)
            found_start = strip_left(scan->text, scan->done, found_start);
        if (found->rstrip)
            found_end = strip_right(scan, found_end);
        *token = found;
        *start = found_start;
        /* May lie before scan->done, where the token before this one took white space that this one consists
         * of: the reference then goes on behind this one, and so the rest of that white space counts again.
         */
        *end = found_end;
        return true;
    }
    return false;
}

bool entro_added_scan_next(struct entro_added_scan *scan, const struct entro_added_token **token,
                           size_t *start, size_t *end)
{
    if (scan->held == NULL) {
        size_t found_start = scan->size;
        if (!find_token(scan, &scan->held, &found_start, &scan->held_end))
            scan->held = NULL;
        if (scan->done < found_start) {
            *token = NULL;
            *start = scan->done;
            *end = found_start;
            scan->done = found_start;
            return true;
        }
        if (scan->held == NULL)
            return false;
    }
    *token = scan->held;
    *start = scan->done;
    *end = scan->held_end;
    scan->done = scan->held_end;
    scan->held = NULL;
    return true;
}
