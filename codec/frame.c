/*
 * Frames: any buffer with its codebook, blocks and checksums; see entrocodec.h and FORMAT.md, "Frames". The
 * only file of the codec that is seen from outside of its library.
 */
#include <stdlib.h>
#include <string.h>

#include "codec/block.h"
#include "codec/bytes.h"
#include "codec/checksum.h"
#include "codec/entrocodec.h"
#include "codec/histogram.h"
#include "codec/joint_lengths.h"
#include "codec/plane_code.h"
#include "codec/writer_sample.h"

_Static_assert((int)ENTRO_CODEC_OK == (int)ENTRO_OK &&
                   (int)ENTRO_CODEC_NO_MEMORY == (int)ENTRO_ERROR_NO_MEMORY &&
                   (int)ENTRO_CODEC_FORMAT == (int)ENTRO_ERROR_FORMAT &&
                   (int)ENTRO_CODEC_CHECKSUM == (int)ENTRO_ERROR_CHECKSUM &&
                   (int)ENTRO_CODEC_ARGUMENT == (int)ENTRO_ERROR_ARGUMENT,
               "the public errors are some of the library's");

#define MAGIC          UINT64_C(0x52464F52544E4589) /* 89 "ENTROFR" */
#define VERSION        1
#define FIXED_BYTES    24 /* of the head, before the codebooks */
#define RECORD_BYTES   12 /* a block's */
#define CHECKSUM_BYTES 8  /* at the head's end */
#define MAX_SIZE_BYTES ((uint64_t)1 << 46)
#define METHOD_SHIFT   30

#define BLOCK_LOG2  ENTRO_BLOCK_LOG2_DEFAULT
#define BLOCK_BYTES ((size_t)1 << BLOCK_LOG2)

struct entro_codec {
    struct entro_pivot_scratch *scratch;
    uint8_t buffer[ENTRO_BLOCK_MAX_BYTES + ENTRO_READ_SLOP_BYTES]; /* for a block at the end of a caller's */
};

struct entro_codebook {
    struct entro_pivot *pivot; /* NULL: nothing is coded */
    struct entro_plane_code code;
};

const char *entro_codec_version(void)
{
    return ENTRO_VERSION;
}

const char *entro_codec_error_text(enum entro_codec_error error)
{
    return entro_error_name((enum entro_error)error);
}

struct entro_codec *entro_codec_create(void)
{
    struct entro_codec *codec = malloc(sizeof *codec);
    if (codec == NULL)
        return NULL;
    codec->scratch = entro_pivot_scratch_create(NULL);
    if (codec->scratch == NULL) {
        free(codec);
        return NULL;
    }
    return codec;
}

void entro_codec_free(struct entro_codec *codec)
{
    if (codec == NULL)
        return;
    entro_pivot_scratch_free(codec->scratch);
    free(codec);
}

/* bytes NULL: only the counts are known, and whether the codebook pays for itself is the caller's affair. */
static enum entro_error choose_code(struct entro_plane_code *code, const uint64_t counts[ENTRO_N_SYMBOLS],
                                    const uint8_t *bytes, size_t size_bytes)
{
    uint8_t lengths[ENTRO_N_SYMBOLS];
    if (!entro_joint_lengths(counts, BLOCK_BYTES, lengths))
        return ENTRO_OK;
    if (bytes == NULL) {
        entro_plane_code_choose(code, lengths, counts, NULL, 0);
        return ENTRO_OK;
    }
    struct entro_sample *sample = calloc(1, sizeof *sample);
    if (sample == NULL)
        return ENTRO_ERROR_NO_MEMORY;
    entro_sample_take(sample, size_bytes, 0, bytes, size_bytes);
    size_t n_sampled = entro_sample_join(sample);
    entro_plane_code_choose(code, lengths, counts, sample->bytes, n_sampled);
    free(sample);
    return ENTRO_OK;
}

