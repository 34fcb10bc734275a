/* Our coder as a contender, and the list of all; see bench_contenders.h. */
#include "tests/bench/bench_contenders.h"

#include <stdio.h>
#include <string.h>

#include "codec/block.h"
#include "codec/joint_lengths.h"
#include "codec/pivot_kernels.h"

static void prefetch_next(const struct bench_block_call *call)
{
    if (call->next != NULL)
        entro_pivot_prefetch(call->thread, call->next, call->next_bytes);
}

/* Constant, raw or coded, as blocks of an image are, but without the checksum, which zstd -1 has not either.
 */
static void encode_plain(const struct bench_block_call *call, const uint8_t *bytes, size_t size,
                         uint8_t *target, struct bench_stored *stored)
{
    size_t coded_bytes = 0;
    prefetch_next(call);
    if (memcmp(bytes, bytes + 1, size - 1) == 0) {
        target[0] = bytes[0];
        stored->method = ENTRO_METHOD_CONSTANT;
        stored->stored_bytes = 1;
    } else if (call->plan != NULL && (coded_bytes = entro_pivot_encode(call->plan, bytes, size, target,
                                                                       size - 1, call->thread)) > 0) {
        stored->method = ENTRO_METHOD_CODED;
        stored->stored_bytes = (uint32_t)coded_bytes;
    } else {
        memcpy(target, bytes, size);
        stored->method = ENTRO_METHOD_RAW;
        stored->stored_bytes = (uint32_t)size;
    }
}

static bool decode_plain(const struct bench_block_call *call, const uint8_t *bytes,
                         const struct bench_stored *stored, uint8_t *target, size_t size)
{
    switch (stored->method) {
    case ENTRO_METHOD_CONSTANT:
        memset(target, bytes[0], size);
        return true;
    case ENTRO_METHOD_RAW:
        memcpy(target, bytes, size);
        return true;
    default:
        prefetch_next(call);
        return entro_pivot_decode(call->plan, bytes, stored->stored_bytes, target, size, call->thread) ==
               ENTRO_OK;
    }
}

static void encode_checked(const struct bench_block_call *call, const uint8_t *bytes, size_t size,
                           uint8_t *target, struct bench_stored *stored)
{
    prefetch_next(call);
    struct entro_block block = entro_block_encode(call->plan, bytes, size, target, call->thread);
    stored->method = block.method;
    stored->stored_bytes = block.stored_bytes;
    stored->checksum = block.xxh3_64;
}

static bool decode_checked(const struct bench_block_call *call, const uint8_t *bytes,
                           const struct bench_stored *stored, uint8_t *target, size_t size)
{
    struct entro_block block = {.method = (enum entro_method)stored->method,
                                .stored_bytes = stored->stored_bytes,
                                .xxh3_64 = stored->checksum};
    prefetch_next(call);
    return entro_block_decode(call->plan, block, bytes, target, size, call->thread) == ENTRO_OK;
}

static void *thread_create(const struct bench_contender *contender)
{
    return entro_pivot_scratch_create(contender->kernels);
}

static void thread_free(void *thread)
{
    entro_pivot_scratch_free(thread);
}

static const struct bench_coder coder_plain = {true,        16,           128,         thread_create,
                                               thread_free, encode_plain, decode_plain};
static const struct bench_coder coder_checked = {
    true, 16, 128, thread_create, thread_free, encode_checked, decode_checked};

struct bench_contender bench_ours(const struct entro_pivot_kernels *kernels, bool with_checksum)
{
    struct bench_contender contender = {.coder = with_checksum ? &coder_checked : &coder_plain,
                                        .kernels = kernels,
                                        .has_checksum = with_checksum};
    snprintf(contender.name, sizeof contender.name, "%s%s", kernels->name, with_checksum ? "+xxh3" : "");
    return contender;
}

bool bench_other(struct bench_contender *out, const char *name)
{
    static const struct {
        const char *name;
        const struct bench_coder *coder;
    } others[] = {
#if ENTRO_BENCH_ZSTD
        {"zstd", &bench_coder_zstd},
#else
        {"zstd", NULL},
#endif
#if ENTRO_BENCH_HUFF0
        {"huff0", &bench_coder_huff0},
#else
        {"huff0", NULL},
#endif
#if ENTRO_BENCH_LZ4
        {"lz4", &bench_coder_lz4},
#else
        {"lz4", NULL},
#endif
        {"memcpy", &bench_coder_memcpy},
    };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        if (strcmp(others[i].name, name) == 0) {
            *out = (struct bench_contender){.coder = others[i].coder};
            snprintf(out->name, sizeof out->name, "%s", name);
            return true;
        }
    }
    return false;
}

static bool optimal(const uint64_t counts[ENTRO_N_SYMBOLS], size_t block_bytes,
                    uint8_t lengths[ENTRO_N_SYMBOLS])
{
    (void)block_bytes;
    return entro_code_lengths(counts, ENTRO_MAX_CODE_LENGTH, lengths);
}

static const struct lengths_way {
    const char *name;
    bool (*lengths)(const uint64_t counts[ENTRO_N_SYMBOLS], size_t block_bytes,
                    uint8_t lengths[ENTRO_N_SYMBOLS]);
} ways[] = {
    {"joint", entro_joint_lengths},
    {"optimal", optimal},
};
static const struct lengths_way *way = &ways[0];

bool bench_lengths(const uint64_t counts[ENTRO_N_SYMBOLS], size_t block_bytes,
                   uint8_t lengths[ENTRO_N_SYMBOLS])
{
    return way->lengths(counts, block_bytes, lengths);
}

bool bench_lengths_choose(const char *name)
{
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        if (strcmp(ways[i].name, name) == 0) {
            way = &ways[i];
            return true;
        }
    }
    return false;
}

const char *bench_lengths_name(void)
{
    return way->name;
}
