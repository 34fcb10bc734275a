/* Opening what runs a model; see engine.h. */
#include "runner/engine.h"

#include <stdlib.h>
#include <string.h>

#include "runner/bus_error.h"
#include "runner/clock.h"
#include "runner/commands.h"

static enum entro_error check_device(const struct entro_engine_options *options,
                                     struct entro_message *message)
{
    const char *device = options->device, *layers = options->gpu_layers;
    if (device != NULL && strcmp(device, "auto") != 0 && strcmp(device, "cpu") != 0)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT,
                          "--device %s: there is none of that name; models run on the CPU (cpu or auto)",
                          device);
    if (layers != NULL && strcmp(layers, "auto") != 0 && strcmp(layers, "0") != 0)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT,
                          "-ngl %s: models run on the CPU alone, no layer can go to a GPU (0 or auto)",
                          layers);
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
    enum entro_error error;
    if (options->directory == NULL)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT, "no model: -m DIR names its directory");
    if ((error = check_device(options, message)) != ENTRO_OK ||
        (error = choose_kernels(&engine->kernels, message)) != ENTRO_OK)
        return error;
    entro_bus_error_explain(&engine->model.weights, "entrorun", ENTRO_EXIT_IO);
    if ((error = entro_model_open(&engine->model, options->directory, message)) != ENTRO_OK)
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

enum entro_error entro_engine_start(struct entro_engine *engine, const struct entro_engine_options *options,
                                    size_t n_context, struct entro_pool *pool, struct entro_message *message)
{
    double start = entro_now_seconds();
    enum entro_error error = ENTRO_OK;
    engine->borrows_pool = pool != NULL;
    engine->pool = pool;
    if (pool == NULL && (error = create_pool(options, &engine->pool, message)) != ENTRO_OK)
        return error;
    if (!options->no_preload &&
        (error = entro_preload(&engine->model.weights,
                               options->direct_io ? ENTRO_PRELOAD_DIRECT : ENTRO_PRELOAD_CACHED,
                               &engine->preload, message)) != ENTRO_OK)
        return error;
    error = entro_backend_cpu_create(&engine->backend, &engine->model.config, &engine->model.weights,
                                     n_context, engine->pool, engine->kernels, message);
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
    engine->backend = NULL;
    engine->pool = NULL;
}
