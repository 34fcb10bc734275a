/* Gains, and which variant of the loop runs; see error_feedback.h. */
#include "codec/error_feedback.h"

#include <math.h>
#include <stdlib.h>

#include "codec/error_feedback_kernels.h"

/* What every processor of 64 bits has: SSE2, Neon. */
#define ENTRO_LANES_BYTES  16
#define ENTRO_FIND_TARGETS entro_feedback_targets_portable
#include "codec/error_feedback_variant.h"

/* The diagonal D: what the directions do not explain, damped. */
static void find_rest(double *rest, const float *directions, const float *mean_squares, size_t n_columns,
                      size_t n_directions)
{
    double sum = 0;
    for (size_t j = 0; j < n_columns; j++) {
        double square = (double)mean_squares[j], explained = 0;
        for (size_t k = 0; k < n_directions; k++) {
            double v = (double)directions[k * n_columns + j];
            explained += v * v;
        }
        rest[j] = fmax(square - explained, ENTRO_FEEDBACK_MIN_REST * square);
        sum += square;
    }
    for (size_t j = 0; j < n_columns; j++)
        rest[j] += ENTRO_FEEDBACK_DAMPING * sum / (double)n_columns;
}

/*
 * From the last column to the first: `inverse` is that of I + the sum over the columns behind of v v^T / D,
 * and takes in one column after another by Sherman and Morrison's formula.
 */
static void find_gains(struct entro_error_feedback *feedback, const double *rest, double *inverse,
                       double *product)
{
    size_t n = feedback->n_directions;
    for (size_t i = 0; i < n * n; i++)
        inverse[i] = i % (n + 1) == 0;
    for (size_t j = feedback->n_columns; j-- > 0;) {
        const float *v = feedback->directions + j * n;
        double sum = rest[j];
        for (size_t i = 0; i < n; i++) {
            product[i] = 0;
            for (size_t k = 0; k < n; k++)
                product[i] += inverse[i * n + k] * (double)v[k];
            sum += product[i] * (double)v[i];
        }
        for (size_t i = 0; i < n; i++) {
            feedback->gains[j * n + i] = (float)(product[i] / sum);
            for (size_t k = 0; k < n; k++)
                inverse[i * n + k] -= product[i] * (product[k] / sum);
        }
    }
}

bool entro_error_feedback_create(struct entro_error_feedback *out, const float *directions,
                                 const float *mean_squares, size_t n_columns, size_t n_directions)
{
    *out = (struct entro_error_feedback){.n_columns = n_columns, .n_directions = n_directions};
    double *rest = malloc(n_columns * sizeof *rest);
    double *inverse = malloc((n_directions + 1) * n_directions * sizeof *inverse);
    out->directions = malloc(n_columns * n_directions * sizeof *out->directions);
    out->gains = malloc(n_columns * n_directions * sizeof *out->gains);
    bool ok = rest != NULL && inverse != NULL && out->directions != NULL && out->gains != NULL;
    if (ok) {
        for (size_t j = 0; j < n_columns; j++)
            for (size_t k = 0; k < n_directions; k++)
                out->directions[j * n_directions + k] = directions[k * n_columns + j];
        find_rest(rest, directions, mean_squares, n_columns, n_directions);
        find_gains(out, rest, inverse, inverse + n_directions * n_directions);
    }
    free(inverse);
    free(rest);
    if (!ok)
        entro_error_feedback_free(out);
    return ok;
}

void entro_error_feedback_free(struct entro_error_feedback *feedback)
{
    free(feedback->directions);
    free(feedback->gains);
    *feedback = (struct entro_error_feedback){0};
}

entro_feedback_targets *entro_feedback_targets_at(unsigned i)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && i-- == 0)
        return entro_feedback_targets_avx2;
#endif
    return i == 0 ? entro_feedback_targets_portable : NULL;
}

void entro_error_feedback_targets(const struct entro_error_feedback *feedback,
                                  const struct entro_balanced_grid *grid, uint64_t first_row, size_t n_rows,
                                  const float *weights, float *targets)
{
    entro_feedback_targets_at(0)(feedback, grid, first_row, n_rows, weights, targets);
}
