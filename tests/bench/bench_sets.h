/*
 * What bench_codec codes: generated symbols of a stated entropy, or the codes of a real model's tensors.
 */
#ifndef ENTRO_BENCH_SETS_H
#define ENTRO_BENCH_SETS_H

#include <stddef.h>
#include <stdint.h>

#include "codec/error.h"

/* A part of a set with a codebook of its own, cut into blocks by itself. */
struct bench_stream {
    size_t offset;
    size_t size_bytes;
};

struct bench_set {
    char name[64];
    uint8_t *bytes;
    size_t size_bytes;
    struct bench_stream *streams; /* one behind another */
    size_t n_streams;
    double entropy_bits; /* order 0, bits a byte, each stream by itself */
};

/* The generated sets' names; NULL behind the last. */
const char *bench_set_name(unsigned i);

/* Generates set i: one stream of size_bytes bytes, the same every time. The caller frees with
 * bench_set_free. ENTRO_ERROR_NO_MEMORY. */
enum entro_error bench_set_generate(struct bench_set *out, unsigned i, size_t size_bytes);

/*
 * The tensors of `folder` (a mount, or what entrofsck --extract wrote) with codes of `bits` bits, each a
 * stream: all of them, or those that fit max_bytes. No streams where there are none of this kind. The caller
 * frees with bench_set_free on success.
 */
enum entro_error bench_set_load(struct bench_set *out, const char *folder, unsigned bits, size_t max_bytes,
                                struct entro_message *message);

void bench_set_free(struct bench_set *set);

/* Sets entropy_bits; the streams are there. */
void bench_set_measure(struct bench_set *set);

#endif
