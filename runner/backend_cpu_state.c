/* The CPU backend's memory; see backend_cpu_internal.h. */
#include <stdlib.h>
#include <sys/mman.h>

#include "codec/bytes.h"
#include "runner/backend_cpu_internal.h"

/* Address space only: the kernel gives memory page by page, as positions are written. NULL where there is not
 * even that. */
static uint8_t *reserve(size_t size_bytes)
{
    void *address =
        mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return address == MAP_FAILED ? NULL : address;
}

static enum entro_error create_cache(struct entro_cpu_backend *self, struct entro_message *message)
{
    const struct entro_config *config = self->config;
    uint64_t size_bytes;
    if (!entro_mul_u64(config->n_layers * 2, config->n_kv_heads * config->head_dim, &size_bytes) ||
        !entro_mul_u64(size_bytes, self->base.n_context, &size_bytes) || size_bytes > PTRDIFF_MAX)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY,
                          "a context of %zu is too large; -c makes it smaller", self->base.n_context);
    self->state.cache_bytes = (size_t)size_bytes;
    self->state.keys = reserve(self->state.cache_bytes);
    self->state.values = reserve(self->state.cache_bytes);
    if (self->state.keys == NULL || self->state.values == NULL)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY,
                          "no memory for a context of %zu; -c makes it smaller", self->base.n_context);
    return ENTRO_OK;
}

/* Floats of one prepared input of any product; SIZE_MAX where that is no size. */
static size_t scratch_floats(const struct entro_cpu_backend *self)
{
    const struct entro_config *config = self->config;
    size_t widest = config->n_hidden > config->n_intermediate ? config->n_hidden : config->n_intermediate;
    if (config->n_heads * config->head_dim > widest)
        widest = config->n_heads * config->head_dim;
    size_t size_bytes = entro_matrix_scratch_bytes(widest, self->base.n_batch);
    return size_bytes == SIZE_MAX ? SIZE_MAX : size_bytes / sizeof(float) + 1;
}

/* All vectors of the state in one block, each on a cache line of its own. */
enum entro_error entro_cpu_state_create(struct entro_cpu_backend *self, struct entro_message *message)
{
    const struct entro_config *config = self->config;
    struct entro_cpu_state *state = &self->state;
    size_t n_batch = self->base.n_batch, n_pairs = config->head_dim / 2;
    size_t n_query = config->n_heads * config->head_dim, n_scratch = scratch_floats(self);
    state->n_qkv = n_query + 2 * config->n_kv_heads * config->head_dim;
    state->n_scores = entro_cpu_attention_floats(config, self->base.n_context);
    const struct {
        float **vector;
        size_t n, length;
    } parts[] = {
        {&state->x, n_batch, config->n_hidden},
        {&state->normed, n_batch, config->n_hidden},
        {&state->qkv, n_batch, state->n_qkv},
        {&state->attended, n_batch, n_query},
        {&state->gate_up, n_batch, 2 * config->n_intermediate},
        {&state->scores, entro_pool_threads(self->pool), state->n_scores},
        {&state->cosines, n_batch, n_pairs},
        {&state->sines, n_batch, n_pairs},
        {&state->sliding_cosines, n_batch, n_pairs},
        {&state->sliding_sines, n_batch, n_pairs},
        {&state->frequencies, 1, n_pairs},
        {&state->sliding_frequencies, 1, n_pairs},
        {&state->scratch[0], 1, n_scratch},
        {&state->scratch[1], 1, n_scratch},
        {&state->scratch[2], 1, n_scratch},
    };
    const size_t n_parts = sizeof parts / sizeof parts[0], line = 64 / sizeof(float);
    uint64_t n_floats = 0, n;
    for (size_t i = 0; i < n_parts; i++)
        if (!entro_mul_u64(parts[i].n, parts[i].length, &n) || !entro_add_u64(n, line, &n) ||
            !entro_add_u64(n_floats, n, &n_floats))
            n_floats = UINT64_MAX;
    if (n_floats < PTRDIFF_MAX / sizeof(float))
        self->arena = aligned_alloc(64, (size_t)n_floats / line * line * sizeof(float));
    if (self->arena == NULL)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY,
                          "no memory for a context of %zu on %u threads; -c and -t make both smaller",
                          self->base.n_context, entro_pool_threads(self->pool));
    float *next = self->arena;
    for (size_t i = 0; i < n_parts; i++) {
        *parts[i].vector = next;
        next += (parts[i].n * parts[i].length + line - 1) / line * line;
    }
    return create_cache(self, message);
}

void entro_cpu_state_free(struct entro_cpu_backend *self)
{
    if (self->state.keys != NULL)
        munmap(self->state.keys, self->state.cache_bytes);
    if (self->state.values != NULL)
        munmap(self->state.values, self->state.cache_bytes);
    free(self->arena);
}
