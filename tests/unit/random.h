/* Random numbers of the tests: the same on every machine. Source: Vigna's SplitMix64. */
#ifndef ENTRO_TEST_RANDOM_H
#define ENTRO_TEST_RANDOM_H

#include <stdint.h>

struct random {
    uint64_t state;
};

static inline struct random random_from(uint64_t seed)
{
    return (struct random){.state = seed};
}

static inline uint64_t random_next(struct random *random)
{
    uint64_t z = random->state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

/* 0 .. bound - 1; bound > 0. */
static inline uint32_t random_below(struct random *random, uint32_t bound)
{
    return (uint32_t)((random_next(random) >> 32) * bound >> 32);
}

/* Roughly normal, mean 0, deviation 1: the sum of 12 uniform numbers. */
static inline double random_normal(struct random *random)
{
    double sum = -6;
    for (unsigned i = 0; i < 12; i++)
        sum += (double)(random_next(random) >> 11) * 0x1p-53;
    return sum;
}

#endif
