/* F16 and BF16: every 16-bit pattern upwards, and roundings downwards, against arithmetic on doubles that
 * knows only the definition. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "codec/half.h"

#define N_RANDOM 2000000

/* A binary format: bits of the mantissa, smallest exponent of a normal number, first value that is too large.
 */
struct format {
    int mantissa_bits;
    int min_exponent;
    double limit;
};

static const struct format f16 = {10, -14, 65536.0};
static const struct format bf16 = {7, -126, 0x1p128};

/* The value of 16 bits by definition. */
static double value_of(const struct format *format, uint16_t bits)
{
    int exponent_bits = 15 - format->mantissa_bits;
    int exponent = bits >> format->mantissa_bits & ((1 << exponent_bits) - 1);
    int mantissa = bits & ((1 << format->mantissa_bits) - 1);
    double sign = bits >> 15 ? -1 : 1;
    if (exponent == (1 << exponent_bits) - 1)
        return mantissa != 0 ? NAN : sign * INFINITY;
    if (exponent == 0)
        return sign * ldexp(mantissa, format->min_exponent - format->mantissa_bits);
    return sign * ldexp(mantissa + (1 << format->mantissa_bits),
                        format->min_exponent - format->mantissa_bits + exponent - 1);
}

/* The nearest value of the format, ties to even: every step is exact in a double but the rounding to a whole
 * number of units. */
static double nearest(const struct format *format, double value)
{
    if (isnan(value) || isinf(value) || value == 0)
        return value;
    int exponent = ilogb(value);
    if (exponent < format->min_exponent)
        exponent = format->min_exponent;
    int unit = exponent - format->mantissa_bits;
    double rounded = ldexp(nearbyint(ldexp(value, -unit)), unit);
    return fabs(rounded) >= format->limit ? copysign(INFINITY, value) : rounded;
}

static void assert_same(double expected, double actual, uint32_t bits)
{
    if (isnan(expected) ? isnan(actual) : expected == actual && !signbit(expected) == !signbit(actual))
        return;
    fail_msg("0x%08x: expected %a, got %a", (unsigned)bits, expected, actual);
}

static void check_down(float value)
{
    uint32_t bits = entro_f32_bits(value);
    assert_same(nearest(&f16, (double)value), value_of(&f16, entro_f32_to_f16(value)), bits);
    assert_same(nearest(&bf16, (double)value), value_of(&bf16, entro_f32_to_bf16(value)), bits);
}

static void every_f16_is_exact_as_f32(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits < 65536; bits++)
        assert_same(value_of(&f16, (uint16_t)bits), (double)entro_f16_to_f32((uint16_t)bits), bits);
}

static void every_bf16_is_exact_as_f32(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits < 65536; bits++)
        assert_same(value_of(&bf16, (uint16_t)bits), (double)entro_bf16_to_f32((uint16_t)bits), bits);
}

static void every_value_survives_a_round_trip(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 65536; i++) {
        uint16_t bits = (uint16_t)i;
        if (isnan(value_of(&f16, bits)))
            assert_true(isnan(value_of(&f16, entro_f32_to_f16(entro_f16_to_f32(bits)))));
        else
            assert_int_equal(entro_f32_to_f16(entro_f16_to_f32(bits)), bits);
        if (isnan(value_of(&bf16, bits)))
            assert_true(isnan(value_of(&bf16, entro_f32_to_bf16(entro_bf16_to_f32(bits)))));
        else
            assert_int_equal(entro_f32_to_bf16(entro_bf16_to_f32(bits)), bits);
    }
}

/* The halfway point after every value, and the F32 on either side of it. */
static void ties_go_to_even(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 65536; i++) {
        double low = value_of(&f16, (uint16_t)i);
        double high = value_of(&f16, (uint16_t)(i + 1));
        if (isnan(low) || isinf(low) || isnan(high))
            continue;
        if (isinf(high))
            high = copysign(f16.limit, high);
        float middle = (float)((low + high) / 2);
        check_down(middle);
        check_down(nextafterf(middle, INFINITY));
        check_down(nextafterf(middle, -INFINITY));
        uint32_t bits = i << 16;
        check_down(entro_f32_from_bits(bits | 0x7fffU));
        check_down(entro_f32_from_bits(bits | 0x8000U));
        check_down(entro_f32_from_bits(bits | 0x8001U));
    }
}

static void random_floats_round_to_nearest(void **state)
{
    (void)state;
    uint64_t seed = 0x9e3779b97f4a7c15U;
    for (unsigned i = 0; i < N_RANDOM; i++) {
        seed = seed * 6364136223846793005U + 1442695040888963407U;
        check_down(entro_f32_from_bits((uint32_t)(seed >> 32)));
        /* As many again where F16 has its range. */
        uint32_t exponent = 95 + (uint32_t)(seed >> 8) % 50;
        check_down(entro_f32_from_bits((uint32_t)(seed >> 32 & 0x807fffffU) | exponent << 23));
    }
}

static void a_nan_becomes_a_quiet_nan(void **state)
{
    (void)state;
    for (unsigned shift = 0; shift < 23; shift++) {
        float signalling = entro_f32_from_bits(0xff800000U | 1U << shift);
        assert_int_equal(entro_f32_to_f16(signalling) & 0xfe00U, 0xfe00U);
        assert_int_equal(entro_f32_to_bf16(signalling) & 0xffc0U, 0xffc0U);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_f16_is_exact_as_f32),         cmocka_unit_test(every_bf16_is_exact_as_f32),
        cmocka_unit_test(every_value_survives_a_round_trip), cmocka_unit_test(ties_go_to_even),
        cmocka_unit_test(random_floats_round_to_nearest),    cmocka_unit_test(a_nan_becomes_a_quiet_nan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
