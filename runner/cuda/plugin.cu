/* The plug-in's table: what entrorun calls. See abi.h. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "runner/cuda/state.h"

static int no_device(struct entro_cuda_message *message, const char *text)
{
    snprintf(message->text, sizeof message->text, "%s", text);
    return ENTRO_CUDA_NO_DEVICE;
}

static int probe(struct entro_cuda_device *device, struct entro_cuda_message *message)
{
    int driver = 0, runtime = 0, n_devices = 0;
    struct cudaDeviceProp properties;
    struct cudaFuncAttributes attributes;
    size_t free_bytes = 0, total_bytes = 0;
    memset(device, 0, sizeof *device);
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    if (driver == 0)
        return no_device(message, "no NVIDIA driver is installed");
    cudaError_t error = cudaGetDeviceCount(&n_devices);
    if (error == cudaErrorInsufficientDriver || driver / 1000 < runtime / 1000) {
        snprintf(message->text, sizeof message->text,
                 "the NVIDIA driver is too old: it knows CUDA up to %d.%d, the kernels were built with %d.%d",
                 driver / 1000, driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
        return ENTRO_CUDA_NO_DEVICE;
    }
    if (error == cudaErrorNoDevice || (error == cudaSuccess && n_devices == 0))
        return no_device(message, "there is no NVIDIA GPU");
    if (error == cudaSuccess)
        error = cudaSetDevice(0);
    if (error == cudaSuccess)
        error = cudaGetDeviceProperties(&properties, 0);
    if (error != cudaSuccess) {
        snprintf(message->text, sizeof message->text, "the GPU cannot be used: %s",
                 cudaGetErrorString(error));
        return ENTRO_CUDA_NO_DEVICE;
    }
    snprintf(device->name, sizeof device->name, "%s", properties.name);
    device->major = (uint32_t)properties.major;
    device->minor = (uint32_t)properties.minor;
    device->n_multiprocessors = (uint32_t)properties.multiProcessorCount;
    error = cudaFuncGetAttributes(&attributes, entro_gpu_some_kernel());
    if (error != cudaSuccess) {
        cudaGetLastError();
        snprintf(message->text, sizeof message->text, "%s (sm_%u%u): %s", device->name, device->major,
                 device->minor,
                 error == cudaErrorMemoryAllocation ? "its memory is full"
                 : error == cudaErrorNoKernelImageForDevice || error == cudaErrorInvalidDeviceFunction
                     ? "the kernels were not built for a GPU of this architecture"
                     : cudaGetErrorString(error));
        return ENTRO_CUDA_NO_DEVICE;
    }
    if (cudaMemGetInfo(&free_bytes, &total_bytes) == cudaSuccess) {
        device->free_bytes = free_bytes;
        device->total_bytes = total_bytes;
    }
    return ENTRO_CUDA_OK;
}

static int create(void **out, const struct entro_cuda_model *model,
                  const struct entro_cuda_settings *settings, struct entro_cuda_figures *figures,
                  struct entro_cuda_message *message)
{
    struct entro_gpu_state *self;
    memset(figures, 0, sizeof *figures);
    int status = entro_gpu_state_create(&self, model, settings, figures, message);
    if (status == ENTRO_CUDA_OK)
        *out = self;
    return status;
}

/* What the stream met until now. */
static int check(struct entro_gpu_state *self, cudaError_t error, struct entro_cuda_message *message)
{
    cudaError_t later = cudaStreamSynchronize(self->stream), launch = cudaGetLastError();
    error = error != cudaSuccess    ? error
            : later != cudaSuccess  ? later
            : launch != cudaSuccess ? launch
                                    : self->resident_error;
    self->resident_error = cudaSuccess;
    if (error != cudaSuccess || self->blas_failed) {
        snprintf(message->text, sizeof message->text, "the GPU failed: %s",
                 error != cudaSuccess ? cudaGetErrorString(error) : "a matrix product of cuBLAS");
        self->blas_failed = false;
        return ENTRO_CUDA_FAILED;
    }
    return ENTRO_CUDA_OK;
}

/* The same, and whether results are numbers. */
static int check_results(struct entro_gpu_state *self, cudaError_t error, struct entro_cuda_message *message)
{
    if (error == cudaSuccess)
        error = cudaMemcpyAsync(self->host_step + ENTRO_GPU_STEP_FLAG, self->step + ENTRO_GPU_STEP_FLAG,
                                sizeof *self->step, cudaMemcpyDeviceToHost, self->stream);
    int status = check(self, error, message);
    self->is_running = false;
    if (status != ENTRO_CUDA_OK || self->host_step[ENTRO_GPU_STEP_FLAG] == 0)
        return status;
    snprintf(message->text, sizeof message->text, "the model's results are no numbers");
    return ENTRO_CUDA_NO_NUMBERS;
}

/* Tokens, and the angles that the CPU backend takes (runner/rope.c): products in F32. */
static cudaError_t put_step(struct entro_gpu_state *self, const uint32_t *tokens, uint32_t n_tokens,
                            uint64_t position)
{
    uint32_t n_pairs = self->model.head_dim / 2;
    float *angles = reinterpret_cast<float *>(self->host_step + entro_gpu_step_angles(n_tokens));
    self->host_step[ENTRO_GPU_STEP_POSITION] = (uint32_t)position;
    self->host_step[ENTRO_GPU_STEP_FLAG] = 0;
    memcpy(self->host_step + ENTRO_GPU_STEP_HEADER, tokens, n_tokens * sizeof *tokens);
    for (uint32_t t = 0; t < n_tokens; t++)
        for (int kind = 0; kind < 2; kind++, angles += 2 * n_pairs)
            for (uint32_t i = 0; self->frequencies[kind] != NULL && i < n_pairs; i++) {
                float angle = (float)(position + t) * self->frequencies[kind][i];
                angles[i] = cosf(angle);
                angles[n_pairs + i] = sinf(angle);
            }
    return cudaMemcpyAsync(self->step, self->host_step,
                           entro_gpu_step_words(self, n_tokens) * sizeof(uint32_t), cudaMemcpyHostToDevice,
                           self->stream);
}

