/*
 * Pivot-coded blocks: Huffman codes stored node by node of the code tree, so that decoding has no dependency
 * from symbol to symbol. Source: Zukowski, "PivCo-Huffman", arXiv 2606.05765. FORMAT.md, "Coded blocks", is
 * the specification to the bit; in short:
 *
 * Leaves. The symbols of each code length L, ascending, are cut into runs of 2^b, one for each bit b set in
 * their number, largest first. Such a run is a leaf at depth L - b of width b: a complete subtree whose
 * symbols are told apart by b bits ("flat"; b = 0: a constant).
 *
 * Tree. Leaves sorted by depth (stable, in the order in which they were made: L ascending, b descending) get
 * canonical prefix codes: the first is all zeros, each next is (previous + 1) << (depth difference). This is
 * the leaf order. Bit 0 (most significant of the prefix first) is left.
 *
 * Block. [leaf counts][records]. Counts: one LEB128 number a leaf, in leaf order: how many symbols of the
 * block fall in it; their sum is the block's size. Records: the tree in post-order (left subtree, right
 * subtree, node). A leaf with n > 0 symbols and width b > 0 has ceil(n*b/8) bytes: the b-bit index of each
 * symbol in its leaf, in block order, low bits first. An inner node with n symbols of which neither none nor
 * all go left has ceil(n/8) bytes: a bit a symbol, in block order, low bit first, 1 = right. Other nodes and
 * leaves have no record. Unused bits of a record's last byte are zero. The block ends exactly where the last
 * record ends.
 *
 * With a codebook for the root: where the record of the root, which is the last one, has fewer than
 * ceil(n/8) bytes, it is itself such a block, made of the ceil(n/8) bytes of the bitmap.
 *
 * Records thus lie in the order in which a bottom-up decoder consumes them, and all their places follow from
 * the counts alone.
 */
#ifndef ENTRO_PIVOT_H
#define ENTRO_PIVOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/error.h"
#include "codec/format.h"
#include "codec/lengths.h"

/* Decoders may read (not use) this many bytes behind the stored bytes: the caller's buffer must have them. */
#define ENTRO_READ_SLOP_BYTES 64

/* A codebook turned into the steps of encoder and decoder. Made once a codebook, immutable, shared by
 * threads. */
struct entro_pivot;

/* Scratch memory of one thread for blocks up to ENTRO_BLOCK_MAX_BYTES; reused from block to block. */
struct entro_pivot_scratch;

/* One variant of the inner loops; see pivot_kernels.h. */
struct entro_pivot_kernels;

/*
 * The lengths must be at most 15, belong to at least two symbols and make a complete code, else
 * ENTRO_ERROR_FORMAT. ENTRO_ERROR_NO_MEMORY. The caller frees with entro_pivot_free. Costs microseconds and
 * about three kilobytes.
 */
enum entro_error entro_pivot_create(struct entro_pivot **out, const uint8_t lengths[ENTRO_N_SYMBOLS]);

/*
 * With a second codebook, for the bitmaps of the tree's root as bytes: where nearly all symbols go one way,
 * they have less than a bit a symbol. ENTRO_ERROR_FORMAT too where the tree has no inner node.
 */
enum entro_error entro_pivot_create_with_root(struct entro_pivot **out,
                                              const uint8_t lengths[ENTRO_N_SYMBOLS],
                                              const uint8_t root_lengths[ENTRO_N_SYMBOLS]);
void entro_pivot_free(struct entro_pivot *pivot);

/*
 * Whether a second codebook pays for a plane of which each symbol comes up counts[symbol] times, and its
 * lengths: judged by a sample of n_sampled of its symbols, runs as they follow each other. False where it
 * does not, as where the tree has no inner node, and where memory is short. Deterministic.
 */
bool entro_pivot_root_lengths(const uint8_t lengths[ENTRO_N_SYMBOLS], const uint64_t counts[ENTRO_N_SYMBOLS],
                              const uint8_t *sample, size_t n_sampled, uint8_t root_lengths[ENTRO_N_SYMBOLS]);

/*
 * What such a codebook makes of the first bit of each symbol's code, where symbols come up counts[symbol]
 * times (their sum is less than 2^59) and in any order: bits a symbol, 1 where it does not pay. To estimate
 * sizes.
 */
double entro_pivot_root_bits(const uint8_t lengths[ENTRO_N_SYMBOLS], const uint64_t counts[ENTRO_N_SYMBOLS]);

/* `kernels` NULL: the fastest that run here, or those that the environment variable ENTRO_KERNEL names. NULL
 * where memory is short. Not shared by threads at the same time. */
struct entro_pivot_scratch *entro_pivot_scratch_create(const struct entro_pivot_kernels *kernels);
void entro_pivot_scratch_free(struct entro_pivot_scratch *scratch);

/* ENTRO_ERROR_ARGUMENT where ENTRO_KERNEL names kernels that this machine does not run; the message lists
 * those that it does. For a program to call at its start. */
enum entro_error entro_pivot_check_kernel(struct entro_message *message);

/*
 * Encodes `size` (1 to ENTRO_BLOCK_MAX_BYTES) symbols. Returns the coded size, or 0 where it would exceed
 * `capacity` or a symbol has no code (then the content of `target` is undefined, but nothing beyond capacity
 * is touched).
 */
size_t entro_pivot_encode(const struct entro_pivot *pivot, const uint8_t *symbols, size_t size,
                          uint8_t *target, size_t capacity, struct entro_pivot_scratch *scratch);

/*
 * Decodes exactly `size` (1 to ENTRO_BLOCK_MAX_BYTES) symbols to `target`, which has no slop. `stored` is
 * readable ENTRO_READ_SLOP_BYTES beyond stored_bytes. ENTRO_ERROR_FORMAT for anything that no encoder writes
 * (the target's content is then undefined).
 */
enum entro_error entro_pivot_decode(const struct entro_pivot *pivot, const uint8_t *stored,
                                    size_t stored_bytes, uint8_t *target, size_t size,
                                    struct entro_pivot_scratch *scratch);

/*
 * Decodes symbols first..first+n-1 alone of a block of `size`: first + n <= size (else ENTRO_ERROR_ARGUMENT),
 * n may be 0. The same bytes as those of entro_pivot_decode, of all blocks that it accepts. Of others what is
 * found out is ENTRO_ERROR_FORMAT, and what is not gives some bytes of the target: whoever must know decodes
 * the block as a whole. Costs a pass over the counts, the ones before the range (a hundred bytes of bitmaps
 * take a nanosecond or two), and the range. `stored` and `target` as there.
 */
enum entro_error entro_pivot_decode_range(const struct entro_pivot *pivot, const uint8_t *stored,
                                          size_t stored_bytes, size_t size, size_t first, size_t n,
                                          uint8_t *target, struct entro_pivot_scratch *scratch);

/*
 * A hint: the next call of entro_pivot_encode or _decode with this scratch also brings these n_bytes bytes,
 * those that the call after it will read, into the cache, little by little. They need not be readable.
 */
void entro_pivot_prefetch(struct entro_pivot_scratch *scratch, const uint8_t *next, size_t n_bytes);

#endif
