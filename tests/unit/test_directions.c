/* Directions of inputs: how well they give second moments back, and what they may not depend on. */
#include "runner/directions.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runner/random.h"

#define MAX_COLUMNS ((size_t)300)
#define STRIDE      ((size_t)311)
#define N_TOKENS    ((size_t)1003)

/* Inputs, and what is found of them. */
struct found {
    size_t n_columns, n_directions;
    float *x;          /* [N_TOKENS][STRIDE], what is behind the columns being no numbers */
    float *directions; /* [n_directions][n_columns] */
    bool is_found;
};

static double random_normal(struct entro_random *random)
{
    double radius = sqrt(-2 * log(1 - entro_random_point(random)));
    return radius * cos(2 * acos(-1.0) * entro_random_point(random));
}

/* Inputs of n_factors dimensions, and noise of a share of each column's size, which goes from 0.01 to 100. */
static void make_inputs(struct found *found, size_t n_columns, size_t n_factors, double noise)
{
    struct entro_random random = entro_random_from(n_columns);
    double *loadings = calloc(n_columns * n_factors + 1, sizeof *loadings);
    *found = (struct found){.n_columns = n_columns};
    found->x = malloc(N_TOKENS * STRIDE * sizeof *found->x);
    found->directions = calloc(n_columns * ENTRO_DIRECTIONS, sizeof *found->directions);
    assert_true(loadings != NULL && found->x != NULL && found->directions != NULL);
    for (size_t i = 0; i < n_columns * n_factors; i++)
        loadings[i] = random_normal(&random);
    for (size_t token = 0; token < N_TOKENS; token++) {
        double factors[16];
        assert_true(n_factors <= sizeof factors / sizeof *factors);
        for (size_t f = 0; f < n_factors; f++)
            factors[f] = random_normal(&random);
        for (size_t i = 0; i < STRIDE; i++) {
            double sum = i < n_columns ? noise * random_normal(&random) : NAN;
            for (size_t f = 0; f < n_factors && i < n_columns; f++)
                sum += factors[f] * loadings[i * n_factors + f];
            found->x[token * STRIDE + i] = (float)(sum * pow(10, (double)(i % 5) - 2));
        }
    }
    free(loadings);
}

static void free_found(struct found *found)
{
    free(found->x);
    free(found->directions);
}

/* In pieces of n_piece tokens. */
static void find(struct found *found, const struct entro_kernels *kernels, unsigned n_threads, size_t n_piece)
{
    struct entro_sketch sketch;
    struct entro_pool *pool;
    struct entro_sketch_room *room = entro_sketch_room_create(MAX_COLUMNS);
    assert_non_null(room);
    assert_int_equal(entro_pool_create(&pool, n_threads), ENTRO_OK);
    assert_true(entro_sketch_create(&sketch, found->n_columns));
    for (size_t done = 0; done < N_TOKENS; done += n_piece)
        entro_sketch_add(&sketch, room, kernels, pool, found->x + done * STRIDE, STRIDE,
                         N_TOKENS - done < n_piece ? N_TOKENS - done : n_piece);
    found->n_directions = sketch.n_directions;
    found->is_found = entro_sketch_find(&sketch, room, found->directions);
    entro_sketch_free(&sketch);
    entro_sketch_room_free(room);
    entro_pool_free(pool);
}

static double moment(const struct found *found, size_t a, size_t b)
{
    double sum = 0;
    for (size_t token = 0; token < N_TOKENS; token++)
        sum += (double)found->x[token * STRIDE + a] * (double)found->x[token * STRIDE + b];
    return sum / (double)N_TOKENS;
}

static double moment_of_directions(const struct found *found, size_t a, size_t b)
{
    double sum = 0;
    for (size_t k = 0; k < found->n_directions; k++)
        sum += (double)found->directions[k * found->n_columns + a] *
               (double)found->directions[k * found->n_columns + b];
    return sum;
}

/* The error of all moments off the diagonal as a share of them, columns being scaled to a size of 1. */
static double error_of(const struct found *found)
{
    double error = 0, all = 0, sizes[MAX_COLUMNS];
    for (size_t a = 0; a < found->n_columns; a++)
        sizes[a] = moment(found, a, a);
    for (size_t a = 0; a < found->n_columns; a++)
        for (size_t b = 0; b < a; b++) {
            double is = moment(found, a, b), difference = moment_of_directions(found, a, b) - is;
            all += is * is / (sizes[a] * sizes[b]);
            error += difference * difference / (sizes[a] * sizes[b]);
        }
    return sqrt(error / all);
}

static void assert_no_column_is_exceeded(const struct found *found)
{
    for (size_t i = 0; i < found->n_columns; i++) {
        double is = moment(found, i, i), of_directions = moment_of_directions(found, i, i);
        if (!(of_directions <= is * (1 + 1e-3) + 1e-12))
            fail_msg("column %zu: %g is more than %g", i, of_directions, is);
    }
}

