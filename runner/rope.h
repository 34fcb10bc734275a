/*
 * Rotary position embedding (Su et al., "RoFormer", arXiv 2104.09864): pairs of a head's elements are rotated
 * by an angle that grows with the position. Hugging Face checkpoints pair i with i + n_pairs, GGUF's permuted
 * rows pair 2i with 2i + 1.
 */
#ifndef ENTRO_RUNNER_ROPE_H
#define ENTRO_RUNNER_ROPE_H

#include <stdbool.h>
#include <stddef.h>

/* frequencies[i] = theta ^ (-i / n_pairs), in radians a position. */
void entro_rope_frequencies(float theta, size_t n_pairs, float *frequencies);

/* Cosines and sines of one position's angles: [n_pairs] each, shared by all heads and layers. */
void entro_rope_angles(const float *frequencies, size_t n_pairs, size_t position, float *cosines,
                       float *sines);

/* Rotates one head of 2 * n_pairs elements in place. */
void entro_rope_rotate(float *head, size_t n_pairs, const float *cosines, const float *sines,
                       bool interleaved);

#endif
