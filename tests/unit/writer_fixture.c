/* See writer_fixture.h. */
#include "writer_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>
#include <errno.h>
#include <sys/stat.h>

uint8_t pattern_byte(const struct pattern *pattern, uint64_t i)
{
    uint64_t z = (i + pattern->seed * 0x10001) * UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 29) * UINT64_C(0xbf58476d1ce4e5b9);
    z ^= z >> 32;
    switch (pattern->kind) {
    case 0:
        return (uint8_t)z;
    case 1:
        return (uint8_t)(128 + __builtin_popcountll(z & 0xffff) - __builtin_popcountll(z >> 16 & 0xffff));
    case 2:
        return (i >> 17) % 3 != 0 ? (uint8_t)(i >> 18) : (uint8_t)(z & 7);
    default:
        return 7;
    }
}

enum entro_error pattern_produce(void *context, uint64_t offset, size_t size_bytes, uint8_t *target,
                                 struct entro_message *message)
{
    struct pattern *pattern = context;
    uint64_t before = atomic_fetch_add(&pattern->produced, size_bytes);
    bool fails = before >= pattern->fails_at;
    if (fails && pattern->error != ENTRO_OK)
        return entro_fail(message, pattern->error, "the source says no");
    for (size_t i = 0; i < size_bytes; i++)
        target[i] = (uint8_t)(pattern_byte(pattern, offset + i) + fails);
    return ENTRO_OK;
}

int writer_set_up(void **state)
{
    struct writer_setting *setting = calloc(1, sizeof *setting);
    assert_non_null(setting);
    fixture_folder_create(&setting->folder);
    assert_int_equal(entro_pool_create(&setting->pool, 3), ENTRO_OK);
    *state = setting;
    return 0;
}

int writer_tear_down(void **state)
{
    struct writer_setting *setting = *state;
    entro_pool_free(setting->pool);
    fixture_folder_remove(&setting->folder);
    free(setting);
    return 0;
}

struct entro_writer *writer_start(struct writer_setting *setting, bool replace)
{
    struct entro_writer *writer;
    enum entro_error error = entro_writer_create(&writer, setting->folder.image, replace,
                                                 ENTRO_SOURCE_SAFETENSORS, setting->pool, &setting->message);
    if (error != ENTRO_OK)
        fail_msg("%s", setting->message.text);
    return writer;
}

void writer_finish(struct writer_setting *setting, struct entro_writer *writer)
{
    uint64_t image_bytes;
    if (entro_writer_finish(writer, &image_bytes, &setting->message) != ENTRO_OK)
        fail_msg("%s", setting->message.text);
    entro_writer_free(writer);
    struct stat status;
    assert_return_code(stat(setting->folder.image, &status), errno);
    assert_int_equal(status.st_size, image_bytes);
}

struct entro_image *writer_open_image(struct writer_setting *setting)
{
    struct entro_image *image;
    if (entro_image_open(&image, setting->folder.image, &setting->message) != ENTRO_OK)
        fail_msg("%s", setting->message.text);
    return image;
}

uint32_t writer_add(struct writer_setting *setting, struct entro_writer *writer, const void *bytes,
                    size_t size, struct entro_stream_summary *summary)
{
    if (entro_writer_add_bytes(writer, "bytes", bytes, size, summary, &setting->message) != ENTRO_OK)
        fail_msg("%s", setting->message.text);
    return summary->stream;
}

struct entro_tensor writer_u8_tensor(const char *name, uint32_t stream)
{
    return (struct entro_tensor){.name = name,
                                 .dtype = ENTRO_DTYPE_BF16,
                                 .scheme = ENTRO_SCHEME_ASYMMETRIC,
                                 .bits = 8,
                                 .rank = 2,
                                 .shape = {4, 32},
                                 .stream = stream,
                                 .row_scale = ENTRO_NONE,
                                 .column_scale = ENTRO_NONE,
                                 .outliers = ENTRO_NONE,
                                 .scale = 0.5F,
                                 .zero_point = 100,
                                 .entropy_bits = 4,
                                 .snr_db = 30};
}
