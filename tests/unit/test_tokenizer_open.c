/* Which file of a model directory the tokenizer comes from, and how messages name it. */
#include "runner/tokenizer_open.h"
#include "test_tokenizer_fixture.h"

#include <fcntl.h>
#include <unistd.h>

struct directory {
    char path[64];
    int fd;
};

static int set_up(void **state)
{
    struct directory *directory = calloc(1, sizeof *directory);
    assert_non_null(directory);
    strcpy(directory->path, "/tmp/entro-tokenizer-XXXXXX");
    assert_non_null(mkdtemp(directory->path));
    directory->fd = open(directory->path, O_RDONLY | O_DIRECTORY);
    assert_true(directory->fd >= 0);
    *state = directory;
    return 0;
}

static int tear_down(void **state)
{
    struct directory *directory = *state;
    static const char *const names[] = {"tokenizer.json", "tokenizer.model", "tokenizer_config.json"};
    for (size_t i = 0; i < 3; i++)
        unlinkat(directory->fd, names[i], 0);
    close(directory->fd);
    rmdir(directory->path);
    free(directory);
    return 0;
}

static void put(const struct directory *directory, const char *name, const char *bytes, size_t size)
{
    int fd = openat(directory->fd, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, size), (ssize_t)size);
    close(fd);
}

static void copy(const struct directory *directory, const char *name, const char *from)
{
    struct entro_text text = fixture_read(from);
    put(directory, name, text.data, text.size);
    entro_text_free(&text);
}

static enum entro_error open_it(const struct directory *directory, struct entro_tokenizer **tokenizer,
                                struct entro_message *message)
{
    message->text[0] = '\0';
    return entro_tokenizer_open(tokenizer, directory->fd, directory->path, message);
}

static void tokenizer_json_comes_before_tokenizer_model(void **state)
{
    const struct directory *directory = *state;
    struct entro_tokenizer *tokenizer;
    struct entro_message message;
    copy(directory, "tokenizer.model", "families/llama.model");
    copy(directory, "tokenizer.json", "families/llama3.json");
    assert_int_equal(open_it(directory, &tokenizer, &message), ENTRO_OK);
    assert_int_equal(entro_tokenizer_n_tokens(tokenizer), 645);
    entro_tokenizer_destroy(tokenizer);
}

static void tokenizer_model_does_where_there_is_no_tokenizer_json(void **state)
{
    const struct directory *directory = *state;
    struct entro_tokenizer *tokenizer;
    struct entro_message message;
    copy(directory, "tokenizer.model", "families/llama.model");
    assert_int_equal(open_it(directory, &tokenizer, &message), ENTRO_OK);
    assert_int_equal(entro_tokenizer_n_tokens(tokenizer), 640);
    assert_true(entro_tokenizer_adds_bos(tokenizer));
    entro_tokenizer_destroy(tokenizer);
    static const char config[] = "{\"add_bos_token\": false}";
    put(directory, "tokenizer_config.json", config, sizeof config - 1);
    assert_int_equal(open_it(directory, &tokenizer, &message), ENTRO_OK);
    assert_false(entro_tokenizer_adds_bos(tokenizer));
    entro_tokenizer_destroy(tokenizer);
}

static void messages_name_the_directory_and_the_file(void **state)
{
    const struct directory *directory = *state;
    struct entro_tokenizer *tokenizer;
    struct entro_message message;
    char expected[128];
    assert_int_equal(open_it(directory, &tokenizer, &message), ENTRO_ERROR_NOT_FOUND);
    assert_non_null(strstr(message.text, "neither tokenizer.json nor tokenizer.model"));

    put(directory, "tokenizer.model", "\xff", 1);
    assert_int_equal(open_it(directory, &tokenizer, &message), ENTRO_ERROR_FORMAT);
    snprintf(expected, sizeof expected, "%s/tokenizer.model: not a", directory->path);
    assert_memory_equal(message.text, expected, strlen(expected));

    put(directory, "tokenizer_config.json", "[", 1);
    copy(directory, "tokenizer.model", "families/llama.model");
    assert_int_equal(open_it(directory, &tokenizer, &message), ENTRO_ERROR_FORMAT);
    snprintf(expected, sizeof expected, "%s/tokenizer_config.json:1: ", directory->path);
    assert_memory_equal(message.text, expected, strlen(expected));

    put(directory, "tokenizer.json", "{}", 2);
    assert_int_equal(open_it(directory, &tokenizer, &message), ENTRO_ERROR_FORMAT);
    snprintf(expected, sizeof expected, "%s/tokenizer.json: \"model\"", directory->path);
    assert_memory_equal(message.text, expected, strlen(expected));
    assert_null(tokenizer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(tokenizer_json_comes_before_tokenizer_model, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tokenizer_model_does_where_there_is_no_tokenizer_json, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(messages_name_the_directory_and_the_file, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
