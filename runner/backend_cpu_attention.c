/*
 * Causal attention on the CPU, with or without a window, spread over the pool. A single token's heads read
 * keys and values as they are; a batch's rows (the query heads of several tokens that share a key-value head)
 * go together over steps of positions, whose keys and values become F32 panels once for all rows, with the
 * softmax kept up to date from step to step (Milakov and Gimelshein, arXiv 1805.02867).
 */
#include <math.h>
#include <string.h>

#include "runner/backend_cpu_internal.h"

/* Query rows that go together, and positions of a step: their products take most of the time, and all of it
 * stays in the L2 cache. */
#define ROWS ((size_t)64)
#define STEP ((size_t)128)
#define TILE ((size_t)ENTRO_TILE_ROWS)

_Static_assert(STEP % ENTRO_TILE_ROWS == 0, "a step is made of whole tiles");

/* A thread's room for rows. Rounded up, for panels are aligned: head_dim to `width`, a multiple of TILE. */
struct rows {
    size_t n;
    size_t width;
    float *values;  /* [width / TILE][STEP][TILE] panels of the step's values */
    float *panel;   /* [width][TILE] of keys */
    float *widened; /* [TILE][width] keys */
    float *queries; /* [ROWS][width], scaled */
    float *sums;    /* [ROWS][width] of values, weighted */
    float *scores;  /* [ROWS][STEP] */
    float *largest; /* [ROWS] score so far */
    float *weights; /* [ROWS] sum of all weights so far */
};

static size_t padded(size_t head_dim)
{
    return (head_dim + TILE - 1) / TILE * TILE;
}

static struct rows rows_in(float *room, size_t head_dim, size_t n)
{
    size_t width = padded(head_dim);
    struct rows rows = {.n = n, .width = width, .values = room};
    rows.panel = rows.values + STEP * width;
    rows.widened = rows.panel + width * TILE;
    rows.queries = rows.widened + TILE * width;
    rows.sums = rows.queries + ROWS * width;
    rows.scores = rows.sums + ROWS * width;
    rows.largest = rows.scores + ROWS * STEP;
    rows.weights = rows.largest + ROWS;
    return rows;
}

size_t entro_cpu_attention_floats(const struct entro_config *config, size_t n_context)
{
    size_t width = padded(config->head_dim);
    size_t n_rows = (STEP + 2 * TILE + 2 * ROWS) * width + ROWS * STEP + 2 * ROWS;
    size_t n = n_rows > n_context ? n_rows : n_context;
    return (n + 15) / 16 * 16; /* whole cache lines, so that every thread's panels are aligned */
}

/* The first position that the token at `position` sees. */
static size_t first_seen(const struct entro_cpu_attention *attention, size_t position)
{
    return attention->window != 0 && position + 1 > attention->window ? position + 1 - attention->window : 0;
}

/* One query head of one token. Several query heads share a key-value head. */
static void attend_one(void *context, size_t head, unsigned worker)
{
    const struct entro_cpu_attention *attention = context;
    struct entro_cpu_backend *self = attention->self;
    const struct entro_config *config = self->config;
    size_t head_dim = config->head_dim, stride = head_dim * 2;
    size_t cache =
        entro_cpu_cache_offset(self, attention->layer, head / (config->n_heads / config->n_kv_heads));
    const uint8_t *keys = self->state.keys + cache, *values = self->state.values + cache;
    const float *query = self->state.qkv + head * head_dim;
    float *scores = self->state.scores + worker * self->state.n_scores;
    float *out = self->state.attended + head * head_dim;
    size_t first = first_seen(attention, attention->position), n = attention->position + 1 - first;
    for (size_t i = 0; i < n; i++)
        scores[i] =
            config->attention_scale * self->kernels->dot_f16(keys + (first + i) * stride, query, head_dim);
    float weight = 1.0F / self->math->exp_sum(scores, self->math->largest(scores, n), n);
    memset(out, 0, head_dim * sizeof *out);
    for (size_t i = 0; i < n; i++)
        self->kernels->add_f16(out, weight * scores[i], values + (first + i) * stride, head_dim);
}

/* Panels of the step's values: element [d / TILE][j][d % TILE] is value j's element d. */
static void widen_values(const struct rows *rows, const struct entro_kernels *kernels, const uint8_t *values,
                         size_t n_positions, size_t head_dim)
{
    for (size_t slab = 0; slab * TILE < head_dim; slab++) {
        size_t n = head_dim - slab * TILE < TILE ? head_dim - slab * TILE : TILE;
        float *panel = rows->values + slab * STEP * TILE;
        for (size_t j = 0; j < n_positions; j++) {
            kernels->widen_f16(values + (j * head_dim + slab * TILE) * 2, n, panel + j * TILE);
            memset(panel + j * TILE + n, 0, (TILE - n) * sizeof *panel);
        }
    }
}