static cudaError_t capture(struct entro_gpu_state *self)
{
    cudaGraph_t graph = NULL;
    cudaError_t error = cudaStreamBeginCapture(self->stream, cudaStreamCaptureModeThreadLocal);
    if (error != cudaSuccess)
        return error;
    entro_gpu_run_layers(self, 1);
    error = cudaStreamEndCapture(self->stream, &graph);
    if (error != cudaSuccess)
        return error;
#if CUDART_VERSION < 12000
    error = cudaGraphInstantiate(&self->graph, graph, NULL, NULL, 0);
#else
    error = cudaGraphInstantiate(&self->graph, graph, 0);
#endif
    cudaGraphDestroy(graph);
    return error;
}

/* A single token's launches are recorded once and then started as one: everything that changes from token to
 * token is in self->step. The first token runs by itself, so that all kernels are loaded before the capture.
 */
static cudaError_t run_one(struct entro_gpu_state *self)
{
    if (self->graph == NULL && !self->has_run_one) {
        entro_gpu_run_layers(self, 1);
        self->has_run_one = true;
        return cudaGetLastError();
    }
    cudaError_t error = self->graph == NULL ? capture(self) : cudaSuccess;
    return error != cudaSuccess ? error : cudaGraphLaunch(self->graph, self->stream);
}

static int forward(void *state, const uint32_t *tokens, uint32_t n_tokens, uint64_t position,
                   struct entro_cuda_message *message)
{
    struct entro_gpu_state *self = static_cast<struct entro_gpu_state *>(state);
    /* A run that nobody has waited for yet still reads host_step. */
    int status = self->is_running ? check_results(self, cudaSuccess, message) : ENTRO_CUDA_OK;
    if (status != ENTRO_CUDA_OK)
        return status;
    self->n_tokens = n_tokens;
    self->has_last_logits = false;
    cudaError_t error = put_step(self, tokens, n_tokens, position);
    if (error == cudaSuccess && n_tokens == 1)
        error = run_one(self);
    else if (error == cudaSuccess)
        entro_gpu_run_layers(self, n_tokens);
    if (error != cudaSuccess || n_tokens > 1)
        return check_results(self, error, message);
    self->is_running = true; /* its logits follow on the stream: no need to wait in between */
    return ENTRO_CUDA_OK;
}

static int logits(void *state, uint32_t first, uint32_t n, float *out, struct entro_cuda_message *message)
{
    struct entro_gpu_state *self = static_cast<struct entro_gpu_state *>(state);
    size_t n_vocabulary = self->model.n_vocabulary;
    int status = ENTRO_CUDA_OK;
    self->has_last_logits = false;
    for (uint32_t done = 0; status == ENTRO_CUDA_OK && done < n; done += ENTRO_GPU_LOGITS_ROWS) {
        uint32_t n_rows = n - done < ENTRO_GPU_LOGITS_ROWS ? n - done : ENTRO_GPU_LOGITS_ROWS;
        size_t size_bytes = n_rows * n_vocabulary * sizeof *out;
        entro_gpu_run_head(self, first + done, n_rows);
        status = check_results(self,
                               cudaMemcpyAsync(self->host_logits, self->logits, size_bytes,
                                               cudaMemcpyDeviceToHost, self->stream),
                               message);
        if (status == ENTRO_CUDA_OK)
            memcpy(out + done * n_vocabulary, self->host_logits, size_bytes);
    }
    self->has_last_logits = status == ENTRO_CUDA_OK && n == 1 && first + 1 == self->n_tokens;
    return status;
}

static int pick(void *state, const struct entro_cuda_pick *how, uint32_t *token,
                struct entro_cuda_message *message)
{
    struct entro_gpu_state *self = static_cast<struct entro_gpu_state *>(state);
    cudaError_t error = cudaSuccess;
    if (!self->has_last_logits)
        entro_gpu_run_head(self, self->n_tokens - 1, 1);
    if (how->temperature <= 0)
        entro_gpu_pick_most_likely(self->logits, self->model.n_vocabulary, self->picked, self->stream);
    else {
        *self->host_how = *how;
        error = cudaMemcpyAsync(self->how, self->host_how, sizeof *how, cudaMemcpyHostToDevice, self->stream);
        entro_gpu_pick(self->logits, self->model.n_vocabulary, self->how, self->picked, self->stream);
    }
    if (error == cudaSuccess)
        error = cudaMemcpyAsync(self->host_picked, self->picked, sizeof *self->picked, cudaMemcpyDeviceToHost,
                                self->stream);
    int status = check_results(self, error, message);
    self->has_last_logits = status == ENTRO_CUDA_OK;
    *token = self->host_picked->token;
    if (status == ENTRO_CUDA_OK && self->host_picked->flag != 0) {
        snprintf(message->text, sizeof message->text, "the model's results are no numbers");
        status = ENTRO_CUDA_NO_NUMBERS;
    }
    return status;
}

static void free_state(void *state)
{
    entro_gpu_state_free(static_cast<struct entro_gpu_state *>(state));
}

extern "C" const struct entro_cuda_plugin entro_cuda_plugin __attribute__((visibility("default")));
const struct entro_cuda_plugin entro_cuda_plugin = {
    ENTRO_CUDA_ABI_VERSION,
    (uint32_t)sizeof(struct entro_cuda_model),
    probe,
    create,
    forward,
    logits,
    pick,
    free_state,
};
