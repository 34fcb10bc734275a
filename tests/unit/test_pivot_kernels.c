/* Every table of kernels does bit by bit what pivot_kernels.h says, and writes not a byte more than it may.
 */
#include "codec/pivot_kernels.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "random.h"

static const struct entro_pivot_kernels *variants[8];
static size_t n_variants;

#define MAX_SYMBOLS 700

/* A heap block of the exact size, filled with noise; with slop behind, where a kernel may go there. */
static uint8_t *noise(size_t size, size_t slop_bytes, struct random *random)
{
    uint8_t *bytes = malloc(size + slop_bytes > 0 ? size + slop_bytes : 1);
    assert_non_null(bytes);
    for (size_t i = 0; i < size + slop_bytes; i++)
        bytes[i] = (uint8_t)random_next(random);
    return bytes;
}

/* One by one at first, then in larger steps. */
static size_t next_size(size_t n)
{
    return n < 150 ? n + 1 : n + 61;
}

static bool bit_at(const uint8_t *bitmap, size_t index)
{
    return bitmap[index / 8] >> index % 8 & 1;
}

static void assert_merges(const struct entro_pivot_kernels *kernels, size_t n, unsigned ones_of_16,
                          bool left_constant, bool right_constant, struct random *random)
{
    uint8_t *bitmap = noise((n + 7) / 8, ENTRO_PIVOT_SLOP_BYTES, random), expected[MAX_SYMBOLS];
    memset(bitmap, 0, (n + 7) / 8);
    size_t n_right = 0, next[2] = {0, 0};
    for (size_t i = 0; i < n; i++) {
        bool one = random_below(random, 16) < ones_of_16;
        bitmap[i / 8] |= (uint8_t)(one << i % 8);
        n_right += one;
    }
    uint8_t *left =
        noise(left_constant ? 1 : n - n_right, left_constant ? 0 : ENTRO_PIVOT_SLOP_BYTES, random);
    uint8_t *right = noise(right_constant ? 1 : n_right, right_constant ? 0 : ENTRO_PIVOT_SLOP_BYTES, random);
    for (size_t i = 0; i < n; i++) {
        bool one = bit_at(bitmap, i), is_constant = one ? right_constant : left_constant;
        expected[i] = (one ? right : left)[is_constant ? 0 : next[one]++];
    }
    /* As for a decoded block: not a byte of slop behind the target. */
    uint8_t *target = noise(n, 0, random);
    assert_int_equal(kernels->merge[left_constant][right_constant](target, n, bitmap, left, right, bitmap),
                     n_right);
    assert_memory_equal(target, expected, n);
    free(target);
    free(right);
    free(left);
    free(bitmap);
}

static void merges_interleave_their_lists(void **state)
{
    (void)state;
    struct random random = random_from(32);
    static const unsigned ones_of_16[] = {0, 1, 8, 15, 16};
    for (size_t v = 0; v < n_variants; v++) {
        for (size_t n = 1; n < MAX_SYMBOLS; n = next_size(n)) {
            for (unsigned shape = 0; shape < 4; shape++) {
                for (unsigned k = 0; k < sizeof ones_of_16 / sizeof ones_of_16[0]; k++)
                    assert_merges(variants[v], n, ones_of_16[k], shape & 1, shape & 2, &random);
            }
        }
    }
}

/* A hostile bitmap goes on behind the end of a list. */
static void merges_read_no_more_of_a_list_than_its_bitmap_has_bits(void **state)
{
    (void)state;
    struct random random = random_from(36);
    static const unsigned ones_of_16[] = {0, 1, 8, 15, 16};
    for (size_t v = 0; v < n_variants; v++) {
        for (size_t n = 1; n < MAX_SYMBOLS; n = next_size(n)) {
            for (unsigned k = 0; k < sizeof ones_of_16 / sizeof ones_of_16[0]; k++) {
                uint8_t *bitmap = noise((n + 7) / 8, ENTRO_PIVOT_SLOP_BYTES, &random);
                size_t n_right = 0;
                for (size_t i = 0; i < n; i++) {
                    bool one = random_below(&random, 16) < ones_of_16[k];
                    bitmap[i / 8] = (uint8_t)((bitmap[i / 8] & ~(1 << i % 8)) | one << i % 8);
                    n_right += one;
                }
                uint8_t *left = noise(n, ENTRO_PIVOT_SLOP_BYTES, &random),
                        *right = noise(n, ENTRO_PIVOT_SLOP_BYTES, &random), *target = noise(n, 0, &random);
                assert_int_equal(variants[v]->merge[0][0](target, n, bitmap, left, right, bitmap), n_right);
                assert_int_equal(variants[v]->merge[0][1](target, n, bitmap, left, target, bitmap), n_right);
                assert_int_equal(variants[v]->merge[1][0](target, n, bitmap, target, right, bitmap), n_right);
                free(target);
                free(right);
                free(left);
                free(bitmap);
            }
        }
    }
}

