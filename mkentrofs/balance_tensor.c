/*
 * Passes over the rows of a tensor, cut into strips of rows that do not depend on the number of threads, so
 * that sums do not either; see balance_tensor.h.
 */
#include "mkentrofs/balance_tensor.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "codec/balance.h"
#include "codec/bytes.h"
#include "codec/half.h"
#include "mkentrofs/pass.h"
#include "mkentrofs/rows.h"

#define MAX_STRIPS       64
#define STRIP_SUMS_BYTES ((uint64_t)16 << 20) /* of column sums, all strips together */

/* Bits of a factor in the image, of a tensor's records and codebook, and of a block's record. */
#define FACTOR_BITS 13.0
#define TENSOR_BITS (8.0 * (3 * (32 + 24) + 128 + 64))
#define BLOCK_BITS  128.0
/* Of an outlier's value: sign and exponent, which are much the same for all, and more where they vary. */
#define OUTLIER_EXPONENT_BITS 3.0

enum goal {
    GOAL_ROWS,    /* energies of rows, and of all */
    GOAL_COLUMNS, /* the same, and of columns under them */
    GOAL_PROFILE, /* the same as the first, and the profile */
};

struct strip {
    double energy;           /* of the rows, each over its own where rows have factors */
    double *column_energies; /* [n_columns] of GOAL_COLUMNS */
    bool has_nonfinite;
};

struct balance {
    const struct entro_input *input;
    const struct entro_source_tensor *tensor;
    uint64_t n_rows, n_columns;
    bool has_rows;
    double *columns, *inverse_columns; /* NULL: all 1 */
    double *rows;                      /* [n_rows] RMS of each under the columns; NULL without factors */
    double rms;                        /* of all under the columns, where rows have no factors */
    enum goal goal;
    size_t n_strips;
    struct strip *strips;
    struct entro_profile *profiles; /* one a thread */
};

static const double *inverse_from(const struct balance *balance, uint64_t column)
{
    return balance->inverse_columns != NULL ? balance->inverse_columns + column : NULL;
}

struct strip_look {
    const struct balance *balance;
    struct strip *strip;
    struct entro_profile *profile;
    double energy; /* of the row so far */
};

static void first_look(void *context, uint64_t row, uint64_t column, const float *weights, size_t n)
{
    struct strip_look *look = context;
    (void)row;
    look->energy += entro_row_energy(weights, inverse_from(look->balance, column), n);
}

static void end_of_row(void *context, uint64_t row)
{
    struct strip_look *look = context;
    if (!isfinite(look->energy)) {
        look->strip->has_nonfinite = true;
        look->energy = 0;
    }
    if (look->balance->has_rows)
        look->balance->rows[row] = sqrt(look->energy / (double)look->balance->n_columns);
    look->strip->energy += look->energy;
    look->energy = 0;
}

static void second_look(void *context, uint64_t row, uint64_t column, const float *weights, size_t n)
{
    const struct strip_look *look = context;
    const struct balance *balance = look->balance;
    double rms = balance->has_rows ? balance->rows[row] : balance->rms;
    if (balance->goal == GOAL_COLUMNS && rms > 0)
        entro_column_energies_add(look->strip->column_energies + column, weights,
                                  inverse_from(balance, column), 1 / (rms * rms), n);
    else if (balance->goal == GOAL_PROFILE && !look->strip->has_nonfinite)
        entro_profile_add(look->profile, weights, rms > 0 ? 1 / rms : 0, inverse_from(balance, column), n);
}

static enum entro_error pass_item(void *context, size_t item, unsigned worker, struct entro_message *message)
{
    struct balance *balance = context;
    struct strip_look look = {
        .balance = balance, .strip = &balance->strips[item], .profile = &balance->profiles[worker]};
    struct entro_row_looks looks = {.first = first_look,
                                    .between = end_of_row,
                                    .second = balance->goal == GOAL_ROWS ? NULL : second_look,
                                    .context = &look};
    look.strip->energy = 0;
    return entro_rows_look(
        balance->input, balance->tensor, entro_strip_first_row(balance->n_rows, balance->n_strips, item),
        entro_strip_first_row(balance->n_rows, balance->n_strips, item + 1), &looks, message);
}

/* True in *is_finite where all weights are. */
static enum entro_error pass(struct balance *balance, enum goal goal, struct entro_pool *pool,
                             bool *is_finite, struct entro_message *message)
{
    balance->goal = goal;
    enum entro_error error = entro_pass_run(pool, balance->n_strips, pass_item, balance, message);
    if (error)
        return error;
    double energy = 0;
    *is_finite = true;
    for (size_t i = 0; i < balance->n_strips; i++) {
        energy += balance->strips[i].energy;
        *is_finite &= !balance->strips[i].has_nonfinite;
    }
    if (goal != GOAL_PROFILE)
        balance->rms = sqrt(energy / (double)balance->tensor->n_elements);
    return ENTRO_OK;
}

