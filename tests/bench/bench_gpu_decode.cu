/*
 * How fast the GPU decodes blocks: synthetic streams from the codec's encoder, decoded bytes a second.
 * Verifies each stream. bench_gpu_decode [MiB a stream, default 128]; with "damaged" behind it instead
 * decodes streams with wrong bytes, which must neither fail nor write elsewhere (compute-sanitizer sees
 * more).
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runner/coded_plan.h"
#include "runner/cuda/decode_kernel.h"
extern "C" {
#include "codec/block.h"
#include "codec/histogram.h"
#include "codec/joint_lengths.h"
}

#define BLOCK_BYTES ((size_t)65536)
#define N_RUNS      9

static void check(cudaError_t error, const char *what)
{
    if (error == cudaSuccess)
        return;
    fprintf(stderr, "bench_gpu_decode: %s: %s\n", what, cudaGetErrorString(error));
    exit(1);
}

/* Source: Marsaglia, "Xorshift RNGs". */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static double normal_density(double x, double deviation)
{
    return exp(-0.5 * x * x / deviation / deviation);
}

static double student5_density(double x, double deviation)
{
    return pow(1 + x * x / (5 * deviation * deviation), -3);
}

/* Symbols by their chances: one of 65536 points of the distribution at random. */
static void fill(uint8_t *symbols, size_t n, const double chances[256], uint64_t seed)
{
    static uint8_t of_point[65536];
    double sum = 0, below = 0;
    for (unsigned i = 0; i < 256; i++)
        sum += chances[i];
    unsigned point = 0;
    for (unsigned i = 0; i < 256; i++) {
        below += chances[i] / sum;
        while (point < 65536 && (point + 0.5) / 65536 < below)
            of_point[point++] = (uint8_t)i;
    }
    while (point < 65536)
        of_point[point++] = 255;
    for (size_t i = 0; i < n; i += 4) {
        uint64_t bits = next_random(&seed);
        for (size_t k = i; k < i + 4 && k < n; k++, bits >>= 16)
            symbols[k] = of_point[bits & 65535];
    }
}

enum kind { GAUSSIAN, STUDENT5, PACKED };

static void make_chances(double chances[256], enum kind kind, double deviation)
{
    for (int i = 0; i < 256; i++) {
        if (kind == PACKED) /* two codes of 4 bits */
            chances[i] = normal_density((i & 15) - 8, deviation) * normal_density((i >> 4) - 8, deviation);
        else
            chances[i] =
                kind == GAUSSIAN ? normal_density(i - 128, deviation) : student5_density(i - 128, deviation);
    }
}

struct stream {
    uint8_t *symbols, *stored;
    size_t n, stored_bytes, n_blocks;
    struct entro_cuda_block *blocks;
    struct entro_cuda_plan plans[2];
};

static void encode(struct stream *stream)
{
    uint64_t counts[256] = {0};
    uint8_t lengths[256], root_lengths[256];
    struct entro_pivot *pivot;
    struct entro_pivot_scratch *scratch = entro_pivot_scratch_create(NULL);
    entro_histogram(stream->symbols, stream->n, counts);
    bool has_root = false;
    if (scratch == NULL || !entro_joint_lengths(counts, BLOCK_BYTES, lengths)) {
        fprintf(stderr, "bench_gpu_decode: no code lengths\n");
        exit(1);
    }
    size_t n_sample = stream->n < (size_t)1 << 20 ? stream->n : (size_t)1 << 20;
    has_root = entro_pivot_root_lengths(lengths, counts, stream->symbols, n_sample, root_lengths);
    enum entro_error error = has_root ? entro_pivot_create_with_root(&pivot, lengths, root_lengths)
                                      : entro_pivot_create(&pivot, lengths);
    if (error != ENTRO_OK || entro_coded_plan(&stream->plans[0], lengths) != ENTRO_OK ||
        (has_root && entro_coded_plan(&stream->plans[1], root_lengths) != ENTRO_OK)) {
        fprintf(stderr, "bench_gpu_decode: no plan\n");
        exit(1);
    }
    stream->stored_bytes = stream->n_blocks = 0;
    for (size_t i = 0; i < stream->n; i += BLOCK_BYTES) {
        size_t size = stream->n - i < BLOCK_BYTES ? stream->n - i : BLOCK_BYTES;
        struct entro_block block = entro_block_encode(pivot, stream->symbols + i, size,
                                                      stream->stored + stream->stored_bytes, scratch);
        struct entro_cuda_block *one = &stream->blocks[stream->n_blocks++];
        memset(one, 0, sizeof *one);
        one->source = stream->stored_bytes;
        one->target = i;
        one->stored_bytes = block.stored_bytes;
        one->size_bytes = (uint32_t)size;
        one->method = (uint32_t)block.method;
        one->root_plan = has_root ? 1 : ENTRO_CUDA_NO_PLAN;
        stream->stored_bytes += block.stored_bytes;
    }
    entro_pivot_free(pivot);
    entro_pivot_scratch_free(scratch);
}

