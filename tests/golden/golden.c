/* The contents of the golden image, and the calls that write it; see golden.h. expected.py has the same
 * formulas: change both or none. */
#include "golden.h"

#include <stdlib.h>
#include <string.h>

#include "codec/bytes.h"
#include "codec/writer.h"

#define BUFFER_BYTES 131072

/* Knuth's MMIX generator; expected.py has the same. Each content starts from a seed of its own. */
struct generator {
    uint64_t state;
};

static uint32_t next(struct generator *generator)
{
    generator->state = generator->state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(generator->state >> 33);
}

/* Difference of two binomial numbers: -n..n, most often near 0. */
static int spread(struct generator *generator, unsigned n)
{
    uint32_t mask = (1U << n) - 1;
    int a = __builtin_popcount(next(generator) & mask);
    int b = __builtin_popcount(next(generator) & mask);
    return a - b;
}

static size_t peaked_codes(uint8_t *target, uint64_t seed, size_t n)
{
    struct generator generator = {seed};
    for (size_t i = 0; i < n; i++) {
        target[i] = (uint8_t)(128 + spread(&generator, 16));
        if (i % 97 == 0)
            target[i] = (uint8_t)next(&generator);
    }
    return n;
}

static size_t uniform_codes(uint8_t *target, uint64_t seed, size_t n, unsigned n_symbols, unsigned factor)
{
    struct generator generator = {seed};
    for (size_t i = 0; i < n; i++)
        target[i] = (uint8_t)(next(&generator) % n_symbols * factor);
    return n;
}

/* Nearly all 7 at first, then half of them anything: roots that are coded, and at last one that is not. */
static size_t skewed_codes(uint8_t *target, uint64_t seed, size_t n)
{
    struct generator generator = {seed};
    for (size_t i = 0; i < n; i++) {
        uint32_t number = next(&generator);
        bool is_any = number % 16 == 0 || (i >= 17000 && number >> 13 & 1);
        target[i] = is_any ? (uint8_t)(number >> 8 & 31) : 7;
    }
    return n;
}

/* u4 codes near 7, two a byte. */
static size_t packed_codes(uint8_t *target, uint64_t seed, size_t n)
{
    struct generator generator = {seed};
    memset(target, 0, (n + 1) / 2);
    for (size_t i = 0; i < n; i++) {
        int code = 7 + spread(&generator, 6);
        target[i / 2] |= (uint8_t)(code << (i % 2 * 4));
    }
    return (n + 1) / 2;
}

/* Words of `bytes` bytes: base + a number below 2^spread_bits, every third one with the sign bit. */
static size_t float_bits(uint8_t *target, uint64_t seed, size_t n, unsigned bytes, uint64_t base,
                         unsigned spread_bits)
{
    struct generator generator = {seed};
    for (size_t i = 0; i < n; i++) {
        uint64_t word = base + (next(&generator) & ((1U << spread_bits) - 1));
        if (i % 3 == 0)
            word |= (uint64_t)1 << (8 * bytes - 1);
        memcpy(target + i * bytes, &word, bytes);
    }
    return n * bytes;
}

/* Records of 144 bytes like Q4_K's: two halves that change in their low byte, 12 bytes of scales, 128 of
 * nibbles. */
static size_t block_records(uint8_t *target, uint64_t seed, size_t n)
{
    struct generator generator = {seed};
    for (size_t i = 0; i < n; i++) {
        uint8_t *record = target + i * 144;
        record[0] = (uint8_t)next(&generator);
        record[1] = 0x1c;
        record[2] = (uint8_t)next(&generator);
        record[3] = 0x20;
        for (unsigned k = 0; k < 12; k++)
            record[4 + k] = (uint8_t)(32 + spread(&generator, 8));
        for (unsigned k = 0; k < 128; k++) {
            int low = 7 + spread(&generator, 6);
            record[16 + k] = (uint8_t)(low | (7 + spread(&generator, 6)) << 4);
        }
    }
    return n * 144;
}

/* Bytes whose optimal code lengths are given, shuffled: 32768 in all, 2^(15 - length) of each symbol of a
 * length. */