static void packed_numbers_are_packed_and_unpacked(void **state)
{
    (void)state;
    struct random random = random_from(33);
    for (size_t v = 0; v < n_variants; v++) {
        for (unsigned width = 1; width <= 8; width++) {
            for (size_t n = 1; n < MAX_SYMBOLS; n = next_size(n)) {
                size_t n_bytes = (n * width + 7) / 8;
                uint8_t first_rank = (uint8_t)random_below(&random, 257 - (1u << width));
                uint8_t *ranks = noise(n, ENTRO_PIVOT_SLOP_BYTES, &random),
                        *packed = noise(n_bytes, 0, &random);
                uint8_t *stored = noise(n_bytes, ENTRO_PIVOT_SLOP_BYTES, &random),
                        *target = noise(n, 0, &random);
                uint8_t *symbols = noise(2 * ENTRO_N_SYMBOLS, 0, &random);
                uint8_t expected[MAX_SYMBOLS] = {0};
                for (size_t i = 0; i < n; i++) {
                    unsigned number = random_below(&random, 1u << width);
                    ranks[i] = (uint8_t)(first_rank + number);
                    for (unsigned bit = 0; bit < width; bit++)
                        expected[(i * width + bit) / 8] |=
                            (uint8_t)((number >> bit & 1) << (i * width + bit) % 8);
                }
                variants[v]->pack[width](packed, ranks, n, first_rank);
                assert_memory_equal(packed, expected, n_bytes);

                memcpy(stored, packed, n_bytes);
                variants[v]->unpack[width](target, n, stored, symbols);
                for (size_t i = 0; i < n; i++)
                    assert_int_equal(target[i], symbols[ranks[i] - first_rank]);
                free(symbols);
                free(target);
                free(stored);
                free(packed);
                free(ranks);
            }
        }
    }
}

static void assert_partitions(const struct entro_pivot_kernels *kernels, size_t n, uint8_t split_rank,
                              bool to_left, bool to_right, struct random *random)
{
    uint8_t *ranks = noise(n, ENTRO_PIVOT_SLOP_BYTES, random), *bitmap = noise((n + 7) / 8, 0, random);
    uint8_t expected_bitmap[MAX_SYMBOLS / 8 + 1] = {0}, expected[2][MAX_SYMBOLS];
    size_t sizes[2] = {0, 0};
    for (size_t i = 0; i < n; i++) {
        bool one = ranks[i] >= split_rank;
        expected_bitmap[i / 8] |= (uint8_t)(one << i % 8);
        expected[one][sizes[one]++] = ranks[i];
    }
    uint8_t *left = noise(sizes[0], ENTRO_PIVOT_SLOP_BYTES, random),
            *right = noise(sizes[1], ENTRO_PIVOT_SLOP_BYTES, random);
    assert_int_equal(kernels->partition(bitmap, ranks, n, split_rank, to_left ? left : NULL,
                                        to_right ? right : NULL, ranks),
                     sizes[1]);
    assert_memory_equal(bitmap, expected_bitmap, (n + 7) / 8);
    if (to_left)
        assert_memory_equal(left, expected[0], sizes[0]);
    if (to_right)
        assert_memory_equal(right, expected[1], sizes[1]);
    if (to_right) { /* in place */
        memset(bitmap, 0x5a, (n + 7) / 8);
        assert_int_equal(
            kernels->partition(bitmap, ranks, n, split_rank, to_left ? left : NULL, ranks, ranks), sizes[1]);
        assert_memory_equal(bitmap, expected_bitmap, (n + 7) / 8);
        assert_memory_equal(ranks, expected[1], sizes[1]);
        if (to_left)
            assert_memory_equal(left, expected[0], sizes[0]);
    }
    free(right);
    free(left);
    free(bitmap);
    free(ranks);
}

