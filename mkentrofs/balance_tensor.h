/*
 * The balanced scheme, first half: reads a tensor as often as its factors need, and learns what quantization
 * steps would cost it. What step it gets is decided when all tensors are known (allocation.h).
 */
#ifndef ENTRO_BALANCE_TENSOR_H
#define ENTRO_BALANCE_TENSOR_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/error.h"
#include "codec/models/imatrix.h"
#include "codec/pool.h"
#include "codec/step_costs.h"
#include "mkentrofs/input.h"
#include "mkentrofs/source.h"

/* A vector of factors costs 16 bits for each of its rows (columns), which have so many weights: with fewer
 * than this it would cost more than it brings. */
#define ENTRO_MIN_WEIGHTS_PER_FACTOR 64

/* Rows longer than this are rare and few: their columns get no factors, which one row of sums a thread would
 * have to be kept for. */
#define ENTRO_MAX_BALANCED_COLUMNS ((uint64_t)1 << 20)

/* Sinkhorn's iterations end where no column factor changes by more than this, or here: what is left then
 * shows in no measurement, and matrices whose zeros let no factors balance them never get there. */
#define ENTRO_BALANCE_TOLERANCE      0.03
#define ENTRO_BALANCE_MAX_ITERATIONS 10

enum entro_column_rule {
    ENTRO_COLUMNS_PLAIN,    /* no factors */
    ENTRO_COLUMNS_BALANCED, /* of equal RMS */
    ENTRO_COLUMNS_GIVEN,    /* by somebody who knows how much each matters */
    /*
     * The geometric mean of both. Given are 1/sqrt(m) of the inputs' mean squares m: the output's error is
     * the sum of m * column^2, while codes of one table cost by the sum of (RMS / column)^2. By Cauchy and
     * Schwarz their product is smallest for column^2 = RMS / sqrt(m).
     */
    ENTRO_COLUMNS_TEMPERED,
};

struct entro_balance_rule {
    enum entro_column_rule columns;
    const struct entro_imatrix_entry *inputs; /* as of struct entro_balanced_tensor */
    double *given;        /* [n_columns] of the last two, finite and positive; owned by the rule */
    double finer_octaves; /* its step is the others' over 2 to the power of this, or what entro_allocate
                             allows */
};

/* What is known of a tensor before it is encoded. */
struct entro_balanced_tensor {
    const char *kept_reason; /* why it cannot be quantized; nothing else is set then */
    uint16_t *row, *column;  /* F16 factors [n_rows], [n_columns], or NULL; owned */
    double norm;             /* weights ~ norm * row * column * weights of RMS 1 */
    double finer_octaves;
    /* Whose directions say how the inputs of the columns go together, for error feedback; NULL: not known.
     * Not owned. */
    const struct entro_imatrix_entry *inputs;
    bool is_copy;          /* stored already as another tensor: costs nothing more */
    unsigned n_iterations; /* of Sinkhorn's scaling */
    struct entro_step_costs costs;
    /* The allocation: */
    unsigned bits;
    float scale;
};

/*
 * Deterministic whatever the pool's threads. Memory: the factors, and a few MiB a thread. On success the
 * caller frees with entro_balanced_tensor_free. Errors of the source and of memory; _CANCELLED.
 */
enum entro_error entro_balance_tensor(struct entro_balanced_tensor *out, const struct entro_input *input,
                                      const struct entro_source_tensor *tensor,
                                      const struct entro_balance_rule *rule, struct entro_pool *pool,
                                      struct entro_message *message);
void entro_balanced_tensor_free(struct entro_balanced_tensor *tensor);

/* Bits in the image besides those of codes and outliers: factors, codebooks, records. */
double entro_balanced_side_bits(const struct entro_balanced_tensor *tensor,
                                const struct entro_source_tensor *source);

#endif
