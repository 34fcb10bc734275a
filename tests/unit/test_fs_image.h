/*
 * A small image with everything that a mount can hold, made with the writer, and the bytes that each of its
 * files must have, made without the reader: for the tests of fs/.
 */
#ifndef TEST_FS_IMAGE_H
#define TEST_FS_IMAGE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "codec/bytes.h"
#include "codec/half.h"
#include "codec/writer.h"

#define TEST_MAX_FILES 64

/* The bytes that a path of the mount must have. */
struct expected_file {
    char path[128];
    uint8_t *bytes;
    size_t size;
};

struct test_image {
    char path[64];
    struct entro_pool *pool;
    struct entro_writer *writer;
    size_t n_files;
    struct expected_file files[TEST_MAX_FILES];
};

static inline void test_expect(struct test_image *image, const char *path, const uint8_t *bytes, size_t size)
{
    struct expected_file *file = &image->files[image->n_files++];
    assert_true(image->n_files <= TEST_MAX_FILES);
    snprintf(file->path, sizeof file->path, "%s", path);
    file->bytes = malloc(size + 1);
    if (size > 0)
        memcpy(file->bytes, bytes, size);
    file->size = size;
}

static inline const struct expected_file *test_expected(const struct test_image *image, const char *path)
{
    for (size_t i = 0; i < image->n_files; i++)
        if (strcmp(image->files[i].path, path) == 0)
            return &image->files[i];
    fail_msg("no expected file %s", path);
    return NULL;
}

/* Bytes that look like codes: a bell curve, so that they are coded, repeatable. */
static inline uint8_t *test_codes(size_t size, uint32_t seed)
{
    uint8_t *codes = malloc(size + 1);
    uint32_t state = seed * 2654435761U + 1;
    for (size_t i = 0; i < size; i++) {
        unsigned sum = 0;
        for (unsigned k = 0; k < 4; k++) {
            state = state * 1664525U + 1013904223U;
            sum += state >> 26;
        }
        codes[i] = (uint8_t)sum;
    }
    return codes;
}

struct test_producer {
    const uint8_t *bytes;
};

static inline enum entro_error test_produce(void *context, uint64_t offset, size_t size, uint8_t *target,
                                            struct entro_message *message)
{
    (void)message;
    const struct test_producer *producer = context;
    memcpy(target, producer->bytes + offset, size);
    return ENTRO_OK;
}

static inline uint32_t test_add_stream(struct test_image *image, const struct entro_layout *layout,
                                       const uint8_t *bytes, size_t size)
{
    struct test_producer context = {bytes};
    struct entro_producer producer = {.context = &context, .produce = test_produce};
    struct entro_stream_summary summary;
    struct entro_message message = {{0}};
    if (entro_writer_add_stream(image->writer, "stream", size, layout, &producer, &summary, &message) !=
        ENTRO_OK)
        fail_msg("%s", message.text);
    return summary.stream;
}

static inline uint32_t test_add_tensor(struct test_image *image, struct entro_tensor *tensor)
{
    uint32_t number;
    struct entro_message message = {{0}};
    if (entro_writer_add_tensor(image->writer, tensor, &number, &message) != ENTRO_OK)
        fail_msg("%s", message.text);
    return number;
}

static inline void test_add_file(struct test_image *image, const char *path,
                                 const struct entro_extent *extents, uint32_t n_extents)
{
    struct entro_message message = {{0}};
    if (entro_writer_add_file(image->writer, path, extents, n_extents, &message) != ENTRO_OK)
        fail_msg("%s", message.text);
}

static inline void test_add_verbatim(struct test_image *image, const char *path, const uint8_t *bytes,
                                     size_t size)
{
    uint32_t stream = test_add_stream(image, &entro_layout_bytes, bytes, size);
    struct entro_extent extent = {.kind = ENTRO_EXTENT_STREAM, .reference = stream, .size_bytes = size};
    test_add_file(image, path, &extent, 1);
    test_expect(image, path, bytes, size);
}

/* A quantized tensor of two dimensions as one thinks of it. */
struct test_tensor {
    const char *name;
    unsigned bits;
    uint64_t rows, columns;
    float scale;
    int32_t zero_point;
    bool has_factors, has_outliers;
    /* Made by test_add_quantized. */
    uint32_t number;
    uint8_t *codes;
    size_t n_code_bytes;
    float *values; /* dequantized, F32 */
};

