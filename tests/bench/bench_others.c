/* zstd -1, huff0 (zstd's entropy coder by itself, from the static library's inner symbols), lz4 and memcpy as
 * contenders; see bench_contenders.h. What this build has not is left out. */
#include <stdlib.h>
#include <string.h>

#if ENTRO_BENCH_ZSTD
#include <zstd.h>
#endif
#if ENTRO_BENCH_LZ4
#include <lz4.h>
#endif

#include "tests/bench/bench_contenders.h"

#if ENTRO_BENCH_ZSTD
struct zstd_thread {
    ZSTD_CCtx *encoder;
    ZSTD_DCtx *decoder;
};

static void zstd_free(void *thread)
{
    struct zstd_thread *zstd = thread;
    ZSTD_freeCCtx(zstd->encoder);
    ZSTD_freeDCtx(zstd->decoder);
    free(zstd);
}

static void *zstd_create(const struct bench_contender *contender)
{
    (void)contender;
    struct zstd_thread *zstd = calloc(1, sizeof *zstd);
    if (zstd == NULL)
        return NULL;
    zstd->encoder = ZSTD_createCCtx();
    zstd->decoder = ZSTD_createDCtx();
    if (zstd->encoder == NULL || zstd->decoder == NULL) {
        zstd_free(zstd);
        return NULL;
    }
    return zstd;
}

static void zstd_encode(const struct bench_block_call *call, const uint8_t *bytes, size_t size,
                        uint8_t *target, struct bench_stored *stored)
{
    struct zstd_thread *zstd = call->thread;
    size_t n = ZSTD_compressCCtx(zstd->encoder, target, BENCH_BOUND_BYTES(size), bytes, size, 1);
    stored->stored_bytes = ZSTD_isError(n) ? 0 : (uint32_t)n; /* 0: decoding fails, and is noticed */
}

static bool zstd_decode(const struct bench_block_call *call, const uint8_t *bytes,
                        const struct bench_stored *stored, uint8_t *target, size_t size)
{
    struct zstd_thread *zstd = call->thread;
    return ZSTD_decompressDCtx(zstd->decoder, target, size, bytes, stored->stored_bytes) == size;
}

const struct bench_coder bench_coder_zstd = {false, 0, 0, zstd_create, zstd_free, zstd_encode, zstd_decode};
#endif

#if ENTRO_BENCH_HUFF0
/* As zstd 1.5.4 to 1.5.7 declare them in lib/common/huf.h, which is not installed; CMake has seen a block
 * survive them. */
size_t HUF_compress4X_repeat(void *target, size_t capacity, const void *bytes, size_t size,
                             unsigned max_symbol, unsigned table_log, void *workspace, size_t workspace_bytes,
                             size_t *table, int *repeat, int flags);
size_t HUF_decompress4X_hufOnly_wksp(uint32_t *table, void *target, size_t size, const void *stored,
                                     size_t stored_bytes, void *workspace, size_t workspace_bytes, int flags);
unsigned HUF_isError(size_t code);

#define HUF_USE_BMI2        1 /* flag: the processor has it, which zstd itself looks up */
#define HUF_MAX_LOG         12
#define HUF_DEFAULT_LOG     11
#define HUF_MAX_BLOCK_BYTES (128 * 1024)

enum { HUFF0_RAW, HUFF0_CONSTANT, HUFF0_CODED };

struct huff0_thread {
    size_t encoder_table[257 + 1];
    uint64_t workspace[2048]; /* either side needs at most 8.5 KiB */
    uint32_t decoder_table[1 + (1 << HUF_MAX_LOG)];
    int flags;
};

static void *huff0_create(const struct bench_contender *contender)
{
    (void)contender;
    struct huff0_thread *huff0 = calloc(1, sizeof *huff0);
#if defined(__x86_64__)
    if (huff0 != NULL && __builtin_cpu_supports("bmi2"))
        huff0->flags = HUF_USE_BMI2;
#endif
    return huff0;
}

static void huff0_encode(const struct bench_block_call *call, const uint8_t *bytes, size_t size,
                         uint8_t *target, struct bench_stored *stored)
{
    struct huff0_thread *huff0 = call->thread;
    int repeat = 0; /* a table of its own in each block */
    size_t n = size > HUF_MAX_BLOCK_BYTES
                   ? 0
                   : HUF_compress4X_repeat(target, BENCH_BOUND_BYTES(size), bytes, size, 255, HUF_DEFAULT_LOG,
                                           huff0->workspace, sizeof huff0->workspace, huff0->encoder_table,
                                           &repeat, huff0->flags);
    if (n == 1) {
        stored->method = HUFF0_CONSTANT;
    } else if (n == 0 || HUF_isError(n) || n >= size) {
        memcpy(target, bytes, n = size);
        stored->method = HUFF0_RAW;
    } else {
        stored->method = HUFF0_CODED;
    }
    stored->stored_bytes = (uint32_t)n;
}

static bool huff0_decode(const struct bench_block_call *call, const uint8_t *bytes,
                         const struct bench_stored *stored, uint8_t *target, size_t size)
{
    struct huff0_thread *huff0 = call->thread;
    if (stored->method == HUFF0_CONSTANT) {
        memset(target, bytes[0], size);
        return true;
    }
    if (stored->method == HUFF0_RAW) {
        memcpy(target, bytes, size);
        return true;
    }
    huff0->decoder_table[0] = HUF_MAX_LOG * UINT32_C(0x01000001); /* its capacity */
    return HUF_decompress4X_hufOnly_wksp(huff0->decoder_table, target, size, bytes, stored->stored_bytes,
                                         huff0->workspace, sizeof huff0->workspace, huff0->flags) == size;
}

const struct bench_coder bench_coder_huff0 = {false, 0, 0, huff0_create, free, huff0_encode, huff0_decode};
#endif

#if ENTRO_BENCH_LZ4
static void *lz4_create(const struct bench_contender *contender)
{
    (void)contender;
    return malloc((size_t)LZ4_sizeofState());
}

static void lz4_encode(const struct bench_block_call *call, const uint8_t *bytes, size_t size,
                       uint8_t *target, struct bench_stored *stored)
{
    int n = LZ4_compress_fast_extState(call->thread, (const char *)bytes, (char *)target, (int)size,
                                       (int)BENCH_BOUND_BYTES(size), 1);
    stored->stored_bytes = (uint32_t)n;
}

static bool lz4_decode(const struct bench_block_call *call, const uint8_t *bytes,
                       const struct bench_stored *stored, uint8_t *target, size_t size)
{
    (void)call;
    return LZ4_decompress_safe((const char *)bytes, (char *)target, (int)stored->stored_bytes, (int)size) ==
           (int)size;
}

const struct bench_coder bench_coder_lz4 = {false, 0, 0, lz4_create, free, lz4_encode, lz4_decode};
#endif

static void *memcpy_create(const struct bench_contender *contender)
{
    (void)contender;
    return malloc(1);
}

static void memcpy_encode(const struct bench_block_call *call, const uint8_t *bytes, size_t size,
                          uint8_t *target, struct bench_stored *stored)
{
    (void)call;
    memcpy(target, bytes, size);
    stored->stored_bytes = (uint32_t)size;
}

static bool memcpy_decode(const struct bench_block_call *call, const uint8_t *bytes,
                          const struct bench_stored *stored, uint8_t *target, size_t size)
{
    (void)call;
    (void)stored;
    memcpy(target, bytes, size);
    return true;
}

const struct bench_coder bench_coder_memcpy = {false,        0, 0, memcpy_create, free, memcpy_encode,
                                               memcpy_decode};
