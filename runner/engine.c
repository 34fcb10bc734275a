/* Opening what runs a model; see engine.h. */
#include "runner/engine.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runner/bus_error.h"
#include "runner/clock.h"
#include "runner/coded_source.h"
#include "runner/commands.h"
#include "runner/mounted_image.h"

/* Tokens that a GPU computes together: enough to keep its matrix units busy. */
#define GPU_BATCH ((size_t)512)

/* Opens the GPU that the options ask for. Without one, that is an error where they ask for nothing else. */
static enum entro_error choose_device(struct entro_engine *engine, const struct entro_engine_options *options,
                                      struct entro_message *message)
{
    const char *device = options->device == NULL ? "auto" : options->device;
    const char *layers = options->gpu_layers == NULL ? "auto" : options->gpu_layers;
    bool all =
        strcmp(layers, "all") == 0 || (layers[0] != '\0' && strspn(layers, "0123456789") == strlen(layers));
    bool none = all && strspn(layers, "0") == strlen(layers);
    if (strcmp(device, "auto") != 0 && strcmp(device, "cpu") != 0 && strcmp(device, "cuda") != 0)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT,
                          "--device %s: there is none of that name (auto, cuda or cpu)", device);
    if (!all && strcmp(layers, "auto") != 0)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT, "-ngl %s: no number of layers (0, all or auto)",
                          layers);
    if ((none && strcmp(device, "cuda") == 0) || (all && !none && strcmp(device, "cpu") == 0))
        return entro_fail(message, ENTRO_ERROR_ARGUMENT, "--device %s and -ngl %s exclude each other", device,
                          layers);
    if (none || strcmp(device, "cpu") == 0)
        return ENTRO_OK;
    engine->wants_gpu = all || strcmp(device, "cuda") == 0;
    struct entro_message *why = engine->wants_gpu ? message : &engine->fallback;
    enum entro_error error = entro_gpu_open(&engine->gpu, why);
    return engine->wants_gpu ? error : ENTRO_OK;
}

/* What the options want of the image's blocks. */
struct coded_wish {
    bool load, keep;  /* decoded by the GPU as they come, or ahead of each use */
    const char *asks; /* the option that says so */
};

static enum entro_error read_coded_wish(const struct entro_engine_options *options, struct coded_wish *wish,
                                        struct entro_message *message)
{
    const char *const named[] = {options->load, options->resident};
    for (size_t i = 0; i < 2; i++)
        if (named[i] != NULL && strcmp(named[i], "raw") != 0 && strcmp(named[i], "compressed") != 0)
            return entro_fail(message, ENTRO_ERROR_ARGUMENT,
                              "--%s %s: there is no such way (compressed or raw)",
                              i == 0 ? "load" : "resident", named[i]);
    wish->keep = options->resident != NULL && strcmp(options->resident, "compressed") == 0;
    wish->asks = wish->keep               ? "--resident compressed"
                 : options->image != NULL ? "--image"
                                          : "--load compressed";
    wish->load =
        wish->keep || options->image != NULL || (options->load != NULL && strcmp(options->load, "raw") != 0);
    if (wish->load && options->load != NULL && strcmp(options->load, "raw") == 0)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT, "--load raw and %s exclude each other", wish->asks);
    return ENTRO_OK;
}

/* The CPU cannot do what `wish` says: an error, unless it only stands in for a GPU. */
static enum entro_error check_coded_on_cpu(struct entro_engine *engine, const struct coded_wish *wish,
                                           struct entro_message *message)
{
    size_t n = strlen(engine->fallback.text);
    if (!wish->load)
        return ENTRO_OK;
    if (n == 0)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT,
                          "%s: only a GPU decodes an image's blocks itself, and this runs on the CPU",
                          wish->asks);
    snprintf(engine->fallback.text + n, sizeof engine->fallback.text - n,
             "; %s, which is for a GPU, does nothing", wish->asks);
    return ENTRO_OK;
}

/* A model has to fit the GPU as a whole. */
static enum entro_error check_layers(const struct entro_engine *engine,
                                     const struct entro_engine_options *options,
                                     struct entro_message *message)
{
    const char *layers = options->gpu_layers;
    if (layers == NULL || engine->gpu == NULL || strspn(layers, "0123456789") != strlen(layers))
        return ENTRO_OK;
    if (strtoull(layers, NULL, 10) < engine->model.config.n_layers)
        return entro_fail(
            message, ENTRO_ERROR_ARGUMENT,
            "-ngl %s: the model has %zu layers, and runs as a whole on the GPU (all) or on the CPU (0)",
            layers, engine->model.config.n_layers);
    return ENTRO_OK;
}

static enum entro_error choose_kernels(const struct entro_kernels **out, struct entro_message *message)
{
    const char *name = getenv("ENTRORUN_KERNEL");
    *out = name == NULL || name[0] == '\0' ? entro_kernels_best() : entro_kernels_by_name(name);
    if (*out == NULL)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT,
                          "ENTRORUN_KERNEL=%s: not among portable, avx2, avx512, vnni, amx and neon, or not "
                          "for this machine",
                          name);
    return ENTRO_OK;
}