static inline void test_expect_tensor(struct test_image *image, const char *name, const char *suffix,
                                      const uint8_t *bytes, size_t size)
{
    char path[128];
    snprintf(path, sizeof path, "tensors/%s%s", name, suffix);
    test_expect(image, path, bytes, size);
}

static inline void test_add_quantized(struct test_image *image, struct test_tensor *t)
{
    size_t rows = t->rows, columns = t->columns, n = rows * columns;
    t->n_code_bytes = t->bits == 8 ? n : (n + 1) / 2;
    t->codes = test_codes(t->n_code_bytes, (uint32_t)n + t->bits);
    if (t->bits == 4 && n % 2 != 0)
        t->codes[n / 2] &= 15;
    struct entro_tensor tensor = {
        .name = t->name,
        .dtype = ENTRO_DTYPE_BF16,
        .scheme = t->has_factors || t->has_outliers ? ENTRO_SCHEME_BALANCED : ENTRO_SCHEME_ASYMMETRIC,
        .bits = t->bits,
        .rank = 2,
        .shape = {rows, columns},
        .row_scale = ENTRO_NONE,
        .column_scale = ENTRO_NONE,
        .outliers = ENTRO_NONE,
        .scale = t->scale,
        .zero_point = t->zero_point,
        .entropy_bits = 5.5,
        .snr_db = 40.25,
    };
    tensor.stream = test_add_stream(image, &entro_layout_bytes, t->codes, t->n_code_bytes);
    test_expect_tensor(image, t->name, "", t->codes, t->n_code_bytes);

    uint8_t *row = malloc(2 * rows), *column = malloc(2 * columns), outliers[3 * 12];
    uint64_t outlier_elements[3] = {0, n / 2, n - 1};
    for (size_t i = 0; i < rows; i++)
        entro_store_u16(row + 2 * i, entro_f32_to_f16(0.5F + (float)i / (float)rows));
    for (size_t j = 0; j < columns; j++)
        entro_store_u16(column + 2 * j, entro_f32_to_f16(1.5F - (float)j / (float)columns));
    for (size_t k = 0; k < 3; k++) {
        entro_store_u64(outliers + 12 * k, outlier_elements[k]);
        entro_store_f32(outliers + 12 * k + 8, 1234.5678F * (float)(k + 1));
    }
    if (t->has_factors) {
        tensor.row_scale = test_add_stream(image, &entro_layout_bytes, row, 2 * rows);
        tensor.column_scale = test_add_stream(image, &entro_layout_bytes, column, 2 * columns);
        test_expect_tensor(image, t->name, ".row_scale", row, 2 * rows);
        test_expect_tensor(image, t->name, ".column_scale", column, 2 * columns);
    }
    if (t->has_outliers) {
        tensor.outliers = test_add_stream(image, &entro_layout_bytes, outliers, sizeof outliers);
        test_expect_tensor(image, t->name, ".outliers", outliers, sizeof outliers);
    }
    t->values = malloc((n + 1) * sizeof *t->values);
    for (size_t i = 0; i < n; i++) {
        int code = t->bits == 8 ? t->codes[i] : t->codes[i / 2] >> i % 2 * 4 & 15;
        t->values[i] = (float)((double)t->scale * (code - t->zero_point));
        if (t->has_factors)
            t->values[i] *= entro_f16_to_f32(entro_load_u16(row + 2 * (i / columns))) *
                            entro_f16_to_f32(entro_load_u16(column + 2 * (i % columns)));
        for (size_t k = 0; k < 3 && t->has_outliers; k++)
            if (i == outlier_elements[k])
                t->values[i] = entro_load_f32(outliers + 12 * k + 8);
    }
    free(row);
    free(column);
    t->number = test_add_tensor(image, &tensor);
}

static inline void test_tensor_free(struct test_tensor *t)
{
    free(t->codes);
    free(t->values);
}

