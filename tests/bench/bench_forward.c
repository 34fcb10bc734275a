/*
 * The runner's forward pass as a contender in a comparison that takes turns (llama_cpp_turns.py):
 *     bench_forward DIRECTORY THREADS
 * reads lines "prompt N" (N tokens in one go, logits of the last) and "generate N" (N tokens one by one,
 * logits of each) and answers each with the seconds it took. Tokens are the same every time; no sampling, no
 * text.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "codec/pool.h"
#include "runner/backend.h"
#include "runner/kernels.h"
#include "runner/model.h"

#define MAX_TOKENS 1024

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static enum entro_error run(struct entro_backend *backend, const char *what, const uint32_t *tokens, size_t n,
                            float *logits, struct entro_message *message)
{
    if (strcmp(what, "prompt") == 0)
        return backend->forward(backend, tokens, n, 0, logits, message);
    for (size_t i = 0; i < n; i++) {
        enum entro_error error = backend->forward(backend, &tokens[i], 1, i, logits, message);
        if (error != ENTRO_OK)
            return error;
    }
    return ENTRO_OK;
}

static enum entro_error serve(struct entro_backend *backend, const struct entro_model *model,
                              struct entro_message *message)
{
    uint32_t tokens[MAX_TOKENS];
    for (size_t i = 0; i < MAX_TOKENS; i++)
        tokens[i] = (uint32_t)(i * 40503 % model->config.n_vocabulary);
    float *logits = malloc(model->config.n_vocabulary * sizeof *logits);
    if (logits == NULL)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory");
    enum entro_error error = ENTRO_OK;
    char line[64], what[16];
    size_t n;
    while (error == ENTRO_OK && fgets(line, sizeof line, stdin) != NULL) {
        if (sscanf(line, "%15s %zu", what, &n) != 2 || n == 0 || n > MAX_TOKENS) {
            error = entro_fail(message, ENTRO_ERROR_ARGUMENT, "cannot do %s", line);
            break;
        }
        double start = seconds();
        error = run(backend, what, tokens, n, logits, message);
        printf("%.6f\n", seconds() - start);
        fflush(stdout);
    }
    free(logits);
    return error;
}

int main(int argc, char **argv)
{
    struct entro_message message = {0};
    static struct entro_model model;
    struct entro_pool *pool = NULL;
    struct entro_backend *backend = NULL;
    if (argc != 3) {
        fprintf(stderr, "usage: bench_forward DIRECTORY THREADS\n");
        return 2;
    }
    enum entro_error error = entro_model_open(&model, argv[1], &message);
    if (error != ENTRO_OK)
        goto report;
    error = entro_pool_create(&pool, (unsigned)strtoul(argv[2], NULL, 10));
    if (error != ENTRO_OK) {
        entro_fail(&message, error, "cannot start %s threads", argv[2]);
        goto close_model;
    }
    const char *name = getenv("ENTRORUN_KERNEL");
    const struct entro_kernels *kernels = name == NULL ? entro_kernels_best() : entro_kernels_by_name(name);
    if (kernels == NULL)
        error = entro_fail(&message, ENTRO_ERROR_ARGUMENT, "no kernels \"%s\" here", name);
    else
        error = entro_backend_cpu_create(&backend, &model.config, &model.weights, MAX_TOKENS, pool, kernels,
                                         &message);
    if (error != ENTRO_OK)
        goto free_pool;
    printf("%s\n", backend->name);
    fflush(stdout);
    error = serve(backend, &model, &message);
    backend->free(backend);
free_pool:
    entro_pool_free(pool);
close_model:
    entro_model_close(&model);
report:
    if (error != ENTRO_OK)
        fprintf(stderr, "bench_forward: %s\n", message.text);
    return error == ENTRO_OK ? 0 : 1;
}