enum entro_error entro_engine_open(struct entro_engine *engine, const struct entro_engine_options *options,
                                   struct entro_message *message)
{
    double start = entro_now_seconds();
    struct coded_wish wish;
    enum entro_error error;
    if (options->directory == NULL)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT, "no model: -m DIR names its directory");
    if ((error = choose_kernels(&engine->kernels, message)) != ENTRO_OK ||
        (error = read_coded_wish(options, &wish, message)) != ENTRO_OK ||
        (error = choose_device(engine, options, message)) != ENTRO_OK ||
        (engine->gpu == NULL && (error = check_coded_on_cpu(engine, &wish, message)) != ENTRO_OK))
        return error;
    entro_bus_error_explain(&engine->model.weights, "entrorun", ENTRO_EXIT_IO);
    if ((error = entro_model_open(&engine->model, options->directory, message)) != ENTRO_OK ||
        (error = check_layers(engine, options, message)) != ENTRO_OK)
        return error;
    engine->n_context = options->n_context > 0 ? (size_t)options->n_context : engine->model.config.n_context;
    if (engine->n_context > engine->model.config.n_context)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT,
                          "a context of %zu tokens is more than the model was made for (%zu)",
                          engine->n_context, engine->model.config.n_context);
    engine->open_seconds = entro_now_seconds() - start;
    return ENTRO_OK;
}

static enum entro_error create_pool(const struct entro_engine_options *options, struct entro_pool **out,
                                    struct entro_message *message)
{
    unsigned n_threads = options->n_threads > 0 ? (unsigned)options->n_threads : entro_pool_default_threads();
    enum entro_error error = entro_pool_create(out, n_threads);
    if (error != ENTRO_OK)
        entro_fail(message, error, "cannot start %u threads: %s", n_threads, entro_error_name(error));
    return error;
}

static enum entro_error start_on_cpu(struct entro_engine *engine, const struct entro_engine_options *options,
                                     size_t n_context, struct entro_message *message)
{
    enum entro_error error = ENTRO_OK;
    if (!options->no_preload)
        error = entro_preload(&engine->model.weights,
                              options->direct_io ? ENTRO_PRELOAD_DIRECT : ENTRO_PRELOAD_CACHED,
                              &engine->preload, message);
    if (error != ENTRO_OK)
        return error;
    return entro_backend_cpu_create(&engine->backend, &engine->model.config, &engine->model.weights,
                                    n_context, engine->pool, engine->kernels, message);
}

/* The image whose stored bytes the GPU is to decode, if the options ask for that: else *out stays NULL. */
static enum entro_error open_image(struct entro_coded_source **out,
                                   const struct entro_engine_options *options, const struct coded_wish *wish,
                                   struct entro_message *message)
{
    char mounted[PATH_MAX];
    const char *image = options->image;
    *out = NULL;
    if (!wish->load)
        return ENTRO_OK;
    enum entro_error error = ENTRO_OK;
    if (image == NULL) {
        error = entro_mounted_image(options->directory, mounted, sizeof mounted, message);
        image = mounted;
    }
    return error != ENTRO_OK ? error : entro_coded_source_open(out, image, message);
}

/* On the CPU after all where the model does not fit the GPU and nobody insists. */
static enum entro_error start_on_gpu(struct entro_engine *engine, const struct entro_engine_options *options,
                                     size_t n_context, struct entro_message *message)
{
    struct entro_coded_source *coded;
    struct coded_wish wish;
    enum entro_error error = read_coded_wish(options, &wish, message);
    if (error != ENTRO_OK || (error = open_image(&coded, options, &wish, message)) != ENTRO_OK)
        return error;
    const struct entro_cuda_options settings = {.n_context = n_context,
                                                .n_batch = GPU_BATCH,
                                                .n_threads = entro_pool_threads(engine->pool),
                                                .direct_io = options->direct_io,
                                                .coded = coded,
                                                .keep_coded = wish.keep};
    error = entro_backend_cuda_create(&engine->backend, engine->gpu, &engine->model.config,
                                      &engine->model.weights, &settings, &engine->loaded, message);
    entro_coded_source_close(coded);
    engine->preload = (struct entro_preload_figures){.read_bytes = engine->loaded.read_bytes,
                                                     .seconds = engine->loaded.seconds};
    if (error == ENTRO_OK || engine->wants_gpu ||
        (error != ENTRO_ERROR_NO_MEMORY && error != ENTRO_ERROR_UNSUPPORTED))
        return error;
    engine->fallback = *message;
    entro_gpu_close(engine->gpu);
    engine->gpu = NULL;
    error = check_coded_on_cpu(engine, &wish, message);
    if (error != ENTRO_OK)
        return error;
    return start_on_cpu(engine, options, n_context, message);
}

enum entro_error entro_engine_start(struct entro_engine *engine, const struct entro_engine_options *options,
                                    size_t n_context, struct entro_pool *pool, struct entro_message *message)
{
    double start = entro_now_seconds();
    enum entro_error error = ENTRO_OK;
    engine->borrows_pool = pool != NULL;
    engine->pool = pool;
    if (pool == NULL && (error = create_pool(options, &engine->pool, message)) != ENTRO_OK)
        return error;
    error = engine->gpu != NULL ? start_on_gpu(engine, options, n_context, message)
                                : start_on_cpu(engine, options, n_context, message);
    if (error != ENTRO_OK)
        return error;
    if (options->n_ubatch > 0 && (size_t)options->n_ubatch < engine->backend->n_batch)
        engine->backend->n_batch = (size_t)options->n_ubatch;
    engine->n_batch = options->n_batch > 0 ? (size_t)options->n_batch : engine->backend->n_batch;
    engine->open_seconds += entro_now_seconds() - start;
    return ENTRO_OK;
}

void entro_engine_close(struct entro_engine *engine)
{
    if (engine->backend != NULL)
        engine->backend->free(engine->backend);
    if (!engine->borrows_pool)
        entro_pool_free(engine->pool);
    entro_model_close(&engine->model);
    entro_gpu_close(engine->gpu);
    engine->backend = NULL;
    engine->pool = NULL;
    engine->gpu = NULL;
}
