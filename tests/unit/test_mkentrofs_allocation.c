/* One step for all tensors: mkentrofs/allocation.h. */
#include "mkentrofs/allocation.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "codec/quantize_balanced.h"
#include "random.h"

#define OUTLIER_BITS 46

#define N_SAMPLES 200000

/* Tensors of so many weights that what is stored besides codes is next to nothing. */
#define N_ROWS    ((uint64_t)4096)
#define N_COLUMNS ((uint64_t)16384)

struct model {
    struct entro_source_tensor sources[2];
    struct entro_balanced_tensor tensors[2];
    struct entro_allocation_item items[2];
};

/* Two tensors without factors whose weights are the samples, one of deviation 1/4 and one of 1/32. */
static struct model *model_of(const float *samples, size_t n)
{
    struct model *model = calloc(1, sizeof *model);
    struct entro_profile *profile = calloc(1, sizeof *profile);
    assert_non_null(model);
    assert_non_null(profile);
    entro_profile_add(profile, samples, 1, NULL, n);
    for (unsigned i = 0; i < 2; i++) {
        model->sources[i] = (struct entro_source_tensor){.dtype = ENTRO_DTYPE_F32,
                                                         .rank = 2,
                                                         .shape = {N_ROWS, N_COLUMNS},
                                                         .n_elements = N_ROWS * N_COLUMNS};
        model->tensors[i].norm = i == 0 ? 0.25 : 0.03125;
        for (unsigned step = 0; step < ENTRO_N_STEPS; step++)
            entro_step_costs_at(&model->tensors[i].costs, profile, OUTLIER_BITS, step);
        model->items[i] =
            (struct entro_allocation_item){.source = &model->sources[i], .tensor = &model->tensors[i]};
    }
    free(profile);
    return model;
}

static struct model *gaussian_model(void)
{
    float *samples = malloc(N_SAMPLES * sizeof *samples);
    assert_non_null(samples);
    struct random random = random_from(3);
    for (size_t i = 0; i < N_SAMPLES; i++)
        samples[i] = (float)random_normal(&random);
    struct model *model = model_of(samples, N_SAMPLES);
    free(samples);
    return model;
}

static double cost_of_all(const struct model *model, double step_log2)
{
    double bits = 0;
    unsigned code_bits;
    for (unsigned i = 0; i < 2; i++)
        bits += (double)entro_allocation_cost(&model->items[i], step_log2, &code_bits).bits / 2;
    return bits;
}

/* With the codes that the tensors were given, which decide in the gap that 4-bit ones leave in the curve. */
static double cost_of_codes(const struct model *model, double step_log2)
{
    double bits = 0;
    for (unsigned i = 0; i < 2; i++) {
        const struct entro_balanced_tensor *tensor = &model->tensors[i];
        double side = entro_balanced_side_bits(tensor, &model->sources[i]) / (N_ROWS * N_COLUMNS);
        bits += ((double)entro_step_cost(&tensor->costs, tensor->bits, step_log2).bits + side) / 2;
    }
    return bits;
}

static double allocate(struct model *model, double bpw, bool is_asked)
{
    struct entro_message message = {""};
    double step_log2 = NAN;
    assert_int_equal(entro_allocate(model->items, 2, bpw, is_asked, &step_log2, &message), ENTRO_OK);
    return step_log2;
}

static void the_bits_that_are_asked_for_are_met(void **state)
{
    (void)state;
    struct model *model = gaussian_model();
    double before = INFINITY;
    unsigned bits_before = 4;
    for (double bpw = 2.5; bpw <= ENTRO_BPW_MAX; bpw += 0.03125) {
        double step_log2 = allocate(model, bpw, true);
        if (model->tensors[0].bits == bits_before)
            assert_true(step_log2 < before);
        before = step_log2;
        bits_before = model->tensors[0].bits;
        assert_true(fabs(cost_of_codes(model, step_log2) - bpw) < 1e-3);
        /* A gaussian's codes have its entropy, and Huffman's come near it: where steps are neither coarse nor
         * so fine that bytes do not reach all weights. */
        if (bpw >= 4 && bpw <= 7)
            assert_true(fabs(2.05 - step_log2 - bpw) < 0.1);
    }
    free(model);
}

