/*
 * A tokenizer from what a GGUF file's metadata say. GGUF names a pre-tokenizer instead of describing it: the
 * table here says what each name means (llama.cpp, src/llama-vocab.cpp), in the form that the model's own
 * tokenizer.json has.
 */
#include "runner/tokenizer.h"
#include "runner/tokenizer_internal.h"
#include "runner/tokenizer_utf8.h"

#include <string.h>

/* tokenizer.ggml.token_type */
enum token_type { TYPE_NORMAL = 1, TYPE_UNKNOWN = 2, TYPE_CONTROL = 3, TYPE_USER_DEFINED = 4 };

/* Ids beyond the vocabulary may have holes, but not so that a small file asks for large tables. */
#define MAX_ID_GAP ((size_t)1 << 16)

#define TAIL_PATTERN " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define WORD_PATTERN "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"

/* Each pattern cuts the pieces that the ones before it have left. */
struct splitter {
    const char *patterns[4];
    bool nfc;
    bool ignore_merges;
    bool adds_bos;
};

static const struct splitter plain = {.patterns = {ENTRO_GPT2_PATTERN}};
static const struct splitter digits = {.patterns = {"\\p{N}", ENTRO_GPT2_PATTERN}};
static const struct splitter unnamed = {
    .patterns = {"[\\p{P}\\$\\+<=>\\^~\\|]+", ENTRO_GPT2_PATTERN, "\\p{N}+", "[0-9][0-9][0-9]"}};
static const struct splitter llama3 = {
    .patterns = {WORD_PATTERN "\\p{N}{1,3}|" TAIL_PATTERN}, .ignore_merges = true, .adds_bos = true};
