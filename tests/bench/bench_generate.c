/* Symbols drawn from quantized distributions whose step is found so that their entropy is the stated one; see
 * bench_sets.h. */
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "codec/lengths.h"
#include "tests/bench/bench_sets.h"

#define N_SYMBOLS ENTRO_N_SYMBOLS

/* The probability that x > a, of a distribution symmetric around 0; a >= 0. */
typedef double upper_tail(double a);

static double gaussian_tail(double a)
{
    return 0.5 * erfc(a / sqrt(2));
}

/* Student's t of five degrees of freedom, in closed form (Abramowitz and Stegun, 26.7.3). */
static double student_t5_tail(double a)
{
    double angle = atan2(sqrt(5), a); /* the complement keeps the far tail exact enough */
    double c = sin(angle), s = cos(angle);
    return fmax(0, (angle - s * c * (1 + 2.0 / 3 * c * c)) / acos(-1));
}

/* p[i] of the code i = clamp(round(x / step) + n / 2, 0, n - 1): n codes. */
static void quantized(upper_tail *tail, double step, unsigned n, double *p)
{
    unsigned zero = n / 2;
    for (unsigned i = 0; i < n; i++) {
        double distance = i > zero ? i - zero : zero - i;
        double inner = i == zero ? 0.5 - tail(0.5 * step) : tail((distance - 0.5) * step);
        bool at_an_end = i == 0 || i == n - 1;
        double outer = at_an_end ? 0 : tail((distance + 0.5) * step);
        p[i] = i == zero ? 2 * inner : inner - outer;
    }
}

static double entropy_bits(const double *p, unsigned n)
{
    double sum = 0;
    for (unsigned i = 0; i < n; i++)
        sum -= p[i] > 0 ? p[i] * log2(p[i]) : 0;
    return sum;
}

/* Coarse steps first: where clipping lowers the entropy again, the coarser of two steps is meant. */
static void quantized_to_entropy(upper_tail *tail, double bits, unsigned n, double *p)
{
    double coarse = 16, fine = coarse;
    do {
        coarse = fine;
        fine *= 0.99;
        quantized(tail, fine, n, p);
    } while (entropy_bits(p, n) < bits && fine > 1e-3);
    for (unsigned i = 0; i < 60; i++) {
        double middle = sqrt(coarse * fine);
        quantized(tail, middle, n, p);
        *(entropy_bits(p, n) < bits ? &coarse : &fine) = middle;
    }
}

static void gaussian_u8(double bits, double p[N_SYMBOLS])
{
    quantized_to_entropy(gaussian_tail, bits, N_SYMBOLS, p);
}

static void student_t5_u8(double bits, double p[N_SYMBOLS])
{
    quantized_to_entropy(student_t5_tail, bits, N_SYMBOLS, p);
}

/* Two codes of four bits a byte, of `bits` bits each. */
static void packed_u4(double bits, double p[N_SYMBOLS])
{
    double nibble[16];
    quantized_to_entropy(gaussian_tail, bits, 16, nibble);
    for (unsigned i = 0; i < N_SYMBOLS; i++)
        p[i] = nibble[i & 15] * nibble[i >> 4];
}

/* The exponents of gaussian weights rounded to BF16. The standard deviation is a usual one; where it lies
 * between two powers of two hardly matters. */
static void bf16_exponent(double bits, double p[N_SYMBOLS])
{
    (void)bits; /* follows from the distribution: about 2.6 */
    const double deviation = 0.02;
    const double rounds_up = 1 - ldexp(1, -9); /* from here on, 2^e, to the next power of two */
    memset(p, 0, N_SYMBOLS * sizeof *p);
    for (int i = 1; i < 255; i++)
        p[i] = 2 * (gaussian_tail(ldexp(rounds_up, i - 127) / deviation) -
                    gaussian_tail(ldexp(rounds_up, i - 126) / deviation));
}

