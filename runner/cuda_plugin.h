/* The plug-in behind a struct entro_gpu, for the files of the GPU backend. */
#ifndef ENTRO_RUNNER_CUDA_PLUGIN_H
#define ENTRO_RUNNER_CUDA_PLUGIN_H

#include "runner/backend_cuda.h"
#include "runner/cuda/abi.h"

const struct entro_cuda_plugin *entro_gpu_plugin(const struct entro_gpu *gpu);

#endif
