/* A model as the GPU plug-in wants it, over the mapped weights; see cuda/abi.h. */
#ifndef ENTRO_RUNNER_CUDA_MODEL_H
#define ENTRO_RUNNER_CUDA_MODEL_H

#include "runner/coded_source.h"
#include "runner/config.h"
#include "runner/cuda/abi.h"
#include "runner/weights.h"

struct entro_cuda_host_model;

/*
 * Keeps config and weights, and `coded` unless it is NULL: the image that the weights' files are a mount of,
 * for what the card can decode itself. All must outlive it. Freed with entro_cuda_host_model_free, also NULL.
 * ENTRO_ERROR_NO_MEMORY, _UNSUPPORTED (sizes or outliers that the kernels cannot take; the message names the
 * tensor), _ARGUMENT (`coded` is another image, or the files are no mount).
 */
enum entro_error entro_cuda_host_model_create(struct entro_cuda_host_model **out,
                                              const struct entro_config *config,
                                              const struct entro_weights *weights, bool direct_io,
                                              const struct entro_coded_source *coded,
                                              struct entro_message *message);
const struct entro_cuda_model *entro_cuda_host_model_get(const struct entro_cuda_host_model *host);
void entro_cuda_host_model_free(struct entro_cuda_host_model *host);

#endif