static const struct {
    const char *name;
    void (*distribution)(double bits, double p[N_SYMBOLS]);
    double bits;
} sets[] = {
    {"gauss_3.0", gaussian_u8, 3.0}, {"gauss_4.0", gaussian_u8, 4.0}, {"gauss_5.7", gaussian_u8, 5.7},
    {"gauss_6.5", gaussian_u8, 6.5}, {"t5_5.6", student_t5_u8, 5.6},  {"u4_1.4", packed_u4, 1.4},
    {"u4_2.0", packed_u4, 2.0},      {"u4_3.5", packed_u4, 3.5},      {"bf16_exponent", bf16_exponent, 0},
};

/* Draws symbols in constant time. Source: Vose, "A linear algorithm for generating random numbers with a
 * given distribution", IEEE TSE 17(9), 1991 (the alias method). */
struct sampler {
    uint32_t threshold[N_SYMBOLS]; /* below: the column's own symbol */
    uint8_t alias[N_SYMBOLS];
};

static void prepare_sampler(struct sampler *sampler, const double p[N_SYMBOLS])
{
    double scaled[N_SYMBOLS], sum = 0;
    unsigned small[N_SYMBOLS], large[N_SYMBOLS], n_small = 0, n_large = 0;
    for (unsigned i = 0; i < N_SYMBOLS; i++)
        sum += p[i];
    for (unsigned i = 0; i < N_SYMBOLS; i++) {
        scaled[i] = p[i] / sum * N_SYMBOLS;
        if (scaled[i] < 1)
            small[n_small++] = i;
        else
            large[n_large++] = i;
    }
    while (n_small > 0 && n_large > 0) {
        unsigned from = small[--n_small], to = large[n_large - 1];
        sampler->threshold[from] = (uint32_t)ldexp(scaled[from], 32);
        sampler->alias[from] = (uint8_t)to;
        scaled[to] -= 1 - scaled[from];
        if (scaled[to] < 1) {
            n_large--;
            small[n_small++] = to;
        }
    }
    while (n_small + n_large > 0) {
        unsigned own = n_large > 0 ? large[--n_large] : small[--n_small];
        sampler->threshold[own] = UINT32_MAX;
        sampler->alias[own] = (uint8_t)own;
    }
}

/* SplitMix64. Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
 */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
    z = (z ^ z >> 27) * 0x94D049BB133111EB;
    return z ^ z >> 31;
}

const char *bench_set_name(unsigned i)
{
    return i < sizeof sets / sizeof sets[0] ? sets[i].name : NULL;
}

enum entro_error bench_set_generate(struct bench_set *out, unsigned i, size_t size_bytes)
{
    *out = (struct bench_set){.size_bytes = size_bytes, .n_streams = 1};
    out->bytes = malloc(size_bytes);
    out->streams = malloc(sizeof *out->streams);
    if (out->bytes == NULL || out->streams == NULL) {
        bench_set_free(out);
        return ENTRO_ERROR_NO_MEMORY;
    }
    strncpy(out->name, sets[i].name, sizeof out->name - 1);
    out->streams[0] = (struct bench_stream){.offset = 0, .size_bytes = size_bytes};

    double p[N_SYMBOLS];
    sets[i].distribution(sets[i].bits, p);
    struct sampler sampler;
    prepare_sampler(&sampler, p);
    uint64_t state = i + UINT64_C(1);
    for (size_t k = 0; k < size_bytes; k++) {
        uint64_t random = next_random(&state);
        unsigned column = (unsigned)(random >> 56);
        out->bytes[k] =
            (uint32_t)random < sampler.threshold[column] ? (uint8_t)column : sampler.alias[column];
    }
    bench_set_measure(out);
    return ENTRO_OK;
}

void bench_set_measure(struct bench_set *set)
{
    double bits = 0;
    for (size_t i = 0; i < set->n_streams; i++) {
        const struct bench_stream *stream = &set->streams[i];
        uint64_t counts[N_SYMBOLS] = {0};
        for (size_t k = 0; k < stream->size_bytes; k++)
            counts[set->bytes[stream->offset + k]]++;
        bits += entro_entropy_bits(counts) * (double)stream->size_bytes;
    }
    set->entropy_bits = set->size_bytes > 0 ? bits / (double)set->size_bytes : 0;
}

void bench_set_free(struct bench_set *set)
{
    free(set->bytes);
    free(set->streams);
    *set = (struct bench_set){0};
}