static void invert(struct balance *balance)
{
    for (uint64_t i = 0; i < balance->n_columns; i++)
        balance->inverse_columns[i] = 1 / balance->columns[i];
}

static bool balances_columns(const struct entro_balance_rule *rule)
{
    return rule->columns == ENTRO_COLUMNS_BALANCED || rule->columns == ENTRO_COLUMNS_TEMPERED;
}

static void temper(struct balance *balance, const double *given)
{
    for (uint64_t i = 0; i < balance->n_columns; i++)
        balance->columns[i] = sqrt(balance->columns[i] * given[i]);
}

/* Sinkhorn's iterations: each gives every row its RMS under the columns, and then the columns theirs. */
static enum entro_error balance_columns(struct balance *balance, struct entro_pool *pool, bool *is_finite,
                                        unsigned *n_iterations, struct entro_message *message)
{
    size_t n_columns = (size_t)balance->n_columns;
    double *sums = calloc(n_columns, sizeof *sums);
    if (!sums)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory");
    enum entro_error error = ENTRO_OK;
    double change = INFINITY;
    balance->rms = 1;
    for (*n_iterations = 0; *n_iterations < ENTRO_BALANCE_MAX_ITERATIONS && change > ENTRO_BALANCE_TOLERANCE;
         ++*n_iterations) {
        error = pass(balance, GOAL_COLUMNS, pool, is_finite, message);
        if (error || !*is_finite)
            break;
        for (size_t strip = 0; strip < balance->n_strips; strip++) {
            double *part = balance->strips[strip].column_energies;
            for (size_t i = 0; i < n_columns; i++)
                sums[i] += part[i];
            memset(part, 0, n_columns * sizeof *part);
        }
        change = entro_columns_update(balance->columns, sums, n_columns);
        invert(balance);
    }
    free(sums);
    return error;
}

/* The rounded factors take the place of what they were rounded from; *unit is what they are multiples of. */
static enum entro_error round_factors(uint16_t **halves, double *factors, uint64_t n, double *unit,
                                      struct entro_message *message)
{
    *halves = malloc((size_t)n * sizeof **halves);
    if (!*halves)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory");
    entro_factors_round(factors, (size_t)n, *halves, unit);
    for (uint64_t i = 0; i < n; i++)
        factors[i] = (double)entro_f16_to_f32((*halves)[i]);
    return ENTRO_OK;
}

static enum entro_error prepare(struct balance *balance, const struct entro_balance_rule *rule,
                                struct entro_pool *pool, struct entro_message *message)
{
    bool has_columns = rule->columns != ENTRO_COLUMNS_PLAIN;
    size_t n_columns = (size_t)balance->n_columns;
    uint64_t n_strips = STRIP_SUMS_BYTES / sizeof(double) / balance->n_columns;
    if (!balances_columns(rule))
        n_strips = MAX_STRIPS;
    balance->n_strips =
        entro_n_strips(balance->n_rows, n_strips < MAX_STRIPS ? (size_t)n_strips : MAX_STRIPS);
    balance->strips = calloc(balance->n_strips, sizeof *balance->strips);
    if (balance->has_rows)
        balance->rows = calloc((size_t)balance->n_rows, sizeof *balance->rows);
    balance->profiles = calloc(entro_pool_threads(pool), sizeof *balance->profiles);
    bool ok = balance->strips && (balance->rows || !balance->has_rows) && balance->profiles;
    if (has_columns) {
        balance->columns = calloc(n_columns, sizeof *balance->columns);
        balance->inverse_columns = calloc(n_columns, sizeof *balance->inverse_columns);
        ok = ok && balance->columns && balance->inverse_columns;
    }
    for (size_t i = 0; ok && balances_columns(rule) && i < balance->n_strips; i++) {
        balance->strips[i].column_energies = calloc(n_columns, sizeof(double));
        ok = balance->strips[i].column_energies != NULL;
    }
    if (!ok)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory");
    for (size_t i = 0; has_columns && i < n_columns; i++)
        balance->columns[i] = rule->columns == ENTRO_COLUMNS_GIVEN ? rule->given[i] : 1;
    if (has_columns)
        invert(balance);
    return ENTRO_OK;
}

static void clean_up(struct balance *balance)
{
    for (size_t i = 0; balance->strips && i < balance->n_strips; i++)
        free(balance->strips[i].column_energies);
    free(balance->strips);
    free(balance->rows);
    free(balance->profiles);
    free(balance->columns);
    free(balance->inverse_columns);
}