static void all_tensors_get_the_same_step_in_units_of_their_own(void **state)
{
    (void)state;
    struct model *model = gaussian_model();
    double step_log2 = allocate(model, 5.5, true);
    for (unsigned i = 0; i < 2; i++) {
        double wanted = exp2(step_log2) * model->tensors[i].norm;
        assert_true(fabs((double)model->tensors[i].scale / wanted - 1) < 0x1p-11);
        assert_true((double)model->tensors[i].scale == entro_balanced_scale(wanted));
        assert_null(model->tensors[i].kept_reason);
    }
    free(model);
}

static void small_codes_are_taken_where_bytes_would_cost_no_more_than_three_bits(void **state)
{
    (void)state;
    struct model *model = gaussian_model();
    allocate(model, 2.6, true);
    assert_int_equal(model->tensors[0].bits, 4);
    assert_int_equal(model->tensors[1].bits, 4);
    allocate(model, 3.4, true);
    assert_int_equal(model->tensors[0].bits, 8);
    assert_int_equal(model->tensors[1].bits, 8);
    unsigned bits;
    for (unsigned step = 0; step < ENTRO_N_STEPS; step++) {
        double bits_of_u8 = (double)model->tensors[0].costs.u8[step].bits;
        entro_allocation_cost(&model->items[0], ENTRO_STEP_LOG2_MIN + step / 8.0, &bits);
        assert_int_equal(bits, bits_of_u8 <= ENTRO_BPW_OF_U4 ? 4 : 8);
    }
    free(model);
}

static void a_tensor_with_finer_steps_has_them_and_the_target_is_met_all_the_same(void **state)
{
    (void)state;
    struct model *model = gaussian_model();
    model->tensors[1].finer_octaves = 1;
    double step_log2 = allocate(model, 5.5, true);
    unsigned bits;
    double coarse = (double)entro_allocation_cost(&model->items[0], step_log2, &bits).bits;
    double fine = (double)entro_allocation_cost(&model->items[1], step_log2, &bits).bits;
    assert_true(fabs((coarse + fine) / 2 - 5.5) < 1e-3);
    assert_true(fabs(fine - coarse - 1) < 0.05);
    double relative = (double)(model->tensors[0].scale / model->tensors[1].scale);
    assert_true(fabs(relative / (8 * 2) - 1) < 0x1p-10);
    free(model);
}

static void a_copy_costs_nothing_and_gets_what_its_original_gets(void **state)
{
    (void)state;
    struct model *model = gaussian_model();
    model->tensors[1].norm = model->tensors[0].norm;
    model->tensors[0].finer_octaves = model->tensors[1].finer_octaves = 1;
    struct entro_source_tensor source = model->sources[0];
    struct entro_balanced_tensor other = model->tensors[0];
    other.finer_octaves = 0;
    const struct entro_allocation_item items[] = {
        model->items[0], model->items[1], {.source = &source, .tensor = &other}};
    struct entro_message message = {""};
    double step_log2;
    unsigned bits;
    model->tensors[1].is_copy = true;
    assert_int_equal(entro_allocate(items, 3, 5.5, true, &step_log2, &message), ENTRO_OK);
    double original = (double)entro_allocation_cost(&items[0], step_log2, &bits).bits;
    double linear = (double)entro_allocation_cost(&items[2], step_log2, &bits).bits;
    assert_true(fabs((original + linear) / 2 - 5.5) < 1e-3);
    assert_true(model->tensors[0].scale == model->tensors[1].scale);
    assert_int_equal(model->tensors[0].bits, model->tensors[1].bits);
    free(model);
}

static void what_is_stored_besides_codes_counts(void **state)
{
    (void)state;
    struct model *model = gaussian_model();
    double plain = allocate(model, 5.5, true);
    uint16_t factor = 0;
    model->tensors[0].column = model->tensors[1].column = &factor;
    for (unsigned i = 0; i < 2; i++)
        model->sources[i].shape[0] = 64, model->sources[i].n_elements = 64 * N_COLUMNS;
    double with_factors = allocate(model, 5.5, true);
    assert_true(fabs(cost_of_all(model, with_factors) - 5.5) < 1e-3);
    /* 13 bits for 64 weights */
    assert_true(with_factors > plain + 0.15 && with_factors < plain + 0.3);
    free(model);
}

/* What the message says that can be had. */
static void read_reach(const char *text, double *least, double *most)
{
    const char *numbers = strstr(text, "model: ");
    char *end;
    assert_non_null(numbers);
    *least = strtod(numbers + strlen("model: "), &end);
    assert_memory_equal(end, " to ", 4);
    *most = strtod(end + 4, &end);
    assert_string_equal(end, " bits a weight can be had");
}

