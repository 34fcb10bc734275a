/* Runs a launch's blocks, one after another. */
#ifndef ENTRO_CUDA_BLOCK_H
#define ENTRO_CUDA_BLOCK_H

#include <functional>

#include <cuda_runtime.h>

/* False where device code broke a rule; `fault` says which. */
bool entro_emulated_run(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()> &thread,
                        char *fault, size_t fault_size);

#endif
