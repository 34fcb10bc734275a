/* Rotary position embedding; see rope.h. */
#include "runner/rope.h"

#include <math.h>

/* Llama 3.1's rule; source: meta-llama/llama-models, models/llama3/reference_impl/model.py,
 * apply_scaling. */
static double scale_as_llama3(const struct entro_rope *rope, double frequency)
{
    double turns = (double)rope->original_context * frequency / (2 * 3.14159265358979323846);
    if (turns > (double)rope->high_factor)
        return frequency;
    if (turns < (double)rope->low_factor)
        return frequency / (double)rope->factor;
    double smooth = (turns - (double)rope->low_factor) / (double)(rope->high_factor - rope->low_factor);
    return (1 - smooth) * frequency / (double)rope->factor + smooth * frequency;
}

void entro_rope_frequencies(const struct entro_rope *rope, const float *factors, size_t n_pairs,
                            float *frequencies)
{
    for (size_t i = 0; i < n_pairs; i++) {
        double frequency = pow((double)rope->theta, -(double)i / (double)n_pairs);
        if (rope->scaling == ENTRO_ROPE_LINEAR)
            frequency /= (double)rope->factor;
        else if (rope->scaling == ENTRO_ROPE_LLAMA3)
            frequency = scale_as_llama3(rope, frequency);
        if (factors != NULL)
            frequency /= (double)factors[i];
        frequencies[i] = (float)frequency;
    }
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
