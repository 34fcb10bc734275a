/*
 * The leading directions of a linear layer's inputs: a few vectors v_k with E[x x^T] ~ sum_k v_k v_k^T and a
 * diagonal, found in one pass over the inputs and without a matrix of columns by columns. Nystrom's
 * approximation from random vectors, truncated: Tropp, Yurtsever, Udell, Cevher, "Fixed-rank approximation of
 * a positive-semidefinite matrix from streaming data", 2017 (arXiv 1706.05736).
 */
#ifndef ENTRO_RUNNER_DIRECTIONS_H
#define ENTRO_RUNNER_DIRECTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/pool.h"
#include "runner/kernels.h"

/* Directions of an input of many columns, and how many columns of a narrow one make one direction. */
#define ENTRO_DIRECTIONS            ((size_t)64)
#define ENTRO_COLUMNS_FOR_DIRECTION ((size_t)4)

/* What all sketches share: the random signs, and room for the products of one call. */
struct entro_sketch_room;

/* For sketches of at most n_columns. NULL where there is no memory for it. */
struct entro_sketch_room *entro_sketch_room_create(size_t n_columns);
void entro_sketch_room_free(struct entro_sketch_room *room);

/* What is known of one input. */
struct entro_sketch {
    size_t n_columns, n_directions;
    uint64_t n_tokens;
    float *scales; /* [n_columns] of the random vectors: one over the columns' sizes */
    float *sums;   /* [panels of 32 vectors][n_columns][32]: of x times its products with the vectors */
};

/* Directions that an input has: 0 where it is too narrow for one. */
size_t entro_sketch_directions(size_t n_columns);

/* False where there is no memory for it. Narrow inputs are no error: nothing is ever found of them. */
bool entro_sketch_create(struct entro_sketch *out, size_t n_columns);
void entro_sketch_free(struct entro_sketch *sketch);

/*
 * Adds n_tokens inputs x[t * x_stride + column]. The sums depend on the kernels and on the pieces in which
 * inputs come, not on the number of threads. Not thread-safe: the room is written to.
 */
void entro_sketch_add(struct entro_sketch *sketch, struct entro_sketch_room *room,
                      const struct entro_kernels *kernels, struct entro_pool *pool, const float *x,
                      size_t x_stride, size_t n_tokens);

/*
 * The directions of all that was added, directions[n_directions][n_columns], all finite; the sum of their
 * outer products is at most E[x x^T], up to rounding. False: there are none, the input being narrow, zeros
 * alone or no numbers. Thread-safe.
 */
bool entro_sketch_find(const struct entro_sketch *sketch, const struct entro_sketch_room *room,
                       float *directions);

#endif
