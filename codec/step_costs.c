/* Code lengths of what a fine histogram becomes under a step; see step_costs.h. */
#include "codec/step_costs.h"

#include <math.h>

#include "codec/lengths.h"
#include "codec/pivot.h"

#define BINS_PER_UNIT 1024
#define N_INNER_BINS  (ENTRO_PROFILE_BINS - 2)
#define HALF_BINS     ((double)(N_INNER_BINS / 2))

/* The joint choice of lengths (joint_lengths.h), leaf counts and padding cost so much more than the shortest
 * code. */
#define CODE_OVERHEAD 1.0025

void entro_profile_add(struct entro_profile *profile, const float *weights, double inverse_row,
                       const double *inverse_columns, size_t n)
{
    double factor = inverse_row * BINS_PER_UNIT;
    for (size_t i = 0; i < n; i++) {
        double place = (double)weights[i] * factor * (inverse_columns != NULL ? inverse_columns[i] : 1);
        /* The bin of x covers floor(x); bin 0 is what lies below. */
        place += HALF_BINS + 1;
        place = place > 0 ? place : 0;
        place = place < (double)(ENTRO_PROFILE_BINS - 1) ? place : (double)(ENTRO_PROFILE_BINS - 1);
        profile->counts[(size_t)place]++;
    }
}

void entro_profile_merge(struct entro_profile *profile, const struct entro_profile *other)
{
    for (size_t i = 0; i < ENTRO_PROFILE_BINS; i++)
        profile->counts[i] += other->counts[i];
}

static double middle_of(size_t bin)
{
    return ((double)bin - 0.5 - HALF_BINS) / BINS_PER_UNIT;
}

static double coded_bits(const uint64_t counts[ENTRO_N_SYMBOLS])
{
    uint8_t lengths[ENTRO_N_SYMBOLS];
    double bits = 0;
    if (!entro_code_lengths(counts, ENTRO_MAX_CODE_LENGTH, lengths))
        return 0; /* one symbol: constant blocks */
    double first_bit = entro_pivot_root_bits(lengths, counts);
    for (unsigned symbol = 0; symbol < ENTRO_N_SYMBOLS; symbol++)
        if (counts[symbol] > 0)
            bits += (double)counts[symbol] * (first_bit + lengths[symbol] - 1);
    return bits * CODE_OVERHEAD;
}

/* Codes in pairs, as if neighbours knew nothing of each other, scaled so that a pair of the rarest code still
 * counts. */
static double pair_bits(const uint64_t counts[16], double n)
{
    uint64_t pairs[ENTRO_N_SYMBOLS];
    double bits = 0, scale = 0x1p40;
    for (unsigned high = 0; high < 16; high++)
        for (unsigned low = 0; low < 16; low++) {
            double share = (double)counts[high] / n * ((double)counts[low] / n);
            pairs[16 * high + low] = (uint64_t)llrint(share * scale);
        }
    bits = coded_bits(pairs);
    return bits / scale / 2 * n;
}

static struct entro_step_cost cost_of(const struct entro_profile *profile, double outlier_bits, double step,
                                      unsigned bits)
{
    long lowest = -(1L << (bits - 1)), highest = -lowest - 1;
    uint64_t counts[ENTRO_N_SYMBOLS] = {0}, n = 0, n_outliers = 0;
    double noise = 0;
    for (size_t bin = 0; bin < ENTRO_PROFILE_BINS; bin++) {
        uint64_t count = profile->counts[bin];
        if (count == 0)
            continue;
        double value = middle_of(bin);
        long code = lrint(value / step);
        n += count;
        if (code < lowest || code > highest) {
            n_outliers += count;
            code = code < lowest ? lowest : highest;
        } else {
            double error = value - step * (double)code;
            noise += (double)count * (error * error);
        }
        counts[code - lowest] += count;
    }
    if (n == 0)
        return (struct entro_step_cost){0};
    double all_bits = bits == 4 ? pair_bits(counts, (double)n) : coded_bits(counts);
    all_bits += (double)n_outliers * outlier_bits;
    return (struct entro_step_cost){.bits = (float)(all_bits / (double)n),
                                    .noise = (float)(noise / (double)n),
                                    .outliers = (float)((double)n_outliers / (double)n)};
}

void entro_step_costs_at(struct entro_step_costs *costs, const struct entro_profile *profile,
                         double outlier_bits, unsigned step)
{
    double size = exp2(ENTRO_STEP_LOG2_MIN + (double)step / ENTRO_STEPS_PER_OCTAVE);
    costs->u8[step] = cost_of(profile, outlier_bits, size, 8);
    costs->u4[step] = cost_of(profile, outlier_bits, size, 4);
}

static float between(float a, float b, double share)
{
    return (float)((double)a + share * ((double)b - (double)a));
}

struct entro_step_cost entro_step_cost(const struct entro_step_costs *costs, unsigned bits, double step_log2)
{
    const struct entro_step_cost *all = bits == 4 ? costs->u4 : costs->u8;
    double place = (step_log2 - ENTRO_STEP_LOG2_MIN) * ENTRO_STEPS_PER_OCTAVE;
    place = fmin(fmax(place, 0), ENTRO_N_STEPS - 1);
    unsigned below = (unsigned)fmin(place, ENTRO_N_STEPS - 2);
    double share = place - below;
    return (struct entro_step_cost){.bits = between(all[below].bits, all[below + 1].bits, share),
                                    .noise = between(all[below].noise, all[below + 1].noise, share),
                                    .outliers = between(all[below].outliers, all[below + 1].outliers, share)};
}
