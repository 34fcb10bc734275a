/* Opening tiny models; see tiny_opened.h. */
#include "tests/unit/tiny_opened.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "runner/file.h"
#include "tests/unit/runner_fixture.h"

const char *tiny_name(const json_t *reference)
{
    return json_string_value(json_object_get(reference, "name"));
}

static void assert_ok(const json_t *reference, enum entro_error error, const struct entro_message *message)
{
    if (error != ENTRO_OK)
        fail_msg("%s: %s", tiny_name(reference), message->text);
}

void tiny_read_config(const json_t *reference, const char *key, struct entro_config *out)
{
    struct entro_message message;
    enum entro_error error;
    if (key == NULL) {
        struct entro_gguf gguf;
        tiny_gguf_metadata(reference, &gguf);
        error = entro_config_from_gguf(out, &gguf, "m.gguf", &message);
        entro_gguf_free(&gguf);
    } else {
        char *text = json_dumps(json_object_get(reference, key), 0);
        assert_non_null(text);
        error = entro_config_from_json(out, text, strlen(text), "config.json", &message);
        free(text);
    }
    assert_ok(reference, error, &message);
}

void tiny_open(struct tiny_opened *out, const json_t *reference, const char *config_key,
               enum tiny_encoding encoding, unsigned n_threads)
{
    char *text;
    size_t size_bytes;
    struct entro_message message;
    const json_t *tokens = json_object_get(reference, "tokens");
    *out = (struct tiny_opened){.directory = fixture_create(), .n_tokens = json_array_size(tokens)};
    tiny_read_config(reference, config_key, &out->config);
    if (config_key == NULL)
        tiny_write_gguf(out->directory, reference);
    else
        tiny_write(out->directory, reference, encoding);
    int fd = open(out->directory, O_RDONLY | O_DIRECTORY);
    assert_true(fd >= 0);
    assert_ok(reference,
              entro_read_text_file(fd, out->directory, "tensors.json", &text, &size_bytes, &message),
              &message);
    assert_ok(reference, entro_manifest_parse(&out->manifest, text, size_bytes, "tensors.json", &message),
              &message);
    free(text);
    assert_ok(reference,
              entro_weights_map(&out->weights, &out->config, &out->manifest, fd, out->directory, &message),
              &message);
    close(fd);
    assert_int_equal(entro_pool_create(&out->pool, n_threads), ENTRO_OK);
    assert_true(out->n_tokens <= sizeof out->tokens / sizeof out->tokens[0]);
    for (size_t i = 0; i < out->n_tokens; i++)
        out->tokens[i] = (uint32_t)json_integer_value(json_array_get(tokens, i));
}

void tiny_close(struct tiny_opened *opened)
{
    entro_pool_free(opened->pool);
    entro_weights_free(&opened->weights);
    entro_manifest_free(&opened->manifest);
    fixture_remove(opened->directory);
}