/* A file of a header and one view of a tensor as F32, F16 or BF16. */
static inline void test_add_view_file(struct test_image *image, const char *path, const char *header,
                                      const struct test_tensor *t, enum entro_dtype dtype)
{
    size_t n = t->rows * t->columns, header_bytes = strlen(header),
           element_bytes = dtype == ENTRO_DTYPE_F32 ? 4 : 2;
    size_t size = header_bytes + n * element_bytes;
    uint8_t *bytes = malloc(size + 1);
    memcpy(bytes, header, header_bytes);
    for (size_t i = 0; i < n; i++) {
        uint8_t *target = bytes + header_bytes + i * element_bytes;
        if (dtype == ENTRO_DTYPE_F32)
            entro_store_f32(target, t->values[i]);
        else
            entro_store_u16(target, dtype == ENTRO_DTYPE_BF16 ? entro_f32_to_bf16(t->values[i])
                                                              : entro_f32_to_f16(t->values[i]));
    }
    struct entro_extent extents[2] = {
        {.kind = ENTRO_EXTENT_STREAM,
         .reference = test_add_stream(image, &entro_layout_bytes, (const uint8_t *)header, header_bytes),
         .size_bytes = header_bytes},
        {.kind = ENTRO_EXTENT_VIEW, .dtype = dtype, .reference = t->number, .size_bytes = n * element_bytes},
    };
    test_add_file(image, path, extents, 2);
    test_expect(image, path, bytes, size);
    free(bytes);
}

/* A Q8_0 or Q4_1 view, in a file without a header. */
static inline void test_add_record_view(struct test_image *image, const char *path,
                                        const struct test_tensor *t, enum entro_dtype dtype)
{
    size_t n_records = t->rows * t->columns / 32, record_bytes = dtype == ENTRO_DTYPE_Q8_0 ? 34 : 20;
    size_t size = n_records * record_bytes;
    uint8_t *bytes = calloc(size + 1, 1);
    for (size_t i = 0; i < n_records * 32; i++) {
        uint8_t *record = bytes + i / 32 * record_bytes;
        unsigned k = i % 32, code = t->bits == 8 ? t->codes[i] : t->codes[i / 2] >> i % 2 * 4 & 15U;
        entro_store_u16(record, entro_f32_to_f16(t->scale));
        if (dtype == ENTRO_DTYPE_Q8_0) {
            record[2 + k] = (uint8_t)(code - (unsigned)t->zero_point);
        } else {
            entro_store_u16(record + 2,
                            t->zero_point == 0 ? 0 : entro_f32_to_f16(-t->scale * (float)t->zero_point));
            record[4 + k % 16] |= (uint8_t)(code << k / 16 * 4);
        }
    }
    struct entro_extent extent = {
        .kind = ENTRO_EXTENT_VIEW, .dtype = dtype, .reference = t->number, .size_bytes = size};
    test_add_file(image, path, &extent, 1);
    test_expect(image, path, bytes, size);
    free(bytes);
}

static inline void test_add_lossless(struct test_image *image, const char *name, enum entro_dtype dtype,
                                     uint64_t rows, uint64_t columns)
{
    struct entro_tensor tensor = {
        .name = name,
        .dtype = dtype,
        .scheme = ENTRO_SCHEME_LOSSLESS,
        .rank = 2,
        .shape = {rows, columns},
        .row_scale = ENTRO_NONE,
        .column_scale = ENTRO_NONE,
        .outliers = ENTRO_NONE,
        .entropy_bits = 11,
        .snr_db = INFINITY,
    };
    uint64_t size_bytes;
    assert_true(entro_dtype_size_bytes(dtype, tensor.shape, 2, &size_bytes));
    uint8_t *bytes = test_codes((size_t)size_bytes, (uint32_t)rows);
    struct entro_layout layout = entro_layout_of_dtype(dtype);
    tensor.stream = test_add_stream(image, &layout, bytes, (size_t)size_bytes);
    test_add_tensor(image, &tensor);
    test_expect_tensor(image, name, "", bytes, (size_t)size_bytes);
    free(bytes);
}

static inline void test_image_begin(struct test_image *image)
{
    *image = (struct test_image){.path = "/tmp/test_fs_XXXXXX"};
    int file = mkstemp(image->path);
    assert_true(file >= 0);
    close(file);
    assert_int_equal(entro_pool_create(&image->pool, 2), ENTRO_OK);
    assert_int_equal(
        entro_writer_create(&image->writer, image->path, true, ENTRO_SOURCE_SAFETENSORS, image->pool, NULL),
        ENTRO_OK);
}

