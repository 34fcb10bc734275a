/* Grids for whole tensors and rounding to them; see quantize.h. */
#include "codec/quantize.h"

#include <float.h>

#define N_LANES       8
#define CHUNK_WEIGHTS 256
#define N_CODES(bits) (1 << (bits))
/* Adding it to a number of less than 2^51 leaves the nearest integer, ties to even, in the low bits;
 * subtracting it gives that integer. */
#define ROUNDING_MAGIC 0x1.8p52

static double round_even(double value)
{
    return value + ROUNDING_MAGIC - ROUNDING_MAGIC;
}

void entro_range_add(struct entro_range *range, const float *weights, size_t n_weights)
{
    /* Lanes that do not depend on each other, so that a compiler may make vectors of them. */
    float min[N_LANES], max[N_LANES];
    unsigned n_finite[N_LANES], nonfinite = 0;
    for (unsigned lane = 0; lane < N_LANES; lane++) {
        min[lane] = range->min;
        max[lane] = range->max;
    }
    size_t i = 0;
    for (; i + N_LANES <= n_weights; i += N_LANES) {
        for (unsigned lane = 0; lane < N_LANES; lane++) {
            float weight = weights[i + lane];
            unsigned is_finite = fabsf(weight) <= FLT_MAX; /* false for NaN too */
            n_finite[lane] = is_finite;
            min[lane] = (weight < min[lane]) & is_finite ? weight : min[lane];
            max[lane] = (weight > max[lane]) & is_finite ? weight : max[lane];
        }
        for (unsigned lane = 0; lane < N_LANES; lane++)
            nonfinite |= 1 - n_finite[lane];
    }
    for (; i < n_weights; i++) {
        if (!isfinite(weights[i])) {
            nonfinite = 1;
            continue;
        }
        min[0] = weights[i] < min[0] ? weights[i] : min[0];
        max[0] = weights[i] > max[0] ? weights[i] : max[0];
    }
    for (unsigned lane = 0; lane < N_LANES; lane++) {
        range->min = min[lane] < range->min ? min[lane] : range->min;
        range->max = max[lane] > range->max ? max[lane] : range->max;
    }
    range->has_nonfinite |= nonfinite != 0;
}

void entro_range_merge(struct entro_range *range, const struct entro_range *other)
{
    range->min = other->min < range->min ? other->min : range->min;
    range->max = other->max > range->max ? other->max : range->max;
    range->has_nonfinite |= other->has_nonfinite;
}

/* The least number of so many significant bits that is not below value (> 0). */
static double round_up_bits(double value, unsigned significant_bits)
{
    int exponent;
    double mantissa = frexp(value, &exponent);
    return ldexp(ceil(ldexp(mantissa, (int)significant_bits)), exponent - (int)significant_bits);
}

/* Zero point of the grid that starts at min, and whether max has a code on it: rounded exactly as the weights
 * will be. */
static bool fit(const struct entro_range *range, int n_codes, double scale, int32_t *zero_point)
{
    double low = round_even(range->min / scale), high = round_even(range->max / scale);
    if (range->min >= 0)
        low = 0;
    else if (range->max <= 0)
        high = 0;
    if (high - low > n_codes - 1)
        return false;
    *zero_point = range->min < 0 && range->max <= 0 ? n_codes - 1 : (int32_t)-low;
    return true;
}

bool entro_grid_mixed(struct entro_grid *grid, const struct entro_range *range, unsigned bits,
                      unsigned scale_bits)
{
    if (range->has_nonfinite || !(range->min <= range->max) || (bits != 8 && bits != 4) || scale_bits < 1 ||
        scale_bits > 24)
        return false;
    int n_codes = N_CODES(bits);
    bool one_signed = range->min >= 0 || range->max <= 0;
    *grid = (struct entro_grid){.scheme = one_signed ? ENTRO_SCHEME_UNSIGNED : ENTRO_SCHEME_ASYMMETRIC,
                                .bits = bits,
                                .scale = 1,
                                .zero_point = 0};
    if (range->min == 0 && range->max == 0)
        return true;

    /* Zero is on every grid: that of a one-signed tensor starts or ends there. */
    double low = range->min < 0 ? range->min : 0, high = range->max > 0 ? range->max : 0;
    double scale = round_up_bits((high - low) / (n_codes - 1), scale_bits);
    while (!fit(range, n_codes, scale, &grid->zero_point))
        scale = round_up_bits(nextafter(scale, INFINITY), scale_bits);
    if (scale < FLT_MIN || scale > FLT_MAX)
        return false;
    if (scale * grid->zero_point > FLT_MAX || scale * (n_codes - 1 - grid->zero_point) > FLT_MAX)
        return false;
    grid->scale = (float)scale;
    return true;
}

/* Codes of up to CHUNK_WEIGHTS weights, a byte each, and their squared errors. */
static void quantize_chunk(const struct entro_grid *grid, const float *weights, size_t n,
                           uint8_t codes[CHUNK_WEIGHTS], double errors[CHUNK_WEIGHTS])
{
    double scale = grid->scale, lowest = -grid->zero_point, highest = lowest + (N_CODES(grid->bits) - 1);
    for (size_t i = 0; i < n; i++) {
        double weight = weights[i];
        double step = round_even(weight / scale);
        /* Only weights that were not in the grid's range get here; whatever they are, they get a code. */
        step = step > lowest ? step : lowest;
        step = step < highest ? step : highest;
        double error = weight - scale * step;
        errors[i] = error * error;
        codes[i] = (uint8_t)(int)(step - lowest);
    }
}

double entro_quantize(const struct entro_grid *grid, const float *weights, size_t n_weights, uint8_t *codes,
                      double *energy)
{
    double error_sum = 0, energy_sum = 0;
    for (size_t start = 0; start < n_weights; start += CHUNK_WEIGHTS) {
        uint8_t chunk[CHUNK_WEIGHTS + 1];
        double errors[CHUNK_WEIGHTS];
        size_t n = n_weights - start < CHUNK_WEIGHTS ? n_weights - start : CHUNK_WEIGHTS;
        quantize_chunk(grid, weights + start, n, chunk, errors);
        for (size_t i = 0; i < n; i++) {
            double weight = weights[start + i];
            error_sum += errors[i];
            energy_sum += weight * weight;
        }
        if (grid->bits == 8) {
            for (size_t i = 0; i < n; i++)
                codes[start + i] = chunk[i];
        } else {
            chunk[n] = 0;
            for (size_t i = 0; i < n; i += 2)
                codes[(start + i) / 2] = (uint8_t)(chunk[i] | chunk[i + 1] << 4);
        }
    }
    if (energy != NULL)
        *energy += energy_sum;
    return error_sum;
}