static size_t leaves_of_many_widths(uint8_t *target, uint64_t seed)
{
    static const struct {
        unsigned length, n_symbols;
    } groups[] = {{1, 1}, {3, 1}, {4, 3}, {6, 7}, {8, 15}, {10, 19}, {15, 32}};
    struct generator generator = {seed};
    size_t n = 0;
    unsigned symbol = 0;
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++)
        for (unsigned k = 0; k < groups[i].n_symbols; k++, symbol++) {
            size_t count = (size_t)1 << (15 - groups[i].length);
            memset(target + n, (int)((symbol * 37 + 11) & 255), count);
            n += count;
        }
    for (size_t i = n - 1; i > 0; i--) {
        size_t j = next(&generator) % (i + 1);
        uint8_t swap = target[i];
        target[i] = target[j];
        target[j] = swap;
    }
    return n;
}

/* A constant block, a block of noise, one that is coded, and an end of 100 bytes. */
static size_t mixed_blocks(uint8_t *target, uint64_t seed)
{
    memset(target, 'A', 4096);
    uniform_codes(target + 4096, seed, 4096, 256, 1);
    peaked_codes(target + 8192, seed + 1, 4096);
    memset(target + 12288, 128, 100);
    return 12388;
}

static size_t text(uint8_t *target, uint64_t seed, size_t n)
{
    static const char letters[] = "etaoin shrdlu,.\n";
    struct generator generator = {seed};
    for (size_t i = 0; i < n; i++) {
        uint32_t a = next(&generator) % 16;
        uint32_t b = next(&generator) % 16;
        target[i] = (uint8_t)letters[a < b ? a : b];
    }
    return n;
}

static const struct entro_layout bf16_layout = {2, 2, 2, {1, 1}};
static const struct entro_layout f32_layout = {4, 4, 4, {1, 1, 1, 1}};
static const struct entro_layout f64_layout = {8, 8, 8, {1, 1, 1, 1, 1, 1, 1, 1}};
static const struct entro_layout i32_layout = {4, 0, 4, {1, 1, 1, 1}};
static const struct entro_layout c64_layout = {8, 4, 2, {4, 4}};
static const struct entro_layout q4_k_layout = {144, 0, 6, {1, 1, 1, 1, 12, 128}};
static const struct entro_layout pair_layout = {3, 0, 2, {2, 1}};

struct golden {
    struct entro_writer *writer;
    struct entro_message *message;
    uint8_t *buffer;
    enum entro_error error; /* of the first addition that failed; later ones do nothing */
};

static enum entro_error produce_from_buffer(void *context, uint64_t offset, size_t size_bytes,
                                            uint8_t *target, struct entro_message *message)
{
    (void)message;
    memcpy(target, (const uint8_t *)context + offset, size_bytes);
    return ENTRO_OK;
}

/* Adds what is in the buffer. */
static uint32_t add_stream(struct golden *golden, const char *name, size_t size,
                           const struct entro_layout *layout)
{
    const struct entro_producer producer = {.context = golden->buffer, .produce = produce_from_buffer};
    struct entro_stream_summary summary;
    if (golden->error == ENTRO_OK)
        golden->error =
            entro_writer_add_stream(golden->writer, name, size, layout, &producer, &summary, golden->message);
    return golden->error == ENTRO_OK ? summary.stream : ENTRO_NONE;
}

static uint32_t add_tensor(struct golden *golden, struct entro_tensor tensor)
{
    uint32_t number = ENTRO_NONE;
    if (golden->error == ENTRO_OK)
        golden->error = entro_writer_add_tensor(golden->writer, &tensor, &number, golden->message);
    return number;
}

static void add_file(struct golden *golden, const char *path, const struct entro_extent *extents,
                     uint32_t n_extents)
{
    if (golden->error == ENTRO_OK)
        golden->error = entro_writer_add_file(golden->writer, path, extents, n_extents, golden->message);
}

static void set_block_log2(struct golden *golden, unsigned block_log2)
{
    if (golden->error == ENTRO_OK)
        golden->error = entro_writer_set_block_log2(golden->writer, block_log2);
}

/* Scheme, bits, scale and zero point of a quantized tensor; figures that only statistics show are made up. */
static struct entro_tensor quantized(const char *name, enum entro_scheme scheme, unsigned bits, float scale,
                                     int32_t zero_point, uint64_t rows, uint64_t columns, uint32_t stream)
{
    return (struct entro_tensor){
        .name = name,
        .dtype = ENTRO_DTYPE_BF16,
        .scheme = scheme,
        .bits = bits,
        .rank = 2,
        .shape = {rows, columns},
        .stream = stream,
        .row_scale = ENTRO_NONE,
        .column_scale = ENTRO_NONE,
        .outliers = ENTRO_NONE,
        .scale = scale,
        .zero_point = zero_point,
        .entropy_bits = 3.25,
        .snr_db = 31.5,
    };
}

