/*
 * The GPU backend as entrorun sees it: finds and loads the plug-in (runner/cuda), hands it a model's weights
 * and speaks the backend interface. Needs no CUDA library itself.
 */
#ifndef ENTRO_RUNNER_BACKEND_CUDA_H
#define ENTRO_RUNNER_BACKEND_CUDA_H

#include "runner/backend.h"

struct entro_gpu;

/*
 * Loads the plug-in and looks for a GPU that its kernels run on. The plug-in is ENTRORUN_CUDA_PLUGIN of the
 * environment, or libentrorun-cuda.so beside the program (of a build: cuda/) or in the library folder of the
 * installation. On success the caller frees with entro_gpu_close, after the backends.
 * ENTRO_ERROR_NOT_FOUND: no plug-in, no driver, an old one, no GPU, or one of another architecture: the
 * message says which; _UNSUPPORTED: a plug-in of another version.
 */
enum entro_error entro_gpu_open(struct entro_gpu **out, struct entro_message *message);
void entro_gpu_close(struct entro_gpu *gpu);

/* "NVIDIA H100 80GB HBM3, sm_90, 132 multiprocessors"; lives as long as `gpu`. */
const char *entro_gpu_name(const struct entro_gpu *gpu);

struct entro_cuda_options {
    size_t n_context;
    size_t n_batch;
    unsigned n_threads; /* that read weights */
    bool direct_io;     /* past the page cache, where the file system can */
    /* The image that the weights' files are a mount of: its stored bytes go to the card and are decoded
     * there. NULL: none. Must outlive the creation alone. */
    const struct entro_coded_source *coded;
    bool keep_coded; /* layers stay as the image has them and are decoded ahead of each use; needs `coded` */
};

/* What a load took. */
struct entro_cuda_loaded {
    uint64_t read_bytes; /* that went to the card */
    double seconds;
    /* The card's memory: */
    uint64_t weight_bytes;
    uint64_t decoded_bytes; /* what the weights would take if none stayed coded */
    uint64_t cache_bytes;
    uint64_t work_bytes;
};

/*
 * Reads the weights' files into GPU memory (*figures: how much and how fast), where codes, F32, F16 and BF16
 * stay as they are and GGUF's block types become F16. Keeps gpu, config and weights, which must outlive it.
 * One thread at a time. ENTRO_ERROR_NO_MEMORY (the message says how much was needed; nothing is left
 * allocated), _IO (a file cannot be read), _UNSUPPORTED (a model that only the CPU runs), and those of the
 * interface.
 */
enum entro_error entro_backend_cuda_create(struct entro_backend **out, struct entro_gpu *gpu,
                                           const struct entro_config *config,
                                           const struct entro_weights *weights,
                                           const struct entro_cuda_options *options,
                                           struct entro_cuda_loaded *figures, struct entro_message *message);

#endif
