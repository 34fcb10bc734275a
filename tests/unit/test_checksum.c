/* All builds of the checksum that this processor can run against the library's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "codec/checksum.h"

static void every_variant_gives_what_the_library_gives(void **state)
{
    (void)state;
    static const size_t sizes[] = {0,   1,   3,   4,    8,    9,    16,   17,    128,   129,   240,
                                   241, 255, 256, 1000, 1023, 1024, 1025, 16384, 65536, 70001, 131072};
    struct entro_checksum_variant variants[ENTRO_CHECKSUM_MAX_VARIANTS];
    size_t n_variants;
    entro_checksum_variants(variants, &n_variants);
    assert_in_range(n_variants, 1, ENTRO_CHECKSUM_MAX_VARIANTS);
    assert_string_equal(variants[n_variants - 1].name, "library");
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++)
        for (size_t shift = 0; shift < 3; shift++) {
            uint8_t *memory = malloc(sizes[s] + shift + 1); /* exact: a sanitizer sees a read beyond */
            uint8_t *bytes = memory + shift;
            assert_non_null(memory);
            for (size_t i = 0; i < sizes[s]; i++)
                bytes[i] = (uint8_t)(i * 131 + i / 251 + shift);
            uint64_t expected = XXH3_64bits(bytes, sizes[s]);
            for (size_t v = 0; v < n_variants; v++)
                if (variants[v].checksum64(bytes, sizes[s]) != expected)
                    fail_msg("%s differs for %zu bytes", variants[v].name, sizes[s]);
            assert_int_equal(entro_checksum64(bytes, sizes[s]), expected);
            free(memory);
        }
}

static void a_changed_bit_changes_the_checksum(void **state)
{
    (void)state;
    uint8_t bytes[5000] = {0};
    uint64_t before = entro_checksum64(bytes, sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i += 97) {
        bytes[i] ^= 1;
        assert_true(entro_checksum64(bytes, sizeof bytes) != before);
        bytes[i] ^= 1;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_variant_gives_what_the_library_gives),
        cmocka_unit_test(a_changed_bit_changes_the_checksum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