static struct entro_tensor lossless(const char *name, enum entro_dtype dtype, unsigned rank, uint64_t first,
                                    uint64_t second, uint32_t stream)
{
    return (struct entro_tensor){
        .name = name,
        .dtype = dtype,
        .scheme = ENTRO_SCHEME_LOSSLESS,
        .rank = rank,
        .shape = {first, second},
        .stream = stream,
        .row_scale = ENTRO_NONE,
        .column_scale = ENTRO_NONE,
        .outliers = ENTRO_NONE,
        .entropy_bits = 10.5,
    };
}

/* Numbers of the quantized tensors, for the files. */
struct numbers {
    uint32_t asymmetric_u8, unsigned_u8, asymmetric_u4, odd_u4, balanced_u8, balanced_u4, bf16;
};

static void add_quantized(struct golden *golden, struct numbers *numbers)
{
    uint8_t *buffer = golden->buffer;
    uint32_t stream =
        add_stream(golden, "asymmetric.u8", peaked_codes(buffer, 1, 96 * 128), &entro_layout_bytes);
    numbers->asymmetric_u8 = add_tensor(
        golden, quantized("asymmetric.u8", ENTRO_SCHEME_ASYMMETRIC, 8, 0x1p-7F, 128, 96, 128, stream));
    /* The same codes again: tied.u8 shares the stream, and has another scale. */
    stream = add_stream(golden, "tied.u8", peaked_codes(buffer, 1, 96 * 128), &entro_layout_bytes);
    add_tensor(golden, quantized("tied.u8", ENTRO_SCHEME_ASYMMETRIC, 8, 0x1.4p-5F, 120, 128, 96, stream));

    stream = add_stream(golden, "unsigned.u8", uniform_codes(buffer, 2, 40 * 50, 64, 4), &entro_layout_bytes);
    numbers->unsigned_u8 = add_tensor(
        golden, quantized("unsigned.u8", ENTRO_SCHEME_UNSIGNED, 8, 0x1.23456p-9F, 0, 40, 50, stream));
    stream = add_stream(golden, "asymmetric.u4", packed_codes(buffer, 3, 33 * 64), &entro_layout_bytes);
    numbers->asymmetric_u4 = add_tensor(
        golden, quantized("asymmetric.u4", ENTRO_SCHEME_ASYMMETRIC, 4, 0x1.8p-7F, 7, 33, 64, stream));
    stream = add_stream(golden, "odd.u4", packed_codes(buffer, 4, 7 * 9), &entro_layout_bytes);
    numbers->odd_u4 =
        add_tensor(golden, quantized("odd.u4", ENTRO_SCHEME_UNSIGNED, 4, 0x1.99999ap-4F, 15, 7, 9, stream));

    static const struct {
        uint64_t element;
        uint32_t value;
    } outliers[] = {{5, 0x41200000}, {100, 0xc1280001}, {101, 0x3f9e0652}, {767, 0x80000001}};
    stream = add_stream(golden, "balanced.u8", peaked_codes(buffer, 5, 24 * 32), &entro_layout_bytes);
    struct entro_tensor tensor =
        quantized("balanced.u8", ENTRO_SCHEME_BALANCED, 8, 0x1.47ae14p-7F, 130, 24, 32, stream);
    tensor.row_scale = add_stream(golden, "rows", float_bits(buffer, 50, 24, 2, 0x3800, 11), &bf16_layout);
    tensor.column_scale =
        add_stream(golden, "columns", float_bits(buffer, 51, 32, 2, 0x3a00, 9), &bf16_layout);
    for (size_t i = 0; i < 4; i++) {
        entro_store_u64(buffer + 12 * i, outliers[i].element);
        entro_store_u32(buffer + 12 * i + 8, outliers[i].value);
    }
    tensor.outliers = add_stream(golden, "outliers", 48, &entro_layout_bytes);
    numbers->balanced_u8 = add_tensor(golden, tensor);

    stream = add_stream(golden, "balanced.u4", packed_codes(buffer, 6, 24 * 40), &entro_layout_bytes);
    tensor = quantized("balanced.u4", ENTRO_SCHEME_BALANCED, 4, 0x1.47ae14p-3F, -2, 24, 40, stream);
    /* The same factors as those of balanced.u8, stored once. */
    tensor.row_scale = add_stream(golden, "rows", float_bits(buffer, 50, 24, 2, 0x3800, 11), &bf16_layout);
    numbers->balanced_u4 = add_tensor(golden, tensor);
}

