/*
 * The variants of entro_error_feedback_targets: one source for vectors of several sizes (those of AVX-512
 * measured no faster than AVX2's). All give the same
 * bits, since each row's sums are made in the same order. Internal to the error feedback.
 */
#ifndef ENTRO_ERROR_FEEDBACK_KERNELS_H
#define ENTRO_ERROR_FEEDBACK_KERNELS_H

#include "codec/error_feedback.h"

/* As entro_error_feedback_targets. */
typedef void entro_feedback_targets(const struct entro_error_feedback *feedback,
                                    const struct entro_balanced_grid *grid, uint64_t first_row, size_t n_rows,
                                    const float *weights, float *targets);

/* The variants that this processor runs, best first, the portable one last; NULL behind it. */
entro_feedback_targets *entro_feedback_targets_at(unsigned i);

entro_feedback_targets entro_feedback_targets_portable;
#if defined(__x86_64__)
entro_feedback_targets entro_feedback_targets_avx2;
#endif

#endif
