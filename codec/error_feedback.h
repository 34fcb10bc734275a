/*
 * Rounding that makes up in each column for the errors of the columns before it, as far as the layer's inputs
 * go together: GPTQ (Frantar, Ashkboos, Hoefler, Alistarh, 2023, arXiv 2210.17323), for second moments of the
 * inputs that are known as a diagonal and a few directions. What is known of the inputs comes from an
 * importance matrix (models/imatrix.h); the rounding itself is quantize_balanced.h's.
 *
 * A row w is to become w + d with a small d^T H d, H = D + V^T V being the inputs' second moments. With the
 * errors d_F of the columns before j fixed, the best error that column j can have is that of -H_RR^-1 H_RF
 * d_F for all the rest R. By Woodbury's identity that is -g_j . s with s = V_F d_F, n_directions numbers a
 * row, and g_j = (I + V_R D_R^-1 V_R^T)^-1 v_j / D_j, which does not depend on the row: no matrix of
 * n_columns by n_columns is needed.
 */
#ifndef ENTRO_ERROR_FEEDBACK_H
#define ENTRO_ERROR_FEEDBACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/quantize_balanced.h"

/* Rows that go through it together. */
#define ENTRO_FEEDBACK_ROWS ((size_t)16)

/* Limits of entro_error_feedback_create. */
#define ENTRO_FEEDBACK_MAX_COLUMNS    ((size_t)65536)
#define ENTRO_FEEDBACK_MAX_DIRECTIONS ((size_t)256)

/* D is what the directions leave of the mean squares, at least this share of them, and for damping this share
 * of the mean of all of them. */
#define ENTRO_FEEDBACK_MIN_REST 1e-3
#define ENTRO_FEEDBACK_DAMPING  0.01

struct entro_error_feedback {
    size_t n_columns, n_directions;
    float *directions; /* [n_columns][n_directions], v_j */
    float *gains;      /* [n_columns][n_directions], g_j */
};

/*
 * From directions [n_directions][n_columns] (one after another) and the inputs' mean squares [n_columns], all
 * finite, the latter not negative and not all 0; both counts from 1 to their limits. What is needed of them
 * is copied. On success the caller frees with entro_error_feedback_free; false: no memory. O(n_columns *
 * n_directions^2).
 */
bool entro_error_feedback_create(struct entro_error_feedback *out, const float *directions,
                                 const float *mean_squares, size_t n_columns, size_t n_directions);
void entro_error_feedback_free(struct entro_error_feedback *feedback);

/*
 * What entro_quantize_balanced is to round in the place of the weights: `targets` for the rows first_row to
 * first_row + n_rows - 1 (at most ENTRO_FEEDBACK_ROWS) of a matrix, whole rows [n_rows][n_columns]. A row's
 * targets do not depend on the other rows. Weights that become outliers leave no error. Thread-safe with
 * targets for each thread.
 */
void entro_error_feedback_targets(const struct entro_error_feedback *feedback,
                                  const struct entro_balanced_grid *grid, uint64_t first_row, size_t n_rows,
                                  const float *weights, float *targets);

#endif
