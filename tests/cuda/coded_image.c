/* See coded_image.h. */
#include "coded_image.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "codec/bytes.h"
#include "codec/half.h"
#include "codec/layout.h"
#include "codec/writer.h"
#include "tests/unit/random.h"

struct bytes {
    uint8_t *data;
    size_t n;
};

static enum entro_error produce(void *context, uint64_t offset, size_t size_bytes, uint8_t *target,
                                struct entro_message *message)
{
    const struct bytes *bytes = context;
    if (offset > bytes->n || size_bytes > bytes->n - offset)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT, "beyond the tensor");
    memcpy(target, bytes->data + offset, size_bytes);
    return ENTRO_OK;
}

static void add(struct entro_writer *writer, const char *name, enum entro_dtype dtype, unsigned bits,
                uint64_t n_elements, struct bytes bytes)
{
    struct entro_message message = {""};
    struct entro_stream_summary summary;
    struct entro_layout layout = bits == 0 ? entro_layout_of_dtype(dtype) : entro_layout_bytes;
    const struct entro_producer producer = {.context = &bytes, .produce = produce};
    if (entro_writer_add_stream(writer, name, bytes.n, &layout, &producer, &summary, &message) != ENTRO_OK)
        fail_msg("%s", message.text);
    struct entro_tensor tensor = {.name = name,
                                  .dtype = dtype,
                                  .scheme = bits == 0 ? ENTRO_SCHEME_LOSSLESS : ENTRO_SCHEME_ASYMMETRIC,
                                  .bits = bits,
                                  .rank = 1,
                                  .shape = {n_elements},
                                  .stream = summary.stream,
                                  .row_scale = ENTRO_NONE,
                                  .column_scale = ENTRO_NONE,
                                  .outliers = ENTRO_NONE,
                                  .scale = bits == 0 ? 0 : 0.5F,
                                  .snr_db = bits == 0 ? (double)INFINITY : 30};
    uint32_t number;
    if (entro_writer_add_tensor(writer, &tensor, &number, &message) != ENTRO_OK)
        fail_msg("%s", message.text);
    free(bytes.data);
}

static struct bytes room(size_t n)
{
    struct bytes bytes = {.data = calloc(n + 1, 1), .n = n};
    assert_non_null(bytes.data);
    return bytes;
}

static struct bytes codes(size_t n, double deviation, struct random *random)
{
    struct bytes bytes = room(n);
    for (size_t i = 0; i < n; i++) {
        double value = 128 + deviation * random_normal(random);
        bytes.data[i] = (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
    }
    return bytes;
}

static struct bytes floats(size_t n, enum entro_dtype dtype, struct random *random)
{
    size_t each = dtype == ENTRO_DTYPE_F32 ? 4 : 2;
    struct bytes bytes = room(n * each);
    for (size_t i = 0; i < n; i++) {
        float value = (float)(0.02 * random_normal(random));
        if (each == 4)
            entro_store_f32(bytes.data + 4 * i, value);
        else
            entro_store_u16(bytes.data + 2 * i,
                            dtype == ENTRO_DTYPE_BF16 ? entro_f32_to_bf16(value) : entro_f32_to_f16(value));
    }
    return bytes;
}

void coded_image_write(const char *path)
{
    struct random random = random_from(9);
    struct entro_message message = {""};
    struct entro_pool *pool;
    struct entro_writer *writer;
    uint64_t image_bytes;
    assert_int_equal(entro_pool_create(&pool, 1), ENTRO_OK);
    if (entro_writer_create(&writer, path, true, ENTRO_SOURCE_SAFETENSORS, pool, &message) != ENTRO_OK)
        fail_msg("%s", message.text);
    add(writer, "u8", ENTRO_DTYPE_BF16, 8, 200000, codes(200000, 13, &random));
    struct bytes pairs = room(150001);
    for (size_t i = 0; i < pairs.n; i++)
        pairs.data[i] = random_below(&random, 256) < 235 ? 0x77 : (uint8_t)random_next(&random);
    add(writer, "u4", ENTRO_DTYPE_BF16, 4, 300002, pairs);
    struct bytes same = room(70000);
    memset(same.data, 7, same.n);
    add(writer, "constant", ENTRO_DTYPE_BF16, 8, 70000, same);
    add(writer, "bf16", ENTRO_DTYPE_BF16, 0, 70001, floats(70001, ENTRO_DTYPE_BF16, &random));
    add(writer, "f16", ENTRO_DTYPE_F16, 0, 9001, floats(9001, ENTRO_DTYPE_F16, &random));
    add(writer, "f32", ENTRO_DTYPE_F32, 0, 33, floats(33, ENTRO_DTYPE_F32, &random));
    add(writer, "empty", ENTRO_DTYPE_F32, 0, 0, room(0));
    add(writer, "q8_0", ENTRO_DTYPE_Q8_0, 0, 3200, codes(3400, 20, &random));
    if (entro_writer_finish(writer, &image_bytes, &message) != ENTRO_OK)
        fail_msg("%s", message.text);
    entro_writer_free(writer);
    entro_pool_free(pool);
}
