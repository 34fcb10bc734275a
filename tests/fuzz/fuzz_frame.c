/*
 * Any bytes as a frame: an error or what it declares, within the buffers. The head's checksum is set right
 * first, where the head lets one tell where it is: else hardly an input would get past it. And any bytes as a
 * buffer to compress, which must come back.
 */
#include "codec/entrocodec.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "codec/bytes.h"
#include "codec/checksum.h"

#define FIXED_BYTES 24

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void *allocate(size_t size)
{
    void *memory = malloc(size > 0 ? size : 1);
    require(memory != NULL);
    return memory;
}

/* Sets the checksums right, of the head and of the blocks, so far as there are bytes. */
static void seal(uint8_t *frame, size_t n)
{
    if (n < FIXED_BYTES || frame[10] > 17 || frame[11] > 2)
        return;
    uint64_t size = entro_load_u64(frame + 16), n_blocks = entro_div_ceil_u64(size, (uint64_t)1 << frame[10]);
    size_t records = FIXED_BYTES + 128 * (size_t)frame[11];
    if (n < records + 8 || n_blocks > (n - records - 8) / 12)
        return;
    size_t end = records + 12 * (size_t)n_blocks;
    const uint8_t *stored = frame + end + 8;
    for (size_t at = records; at < end; at += 12) {
        uint32_t stored_bytes = entro_load_u32(frame + at) & 0x3fffffff;
        if (stored_bytes > (size_t)(frame + n - stored))
            break;
        entro_store_u64(frame + at + 4, entro_checksum64(stored, stored_bytes));
        stored += stored_bytes;
    }
    entro_store_u64(frame + end, entro_checksum64(frame, end));
}

static void decode_hostile(struct entro_codec *codec, const uint8_t *data, size_t n, bool is_sealed)
{
    uint8_t *frame = allocate(n);
    if (n > 0)
        memcpy(frame, data, n);
    if (is_sealed)
        seal(frame, n);
    uint64_t told_bytes = 0;
    size_t decoded_bytes, limit = (size_t)1 << 20;
    enum entro_codec_error told = entro_decompressed_size(frame, n, &told_bytes);
    size_t capacity = told != ENTRO_CODEC_OK ? 0 : told_bytes < limit ? (size_t)told_bytes : limit;
    uint8_t *bytes = allocate(capacity);
    enum entro_codec_error error = entro_decompress(codec, frame, n, bytes, capacity, &decoded_bytes);
    require(told == ENTRO_CODEC_OK || error == told);
    require(error != ENTRO_CODEC_OK || decoded_bytes == told_bytes);
    require(error != ENTRO_CODEC_ARGUMENT || told_bytes > limit);
    free(bytes);
    free(frame);
}

static void compress_and_compare(struct entro_codec *codec, const uint8_t *data, size_t n)
{
    size_t bound = entro_compress_bound(n), frame_bytes, decoded_bytes;
    uint8_t *frame = allocate(bound), *bytes = allocate(n);
    require(entro_compress(codec, NULL, data, n, frame, bound, &frame_bytes) == ENTRO_CODEC_OK);
    require(frame_bytes <= bound);
    uint8_t *exact = allocate(frame_bytes);
    memcpy(exact, frame, frame_bytes);
    require(entro_decompress(codec, exact, frame_bytes, bytes, n, &decoded_bytes) == ENTRO_CODEC_OK);
    require(decoded_bytes == n && (n == 0 || memcmp(bytes, data, n) == 0));
    free(exact);
    free(bytes);
    free(frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct entro_codec *codec;
    if (codec == NULL)
        codec = entro_codec_create();
    require(codec != NULL);
    decode_hostile(codec, data, size, false);
    decode_hostile(codec, data, size, true);
    if (size == 0 ||
        data[0] != 0x89) /* what may be a frame is none to compress: making codebooks takes longest */
        compress_and_compare(codec, data, size);
    return 0;
}