static enum entro_error create_codebook(struct entro_codebook **out, const uint64_t counts[ENTRO_N_SYMBOLS],
                                        const uint8_t *bytes, size_t size_bytes)
{
    struct entro_codebook *codebook = calloc(1, sizeof *codebook);
    if (codebook == NULL)
        return ENTRO_ERROR_NO_MEMORY;
    enum entro_error error = choose_code(&codebook->code, counts, bytes, size_bytes);
    if (error == ENTRO_OK)
        error = entro_plane_code_plan(&codebook->pivot, &codebook->code);
    if (error != ENTRO_OK) {
        free(codebook);
        return error;
    }
    *out = codebook;
    return ENTRO_OK;
}

enum entro_codec_error entro_codebook_from_counts(struct entro_codebook **out, const uint64_t counts[256])
{
    uint64_t sum = 0;
    for (size_t symbol = 0; symbol < ENTRO_N_SYMBOLS; symbol++) {
        if (!entro_add_u64(sum, counts[symbol], &sum) || sum >= (uint64_t)1 << 59)
            return ENTRO_CODEC_ARGUMENT;
    }
    return (enum entro_codec_error)create_codebook(out, counts, NULL, 0);
}

enum entro_codec_error entro_codebook_from_bytes(struct entro_codebook **out, const void *bytes,
                                                 size_t size_bytes)
{
    uint64_t counts[ENTRO_N_SYMBOLS] = {0};
    if (size_bytes > MAX_SIZE_BYTES)
        return ENTRO_CODEC_ARGUMENT;
    const uint8_t *start = bytes;
    for (size_t done = 0, n; done < size_bytes; done += n) {
        n = size_bytes - done < (size_t)1 << 30 ? size_bytes - done : (size_t)1 << 30;
        entro_histogram(start + done, n, counts);
    }
    return (enum entro_codec_error)create_codebook(out, counts, start, size_bytes);
}

void entro_codebook_free(struct entro_codebook *codebook)
{
    if (codebook == NULL)
        return;
    entro_pivot_free(codebook->pivot);
    free(codebook);
}

/* Fits 64 bits: size_bytes is at most 2^46. */
static uint64_t head_bytes(uint64_t n_blocks, unsigned n_codebooks)
{
    return FIXED_BYTES + (uint64_t)n_codebooks * ENTRO_CODEBOOK_BYTES + n_blocks * RECORD_BYTES +
           CHECKSUM_BYTES;
}

size_t entro_compress_bound(size_t size_bytes)
{
    uint64_t bound;
    if (size_bytes > MAX_SIZE_BYTES)
        return SIZE_MAX;
    bound = head_bytes(entro_div_ceil_u64(size_bytes, BLOCK_BYTES), ENTRO_PLANE_MAX_CODEBOOKS) + size_bytes;
    return bound < SIZE_MAX ? (size_t)bound : SIZE_MAX;
}

static enum entro_error compress(struct entro_codec *codec, const struct entro_codebook *codebook,
                                 const uint8_t *bytes, size_t size_bytes, uint8_t *target, size_t capacity,
                                 size_t *frame_bytes)
{
    uint64_t n_blocks = entro_div_ceil_u64(size_bytes, BLOCK_BYTES);
    const struct entro_plane_code *code = &codebook->code;
    uint64_t n_head_bytes = head_bytes(n_blocks, code->n_codebooks);
    if (n_head_bytes > capacity)
        return ENTRO_ERROR_ARGUMENT;
    size_t n_codebook_bytes = code->n_codebooks * (size_t)ENTRO_CODEBOOK_BYTES;
    entro_store_u64(target, MAGIC);
    entro_store_u16(target + 8, VERSION);
    target[10] = BLOCK_LOG2;
    target[11] = (uint8_t)code->n_codebooks;
    entro_store_u32(target + 12, 0);
    entro_store_u64(target + 16, size_bytes);
    memcpy(target + FIXED_BYTES, code->codebooks, n_codebook_bytes);

    uint8_t *record = target + FIXED_BYTES + n_codebook_bytes;
    size_t at = (size_t)n_head_bytes;
    for (size_t done = 0; done < size_bytes; record += RECORD_BYTES) {
        size_t size = size_bytes - done < BLOCK_BYTES ? size_bytes - done : BLOCK_BYTES;
        size_t left = size_bytes - done - size;
        if (left > 0)
            entro_pivot_prefetch(codec->scratch, bytes + done + size,
                                 left < BLOCK_BYTES ? left : BLOCK_BYTES);
        bool has_room = capacity - at >= size;
        uint8_t *place = has_room ? target + at : codec->buffer;
        struct entro_block block =
            entro_block_encode(codebook->pivot, bytes + done, size, place, codec->scratch);
        if (block.stored_bytes > capacity - at)
            return ENTRO_ERROR_ARGUMENT;
        if (!has_room)
            memcpy(target + at, codec->buffer, block.stored_bytes);
        entro_store_u32(record, block.stored_bytes | (uint32_t)block.method << METHOD_SHIFT);
        entro_store_u64(record + 4, block.xxh3_64);
        at += block.stored_bytes;
        done += size;
    }
    entro_store_u64(record, entro_checksum64(target, (size_t)(record - target)));
    *frame_bytes = at;
    return ENTRO_OK;
}