static int compare_floats(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* The median time of a decode in milliseconds; ends the program where a byte is wrong. */
static float measure(const struct stream *stream)
{
    uint8_t *source, *target;
    struct entro_cuda_plan *plans;
    struct entro_cuda_block *blocks;
    struct entro_cuda_decoder decoder;
    struct entro_cuda_faults faults;
    cudaEvent_t start, end;
    float times[N_RUNS];
    struct entro_cuda_limits limits = {BLOCK_BYTES, 1, stream->blocks[0].root_plan != ENTRO_CUDA_NO_PLAN};
    for (size_t i = 0; i < stream->n_blocks; i++)
        if (stream->blocks[i].method == ENTRO_CUDA_CODED &&
            stream->blocks[i].stored_bytes > limits.stored_bytes)
            limits.stored_bytes = stream->blocks[i].stored_bytes;
    check(cudaMalloc((void **)&source, stream->stored_bytes + ENTRO_CUDA_SOURCE_SLOP), "memory");
    check(cudaMalloc((void **)&target, stream->n), "memory");
    check(cudaMalloc((void **)&plans, sizeof stream->plans), "memory");
    check(cudaMalloc((void **)&blocks, stream->n_blocks * sizeof *blocks), "memory");
    check(entro_cuda_decoder_create(&decoder, &limits), "decoder");
    check(cudaEventCreate(&start), "event");
    check(cudaEventCreate(&end), "event");
    check(cudaMemset(source, 0, stream->stored_bytes + ENTRO_CUDA_SOURCE_SLOP), "slop");
    check(cudaMemcpy(source, stream->stored, stream->stored_bytes, cudaMemcpyHostToDevice), "copy");
    check(cudaMemcpy(plans, stream->plans, sizeof stream->plans, cudaMemcpyHostToDevice), "copy");
    check(cudaMemcpy(blocks, stream->blocks, stream->n_blocks * sizeof *blocks, cudaMemcpyHostToDevice),
          "copy");
    check(entro_cuda_decoder_reset(&decoder, NULL), "reset");
    for (unsigned i = 0; i < N_RUNS + 1; i++) { /* the first one loads the kernel */
        check(cudaEventRecord(start, NULL), "event");
        check(entro_cuda_decode(&decoder, &limits, source, target, plans, blocks, (uint32_t)stream->n_blocks,
                                NULL),
              "launch");
        check(cudaEventRecord(end, NULL), "event");
        check(cudaEventSynchronize(end), "decode");
        check(cudaEventElapsedTime(&times[i > 0 ? i - 1 : 0], start, end), "event");
    }
    check(cudaMemcpy(&faults, decoder.faults, sizeof faults, cudaMemcpyDeviceToHost), "copy");
    uint8_t *decoded = (uint8_t *)malloc(stream->n);
    if (decoded == NULL)
        exit(1);
    check(cudaMemcpy(decoded, target, stream->n, cudaMemcpyDeviceToHost), "copy");
    if (faults.n != 0 || memcmp(decoded, stream->symbols, stream->n) != 0) {
        fprintf(stderr, "bench_gpu_decode: WRONG BYTES (%u blocks refused)\n", faults.n);
        exit(1);
    }
    free(decoded);
    entro_cuda_decoder_free(&decoder);
    cudaEventDestroy(start);
    cudaEventDestroy(end);
    cudaFree(blocks);
    cudaFree(plans);
    cudaFree(target);
    cudaFree(source);
    qsort(times, N_RUNS, sizeof *times, compare_floats);
    return times[N_RUNS / 2];
}

#define GUARD_BYTES ((size_t)4096)
#define GUARD       0xa5

/* Decodes the stream with a few bytes of each block changed, several times; ends the program where anything
 * but the target changes. Returns how many blocks were refused. */
static unsigned decode_damaged(const struct stream *stream, uint64_t seed)
{
    uint8_t *source, *target;
    struct entro_cuda_plan *plans;
    struct entro_cuda_block *blocks;
    struct entro_cuda_decoder decoder;
    struct entro_cuda_faults faults;
    struct entro_cuda_limits limits = {BLOCK_BYTES, BLOCK_BYTES,
                                       stream->blocks[0].root_plan != ENTRO_CUDA_NO_PLAN};
    unsigned n_refused = 0;
    size_t target_bytes = stream->n + 2 * GUARD_BYTES;
    uint8_t *damaged = (uint8_t *)malloc(stream->stored_bytes), *guards = (uint8_t *)malloc(target_bytes);
    if (damaged == NULL || guards == NULL)
        exit(1);
    check(cudaMalloc((void **)&source, stream->stored_bytes + ENTRO_CUDA_SOURCE_SLOP), "memory");
    check(cudaMalloc((void **)&target, target_bytes), "memory");
    check(cudaMalloc((void **)&plans, sizeof stream->plans), "memory");
    check(cudaMalloc((void **)&blocks, stream->n_blocks * sizeof *blocks), "memory");
    check(entro_cuda_decoder_create(&decoder, &limits), "decoder");
    check(cudaMemcpy(plans, stream->plans, sizeof stream->plans, cudaMemcpyHostToDevice), "copy");
    check(cudaMemcpy(blocks, stream->blocks, stream->n_blocks * sizeof *blocks, cudaMemcpyHostToDevice),
          "copy");
    check(cudaMemset(target, GUARD, target_bytes), "guards");
    check(cudaMemset(source, 0, stream->stored_bytes + ENTRO_CUDA_SOURCE_SLOP), "slop");
    for (unsigned round = 0; round < 8; round++) {
        memcpy(damaged, stream->stored, stream->stored_bytes);
        for (size_t i = 0; i < stream->n_blocks; i++)
            for (unsigned k = 0; k <= round / 2; k++) {
                /* The header's counts as often as what follows it. */
                uint64_t at = next_random(&seed) % (k % 2 == 0 ? 64 : stream->blocks[i].stored_bytes);
                if (at < stream->blocks[i].stored_bytes)
                    damaged[stream->blocks[i].source + at] ^= (uint8_t)(1 + next_random(&seed) % 255);
            }
        check(entro_cuda_decoder_reset(&decoder, NULL), "reset");
        check(cudaMemcpy(source, damaged, stream->stored_bytes, cudaMemcpyHostToDevice), "copy");
        check(entro_cuda_decode(&decoder, &limits, source, target + GUARD_BYTES, plans, blocks,
                                (uint32_t)stream->n_blocks, NULL),
              "launch");
        check(cudaDeviceSynchronize(), "decode");
        check(cudaMemcpy(&faults, decoder.faults, sizeof faults, cudaMemcpyDeviceToHost), "copy");
        n_refused += faults.n;
    }
    check(cudaMemcpy(guards, target, target_bytes, cudaMemcpyDeviceToHost), "copy");
    for (size_t i = 0; i < GUARD_BYTES; i++)
        if (guards[i] != GUARD || guards[target_bytes - 1 - i] != GUARD) {
            fprintf(stderr, "bench_gpu_decode: WRITTEN BESIDE THE TARGET\n");
            exit(1);
        }
    entro_cuda_decoder_free(&decoder);
    cudaFree(blocks);
    cudaFree(plans);
    cudaFree(target);
    cudaFree(source);
    free(guards);
    free(damaged);
    return n_refused;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        enum kind kind;
        double deviation;
    } kinds[] = {
        {"8-bit gaussian, 5.7 bits", GAUSSIAN, 12.6},   {"8-bit student t5, 5.6 bits", STUDENT5, 9.6},
        {"8-bit gaussian, 4.0 bits", GAUSSIAN, 3.9},    {"8-bit gaussian, 7.0 bits", GAUSSIAN, 31},
        {"packed u4, 2.0 bits a weight", PACKED, 0.97}, {"packed u4, 1.4 bits a weight", PACKED, 0.6}};
    char *rest = NULL;
    unsigned long mib = argc > 1 ? strtoul(argv[1], &rest, 10) : 128;
    struct cudaDeviceProp properties;
    bool damaged = argc == 3 && strcmp(argv[2], "damaged") == 0;
    if (argc > (damaged ? 3 : 2) || mib < 1 || mib > 65536 || (rest != NULL && *rest != '\0')) {
        fprintf(stderr, "usage: bench_gpu_decode [MiB a stream [damaged]]\n");
        return 2;
    }
    check(cudaGetDeviceProperties(&properties, 0), "device");
    struct stream stream;
    memset(&stream, 0, sizeof stream);
    stream.n = (size_t)mib << 20;
    stream.symbols = (uint8_t *)malloc(stream.n);
    stream.stored = (uint8_t *)malloc(stream.n);
    stream.blocks = (struct entro_cuda_block *)calloc(stream.n / BLOCK_BYTES + 1, sizeof *stream.blocks);
    if (stream.symbols == NULL || stream.stored == NULL || stream.blocks == NULL)
        return 1;
    printf("%s, %lu MiB a stream, blocks of %zu KiB, median of %d\n", properties.name, mib, BLOCK_BYTES >> 10,
           N_RUNS);
    if (!damaged)
        printf("%-30s %12s %14s %14s\n", "stream", "bits a byte", "decoded GB/s", "stored GB/s");
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        double chances[256];
        make_chances(chances, kinds[i].kind, kinds[i].deviation);
        fill(stream.symbols, stream.n, chances, 1 + i);
        encode(&stream);
        if (damaged) {
            unsigned n_refused = decode_damaged(&stream, 77 + i);
            printf("%-30s %u of %zu damaged blocks refused, nothing written beside the target\n",
                   kinds[i].name, n_refused, 8 * stream.n_blocks);
            if (n_refused == 0)
                return 1;
            continue;
        }
        double seconds = measure(&stream) * 1e-3;
        printf("%-30s %12.3f %14.1f %14.1f\n", kinds[i].name,
               8.0 * (double)stream.stored_bytes / (double)stream.n, (double)stream.n / seconds * 1e-9,
               (double)stream.stored_bytes / seconds * 1e-9);
    }
    free(stream.blocks);
    free(stream.stored);
    free(stream.symbols);
    return 0;
}
