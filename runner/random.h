/*
 * Random numbers that are the same on every machine: xoshiro256** seeded by splitmix64 (Blackman and Vigna,
 * arXiv 1805.01407). Not for secrets.
 */
#ifndef ENTRO_RUNNER_RANDOM_H
#define ENTRO_RUNNER_RANDOM_H

#include <stdint.h>

struct entro_random {
    uint64_t state[4];
};

static inline uint64_t entro_splitmix64(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15U;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
    z = (z ^ z >> 27) * 0x94d049bb133111ebU;
    return z ^ z >> 31;
}

static inline struct entro_random entro_random_from(uint64_t seed)
{
    struct entro_random random;
    for (int i = 0; i < 4; i++)
        random.state[i] = entro_splitmix64(&seed);
    return random;
}

static inline uint64_t entro_rotate_left(uint64_t x, unsigned n)
{
    return x << n | x >> (64 - n);
}

static inline uint64_t entro_random_next(struct entro_random *random)
{
    uint64_t *state = random->state;
    uint64_t result = entro_rotate_left(state[1] * 5, 7) * 9;
    uint64_t shifted = state[1] << 17;
    state[2] ^= state[0];
    state[3] ^= state[1];
    state[1] ^= state[2];
    state[0] ^= state[3];
    state[2] ^= shifted;
    state[3] = entro_rotate_left(state[3], 45);
    return result;
}

/* 0 <= result < 1. */
static inline double entro_random_point(struct entro_random *random)
{
    return (double)(entro_random_next(random) >> 11) * 0x1p-53;
}

#endif