static void what_is_out_of_reach_is_refused_with_what_can_be_had(void **state)
{
    (void)state;
    float samples[1000] = {32}; /* a sparse matrix */
    struct model *model = model_of(samples, 1000);
    struct entro_message message = {""};
    double step_log2, least, most;
    assert_int_equal(entro_allocate(model->items, 2, 5, true, &step_log2, &message), ENTRO_ERROR_ARGUMENT);
    assert_non_null(strstr(message.text, "--bpw 5 is out of reach"));
    read_reach(message.text, &least, &most);
    assert_true(least <= most && most < 5);
    assert_true(model->tensors[0].bits == 0 && model->tensors[0].scale == 0);
    free(model);
    model = gaussian_model();
    assert_int_equal(entro_allocate(model->items, 2, 0.5, true, &step_log2, &message), ENTRO_ERROR_ARGUMENT);
    read_reach(message.text, &least, &most);
    assert_true(least > 0.5 && least < ENTRO_BPW_MIN && most > ENTRO_BPW_MAX);
    allocate(model, least, true);
    allocate(model, most, true);
    free(model);
}

static void a_preset_takes_what_comes_nearest(void **state)
{
    (void)state;
    float samples[1000] = {32};
    struct model *model = model_of(samples, 1000);
    for (unsigned i = 0; i < ENTRO_N_QUALITIES; i++) {
        double step_log2 = allocate(model, entro_qualities[i].bpw, false);
        assert_true(step_log2 >= ENTRO_STEP_LOG2_MIN && step_log2 <= ENTRO_STEP_LOG2_MAX);
        assert_true(model->tensors[0].bits > 0 && model->tensors[0].scale > 0);
    }
    free(model);
    /* Very small tensors, dear whatever their codes: they do not get a step that would spoil them. */
    model = gaussian_model();
    for (unsigned i = 0; i < 2; i++) {
        model->sources[i].shape[0] = model->sources[i].shape[1] = 64;
        model->sources[i].n_elements = 4096;
    }
    double step_log2 = allocate(model, 4.1, false);
    assert_true(step_log2 <= 2.05 - (4.1 - 0.75) + 1e-9);
    free(model);
}

static void a_preset_of_an_ordinary_model_is_met_as_if_it_were_asked_for(void **state)
{
    (void)state;
    struct model *model = gaussian_model();
    for (unsigned i = 0; i < ENTRO_N_QUALITIES; i++) {
        double bpw = entro_qualities[i].bpw;
        assert_true(i == 0 || bpw < entro_qualities[i - 1].bpw);
        assert_true(fabs(allocate(model, bpw, false) - allocate(model, bpw, true)) < 1e-6);
    }
    free(model);
}

static void a_scale_beyond_f32_keeps_the_tensor(void **state)
{
    (void)state;
    static const double norms[] = {0x1p-149, 0x1p127};
    for (unsigned i = 0; i < 2; i++) {
        struct model *model = gaussian_model();
        model->tensors[1].norm = norms[i];
        allocate(model, 5.5, true);
        assert_null(model->tensors[0].kept_reason);
        assert_non_null(model->tensors[1].kept_reason);
        free(model);
    }
}

static void a_model_without_tensors_is_no_error(void **state)
{
    (void)state;
    struct entro_message message = {""};
    double step_log2;
    assert_int_equal(entro_allocate(NULL, 0, 5, true, &step_log2, &message), ENTRO_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bits_that_are_asked_for_are_met),
        cmocka_unit_test(all_tensors_get_the_same_step_in_units_of_their_own),
        cmocka_unit_test(small_codes_are_taken_where_bytes_would_cost_no_more_than_three_bits),
        cmocka_unit_test(a_tensor_with_finer_steps_has_them_and_the_target_is_met_all_the_same),
        cmocka_unit_test(a_copy_costs_nothing_and_gets_what_its_original_gets),
        cmocka_unit_test(what_is_stored_besides_codes_counts),
        cmocka_unit_test(what_is_out_of_reach_is_refused_with_what_can_be_had),
        cmocka_unit_test(a_preset_takes_what_comes_nearest),
        cmocka_unit_test(a_preset_of_an_ordinary_model_is_met_as_if_it_were_asked_for),
        cmocka_unit_test(a_scale_beyond_f32_keeps_the_tensor),
        cmocka_unit_test(a_model_without_tensors_is_no_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
