/* Found before CUDA's own header where kernels are compiled for the emulator: see emulator.h. */
#ifndef ENTRO_EMULATED_CUDA_RUNTIME_H
#define ENTRO_EMULATED_CUDA_RUNTIME_H

#include "emulated_api.h"
#include "emulated_device.h"

#endif
