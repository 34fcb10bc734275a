/* The index arithmetic that the GPU's kernels and block decoder share with the host, against what it means
 * said plainly: loops over bits, lanes and positions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "runner/coded_plan.h"
#include "runner/cuda/decode_indices.h"
#include "runner/cuda/indices.h"
#include "tests/unit/random.h"

static const int encodings[] = {ENTRO_CUDA_U4, ENTRO_CUDA_U8, ENTRO_CUDA_BF16, ENTRO_CUDA_F16,
                                ENTRO_CUDA_F32};
static const uint32_t bits_of[] = {4, 8, 16, 16, 32};

static void a_lane_loads_16_bytes_of_every_encoding(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof encodings / sizeof encodings[0]; i++) {
        assert_int_equal(entro_cuda_lane_elements(encodings[i]) * bits_of[i], 128);
        for (uint64_t n = 0; n < 100; n++)
            assert_int_equal(entro_cuda_bytes(encodings[i], n), (n * bits_of[i] + 7) / 8);
        assert_true(entro_cuda_bytes(encodings[i], UINT64_C(1) << 40) ==
                    (UINT64_C(1) << 40) / 8 * bits_of[i]);
    }
}

/* Lane l of a warp reads quadruple k of its elements at 16 bytes * (32 k + l) of the chunk. */
static void inputs_lie_so_that_a_warp_reads_them_in_one_run(void **state)
{
    (void)state;
    for (size_t e = 0; e < sizeof encodings / sizeof encodings[0]; e++) {
        uint32_t lane_elements = entro_cuda_lane_elements(encodings[e]), chunk = 32 * lane_elements;
        for (uint32_t first = 0; first < 3 * chunk; first += chunk)
            for (uint32_t lane = 0; lane < 32; lane++)
                for (uint32_t k = 0; k < lane_elements / 4; k++)
                    for (uint32_t j = 0; j < 4; j++)
                        assert_int_equal(
                            entro_cuda_place(first + lane * lane_elements + 4 * k + j, lane_elements),
                            first + 4 * (32 * k + lane) + j);
    }
}

static void every_element_has_a_place_of_its_own_within_the_padded_input(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {1, 4, 127, 128, 129, 576, 1023, 1024, 1025, 4097};
    for (size_t e = 0; e < sizeof encodings / sizeof encodings[0]; e++)
        for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
            uint8_t taken[8192] = {0};
            uint32_t lane_elements = entro_cuda_lane_elements(encodings[e]);
            uint32_t n_padded = entro_cuda_padded(sizes[s], lane_elements);
            assert_true(n_padded >= sizes[s] && n_padded < sizes[s] + 32 * lane_elements);
            assert_int_equal(n_padded % (32 * lane_elements), 0);
            for (uint32_t i = 0; i < n_padded; i++) {
                uint32_t place = entro_cuda_place(i, lane_elements);
                assert_true(place < n_padded);
                assert_int_equal(taken[place]++, 0);
            }
        }
}

static void a_window_shows_its_last_positions(void **state)
{
    (void)state;
    for (uint64_t position = 0; position < 40; position++)
        for (uint64_t window = 0; window < 45; window++) {
            uint64_t first = position; /* walk back while it is seen */
            while (first > 0 && (window == 0 || position - (first - 1) < window))
                first--;
            assert_int_equal(entro_cuda_first_seen(position, window), first);
        }
    assert_true(entro_cuda_first_seen(UINT32_MAX, 0) == 0);
    assert_true(entro_cuda_first_seen(UINT32_MAX, 2) == UINT32_MAX - 1);
}

static void shares_of_whole_steps_cover_all_positions(void **state)
{
    (void)state;
    for (uint64_t n = 1; n < 1000; n++)
        for (uint32_t n_splits = 1; n_splits <= 64; n_splits++) {
            uint64_t share = entro_cuda_split(n, n_splits);
            assert_int_equal(share % ENTRO_CUDA_STEP, 0);
            assert_true(share * n_splits >= n);
            assert_true(share == ENTRO_CUDA_STEP ||
                        (share - ENTRO_CUDA_STEP) * n_splits < n); /* no larger than needed */
        }
}

static void codes_are_found_wherever_their_row_begins(void **state)
{
    (void)state;
    struct random random = random_from(1);
    uint8_t bytes[64];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)random_next(&random);
    for (uint64_t i = 0; i < 64; i++) {
        assert_int_equal(entro_cuda_code(bytes, ENTRO_CUDA_U8, i), bytes[i]);
        assert_int_equal(entro_cuda_code(bytes, ENTRO_CUDA_U4, 2 * i), bytes[i] & 15);
        assert_int_equal(entro_cuda_code(bytes, ENTRO_CUDA_U4, 2 * i + 1), bytes[i] >> 4);
    }
}

/* --- the block decoder's --- */

#define N_WORDS 50