static void directions_give_moments_of_low_rank_back(void **state)
{
    static const struct {
        size_t n_columns, n_factors;
        double noise, error;
    } cases[] = {
        {300, 1, 0, 1e-5}, {300, 8, 0, 1e-4},     {300, 8, 0.1, 0.001},
        {300, 8, 1, 0.05}, {200, 16, 0.1, 0.001}, {61, 8, 0.1, 0.005},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct found found;
        make_inputs(&found, cases[i].n_columns, cases[i].n_factors, cases[i].noise);
        find(&found, entro_kernels_best(), 2, 128);
        assert_true(found.is_found);
        assert_int_equal(found.n_directions, cases[i].n_columns / 4 < 64 ? cases[i].n_columns / 4 : 64);
        double error = error_of(&found);
        if (!(error <= cases[i].error))
            fail_msg("case %zu: an error of %g, more than %g", i, error, cases[i].error);
        assert_no_column_is_exceeded(&found);
        free_found(&found);
    }
}

/* What has no directions takes part in none: noise alone. */
static void independent_columns_are_not_exceeded_either(void **state)
{
    struct found found;
    (void)state;
    make_inputs(&found, 120, 0, 1);
    find(&found, entro_kernels_best(), 2, 128);
    assert_true(found.is_found);
    assert_no_column_is_exceeded(&found);
    free_found(&found);
}

static void directions_do_not_depend_on_the_number_of_threads(void **state)
{
    struct found one, three;
    (void)state;
    make_inputs(&one, 299, 8, 0.5);
    make_inputs(&three, 299, 8, 0.5);
    find(&one, entro_kernels_best(), 1, 100);
    find(&three, entro_kernels_best(), 3, 100);
    assert_memory_equal(one.directions, three.directions,
                        one.n_directions * one.n_columns * sizeof *one.directions);
    free_found(&one);
    free_found(&three);
}

static void kernels_and_pieces_change_little(void **state)
{
    static const char *const names[] = {"portable", "avx2", "avx512", "neon"};
    static const size_t pieces[] = {1003, 300, 128, 31};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct found found;
        const struct entro_kernels *kernels = entro_kernels_by_name(names[i]);
        if (kernels == NULL)
            continue;
        for (size_t k = 0; k < sizeof pieces / sizeof *pieces; k++) {
            make_inputs(&found, 203, 8, 0.1);
            find(&found, kernels, 2, pieces[k]);
            assert_true(found.is_found && error_of(&found) <= 0.002);
            assert_no_column_is_exceeded(&found);
            free_found(&found);
        }
    }
}

static void narrow_inputs_have_few_directions_or_none(void **state)
{
    (void)state;
    for (size_t n_columns = 1; n_columns <= 9; n_columns++) {
        struct found found;
        make_inputs(&found, n_columns, 2, 0.5);
        find(&found, entro_kernels_best(), 2, 128);
        assert_int_equal(found.n_directions, n_columns / 4);
        assert_int_equal(found.is_found, n_columns >= 4);
        assert_no_column_is_exceeded(&found);
        free_found(&found);
    }
}

static void zeros_have_no_directions(void **state)
{
    struct found found;
    (void)state;
    make_inputs(&found, 100, 4, 0.1);
    memset(found.x, 0, N_TOKENS * STRIDE * sizeof *found.x);
    find(&found, entro_kernels_best(), 2, 128);
    assert_false(found.is_found);
    free_found(&found);
    /* One column, and the first inputs. */
    make_inputs(&found, 100, 4, 0.1);
    memset(found.x, 0, 128 * STRIDE * sizeof *found.x);
    for (size_t token = 0; token < N_TOKENS; token++)
        found.x[token * STRIDE + 17] = 0;
    find(&found, entro_kernels_best(), 2, 128);
    assert_true(found.is_found);
    for (size_t k = 0; k < found.n_directions; k++)
        assert_true(found.directions[k * 100 + 17] == 0);
    assert_no_column_is_exceeded(&found);
    free_found(&found);
}

static void inputs_that_are_no_numbers_have_no_directions(void **state)
{
    static const float bad[] = {NAN, INFINITY, 1e30F};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        for (size_t token = 0; token < N_TOKENS; token += 500) {
            struct found found;
            make_inputs(&found, 100, 4, 0.1);
            found.x[token * STRIDE + 99] = bad[i];
            find(&found, entro_kernels_best(), 2, 128);
            assert_false(found.is_found);
            free_found(&found);
        }
}

static void nothing_is_found_before_anything_was_added(void **state)
{
    struct entro_sketch sketch;
    float directions[100 * ENTRO_DIRECTIONS];
    struct entro_sketch_room *room = entro_sketch_room_create(100);
    (void)state;
    assert_non_null(room);
    assert_true(entro_sketch_create(&sketch, 100));
    assert_false(entro_sketch_find(&sketch, room, directions));
    entro_sketch_free(&sketch);
    entro_sketch_room_free(room);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(directions_give_moments_of_low_rank_back),
        cmocka_unit_test(independent_columns_are_not_exceeded_either),
        cmocka_unit_test(directions_do_not_depend_on_the_number_of_threads),
        cmocka_unit_test(kernels_and_pieces_change_little),
        cmocka_unit_test(narrow_inputs_have_few_directions_or_none),
        cmocka_unit_test(zeros_have_no_directions),
        cmocka_unit_test(inputs_that_are_no_numbers_have_no_directions),
        cmocka_unit_test(nothing_is_found_before_anything_was_added),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
