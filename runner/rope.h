/*
 * Rotary position embedding (Su et al., "RoFormer", arXiv 2104.09864): pairs of a head's elements are rotated
 * by an angle that grows with the position. Hugging Face checkpoints pair i with i + n_pairs, GGUF's permuted
 * rows pair 2i with 2i + 1.
 */
#ifndef ENTRO_RUNNER_ROPE_H
#define ENTRO_RUNNER_ROPE_H

#include <stdbool.h>
#include <stddef.h>

/* How the frequencies of a model that was made for a shorter context are stretched. */
enum entro_rope_scaling {
    ENTRO_ROPE_UNSCALED,
    ENTRO_ROPE_LINEAR, /* all by `factor` */
    ENTRO_ROPE_LLAMA3, /* long waves by `factor`, short ones not, those between in part */
};

struct entro_rope {
    float theta;
    enum entro_rope_scaling scaling;
    float factor; /* > 0 */
    /* ENTRO_ROPE_LLAMA3: waves that fit the original context low_factor times at most are long, those that
     * fit high_factor times at least are short. */
    float low_factor, high_factor; /* 0 < low < high */
    float original_context;
};

/*
 * frequencies[i] = theta ^ (-i / n_pairs), scaled, in radians a position; divided by factors[i] ([n_pairs]),
 * unless that is NULL.
 */
void entro_rope_frequencies(const struct entro_rope *rope, const float *factors, size_t n_pairs,
                            float *frequencies);

/* Cosines and sines of one position's angles: [n_pairs] each, shared by all heads. */
void entro_rope_angles(const float *frequencies, size_t n_pairs, size_t position, float *cosines,
                       float *sines);

/* Rotates one head of 2 * n_pairs elements in place. */
void entro_rope_rotate(float *head, size_t n_pairs, const float *cosines, const float *sines,
                       bool interleaved);

#endif
