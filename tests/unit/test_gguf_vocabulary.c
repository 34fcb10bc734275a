/* The vocabulary of a GGUF: what is wrong with it is said with the file's name. */
#include "tests/unit/gguf_builder.h"

#include <stdio.h>

#include "runner/gguf_vocabulary.h"

/* A vocabulary of two tokens and no merges, with a score for each of n_scores. */
static enum entro_error read_vocabulary(const char *model, const char *pre, uint64_t n_scores,
                                        struct entro_message *message)
{
    static struct file file;
    struct entro_gguf gguf;
    struct entro_tokenizer *tokenizer = NULL;
    start_file(&file, 0, 5);
    put_key(&file, "tokenizer.ggml.model", ENTRO_GGUF_STRING);
    put_string(&file, model);
    put_key(&file, "tokenizer.ggml.pre", ENTRO_GGUF_STRING);
    put_string(&file, pre);
    put_array(&file, "tokenizer.ggml.tokens", ENTRO_GGUF_STRING, 2);
    put_string(&file, "a");
    put_string(&file, "b");
    put_array(&file, "tokenizer.ggml.merges", ENTRO_GGUF_STRING, 0);
    put_array(&file, "tokenizer.ggml.scores", ENTRO_GGUF_F32, n_scores);
    for (uint64_t i = 0; i < n_scores; i++)
        put(&file, &(float){1.0F}, 4);
    pad(&file, 32);
    assert_int_equal(parse(&gguf, &file, message), ENTRO_OK);
    enum entro_error error = entro_tokenizer_from_gguf(&tokenizer, &gguf, "folder/m.gguf", message);
    entro_gguf_free(&gguf);
    entro_tokenizer_destroy(tokenizer);
    return error;
}

static void refusals_name_the_file(void **state)
{
    (void)state;
    struct entro_message message;
    assert_int_equal(read_vocabulary("gpt2", "smollm", 2, &message), ENTRO_OK);
    assert_int_equal(read_vocabulary("jabberwocky", "smollm", 2, &message), ENTRO_ERROR_UNSUPPORTED);
    assert_non_null(strstr(message.text, "folder/m.gguf"));
    assert_non_null(strstr(message.text, "jabberwocky"));
    assert_int_equal(read_vocabulary("gpt2", "snark", 2, &message), ENTRO_ERROR_UNSUPPORTED);
    assert_non_null(strstr(message.text, "folder/m.gguf"));
    assert_non_null(strstr(message.text, "snark"));
    assert_int_equal(read_vocabulary("gpt2", "smollm", 3, &message), ENTRO_ERROR_FORMAT);
    assert_non_null(strstr(message.text, "folder/m.gguf"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refusals_name_the_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