static const struct splitter qwen2 = {.patterns = {WORD_PATTERN "\\p{N}|" TAIL_PATTERN}, .nfc = true};
/* Mistral Nemo */
#define UPPER "\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}"
#define LOWER "\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}"
static const struct splitter tekken = {
    .patterns = {"[^\\r\\n\\p{L}\\p{N}]?[" UPPER "]*[" LOWER "]+|[^\\r\\n\\p{L}\\p{N}]?[" UPPER "]+[" LOWER
                 "]*|"
                 "\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
    .ignore_merges = true,
    .adds_bos = true};

static const struct {
    const char *name;
    const struct splitter *splitter;
} splitters[] = {
    {"default", &unnamed},  {"gpt-2", &plain},      {"phi-2", &plain},      {"mpt", &plain},
    {"olmo", &plain},       {"smollm", &digits},    {"starcoder", &digits}, {"refact", &digits},
    {"command-r", &digits}, {"llama-bpe", &llama3}, {"llama3", &llama3},    {"llama-v3", &llama3},
    {"tekken", &tekken},    {"qwen2", &qwen2},
};

static bool equals(struct entro_vocab_string string, const char *text)
{
    return string.size == strlen(text) && memcmp(string.data, text, string.size) == 0;
}

static enum entro_error find_splitter(const struct splitter **out, struct entro_vocab_string name,
                                      struct entro_message *message)
{
    *out = &unnamed;
    if (name.size == 0)
        return ENTRO_OK;
    for (size_t i = 0; i < sizeof splitters / sizeof splitters[0]; i++) {
        if (equals(name, splitters[i].name)) {
            *out = splitters[i].splitter;
            return ENTRO_OK;
        }
    }
    return entro_fail(message, ENTRO_ERROR_UNSUPPORTED, "GGUF: the pre-tokenizer \"%.*s\" is not supported",
                      (int)(name.size < 100 ? name.size : 100), name.data);
}

static enum entro_error check_id(const struct entro_tokenizer_vocab *vocab, const char *what, uint32_t id,
                                 struct entro_message *message)
{
    if (id != ENTRO_TOKEN_NONE && id >= vocab->n_tokens)
        return entro_fail(message, ENTRO_ERROR_FORMAT, "GGUF: the %s token's id %u is out of range", what,
                          id);
    return ENTRO_OK;
}

static enum entro_error check_vocab(const struct entro_tokenizer_vocab *vocab, struct entro_message *message)
{
    if (vocab->n_tokens == 0 || vocab->n_tokens > ENTRO_TOKENIZER_MAX_TOKENS)
        return entro_fail(message, ENTRO_ERROR_FORMAT, "GGUF: a vocabulary of %zu tokens", vocab->n_tokens);
    for (size_t id = 0; id < vocab->n_tokens; id++) {
        if (!entro_utf8_is_valid(vocab->tokens[id].data, vocab->tokens[id].size))
            return entro_fail(message, ENTRO_ERROR_FORMAT, "GGUF: the text of token %zu is not UTF-8", id);
    }
    enum entro_error error = check_id(vocab, "BOS", vocab->bos_id, message);
    if (error == ENTRO_OK)
        error = check_id(vocab, "EOS", vocab->eos_id, message);
    if (error == ENTRO_OK)
        error = check_id(vocab, "unknown", vocab->unknown_id, message);
    return error;
}

/* The one of vocab->added with that id, or NULL. They are few. */
static const struct entro_vocab_added *find_added(const struct entro_tokenizer_vocab *vocab, size_t id)
{
    for (size_t i = 0; i < vocab->n_added; i++) {
        if (vocab->added[i].id == id)
            return &vocab->added[i];
    }
    return NULL;
}

/* Tokens that the types tell, unless vocab->added has more to say of them. */
static enum entro_error read_tokens(struct entro_tokenizer *tokenizer,
                                    const struct entro_tokenizer_vocab *vocab, struct entro_message *message)
{
    tokenizer->n_ids = vocab->n_tokens;
    enum entro_error error = entro_bpe_init(&tokenizer->bpe, vocab->n_tokens, message);
    for (size_t id = 0; id < vocab->n_tokens && error == ENTRO_OK; id++) {
        const struct entro_vocab_string *text = &vocab->tokens[id];
        error = entro_bpe_set_token(&tokenizer->bpe, id, text->data, text->size, message);
        if (error != ENTRO_OK)
            break;
        int32_t type = vocab->types != NULL ? vocab->types[id] : TYPE_NORMAL;
        bool special =
            type == TYPE_CONTROL || type == TYPE_UNKNOWN || id == vocab->bos_id || id == vocab->eos_id;
        /* An empty text can be found nowhere. */
        if ((special || type == TYPE_USER_DEFINED) && text->size > 0 && find_added(vocab, id) == NULL) {
            bool takes_space = vocab->markers_take_space && !equals(*text, "<unk>") &&
                               !equals(*text, "<s>") && !equals(*text, "<|endoftext|>");
            struct entro_added_token token = {.id = (uint32_t)id, .special = special, .rstrip = takes_space};
            error = entro_added_add(&tokenizer->added, token, text->data, text->size, message);
        }
    }
    return error;
}

static enum entro_error read_added(struct entro_tokenizer *tokenizer,
                                   const struct entro_tokenizer_vocab *vocab, struct entro_message *message)
{
    enum entro_error error = ENTRO_OK;
    for (size_t i = 0; i < vocab->n_added && error == ENTRO_OK; i++) {
        const struct entro_vocab_added *added = &vocab->added[i];
        size_t size = added->text.size;
        const char *there = added->id < vocab->n_tokens ? vocab->tokens[added->id].data : added->text.data;
        if (added->id < vocab->n_tokens)
            size = vocab->tokens[added->id].size;
        if (size != added->text.size || memcmp(there, added->text.data, size) != 0)
            return entro_fail(
                message, ENTRO_ERROR_FORMAT, "added token \"%.*s\" with id %u contradicts the vocabulary",
                (int)(added->text.size < 100 ? added->text.size : 100), added->text.data, added->id);
        if (added->id > vocab->n_tokens + vocab->n_added + MAX_ID_GAP ||
            added->id >= ENTRO_TOKENIZER_MAX_TOKENS)
            return entro_fail(message, ENTRO_ERROR_FORMAT, "added token id %u is out of range", added->id);
        if (added->id >= tokenizer->n_ids)
            tokenizer->n_ids = (size_t)added->id + 1;
        const struct entro_added_token token = {.id = added->id,
                                                .special = added->special,
                                                .lstrip = added->lstrip,
                                                .rstrip = added->rstrip,
                                                .single_word = added->single_word,
                                                .normalized = added->normalized};
        error = entro_added_add(&tokenizer->added, token, added->text.data, added->text.size, message);
    }
    return error == ENTRO_OK ? entro_added_sort(&tokenizer->added, message) : error;
}

static enum entro_error read_merges(struct entro_bpe *bpe, const struct entro_tokenizer_vocab *vocab,
                                    struct entro_message *message)
{
    if (vocab->n_merges > UINT32_MAX)
        return entro_fail(message, ENTRO_ERROR_FORMAT, "GGUF: %zu merges", vocab->n_merges);
    enum entro_error error = ENTRO_OK;
    for (size_t rank = 0; rank < vocab->n_merges && error == ENTRO_OK; rank++) {
        const struct entro_vocab_string *merge = &vocab->merges[rank];
        const char *space = merge->size > 1 ? memchr(merge->data + 1, ' ', merge->size - 1) : NULL;
        if (space == NULL)
            return entro_fail(message, ENTRO_ERROR_FORMAT, "GGUF: merge %zu is not a pair of texts", rank);
        size_t left_size = (size_t)(space - merge->data);
        error = entro_bpe_set_merge(bpe, (uint32_t)rank, merge->data, left_size, space + 1,
                                    merge->size - left_size - 1, message);
    }
    return error;
}

static bool chosen(enum entro_vocab_choice choice, bool otherwise)
{
    return choice == ENTRO_VOCAB_UNSAID ? otherwise : choice == ENTRO_VOCAB_YES;
}

static enum entro_error add_end(struct entro_tokens *tokens, const char *what, uint32_t id,
                                enum entro_vocab_choice choice, bool otherwise, struct entro_message *message)
{
    if (!chosen(choice, otherwise && id != ENTRO_TOKEN_NONE))
        return ENTRO_OK;
    if (id == ENTRO_TOKEN_NONE)
        return entro_fail(message, ENTRO_ERROR_FORMAT, "GGUF: a %s token is to be added, but there is none",
                          what);
    return entro_tokens_append(tokens, id, message);
}

static enum entro_error read_byte_level(struct entro_tokenizer *tokenizer,
                                        const struct entro_tokenizer_vocab *vocab,
                                        const struct splitter *splitter, struct entro_message *message)
{
    enum entro_error error = entro_bpe_index(&tokenizer->bpe, vocab->n_merges, message);
    if (error == ENTRO_OK)
        error = read_merges(&tokenizer->bpe, vocab, message);
    tokenizer->bpe.ignore_merges = splitter->ignore_merges;
    tokenizer->decoding.byte_level = true;
    if (error == ENTRO_OK && splitter->nfc)
        error =
            entro_steps_add(&tokenizer->normalizer,
                            (struct entro_step){.kind = ENTRO_STEP_NORMALIZE, .form = ENTRO_NFC}, message);
    size_t n_patterns = sizeof splitter->patterns / sizeof splitter->patterns[0];
    for (size_t i = 0; i < n_patterns && splitter->patterns[i] != NULL && error == ENTRO_OK; i++)
        error =
            entro_steps_add_split(&tokenizer->pre_tokenizer, splitter->patterns[i],
                                  strlen(splitter->patterns[i]), false, ENTRO_SPLIT_ISOLATED, false, message);
    if (error == ENTRO_OK)
        error = entro_steps_add(&tokenizer->pre_tokenizer, (struct entro_step){.kind = ENTRO_STEP_BYTES},
                                message);
    return error;
}

static enum entro_error read_sentencepiece(struct entro_tokenizer *tokenizer,
                                           const struct entro_tokenizer_vocab *vocab,
                                           struct entro_message *message)
{
    if (vocab->scores == NULL)
        return entro_fail(message, ENTRO_ERROR_FORMAT,
                          "GGUF: a vocabulary of model \"llama\" without scores");
    bool add_space = chosen(vocab->add_space_prefix, true);
    size_t size = strlen(ENTRO_METASPACE);
    enum entro_error error = entro_bpe_index(&tokenizer->bpe, 0, message);
    if (error == ENTRO_OK)
        error = entro_bpe_set_scores(&tokenizer->bpe, vocab->scores, message);
    /* SentencePiece makes only normal and user-defined pieces of a text. */
    for (size_t id = 0; id < vocab->n_tokens && vocab->types != NULL && error == ENTRO_OK; id++) {
        if (vocab->types[id] != TYPE_NORMAL && vocab->types[id] != TYPE_USER_DEFINED)
            tokenizer->bpe.score_ranks[id] = ENTRO_BPE_NEVER;
    }
    tokenizer->bpe.byte_fallback = true;
    tokenizer->bpe.fuse_unknown = true;
    tokenizer->bpe.unknown_id = vocab->unknown_id;
    bool at_origin = vocab->space_prefix_at_origin_only;
    struct entro_steps *steps = at_origin ? &tokenizer->pre_tokenizer : &tokenizer->normalizer;
    if (error == ENTRO_OK && add_space && !at_origin)
        error = entro_steps_add_prefix(steps, ENTRO_METASPACE, size, ENTRO_PREFIX_ALWAYS, message);
    if (error == ENTRO_OK)
        error = entro_steps_add_replace(steps, " ", 1, true, ENTRO_METASPACE, size, message);
    if (error == ENTRO_OK && add_space && at_origin)
        error = entro_steps_add_prefix(steps, ENTRO_METASPACE, size, ENTRO_PREFIX_AT_ORIGIN, message);
    if (error == ENTRO_OK)
        error = entro_steps_add_replace(&tokenizer->decoding.replace, ENTRO_METASPACE, size, true, " ", 1,
                                        message);
    tokenizer->decoding.byte_fallback = true;
    tokenizer->decoding.strip_code_point = ' ';
    tokenizer->decoding.n_strip = add_space;
    return error;
}

static enum entro_error read_vocab(struct entro_tokenizer *tokenizer,
                                   const struct entro_tokenizer_vocab *vocab, struct entro_message *message)
{
    bool is_sentencepiece = equals(vocab->model, "llama");
    bool adds_bos = is_sentencepiece;
    const struct splitter *splitter = NULL;
    if (!is_sentencepiece && !equals(vocab->model, "gpt2"))
        return entro_fail(message, ENTRO_ERROR_UNSUPPORTED,
                          "GGUF: a tokenizer model \"%.*s\" is not supported (\"gpt2\" and \"llama\" are)",
                          (int)(vocab->model.size < 100 ? vocab->model.size : 100),
                          vocab->model.size > 0 ? vocab->model.data : "");
    enum entro_error error = check_vocab(vocab, message);
    if (error == ENTRO_OK)
        error = read_tokens(tokenizer, vocab, message);
    if (error == ENTRO_OK)
        error = read_added(tokenizer, vocab, message);
    if (error == ENTRO_OK && is_sentencepiece) {
        error = read_sentencepiece(tokenizer, vocab, message);
    } else if (error == ENTRO_OK) {
        error = find_splitter(&splitter, vocab->pre, message);
        if (error == ENTRO_OK) {
            adds_bos = splitter->adds_bos;
            error = read_byte_level(tokenizer, vocab, splitter, message);
        }
    }
    tokenizer->bos_id = vocab->bos_id;
    tokenizer->eos_id = vocab->eos_id;
    if (error == ENTRO_OK)
        error = add_end(&tokenizer->prefix, "BOS", vocab->bos_id, vocab->add_bos, adds_bos, message);
    if (error == ENTRO_OK)
        error = add_end(&tokenizer->suffix, "EOS", vocab->eos_id, vocab->add_eos, false, message);
    return error == ENTRO_OK ? entro_tokenizer_finish(tokenizer, message) : error;
}

enum entro_error entro_tokenizer_from_vocab(struct entro_tokenizer **out,
                                            const struct entro_tokenizer_vocab *vocab,
                                            struct entro_message *message)
{
    *out = NULL;
    struct entro_tokenizer *tokenizer = entro_tokenizer_new(message);
    if (tokenizer == NULL)
        return ENTRO_ERROR_NO_MEMORY;
    enum entro_error error = read_vocab(tokenizer, vocab, message);
    if (error != ENTRO_OK) {
        entro_tokenizer_destroy(tokenizer);
        return error;
    }
    *out = tokenizer;
    return ENTRO_OK;
}
