/* What an importance matrix says of the tensors of a source: mkentrofs/importances.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "mkentrofs/importances.h"

#define N_COLUMNS 4

static char names[][16] = {"blk.0.a", "blk.0.b", "blk.0.c", "experts"};
static float means[4][N_COLUMNS] = {{1, 4, 16, 0}, {0, 0, 0, 0}, {1, 1, 1, 1}, {1, 2, 3, 4}};
static float counts[4][2] = {{8}, {8}, {0}, {8, 8}};

/* One tensor with importances, one whose inputs were all 0, one that no token reached, two experts. */
static struct entro_imatrix_entry entries[] = {
    {.name = names[0],
     .n_matrices = 1,
     .n_columns = N_COLUMNS,
     .mean_squares = means[0],
     .counts = counts[0]},
    {.name = names[1],
     .n_matrices = 1,
     .n_columns = N_COLUMNS,
     .mean_squares = means[1],
     .counts = counts[1]},
    {.name = names[2],
     .n_matrices = 1,
     .n_columns = N_COLUMNS,
     .mean_squares = means[2],
     .counts = counts[2]},
    {.name = names[3], .n_matrices = 2, .n_columns = 2, .mean_squares = means[3], .counts = counts[3]},
};

static const struct entro_importances importances = {.imatrix = {.n_entries = 4, .entries = entries},
                                                     .path = "m.gguf"};

static struct entro_source_tensor tensor_of(char *name, uint64_t n_columns)
{
    return (struct entro_source_tensor){.name = name,
                                        .dtype = ENTRO_DTYPE_F32,
                                        .rank = 2,
                                        .shape = {8, n_columns},
                                        .n_elements = 8 * n_columns};
}

static char warning[1024];
static unsigned n_warnings;

static void note(void *context, bool is_warning, const char *text)
{
    (void)context;
    n_warnings += is_warning;
    snprintf(warning, sizeof warning, "%s", text);
}

static const struct entro_monitor monitor = {.note = note};

static void an_entry_that_says_nothing_is_none(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct entro_source_tensor tensor = tensor_of(names[i], N_COLUMNS);
        assert_ptr_equal(entro_importances_of(&importances, &tensor), i == 0 ? &entries[0] : NULL);
    }
    struct entro_source_tensor experts = tensor_of(names[3], 2), unknown = tensor_of("blk.0.d", N_COLUMNS);
    assert_null(entro_importances_of(&importances, &experts));
    assert_null(entro_importances_of(&importances, &unknown));
    struct entro_source_tensor stack = tensor_of(names[0], N_COLUMNS);
    stack.rank = 3;
    assert_null(entro_importances_of(&importances, &stack));
    const struct entro_importances none = {0};
    assert_null(entro_importances_of(&none, &unknown));
}

static void columns_that_matter_more_get_finer_steps(void **state)
{
    (void)state;
    double columns[N_COLUMNS];
    entro_importances_columns(&entries[0], columns);
    for (size_t i = 0; i < N_COLUMNS; i++)
        assert_true(isfinite(columns[i]) && columns[i] > 0);
    assert_true(columns[3] > columns[0] && columns[0] > columns[1] && columns[1] > columns[2]);
}

