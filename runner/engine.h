/*
 * What every command that runs a model needs: the model opened, kernels, threads and a backend, from the
 * options that the commands share. Prints nothing.
 */
#ifndef ENTRO_RUNNER_ENGINE_H
#define ENTRO_RUNNER_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/error.h"
#include "codec/pool.h"
#include "runner/backend.h"
#include "runner/backend_cuda.h"
#include "runner/model.h"
#include "runner/options.h"
#include "runner/preload.h"

struct entro_engine_options {
    const char *directory;
    const char *device;     /* "auto", "cuda" or "cpu"; NULL: auto */
    const char *gpu_layers; /* "0": the CPU; "all" or no fewer than there are: the GPU; "auto"; NULL: auto */
    int64_t n_context;      /* 0: the model's own */
    int64_t n_threads;      /* 0 and -1: one for each processor */
    int64_t n_batch;        /* tokens of a prompt between two looks at an interruption */
    int64_t n_ubatch;       /* tokens that are computed together, as far as the backend has room */
    bool no_preload;        /* weights that are not in memory come as they are used */
    bool direct_io;         /* ... are read past the page cache */
    const char *load;  /* "compressed": a GPU decodes the image's stored bytes; "raw"; NULL: by the others */
    const char *image; /* NULL: the one that is mounted */
    const char *resident; /* "compressed": a GPU's memory holds the stored bytes; "raw"; NULL: raw */
};

/* What the options are where nothing is said. */
#define ENTRO_ENGINE_DEFAULTS                                                                                \
    {                                                                                                        \
        .n_batch = 2048, .n_ubatch = 512                                                                     \
    }

/* Rows of an option table for `o`, a struct entro_engine_options; one line a row. */
/* clang-format off */
#define ENTRO_ENGINE_MODEL_ROW(o)                                                                                    \
    {ENTRO_OPTION_TEXT, "-m, --model", "DIR", "the model directory: a mounted image, or one extracted",              \
     &(o).directory, 0, 0}
#define ENTRO_ENGINE_ROWS(o)                                                                                         \
    {ENTRO_OPTION_INTEGER, "-t, --threads", "N", "threads; 0 or -1: one a processor (default)",                      \
     &(o).n_threads, -1, 1024},                                                                                      \
    {ENTRO_OPTION_INTEGER, "-b, --batch-size", "N", "tokens of a prompt that are handed over at a time (2048)",      \
     &(o).n_batch, 1, 1 << 24},                                                                                      \
    {ENTRO_OPTION_INTEGER, "-ub, --ubatch-size", "N",                                                                \
     "tokens that are computed together, as far as the backend\nhas room for them (512)",                            \
     &(o).n_ubatch, 1, 1 << 24},                                                                                     \
    {ENTRO_OPTION_SET, "-dio, --direct-io", NULL,                                                                    \
     "read weights that are not in memory yet past the page\n"                                                       \
     "cache (O_DIRECT): saves a copy, but each start reads again",                                             \
     &(o).direct_io, 0, 0},                                                                                          \
    {ENTRO_OPTION_SET, "--no-preload", NULL,                                                                         \
     "do not read ahead weights that are not in memory yet: they\ncome as they are used",                            \
     &(o).no_preload, 0, 0},                                                                                         \
    {ENTRO_OPTION_TEXT, "--load", "HOW",                                                                             \
     "what goes to a GPU: compressed, the image's blocks as they\n"                                                  \
     "are, which it decodes itself; raw (default)",                                                                  \
     &(o).load, 0, 0},                                                                                               \
    {ENTRO_OPTION_TEXT, "--resident", "HOW",                                                                         \
     "what stays in a GPU's memory: compressed, the image's blocks,\n"                                               \
     "each layer decoded ahead of each use: takes less memory, but\n"                                                \
     "more time for each token; raw (default)",                                                                      \
     &(o).resident, 0, 0},                                                                                           \
    {ENTRO_OPTION_TEXT, "--image", "FILE",                                                                           \
     "the image that DIR is a mount of, for compressed\n(default: as the list of mounts has it)",                    \
     &(o).image, 0, 0},                                                                                              \
    {ENTRO_OPTION_TEXT, "-dev, --device", "NAME",                                                                    \
     "cuda, cpu or auto: the GPU where there is one that can run\n"                                                 \
     "the model, else the CPU (default)",                                                                      \
     &(o).device, 0, 0},                                                                                             \
    {ENTRO_OPTION_TEXT, "-ngl, --gpu-layers, --n-gpu-layers", "N",                                                   \
     "0: the CPU; all, or as many layers as there are: the GPU;\nauto (default)",                                   \
     &(o).gpu_layers, 0, 0}
/* clang-format on */

struct entro_engine {
    struct entro_model model;
    const struct entro_kernels *kernels;
    struct entro_pool *pool;
    bool borrows_pool;
    struct entro_backend *backend;
    size_t n_batch; /* tokens a call of `forward` should take at most */
    size_t n_context;
    struct entro_preload_figures preload; /* of a GPU: all weights, into its memory, as they went there */
    struct entro_cuda_loaded loaded;      /* of a GPU */
    double open_seconds;
    struct entro_gpu *gpu;         /* NULL: the CPU runs the model */
    bool wants_gpu;                /* nothing else will do */
    struct entro_message fallback; /* why it is the CPU where a GPU was to be used if possible; or empty */
};

/*
 * Checks the options and opens the model into *engine, which must be zero and stay where it is; a SIGBUS of
 * its weights is explained from here on. After either call entro_engine_close frees what there is, also on
 * failure. ENTRO_ERROR_ARGUMENT (no directory, a context that the model was not made for, no such device,
 * compressed weights for the CPU),
 * those of entro_gpu_open where nothing but a GPU will do, and those of entro_model_open.
 */
enum entro_error entro_engine_open(struct entro_engine *engine, const struct entro_engine_options *options,
                                   struct entro_message *message);

/*
 * Threads, weights read ahead where they are not in memory, and the backend, with room for n_context tokens.
 * `pool`: threads to share with another engine, which outlives this one; NULL: its own.
 */
enum entro_error entro_engine_start(struct entro_engine *engine, const struct entro_engine_options *options,
                                    size_t n_context, struct entro_pool *pool, struct entro_message *message);

void entro_engine_close(struct entro_engine *engine);

#endif