/* scores[r][j] of the step's positions; those of a last, partial tile that are not there are anything. */
static void score(const struct rows *rows, const struct entro_kernels *kernels, const uint8_t *keys,
                  size_t n_positions, size_t head_dim)
{
    for (size_t tile = 0; tile < n_positions; tile += TILE) {
        size_t n = n_positions - tile < TILE ? n_positions - tile : TILE;
        for (size_t j = 0; j < n; j++)
            kernels->widen_f16(keys + (tile + j) * head_dim * 2, head_dim, rows->widened + j * rows->width);
        kernels->transpose_tile(rows->widened, rows->width, head_dim, rows->panel);
        kernels->multiply_f32(rows->panel, head_dim, rows->queries, rows->width, rows->n, rows->scores + tile,
                              STEP, false);
    }
}

/* Turns the scores of positions first..end-1 of the step, which row r sees, into weights, and the others
 * into 0. */
static void weigh(const struct rows *rows, const struct entro_vector_math *math, size_t r, size_t first,
                  size_t end, size_t n_positions)
{
    float *scores = rows->scores + r * STEP, *sums = rows->sums + r * rows->width;
    if (first >= end) {
        memset(scores, 0, n_positions * sizeof *scores);
        return;
    }
    float largest = fmaxf(rows->largest[r], math->largest(scores + first, end - first));
    float shrink = rows->largest[r] == -INFINITY ? 0.0F : expf(rows->largest[r] - largest);
    if (shrink != 1.0F)
        for (size_t i = 0; i < rows->width; i++)
            sums[i] *= shrink;
    rows->weights[r] = rows->weights[r] * shrink + math->exp_sum(scores + first, largest, end - first);
    rows->largest[r] = largest;
    memset(scores, 0, first * sizeof *scores);
    memset(scores + end, 0, (n_positions - end) * sizeof *scores);
}

/* Rows item * ROWS and on of one key-value head; row r is query head r % group of the token r / group. */
static void attend_rows(void *context, size_t item, unsigned worker)
{
    const struct entro_cpu_attention *attention = context;
    struct entro_cpu_backend *self = attention->self;
    const struct entro_config *config = self->config;
    const struct entro_kernels *kernels = self->kernels;
    size_t head_dim = config->head_dim, group = config->n_heads / config->n_kv_heads;
    size_t kv_head = item % config->n_kv_heads, first_row = item / config->n_kv_heads * ROWS;
    size_t n_rows = attention->n_tokens * group - first_row;
    size_t cache = entro_cpu_cache_offset(self, attention->layer, kv_head);
    struct rows rows =
        rows_in(self->state.scores + worker * self->state.n_scores, head_dim, n_rows < ROWS ? n_rows : ROWS);
    for (size_t r = 0; r < rows.n; r++) {
        size_t token = (first_row + r) / group, head = kv_head * group + (first_row + r) % group;
        const float *query = self->state.qkv + token * self->state.n_qkv + head * head_dim;
        for (size_t i = 0; i < head_dim; i++)
            rows.queries[r * rows.width + i] = config->attention_scale * query[i];
        rows.largest[r] = -INFINITY;
        rows.weights[r] = 0;
    }
    memset(rows.sums, 0, rows.n * rows.width * sizeof *rows.sums);
    size_t end = attention->position + (first_row + rows.n - 1) / group + 1;
    for (size_t step = first_seen(attention, attention->position + first_row / group); step < end;
         step += STEP) {
        size_t n = end - step < STEP ? end - step : STEP;
        score(&rows, kernels, self->state.keys + cache + step * head_dim * 2, n, head_dim);
        for (size_t r = 0; r < rows.n; r++) {
            size_t position = attention->position + (first_row + r) / group;
            size_t first = first_seen(attention, position);
            weigh(&rows, self->math, r, first > step ? first - step : 0,
                  position < step ? 0 : (position + 1 - step < n ? position + 1 - step : n), n);
        }
        widen_values(&rows, kernels, self->state.values + cache + step * head_dim * 2, n, head_dim);
        for (size_t slab = 0; slab * TILE < rows.width; slab++)
            kernels->multiply_f32(rows.values + slab * STEP * TILE, n, rows.scores, STEP, rows.n,
                                  rows.sums + slab * TILE, rows.width, true);
    }
    for (size_t r = 0; r < rows.n; r++) {
        size_t token = (first_row + r) / group, head = kv_head * group + (first_row + r) % group;
        float *out = self->state.attended + (token * config->n_heads + head) * head_dim;
        for (size_t i = 0; i < head_dim; i++)
            out[i] = rows.sums[r * rows.width + i] / rows.weights[r];
    }
}

void entro_cpu_attend(struct entro_cpu_backend *self, size_t layer, size_t position, size_t n_tokens)
{
    const struct entro_config *config = self->config;
    struct entro_cpu_attention attention = {.self = self,
                                            .layer = layer,
                                            .position = position,
                                            .n_tokens = n_tokens,
                                            .window = entro_config_window(config, layer)};
    if (n_tokens == 1) {
        entro_cpu_place_token(&attention, 0, 0);
        entro_parallel_for(self->pool, config->n_heads, attend_one, &attention);
        return;
    }
    entro_parallel_for(self->pool, n_tokens, entro_cpu_place_token, &attention);
    size_t n_rows = n_tokens * (config->n_heads / config->n_kv_heads);
    entro_parallel_for(self->pool, (n_rows + ROWS - 1) / ROWS * config->n_kv_heads, attend_rows, &attention);
}