static void another_number_of_columns_is_another_model(void **state)
{
    (void)state;
    struct entro_message message = {""};
    struct entro_importances_check check = {.importances = &importances};
    struct entro_source_tensor tensor = tensor_of(names[0], N_COLUMNS + 1);
    assert_int_equal(entro_importances_check_tensor(&check, &tensor, &message), ENTRO_ERROR_FORMAT);
    assert_non_null(strstr(message.text, "m.gguf"));
    assert_non_null(strstr(message.text, "blk.0.a"));
    assert_non_null(strstr(message.text, "4 columns"));
    /* Also where the entry says nothing. */
    tensor = tensor_of(names[1], N_COLUMNS + 1);
    assert_int_equal(entro_importances_check_tensor(&check, &tensor, &message), ENTRO_ERROR_FORMAT);
    struct entro_source_tensor stack = {.name = names[3], .rank = 3, .shape = {2, 8, 2}, .n_elements = 32};
    assert_int_equal(entro_importances_check_tensor(&check, &stack, &message), ENTRO_OK);
    /* The older form: both experts' columns in a row. */
    stack.name = names[0];
    assert_int_equal(entro_importances_check_tensor(&check, &stack, &message), ENTRO_OK);
    stack.shape[0] = 3;
    assert_int_equal(entro_importances_check_tensor(&check, &stack, &message), ENTRO_ERROR_FORMAT);
    stack.name = names[3];
    stack.shape[2] = 3;
    assert_int_equal(entro_importances_check_tensor(&check, &stack, &message), ENTRO_ERROR_FORMAT);
}

static void what_is_missing_is_told_once(void **state)
{
    (void)state;
    struct entro_message message = {""};
    struct entro_importances_check check = {.importances = &importances};
    struct entro_source_tensor tensor = tensor_of(names[0], N_COLUMNS);
    assert_int_equal(entro_importances_check_tensor(&check, &tensor, &message), ENTRO_OK);
    n_warnings = 0;
    assert_int_equal(entro_importances_check_end(&check, &monitor, &message), ENTRO_OK);
    assert_int_equal(n_warnings, 0);
    static char missing[][8] = {"one", "two", "three", "four", "five"};
    for (size_t i = 0; i < 5; i++) {
        tensor = tensor_of(missing[i], N_COLUMNS);
        assert_int_equal(entro_importances_check_tensor(&check, &tensor, &message), ENTRO_OK);
    }
    assert_int_equal(entro_importances_check_end(&check, &monitor, &message), ENTRO_OK);
    assert_int_equal(n_warnings, 1);
    assert_non_null(strstr(warning, "5 of 6 tensors"));
    assert_non_null(strstr(warning, "one, two, three, four, ..."));
    assert_null(strstr(warning, "five"));
}

static void long_names_do_not_overflow_the_warning(void **state)
{
    (void)state;
    static char name[4096];
    memset(name, 'x', sizeof name - 1);
    struct entro_message message = {""};
    struct entro_importances_check check = {.importances = &importances, .n_found = 1};
    struct entro_source_tensor tensor = tensor_of(name, N_COLUMNS);
    for (int i = 0; i < 3; i++)
        assert_int_equal(entro_importances_check_tensor(&check, &tensor, &message), ENTRO_OK);
    n_warnings = 0;
    assert_int_equal(entro_importances_check_end(&check, &monitor, &message), ENTRO_OK);
    assert_int_equal(n_warnings, 1);
}

static void a_matrix_that_fits_no_tensor_is_refused(void **state)
{
    (void)state;
    struct entro_message message = {""};
    struct entro_importances_check check = {.importances = &importances};
    assert_int_equal(entro_importances_check_end(&check, &monitor, &message), ENTRO_ERROR_FORMAT);
    struct entro_source_tensor tensor = tensor_of("other", N_COLUMNS);
    assert_int_equal(entro_importances_check_tensor(&check, &tensor, &message), ENTRO_OK);
    assert_int_equal(entro_importances_check_end(&check, &monitor, &message), ENTRO_ERROR_FORMAT);
    assert_non_null(strstr(message.text, "m.gguf"));
    assert_non_null(strstr(message.text, "blk.0.a"));
    assert_non_null(strstr(message.text, "other"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_entry_that_says_nothing_is_none),
        cmocka_unit_test(columns_that_matter_more_get_finer_steps),
        cmocka_unit_test(another_number_of_columns_is_another_model),
        cmocka_unit_test(what_is_missing_is_told_once),
        cmocka_unit_test(long_names_do_not_overflow_the_warning),
        cmocka_unit_test(a_matrix_that_fits_no_tensor_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
