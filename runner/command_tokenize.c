/* entrorun tokenize: a text as token ids, and ids as text. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runner/bus_error.h"
#include "runner/command.h"
#include "runner/commands.h"
#include "runner/input.h"
#include "runner/model.h"
#include "runner/options.h"

struct tokenize_choices {
    const char *directory, *text, *file, *ids;
    bool bos, special, escape, json, count, help;
};

/* Ids as numbers with anything of "[], \n\t" between them, as this command and JSON write them. */
static enum entro_error parse_ids(const char *text, struct entro_tokens *tokens,
                                  struct entro_message *message)
{
    for (const char *at = text + strspn(text, "[], \n\t"); *at != '\0'; at += strspn(at, "[], \n\t")) {
        char *end;
        errno = 0;
        unsigned long long id = strtoull(at, &end, 10);
        if (*at < '0' || *at > '9' || errno != 0 || id >= ENTRO_TOKENIZER_MAX_TOKENS)
            return entro_fail(message, ENTRO_ERROR_ARGUMENT, "--ids: \"%.20s\" is no token id", at);
        enum entro_error error = entro_tokens_append(tokens, (uint32_t)id, message);
        if (error != ENTRO_OK)
            return error;
        at = end;
    }
    return ENTRO_OK;
}

static enum entro_error decode(const struct tokenize_choices *choices,
                               const struct entro_tokenizer *tokenizer, const struct entro_tokens *tokens,
                               struct entro_text *text, struct entro_message *message)
{
    struct entro_token_decoder decoder;
    entro_token_decoder_start(&decoder, tokenizer, choices->special ? ENTRO_DECODE_SPECIAL : 0);
    for (size_t i = 0; i < tokens->n; i++) {
        size_t size;
        if (entro_tokenizer_token_text(tokenizer, tokens->ids[i], &size) == NULL)
            return entro_fail(message, ENTRO_ERROR_ARGUMENT, "--ids: the model has no token %" PRIu32,
                              tokens->ids[i]);
        enum entro_error error = entro_token_decoder_next(&decoder, tokens->ids[i], text, message);
        if (error != ENTRO_OK)
            return error;
    }
    return entro_token_decoder_finish(&decoder, text, message);
}

/* The token as the vocabulary has it: what is not UTF-8, which only a damaged one holds, as U+FFFD. */
static json_t *token_json(const struct entro_tokenizer *tokenizer, uint32_t id)
{
    size_t size;
    const char *text = entro_tokenizer_token_text(tokenizer, id, &size);
    json_t *string = text == NULL ? NULL : json_stringn(text, size);
    return string != NULL ? string : json_string("\xef\xbf\xbd");
}

static enum entro_error print_json(const struct entro_tokenizer *tokenizer, const struct entro_tokens *tokens,
                                   const struct entro_text *text, struct entro_message *message)
{
    json_t *object = json_object(), *ids = json_array(), *pieces = json_array();
    bool good = object != NULL && ids != NULL && pieces != NULL;
    for (size_t i = 0; good && i < tokens->n; i++)
        good = json_array_append_new(ids, json_integer(tokens->ids[i])) == 0 &&
               json_array_append_new(pieces, token_json(tokenizer, tokens->ids[i])) == 0;
    good = good && json_object_set(object, "ids", ids) == 0 &&
           json_object_set(object, "tokens", pieces) == 0 &&
           (text->data == NULL ||
            json_object_set_new(object, "text", json_stringn(text->data, text->size)) == 0) &&
           json_dumpf(object, stdout, JSON_COMPACT) == 0;
    json_decref(pieces);
    json_decref(ids);
    json_decref(object);
    if (!good)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "the tokens cannot be written as JSON");
    putchar('\n');
    return ENTRO_OK;
}

/* A line each: the id, and the token as the vocabulary has it, quoted as in JSON, so that it is one line. */
static void print_lines(const struct entro_tokenizer *tokenizer, const struct entro_tokens *tokens)
{
    for (size_t i = 0; i < tokens->n; i++) {
        json_t *piece = token_json(tokenizer, tokens->ids[i]);
        printf("%6" PRIu32 " ", tokens->ids[i]);
        json_dumpf(piece, stdout, JSON_ENCODE_ANY);
        putchar('\n');
        json_decref(piece);
    }
}

static enum entro_error run_ids(const struct tokenize_choices *choices,
                                const struct entro_tokenizer *tokenizer, struct entro_message *message)
{
    struct entro_tokens tokens = {0};
    struct entro_text text = {0};
    enum entro_error error = parse_ids(choices->ids, &tokens, message);
    if (error == ENTRO_OK)
        error = entro_text_reserve(&text, 1, message);
    if (error == ENTRO_OK)
        error = decode(choices, tokenizer, &tokens, &text, message);
    if (error == ENTRO_OK && choices->json) {
        error = print_json(tokenizer, &tokens, &text, message);
    } else if (error == ENTRO_OK) {
        fwrite(text.data, 1, text.size, stdout);
        putchar('\n');
    }
    entro_text_free(&text);
    entro_tokens_free(&tokens);
    return error;
}