static inline void test_image_finish(struct test_image *image)
{
    uint64_t image_bytes;
    struct entro_message message = {{0}};
    if (entro_writer_finish(image->writer, &image_bytes, &message) != ENTRO_OK)
        fail_msg("%s", message.text);
    entro_writer_free(image->writer);
    image->writer = NULL;
}

/* The usual image; block_log2 makes it have few or many blocks. */
static inline void test_image_make(struct test_image *image, unsigned block_log2)
{
    test_image_begin(image);
    assert_int_equal(entro_writer_set_block_log2(image->writer, block_log2), ENTRO_OK);
    uint8_t *text = test_codes(300000, 7);
    test_add_verbatim(image, "config.json", (const uint8_t *)"{\"a\": 1}\n", 9);
    test_add_verbatim(image, "empty.txt", text, 0);
    test_add_verbatim(image, "sub/deep/er/file.bin", text, 200001);
    test_add_verbatim(image, "sub/other.bin", text, 300000);
    test_add_verbatim(image, "sub-beside.txt", text, 77);
    free(text);

    struct test_tensor tensors[] = {
        {.name = "a.factors",
         .bits = 8,
         .rows = 37,
         .columns = 1001,
         .scale = 0.01234F,
         .zero_point = 117,
         .has_factors = true,
         .has_outliers = true},
        {.name = "b.u4", .bits = 4, .rows = 64, .columns = 4096, .scale = 0.40625F, .zero_point = 7},
        {.name = "c.odd",
         .bits = 4,
         .rows = 3,
         .columns = 33333,
         .scale = 0.25F,
         .zero_point = 8,
         .has_outliers = true},
        {.name = "d.u8", .bits = 8, .rows = 300, .columns = 1024, .scale = 0.0078125F, .zero_point = 128},
        {.name = "e.odd4",
         .bits = 4,
         .rows = 5,
         .columns = 7,
         .scale = 0.5F,
         .zero_point = 1,
         .has_factors = true},
    };
    for (size_t i = 0; i < sizeof tensors / sizeof tensors[0]; i++)
        test_add_quantized(image, &tensors[i]);
    test_add_view_file(image, "a.bf16", "an odd header", &tensors[0], ENTRO_DTYPE_BF16);
    test_add_view_file(image, "a.f32", "four", &tensors[0], ENTRO_DTYPE_F32);
    test_add_view_file(image, "b.f16", "12345678", &tensors[1], ENTRO_DTYPE_F16);
    test_add_view_file(image, "c.f32", "abc", &tensors[2], ENTRO_DTYPE_F32);
    test_add_view_file(image, "c.bf16", "abcde", &tensors[2], ENTRO_DTYPE_BF16);
    test_add_view_file(image, "d.bf16", "d", &tensors[3], ENTRO_DTYPE_BF16);
    test_add_view_file(image, "e.f32", "e", &tensors[4], ENTRO_DTYPE_F32);
    test_add_record_view(image, "b.q4_1", &tensors[1], ENTRO_DTYPE_Q4_1);
    test_add_record_view(image, "d.q8_0", &tensors[3], ENTRO_DTYPE_Q8_0);
    test_add_lossless(image, "k.q4_k", ENTRO_DTYPE_Q4_K, 40, 2560);
    test_add_lossless(image, "l.bf16", ENTRO_DTYPE_BF16, 200, 1000);
    test_add_lossless(image, "l.f32", ENTRO_DTYPE_F32, 111, 301);
    test_add_lossless(image, "l.none", ENTRO_DTYPE_F32, 0, 5);
    for (size_t i = 0; i < sizeof tensors / sizeof tensors[0]; i++)
        test_tensor_free(&tensors[i]);
    test_image_finish(image);
}

static inline void test_image_free(struct test_image *image)
{
    unlink(image->path);
    entro_writer_free(image->writer);
    entro_pool_free(image->pool);
    for (size_t i = 0; i < image->n_files; i++)
        free(image->files[i].bytes);
}

#endif