static void add_lossless(struct golden *golden, struct numbers *numbers)
{
    uint8_t *buffer = golden->buffer;
    uint32_t stream =
        add_stream(golden, "kept.bf16", float_bits(buffer, 7, 3000, 2, 0x3d00, 9), &bf16_layout);
    numbers->bf16 = stream;
    add_tensor(golden, lossless("kept.bf16", ENTRO_DTYPE_BF16, 1, 3000, 0, stream));
    stream = add_stream(golden, "kept.f32", float_bits(buffer, 8, 19 * 27, 4, 0x3c000000, 26), &f32_layout);
    add_tensor(golden, lossless("kept.f32", ENTRO_DTYPE_F32, 2, 19, 27, stream));
    stream = add_stream(golden, "kept.f64", float_bits(buffer, 9, 150, 8, UINT64_C(0x3f80000000000000), 30),
                        &f64_layout);
    add_tensor(golden, lossless("kept.f64", ENTRO_DTYPE_F64, 1, 150, 0, stream));
    stream = add_stream(golden, "kept.i32", float_bits(buffer, 10, 999, 4, 1000, 10), &i32_layout);
    add_tensor(golden, lossless("kept.i32", ENTRO_DTYPE_I32, 1, 999, 0, stream));
    stream = add_stream(golden, "kept.c64", float_bits(buffer, 11, 2 * 77, 4, 0x40000000, 12), &c64_layout);
    add_tensor(golden, lossless("kept.c64", ENTRO_DTYPE_C64, 1, 77, 0, stream));
    stream = add_stream(golden, "kept.q4_k", block_records(buffer, 12, 3 * 13), &q4_k_layout);
    add_tensor(golden, lossless("kept.q4_k", ENTRO_DTYPE_Q4_K, 2, 3, 13 * 256, stream));
    stream = add_stream(golden, "skewed.u8", skewed_codes(buffer, 13, 20000), &entro_layout_bytes);
    add_tensor(golden, lossless("skewed.u8", ENTRO_DTYPE_U8, 2, 100, 200, stream));
    entro_store_f32(buffer, 1.5F);
    stream = add_stream(golden, "scalar.f32", 4, &f32_layout);
    add_tensor(golden, lossless("scalar.f32", ENTRO_DTYPE_F32, 0, 0, 0, stream));
    stream = add_stream(golden, "empty.f32", 0, &f32_layout);
    add_tensor(golden, lossless("empty.f32", ENTRO_DTYPE_F32, 2, 0, 4, stream));
}

/* A file that is what is in the buffer. */
static void add_plain_file(struct golden *golden, const char *path, size_t size,
                           const struct entro_layout *layout)
{
    const struct entro_extent extent = {
        .kind = ENTRO_EXTENT_STREAM, .reference = add_stream(golden, path, size, layout), .size_bytes = size};
    add_file(golden, path, &extent, 1);
}

static void add_plain_files(struct golden *golden)
{
    uint8_t *buffer = golden->buffer;
    static const char config[] = "{\"golden\": true}\n";
    memcpy(buffer, config, sizeof config - 1);
    add_plain_file(golden, "config.json", sizeof config - 1, &entro_layout_bytes);
    add_plain_file(golden, "widths.bin", leaves_of_many_widths(buffer, 20), &entro_layout_bytes);
    add_plain_file(golden, "folder/seven.bin", uniform_codes(buffer, 21, 4096, 128, 2), &entro_layout_bytes);
    add_plain_file(golden, "folder/mixed.bin", mixed_blocks(buffer, 22), &entro_layout_bytes);
    add_plain_file(golden, "folder/deep/pairs.bin", text(buffer, 24, 15000), &pair_layout);
    add_file(golden, "empty.txt", NULL, 0);
    memset(buffer, 0, 10000);
    add_plain_file(golden, "folder-zeros.bin", 10000, &entro_layout_bytes);
    /* Blocks of other sizes from here on. */
    set_block_log2(golden, 16);
    add_plain_file(golden, "letters.txt", text(buffer, 25, 70000), &entro_layout_bytes);
    set_block_log2(golden, 13);
    add_plain_file(golden, "blocks of 8 KiB", text(buffer, 26, 20000), &entro_layout_bytes);
}