static enum entro_error run_text(const struct tokenize_choices *choices,
                                 const struct entro_tokenizer *tokenizer, struct entro_text *text,
                                 struct entro_message *message)
{
    struct entro_tokens tokens = {0};
    unsigned flags =
        (choices->special ? ENTRO_ENCODE_SPECIAL : 0) | (choices->bos ? ENTRO_ENCODE_TEMPLATE : 0);
    if (choices->escape)
        entro_input_unescape(text);
    enum entro_error error =
        entro_tokenizer_encode(tokenizer, text->data, text->size, flags, &tokens, message);
    if (error == ENTRO_OK && choices->json)
        error = print_json(tokenizer, &tokens, &(struct entro_text){0}, message);
    else if (error == ENTRO_OK)
        print_lines(tokenizer, &tokens);
    if (error == ENTRO_OK && choices->count && !choices->json)
        printf("Total number of tokens: %zu\n", tokens.n);
    entro_tokens_free(&tokens);
    return error;
}

static enum entro_error run(const void *context, struct entro_message *message)
{
    const struct tokenize_choices *choices = context;
    static struct entro_model model;
    struct entro_text text = {0};
    enum entro_error error = ENTRO_OK;
    if (choices->directory == NULL)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT, "no model: -m DIR names its directory");
    if (choices->ids != NULL && (choices->text != NULL || choices->file != NULL))
        return entro_fail(message, ENTRO_ERROR_ARGUMENT, "--ids and a text exclude each other");
    if (choices->ids == NULL)
        error = entro_input_read(choices->text,
                                 choices->text == NULL && choices->file == NULL ? "-" : choices->file, &text,
                                 message);
    entro_bus_error_explain(&model.weights, "entrorun", ENTRO_EXIT_IO);
    if (error == ENTRO_OK)
        error = entro_model_open(&model, choices->directory, message);
    if (error == ENTRO_OK) {
        error = choices->ids != NULL ? run_ids(choices, model.tokenizer, message)
                                     : run_text(choices, model.tokenizer, &text, message);
        entro_model_close(&model);
    }
    entro_text_free(&text);
    return error;
}

static const char usage[] =
    "usage: entrorun tokenize -m DIR [-p TEXT | -f FILE | --ids LIST] [options]\n\n"
    "Shows the tokens that a text becomes, one a line: its id, and its text as the vocabulary has it. "
    "Reads "
    "standard\ninput where no text is given. With --ids the other way round.\n\n"
    "  entrorun tokenize -m /mnt/model -p \"Hello, world\"\n"
    "  entrorun tokenize -m /mnt/model --ids 19556,28,905\n";

int entro_command_tokenize(int argc, char **argv)
{
    struct tokenize_choices choices = {.bos = true, .special = true};
    const struct entro_option options[] = {
        {ENTRO_OPTION_HEADING, NULL, NULL, "options", NULL, 0, 0},
        {ENTRO_OPTION_TEXT, "-m, --model", "DIR", "the model directory: a mounted image, or one extracted",
         &choices.directory, 0, 0},
        {ENTRO_OPTION_TEXT, "-p, --prompt", "TEXT", "the text", &choices.text, 0, 0},
        {ENTRO_OPTION_TEXT, "-f, --file", "FILE", "read the text from FILE; - is standard input",
         &choices.file, 0, 0},
        {ENTRO_OPTION_TEXT, "--ids", "LIST",
         "write the text of these ids: numbers with commas or spaces between", &choices.ids, 0, 0},
        {ENTRO_OPTION_SET, "-e, --escape", NULL, "\\n, \\t and the like are what they stand for",
         &choices.escape, 0, 0},
        {ENTRO_OPTION_CLEAR, "--no-escape", NULL, "they are not (default)", &choices.escape, 0, 0},
        {ENTRO_OPTION_CLEAR, "--no-bos", NULL, "without the tokens that the tokenizer puts around a text",
         &choices.bos, 0, 0},
        {ENTRO_OPTION_CLEAR, "--no-parse-special", NULL,
         "special tokens in the text are plain text; from ids they\nare left out", &choices.special, 0, 0},
        {ENTRO_OPTION_SET, "--json", NULL, "an object with \"ids\", \"tokens\" and (--ids) \"text\"",
         &choices.json, 0, 0},
        {ENTRO_OPTION_SET, "--show-count", NULL, "also how many there are", &choices.count, 0, 0},
        {ENTRO_OPTION_SET, "-h, --help", NULL, "this text", &choices.help, 0, 0},
    };
    const struct entro_command command = {
        .usage = usage,
        .options = options,
        .n_options = sizeof options / sizeof options[0],
        .help = &choices.help,
        .run = run,
        .choices = &choices,
    };
    return entro_command_execute(&command, argc, argv);
}
