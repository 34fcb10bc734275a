/*
 * The directions in a sketch: Nystrom's approximation of the inputs' second moments by as many vectors as the
 * sketch has, and the subspace of it that has most of the columns' energy, each column being scaled to a like
 * size. See directions.h.
 */
#include <math.h>
#include <string.h>

#include "runner/directions_internal.h"

#define N ENTRO_SKETCH_VECTORS

/* Of the trace, what the core gets on its diagonal: more than the sums in F32 are wrong by, and less than
 * there is in any direction of inputs that are not of low rank. */
#define SHIFT 1e-6

/* Rounds of the subspace iteration: more find directions that are larger by less than anyone notices. */
#define N_ROUNDS 10

/* A direction with less of the trace than this is rounding. */
#define LEAST_SHARE 1e-12

struct square {
    double rows[N][N];
};

/* 400 KiB, on the stack of the thread that finds. */
struct work {
    size_t n; /* vectors */
    size_t n_directions;
    struct square core;  /* W^T H W of the random vectors W and the moments H; then its factor */
    struct square inner; /* of Nystrom's approximation F F^T: F^T F, columns scaled */
    double basis[ENTRO_DIRECTIONS][N]; /* orthonormal, or 0 */
    double next[ENTRO_DIRECTIONS][N];
};

/* A column of the sums, as means: H W. */
static void take_means(const struct entro_sketch *sketch, size_t column, double means[N])
{
    for (size_t a = 0; a < entro_sketch_vectors(sketch); a++)
        means[a] =
            (double)sketch->sums[entro_panel_index(sketch->n_columns, column, a)] / (double)sketch->n_tokens;
}

static void make_symmetric(struct square *square, size_t n)
{
    for (size_t a = 0; a < n; a++)
        for (size_t b = 0; b < a; b++)
            square->rows[a][b] = square->rows[b][a] = (square->rows[a][b] + square->rows[b][a]) / 2;
}

/* The core, and (H W)^T (H W) with scaled columns. */
static void sum_columns(struct work *work, const struct entro_sketch *sketch,
                        const struct entro_sketch_room *room)
{
    size_t n = work->n;
    double means[N];
    memset(&work->core, 0, sizeof work->core);
    memset(&work->inner, 0, sizeof work->inner);
    for (size_t column = 0; column < sketch->n_columns; column++) {
        double scale = (double)sketch->scales[column];
        take_means(sketch, column, means);
        for (size_t a = 0; a < n; a++) {
            double vector = scale * (double)room->signs[entro_panel_index(room->n_columns, column, a)];
            double mean = scale * scale * means[a];
            for (size_t b = 0; b < n; b++) {
                work->core.rows[a][b] += vector * means[b];
                work->inner.rows[a][b] += mean * means[b];
            }
        }
    }
    make_symmetric(&work->core, n);
}

/* Cholesky's factor in the place of the core's upper triangle: core = U^T U. False where there is none. */
static bool factor(struct square *core, size_t n)
{
    double trace = 0;
    for (size_t a = 0; a < n; a++)
        trace += core->rows[a][a];
    if (!(trace > 0) || isinf(trace))
        return false;
    for (size_t a = 0; a < n; a++)
        core->rows[a][a] += SHIFT * trace;
    for (size_t a = 0; a < n; a++) {
        double *row = core->rows[a];
        if (!(row[a] > 0))
            return false;
        double inverse = 1 / sqrt(row[a]);
        for (size_t b = a; b < n; b++)
            row[b] *= inverse;
        for (size_t b = a + 1; b < n; b++)
            for (size_t c = b; c < n; c++)
                core->rows[b][c] -= row[b] * row[c];
    }
    return true;
}

/* row = row U^-1. */
static void solve(const struct square *factor, size_t n, double *row)
{
    for (size_t a = 0; a < n; a++) {
        row[a] /= factor->rows[a][a];
        for (size_t b = a + 1; b < n; b++)
            row[b] -= row[a] * factor->rows[a][b];
    }
}

/* inner = U^-T inner U^-1, inner being symmetric. */
static void make_inner(struct work *work)
{
    for (size_t a = 0; a < work->n; a++)
        solve(&work->core, work->n, work->inner.rows[a]);
    for (size_t a = 0; a < work->n; a++)
        for (size_t b = 0; b < a; b++) {
            double swapped = work->inner.rows[a][b];
            work->inner.rows[a][b] = work->inner.rows[b][a];
            work->inner.rows[b][a] = swapped;
        }
    for (size_t a = 0; a < work->n; a++)
        solve(&work->core, work->n, work->inner.rows[a]);
    make_symmetric(&work->inner, work->n);
}

static double dot(const double *a, const double *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* Gram and Schmidt's, each vector twice for the sake of precision; `least` is the length of nothing. */
static void make_orthonormal(struct work *work, double least)
{
    for (size_t k = 0; k < work->n_directions; k++) {
        double *vector = work->basis[k];
        for (size_t done = 0; done < 2 * k; done++) {
            const double *other = work->basis[done % k];
            double share = dot(vector, other, work->n);
            for (size_t i = 0; i < work->n; i++)
                vector[i] -= share * other[i];
        }
        double length = sqrt(dot(vector, vector, work->n));
        for (size_t i = 0; i < work->n; i++)
            vector[i] = length > least ? vector[i] / length : 0;
    }
}

/* The subspace of the inner matrix's largest eigenvalues, by iteration (Bauer, 1957). */
static void find_basis(struct work *work)
{
    size_t n = work->n, n_directions = work->n_directions;
    double trace = 0;
    for (size_t a = 0; a < n; a++)
        trace += work->inner.rows[a][a];
    memset(work->basis, 0, sizeof work->basis);
    for (size_t k = 0; k < n_directions; k++)
        work->basis[k][k] = 1;
    for (int round = 0; round < N_ROUNDS; round++) {
        memset(work->next, 0, sizeof work->next);
        for (size_t k = 0; k < n_directions; k++)
            for (size_t a = 0; a < n; a++)
                for (size_t b = 0; b < n; b++)
                    work->next[k][b] += work->basis[k][a] * work->inner.rows[a][b];
        memcpy(work->basis, work->next, sizeof work->basis);
        make_orthonormal(work, LEAST_SHARE * trace);
    }
}

bool entro_sketch_find(const struct entro_sketch *sketch, const struct entro_sketch_room *room,
                       float *directions)
{
    struct work work = {.n = entro_sketch_vectors(sketch), .n_directions = sketch->n_directions};
    double row[N];
    if (work.n == 0 || sketch->n_tokens == 0)
        return false;
    sum_columns(&work, sketch, room);
    if (!factor(&work.core, work.n))
        return false;
    make_inner(&work);
    find_basis(&work);
    for (size_t column = 0; column < sketch->n_columns; column++) {
        take_means(sketch, column, row);
        solve(&work.core, work.n, row);
        for (size_t k = 0; k < work.n_directions; k++) {
            float *direction = &directions[k * sketch->n_columns + column];
            *direction = (float)dot(row, work.basis[k], work.n);
            if (!isfinite(*direction))
                return false;
        }
    }
    return true;
}