struct costing {
    struct entro_step_costs *costs;
    const struct entro_profile *profile;
    double outlier_bits;
};

static void cost_item(void *context, size_t item, unsigned worker)
{
    const struct costing *costing = context;
    (void)worker;
    entro_step_costs_at(costing->costs, costing->profile, costing->outlier_bits, (unsigned)item);
}

/* Of the record of an outlier as it is coded: of its index the bits that vary, of its value those that a
 * type has. */
static double outlier_bits(const struct entro_source_tensor *tensor)
{
    double mantissa = tensor->dtype == ENTRO_DTYPE_BF16 ? 7 : tensor->dtype == ENTRO_DTYPE_F16 ? 10 : 23;
    return log2((double)tensor->n_elements) + OUTLIER_EXPONENT_BITS + mantissa;
}

static void find_costs(struct balance *balance, struct entro_step_costs *costs, struct entro_pool *pool)
{
    for (unsigned i = 1; i < entro_pool_threads(pool); i++)
        entro_profile_merge(&balance->profiles[0], &balance->profiles[i]);
    struct costing costing = {
        .costs = costs, .profile = &balance->profiles[0], .outlier_bits = outlier_bits(balance->tensor)};
    entro_parallel_for(pool, ENTRO_N_STEPS, cost_item, &costing);
}

static enum entro_error find_factors(struct balance *balance, const struct entro_balance_rule *rule,
                                     struct entro_pool *pool, struct entro_balanced_tensor *out,
                                     bool *is_finite, struct entro_message *message)
{
    double row_unit = 1, column_unit = 1;
    enum entro_error error = ENTRO_OK;
    if (balances_columns(rule) &&
        ((error = balance_columns(balance, pool, is_finite, &out->n_iterations, message)) || !*is_finite))
        return error;
    if (rule->columns == ENTRO_COLUMNS_TEMPERED)
        temper(balance, rule->given);
    if (balance->columns) {
        error = round_factors(&out->column, balance->columns, balance->n_columns, &column_unit, message);
        if (error)
            return error;
        invert(balance);
    }
    if (!balance->has_rows && ((error = pass(balance, GOAL_ROWS, pool, is_finite, message)) || !*is_finite))
        return error;
    if ((error = pass(balance, GOAL_PROFILE, pool, is_finite, message)) || !*is_finite)
        return error;
    if (balance->has_rows) {
        error = round_factors(&out->row, balance->rows, balance->n_rows, &row_unit, message);
        if (error)
            return error;
        /* Rows are RMS under the columns' rounded factors, without their unit. */
        out->norm = row_unit;
    } else {
        out->norm = balance->rms > 0 ? balance->rms : 1;
    }
    return ENTRO_OK;
}

enum entro_error entro_balance_tensor(struct entro_balanced_tensor *out, const struct entro_input *input,
                                      const struct entro_source_tensor *tensor,
                                      const struct entro_balance_rule *rule, struct entro_pool *pool,
                                      struct entro_message *message)
{
    *out = (struct entro_balanced_tensor){.finer_octaves = rule->finer_octaves};
    struct balance balance = {.input = input, .tensor = tensor};
    balance.n_rows = entro_tensor_rows(tensor);
    balance.n_columns = entro_tensor_columns(tensor);
    balance.has_rows = balance.n_columns >= ENTRO_MIN_WEIGHTS_PER_FACTOR;
    struct entro_balance_rule adapted = *rule;
    if (balance.n_rows < ENTRO_MIN_WEIGHTS_PER_FACTOR || balance.n_columns > ENTRO_MAX_BALANCED_COLUMNS)
        adapted.columns = ENTRO_COLUMNS_PLAIN;
    bool is_finite = true;
    enum entro_error error = prepare(&balance, &adapted, pool, message);
    if (!error)
        error = find_factors(&balance, &adapted, pool, out, &is_finite, message);
    if (!error && is_finite)
        find_costs(&balance, &out->costs, pool);
    clean_up(&balance);
    if (error || !is_finite)
        entro_balanced_tensor_free(out);
    if (!error && !is_finite)
        out->kept_reason = "NaN or infinite";
    return error;
}

void entro_balanced_tensor_free(struct entro_balanced_tensor *tensor)
{
    free(tensor->row);
    free(tensor->column);
    *tensor = (struct entro_balanced_tensor){0};
}

double entro_balanced_side_bits(const struct entro_balanced_tensor *tensor,
                                const struct entro_source_tensor *source)
{
    double n_factors = (tensor->row ? (double)entro_tensor_rows(source) : 0) +
                       (tensor->column ? (double)entro_tensor_columns(source) : 0);
    double n_blocks = ceil((double)source->n_elements / 65536);
    return FACTOR_BITS * n_factors + TENSOR_BITS + BLOCK_BITS * n_blocks;
}