enum entro_codec_error entro_compress(struct entro_codec *codec, const struct entro_codebook *codebook,
                                      const void *bytes, size_t size_bytes, void *target, size_t capacity,
                                      size_t *frame_bytes)
{
    struct entro_codebook *own = NULL;
    if (size_bytes > MAX_SIZE_BYTES)
        return ENTRO_CODEC_ARGUMENT;
    if (codebook == NULL) {
        enum entro_codec_error error = entro_codebook_from_bytes(&own, bytes, size_bytes);
        if (error != ENTRO_CODEC_OK)
            return error;
        codebook = own;
    }
    enum entro_error error = compress(codec, codebook, bytes, size_bytes, target, capacity, frame_bytes);
    entro_codebook_free(own);
    return (enum entro_codec_error)error;
}

/* A frame's head, checked. */
struct head {
    uint64_t size_bytes;
    size_t block_bytes;
    unsigned n_codebooks;
    const uint8_t *codebooks;
    const uint8_t *records;
    const uint8_t *stored; /* the first block's */
};

static struct entro_block load_record(const uint8_t *record)
{
    uint32_t word = entro_load_u32(record);
    return (struct entro_block){.method = (enum entro_method)(word >> METHOD_SHIFT),
                                .stored_bytes = word & (((uint32_t)1 << METHOD_SHIFT) - 1),
                                .xxh3_64 = entro_load_u64(record + 4)};
}

static bool record_is_good(struct entro_block block, size_t size, bool has_codebook)
{
    switch (block.method) {
    case ENTRO_METHOD_CONSTANT:
        return block.stored_bytes == 1;
    case ENTRO_METHOD_RAW:
        return block.stored_bytes == size;
    case ENTRO_METHOD_CODED:
        return has_codebook && block.stored_bytes >= 1 && block.stored_bytes < size;
    }
    return false;
}

/* n is at most head->block_bytes but for the last block, which has what is left. */
static size_t next_size(const struct head *head, uint64_t done)
{
    uint64_t left = head->size_bytes - done;
    return left < head->block_bytes ? (size_t)left : head->block_bytes;
}

static enum entro_error parse_head(struct head *head, const uint8_t *frame, size_t frame_bytes)
{
    if (frame_bytes < FIXED_BYTES + CHECKSUM_BYTES || entro_load_u64(frame) != MAGIC ||
        entro_load_u16(frame + 8) != VERSION || frame[10] < ENTRO_BLOCK_LOG2_MIN ||
        frame[10] > ENTRO_BLOCK_LOG2_MAX || frame[11] > ENTRO_PLANE_MAX_CODEBOOKS ||
        entro_load_u32(frame + 12) != 0)
        return ENTRO_ERROR_FORMAT;
    *head = (struct head){.size_bytes = entro_load_u64(frame + 16),
                          .block_bytes = (size_t)1 << frame[10],
                          .n_codebooks = frame[11],
                          .codebooks = frame + FIXED_BYTES};
    if (head->size_bytes > MAX_SIZE_BYTES)
        return ENTRO_ERROR_FORMAT;
    uint64_t n_blocks = entro_div_ceil_u64(head->size_bytes, head->block_bytes);
    uint64_t n_head_bytes = head_bytes(n_blocks, head->n_codebooks);
    if (n_head_bytes > frame_bytes)
        return ENTRO_ERROR_FORMAT;
    head->records = head->codebooks + head->n_codebooks * (size_t)ENTRO_CODEBOOK_BYTES;
    head->stored = frame + n_head_bytes;
    if (entro_checksum64(frame, (size_t)n_head_bytes - CHECKSUM_BYTES) !=
        entro_load_u64(head->stored - CHECKSUM_BYTES))
        return ENTRO_ERROR_CHECKSUM;

