/* Rotary position embedding; see rope.h. */
#include "runner/rope.h"

#include <math.h>

void entro_rope_frequencies(float theta, size_t n_pairs, float *frequencies)
{
    for (size_t i = 0; i < n_pairs; i++)
        frequencies[i] = (float)pow((double)theta, -(double)i / (double)n_pairs);
}

void entro_rope_angles(const float *frequencies, size_t n_pairs, size_t position, float *cosines,
                       float *sines)
{
    for (size_t i = 0; i < n_pairs; i++) {
        /* The product in F32, as the models were trained with. */
        float angle = (float)position * frequencies[i];
        cosines[i] = cosf(angle);
        sines[i] = sinf(angle);
    }
}

void entro_rope_rotate(float *head, size_t n_pairs, const float *cosines, const float *sines,
                       bool interleaved)
{
    size_t step = interleaved ? 2 : 1;
    size_t distance = interleaved ? 1 : n_pairs;
    for (size_t i = 0; i < n_pairs; i++) {
        float *first = head + i * step;
        float a = first[0], b = first[distance];
        first[0] = a * cosines[i] - b * sines[i];
        first[distance] = b * cosines[i] + a * sines[i];
    }
}