static void partitions_keep_the_order_of_both_sides(void **state)
{
    (void)state;
    struct random random = random_from(34);
    for (size_t v = 0; v < n_variants; v++) {
        for (size_t n = 1; n < MAX_SYMBOLS; n = next_size(n)) {
            for (unsigned wanted = 0; wanted < 4; wanted++) {
                static const uint8_t edges[] = {1, 2, 127, 128, 129, 254, 255};
                for (unsigned k = 0; k < sizeof edges; k++)
                    assert_partitions(variants[v], n, edges[k], wanted & 1, wanted & 2, &random);
                assert_partitions(variants[v], n, (uint8_t)(1 + random_below(&random, 255)), wanted & 1,
                                  wanted & 2, &random);
            }
        }
    }
}

static void partitions_compare_every_pair_of_bytes_right(void **state)
{
    (void)state;
    for (size_t v = 0; v < n_variants; v++) {
        uint8_t ranks[256 + ENTRO_PIVOT_SLOP_BYTES], bitmap[32];
        for (unsigned i = 0; i < sizeof ranks; i++)
            ranks[i] = (uint8_t)(i * 89); /* odd: each value once */
        for (unsigned split = 1; split < 256; split++) {
            variants[v]->partition(bitmap, ranks, 256, (uint8_t)split, NULL, NULL, ranks);
            for (unsigned i = 0; i < 256; i++)
                assert_int_equal(bit_at(bitmap, i), ranks[i] >= split);
        }
    }
}

static void ones_are_counted(void **state)
{
    (void)state;
    struct random random = random_from(37);
    for (size_t v = 0; v < n_variants; v++) {
        for (size_t n = 0; n < 40000; n = n < 1200 ? n + 1 : n + 997) {
            uint8_t *bitmap = noise((n + 7) / 8, ENTRO_PIVOT_SLOP_BYTES, &random);
            if (n % 3 == 0) /* the most that there can be */
                memset(bitmap, 0xff, (n + 7) / 8);
            size_t expected = 0;
            for (size_t i = 0; i < n; i++)
                expected += bit_at(bitmap, i);
            assert_int_equal(variants[v]->count_ones(bitmap, n), expected);
            free(bitmap);
        }
    }
}

static void symbols_are_ranked(void **state)
{
    (void)state;
    struct random random = random_from(35);
    uint8_t rank_of_symbol[ENTRO_N_SYMBOLS];
    for (unsigned i = 0; i < ENTRO_N_SYMBOLS; i++)
        rank_of_symbol[i] = (uint8_t)(i * 29 + 5);
    for (size_t v = 0; v < n_variants; v++) {
        for (size_t n = 0; n < MAX_SYMBOLS; n = next_size(n)) {
            uint8_t *symbols = noise(n, 0, &random), *ranks = noise(n, ENTRO_PIVOT_SLOP_BYTES, &random);
            uint8_t largest = 0;
            for (size_t i = 0; i < n; i++)
                largest = rank_of_symbol[symbols[i]] > largest ? rank_of_symbol[symbols[i]] : largest;
            assert_int_equal(variants[v]->rank(ranks, symbols, n, rank_of_symbol), largest);
            for (size_t i = 0; i < n; i++)
                assert_int_equal(ranks[i], rank_of_symbol[symbols[i]]);
            free(ranks);
            free(symbols);
        }
    }
}

static void variants_are_found_by_their_names_only(void **state)
{
    (void)state;
    assert_string_equal(variants[0]->name, "portable");
    for (size_t v = 0; v < n_variants; v++)
        assert_ptr_equal(entro_pivot_kernels_by_name(variants[v]->name), variants[v]);
    assert_null(entro_pivot_kernels_by_name("abacus"));
    assert_null(entro_pivot_kernels_by_name(""));
}

int main(void)
{
    while ((variants[n_variants] = entro_pivot_kernels_at((unsigned)n_variants)) != NULL)
        n_variants++;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merges_interleave_their_lists),
        cmocka_unit_test(merges_read_no_more_of_a_list_than_its_bitmap_has_bits),
        cmocka_unit_test(packed_numbers_are_packed_and_unpacked),
        cmocka_unit_test(partitions_keep_the_order_of_both_sides),
        cmocka_unit_test(partitions_compare_every_pair_of_bytes_right),
        cmocka_unit_test(ones_are_counted),
        cmocka_unit_test(symbols_are_ranked),
        cmocka_unit_test(variants_are_found_by_their_names_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