    uint64_t left = frame_bytes - n_head_bytes, done = 0;
    for (const uint8_t *record = head->records; done < head->size_bytes; record += RECORD_BYTES) {
        struct entro_block block = load_record(record);
        size_t size = next_size(head, done);
        if (!record_is_good(block, size, head->n_codebooks > 0) || block.stored_bytes > left)
            return ENTRO_ERROR_FORMAT;
        left -= block.stored_bytes;
        done += size;
    }
    return left == 0 ? ENTRO_OK : ENTRO_ERROR_FORMAT;
}

enum entro_codec_error entro_decompressed_size(const void *frame, size_t frame_bytes, uint64_t *size_bytes)
{
    struct head head;
    enum entro_error error = parse_head(&head, frame, frame_bytes);
    if (error == ENTRO_OK)
        *size_bytes = head.size_bytes;
    return (enum entro_codec_error)error;
}

static enum entro_error load_pivot(struct entro_pivot **pivot, const struct head *head)
{
    if (head->n_codebooks == 0)
        return ENTRO_OK;
    return entro_codebook_plan(pivot, head->codebooks,
                               head->n_codebooks > 1 ? head->codebooks + ENTRO_CODEBOOK_BYTES : NULL);
}

/* `frame_end` ends what is readable. */
static enum entro_error decode_blocks(struct entro_codec *codec, const struct head *head,
                                      const struct entro_pivot *pivot, const uint8_t *frame_end,
                                      uint8_t *target)
{
    const uint8_t *stored = head->stored, *record = head->records;
    for (uint64_t done = 0; done < head->size_bytes; record += RECORD_BYTES) {
        struct entro_block block = load_record(record);
        size_t size = next_size(head, done), behind = (size_t)(frame_end - stored) - block.stored_bytes;
        const uint8_t *readable = stored;
        if (behind < ENTRO_READ_SLOP_BYTES) {
            memcpy(codec->buffer, stored, block.stored_bytes);
            memset(codec->buffer + block.stored_bytes, 0, ENTRO_READ_SLOP_BYTES);
            readable = codec->buffer;
        } else if (done + size < head->size_bytes) {
            entro_pivot_prefetch(codec->scratch, stored + block.stored_bytes,
                                 load_record(record + RECORD_BYTES).stored_bytes);
        }
        enum entro_error error =
            entro_block_decode(pivot, block, readable, target + done, size, codec->scratch);
        if (error != ENTRO_OK)
            return error;
        stored += block.stored_bytes;
        done += size;
    }
    return ENTRO_OK;
}

enum entro_codec_error entro_decompress(struct entro_codec *codec, const void *frame, size_t frame_bytes,
                                        void *target, size_t capacity, size_t *size_bytes)
{
    struct head head;
    struct entro_pivot *pivot = NULL;
    enum entro_error error = parse_head(&head, frame, frame_bytes);
    if (error == ENTRO_OK && head.size_bytes > capacity)
        error = ENTRO_ERROR_ARGUMENT;
    if (error == ENTRO_OK)
        error = load_pivot(&pivot, &head);
    if (error == ENTRO_OK)
        error = decode_blocks(codec, &head, pivot, (const uint8_t *)frame + frame_bytes, target);
    if (error == ENTRO_OK)
        *size_bytes = (size_t)head.size_bytes;
    entro_pivot_free(pivot);
    return (enum entro_codec_error)error;
}