static void ranks_and_bits_are_those_of_the_bits_one_by_one(void **state)
{
    (void)state;
    struct random random = random_from(2);
    for (unsigned density = 0; density < 9; density++) {
        struct entro_ranked_word words[N_WORDS + 1] = {{0, 0}};
        uint8_t bits[32 * (N_WORDS + 1)] = {0};
        uint32_t ones = 0;
        for (uint32_t i = 0; i < 32 * N_WORDS; i++) {
            bits[i] = random_below(&random, 8) < density;
            words[i / 32].bits |= (uint32_t)bits[i] << i % 32;
        }
        for (uint32_t i = 0; i <= N_WORDS; i++) {
            words[i].ones = ones;
            for (uint32_t j = 0; j < 32; j++)
                ones += bits[32 * i + j];
        }
        ones = 0;
        for (uint32_t i = 0; i < 32 * N_WORDS; i++) {
            uint32_t value = 2;
            assert_int_equal(entro_rank(words, i, &value), ones);
            assert_int_equal(value, bits[i]);
            ones += bits[i];
            uint32_t expected = 0;
            for (uint32_t width = 1; width <= 8; width++) {
                expected |= (uint32_t)bits[i + width - 1] << (width - 1);
                assert_int_equal(entro_bits(words, i, width), expected);
            }
        }
    }
}

static void lists_of_subtrees_share_no_word_and_fit_their_buffer(void **state)
{
    (void)state;
    struct random random = random_from(3);
    for (unsigned round = 0; round < 2000; round++) {
        uint32_t n_leaves = 1 + random_below(&random, ENTRO_CUDA_MAX_LEAVES), before = 0, end = 0;
        for (uint32_t leaf = 0; leaf < n_leaves;) {
            uint32_t n_own = 1 + random_below(&random, n_leaves - leaf),
                     n_symbols = random_below(&random, 2000);
            uint32_t offset = entro_list_offset(before, leaf);
            assert_int_equal(offset % 4, 0);
            assert_true(leaf == 0 || offset / 4 > (end - 1) / 4 || end == 0);
            assert_true(offset >= end);
            end = offset + n_symbols;
            before += n_symbols;
            leaf += n_own;
        }
        assert_true(end <= ENTRO_LISTS_BYTES(before));
    }
}

static void plans_have_children_before_parents_and_every_symbol_once(void **state)
{
    (void)state;
    struct random random = random_from(4);
    for (unsigned round = 0; round < 50; round++) {
        /* A complete code: a leaf is split again and again, at random, to at most 12 bits. */
        uint8_t lengths[ENTRO_N_SYMBOLS] = {0};
        unsigned n = 1, target = 2 + random_below(&random, 255);
        struct entro_cuda_plan plan;
        for (unsigned tries = 0; n < target && tries < 5000; tries++) {
            unsigned i = random_below(&random, n);
            if (lengths[i] >= 12)
                continue;
            lengths[n++] = ++lengths[i];
        }
        if (entro_coded_plan(&plan, lengths) != ENTRO_OK)
            fail_msg("a complete code of %u symbols makes no plan", n);
        assert_true(plan.n_steps >= 1 && plan.n_steps <= ENTRO_CUDA_MAX_STEPS);
        assert_true(plan.n_leaves >= 1 && plan.n_leaves <= ENTRO_CUDA_MAX_LEAVES);
        assert_int_equal(plan.steps[plan.n_steps - 1].parent, ENTRO_CUDA_NO_STEP);
        for (uint32_t i = 0; i < plan.n_steps; i++) {
            const struct entro_cuda_step *step = &plan.steps[i];
            assert_true(step->first_leaf < step->end_leaf && step->end_leaf <= plan.n_leaves);
            if (step->parent != ENTRO_CUDA_NO_STEP) {
                assert_true(step->parent > i && step->parent < plan.n_steps);
                assert_true(plan.steps[step->parent].left == i || plan.steps[step->parent].right == i);
            }
        }
        unsigned seen[ENTRO_N_SYMBOLS] = {0};
        for (uint32_t i = 0; i < plan.n_leaves; i++) {
            const struct entro_cuda_leaf *leaf = &plan.leaves[i];
            assert_true(leaf->first_rank + (1U << leaf->width) <= sizeof plan.symbol_of_rank);
            assert_true(leaf->width == 0
                            ? leaf->step == ENTRO_CUDA_NO_STEP
                            : plan.steps[leaf->step].first_leaf == i && plan.steps[leaf->step].is_leaf);
            for (uint32_t j = 0; j < 1U << leaf->width; j++)
                seen[plan.symbol_of_rank[leaf->first_rank + j]]++;
        }
        for (unsigned i = 0; i < n; i++)
            assert_int_equal(seen[i], 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lane_loads_16_bytes_of_every_encoding),
        cmocka_unit_test(inputs_lie_so_that_a_warp_reads_them_in_one_run),
        cmocka_unit_test(every_element_has_a_place_of_its_own_within_the_padded_input),
        cmocka_unit_test(a_window_shows_its_last_positions),
        cmocka_unit_test(shares_of_whole_steps_cover_all_positions),
        cmocka_unit_test(codes_are_found_wherever_their_row_begins),
        cmocka_unit_test(ranks_and_bits_are_those_of_the_bits_one_by_one),
        cmocka_unit_test(lists_of_subtrees_share_no_word_and_fit_their_buffer),
        cmocka_unit_test(plans_have_children_before_parents_and_every_symbol_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
