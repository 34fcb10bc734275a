/*
 * The coders that bench_codec compares, behind one table: ours in each of its variants, and zstd, huff0 and
 * lz4 where they can be had. Blocks are coded one by one; what a whole stream needs beforehand is a codebook.
 */
#ifndef ENTRO_BENCH_CONTENDERS_H
#define ENTRO_BENCH_CONTENDERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/error.h"
#include "codec/lengths.h"
#include "codec/pivot.h"

/* A block as it is stored; method and checksum are the contender's own business. */
struct bench_stored {
    uint64_t offset; /* of the stored bytes */
    uint32_t stored_bytes;
    uint32_t method;
    uint64_t checksum;
};

/* Blocks have at most this many bytes when stored, whatever the contender. */
#define BENCH_BOUND_BYTES(block_bytes) ((block_bytes) + (block_bytes) / 8 + 1024)

struct bench_contender;

/* One call's surroundings. `plan` is the stream's, NULL where it has none. */
struct bench_block_call {
    void *thread;
    const struct entro_pivot *plan;
    const uint8_t *next; /* what the call after this one will read, or NULL */
    size_t next_bytes;
};

struct bench_coder {
    bool has_codebook; /* a stream's plan is made of its counts (encoding), of its lengths (decoding) */
    size_t block_index_bytes, codebook_bytes;                        /* that a container must store besides */
    void *(*thread_create)(const struct bench_contender *contender); /* NULL: out of memory */
    void (*thread_free)(void *thread);
    /* Fills all of *stored but the offset. `target` has room for BENCH_BOUND_BYTES(size). */
    void (*encode)(const struct bench_block_call *call, const uint8_t *bytes, size_t size, uint8_t *target,
                   struct bench_stored *stored);
    /* False where the stored bytes cannot be decoded. They are readable ENTRO_READ_SLOP_BYTES beyond. */
    bool (*decode)(const struct bench_block_call *call, const uint8_t *bytes,
                   const struct bench_stored *stored, uint8_t *target, size_t size);
};

struct bench_contender {
    char name[32];
    const struct bench_coder *coder;
    const struct entro_pivot_kernels *kernels; /* of ours */
    bool has_checksum;
};

#define BENCH_MAX_CONTENDERS 16

/* Ours with these kernels; with_checksum: as blocks of an image are stored and checked. */
struct bench_contender bench_ours(const struct entro_pivot_kernels *kernels, bool with_checksum);

/* zstd, huff0, lz4, memcpy; coder is NULL where this build has it not. False: no such name. */
bool bench_other(struct bench_contender *out, const char *name);

/* Lengths from the counts of a stream, as --lengths says; false where it has fewer than two symbols. */
bool bench_lengths(const uint64_t counts[ENTRO_N_SYMBOLS], size_t block_bytes,
                   uint8_t lengths[ENTRO_N_SYMBOLS]);
/* False: no such way. */
bool bench_lengths_choose(const char *name);
const char *bench_lengths_name(void);

extern const struct bench_coder bench_coder_zstd, bench_coder_huff0, bench_coder_lz4, bench_coder_memcpy;

#endif