static struct entro_extent view(uint32_t tensor, enum entro_dtype dtype, uint64_t n_elements)
{
    const struct entro_dtype_info *info = entro_dtype_info(dtype);
    return (struct entro_extent){.kind = ENTRO_EXTENT_VIEW,
                                 .dtype = dtype,
                                 .reference = tensor,
                                 .size_bytes = n_elements / info->block_elements * info->block_bytes};
}

static void add_view_files(struct golden *golden, const struct numbers *numbers)
{
    static const char header[] = "the views begin here\n";
    memcpy(golden->buffer, header, sizeof header - 1);
    const struct entro_extent literal = {
        .kind = ENTRO_EXTENT_STREAM,
        .reference = add_stream(golden, "views", sizeof header - 1, &entro_layout_bytes),
        .size_bytes = sizeof header - 1};
    const struct entro_extent views[] = {
        literal,
        view(numbers->asymmetric_u8, ENTRO_DTYPE_BF16, 96 * 128),
        view(numbers->asymmetric_u8, ENTRO_DTYPE_Q8_0, 96 * 128),
        view(numbers->unsigned_u8, ENTRO_DTYPE_F32, 40 * 50),
        view(numbers->unsigned_u8, ENTRO_DTYPE_F16, 40 * 50),
        view(numbers->asymmetric_u4, ENTRO_DTYPE_Q4_1, 33 * 64),
        view(numbers->asymmetric_u4, ENTRO_DTYPE_Q8_0, 33 * 64),
        view(numbers->asymmetric_u4, ENTRO_DTYPE_F16, 33 * 64),
        view(numbers->odd_u4, ENTRO_DTYPE_F32, 7 * 9),
        view(numbers->odd_u4, ENTRO_DTYPE_BF16, 7 * 9),
        view(numbers->balanced_u8, ENTRO_DTYPE_F32, 24 * 32),
        view(numbers->balanced_u8, ENTRO_DTYPE_F16, 24 * 32),
        view(numbers->balanced_u8, ENTRO_DTYPE_BF16, 24 * 32),
        view(numbers->balanced_u4, ENTRO_DTYPE_F32, 24 * 40),
        view(numbers->balanced_u4, ENTRO_DTYPE_BF16, 24 * 40),
    };
    add_file(golden, "views.bin", views, sizeof views / sizeof views[0]);
    /* Parts of streams, one of them twice, and the codes of a tensor as they are. */
    const struct entro_extent parts[] = {
        literal,
        {.kind = ENTRO_EXTENT_STREAM, .reference = numbers->bf16, .offset = 1001, .size_bytes = 4000},
        {.kind = ENTRO_EXTENT_STREAM, .reference = numbers->bf16, .offset = 0, .size_bytes = 6000},
        literal,
    };
    add_file(golden, "folder/parts.bin", parts, sizeof parts / sizeof parts[0]);
}

enum entro_error golden_write(const char *path, struct entro_pool *pool, struct entro_message *message)
{
    struct golden golden = {.message = message};
    struct numbers numbers;
    uint64_t image_bytes;
    golden.buffer = malloc(BUFFER_BYTES);
    if (golden.buffer == NULL)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory");
    golden.error = entro_writer_create(&golden.writer, path, true, ENTRO_SOURCE_SAFETENSORS, pool, message);
    set_block_log2(&golden, 12);
    add_quantized(&golden, &numbers);
    add_lossless(&golden, &numbers);
    add_plain_files(&golden);
    add_view_files(&golden, &numbers);
    if (golden.error == ENTRO_OK)
        golden.error = entro_writer_finish(golden.writer, &image_bytes, message);
    entro_writer_free(golden.writer);
    free(golden.buffer);
    return golden.error;
}

void golden_frame_content(uint8_t target[GOLDEN_FRAME_CONTENT_BYTES])
{
    for (size_t i = 0; i < 4; i++)
        skewed_codes(target + i * 16384, 91 + i, 16384);
    memset(target + 65536, 7, 65536);
    uniform_codes(target + (size_t)2 * 65536, 95, 3000, 256, 1);
}
