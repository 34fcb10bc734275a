/* Sketches of second moments: the half of directions.h that sees the inputs. */
#include "runner/directions_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runner/random.h"

#define WIDTH ENTRO_VECTORS_OF_PANEL

/* Tokens that are worked on at a time, and that one thread multiplies with the random vectors. */
#define TOKENS_AT_ONCE ((size_t)128)
#define TOKENS_OF_ITEM ((size_t)12)

/* Columns that are summed at a time, and of a product: a panel of so many (64 KiB) stays in the L2 cache. */
#define COLUMNS_AT_ONCE  ((size_t)64)
#define COLUMNS_OF_PANEL ((size_t)512)

/* A column counts as of at least this share of the columns' mean size. */
#define LEAST_SIZE 1e-3

#define SEED 0x656e74726fU

_Static_assert(ENTRO_SKETCH_VECTORS % WIDTH == 0 && ENTRO_SKETCH_VECTORS % 64 == 0, "whole panels and words");

static float *allocate(size_t n_rows, size_t n_columns)
{
    void *memory;
    size_t row_bytes = n_columns * sizeof(float);
    if (n_columns > SIZE_MAX / sizeof(float) || (row_bytes > 0 && n_rows > SIZE_MAX / 2 / row_bytes) ||
        posix_memalign(&memory, 64, n_rows * row_bytes) != 0)
        return NULL;
    return memset(memory, 0, n_rows * row_bytes);
}

struct entro_sketch_room *entro_sketch_room_create(size_t n_columns)
{
    struct entro_sketch_room *room = calloc(1, sizeof *room);
    if (room == NULL)
        return NULL;
    room->n_columns = n_columns;
    room->signs = allocate(n_columns, ENTRO_SKETCH_VECTORS);
    room->scaled = allocate(n_columns, TOKENS_AT_ONCE);
    room->products = allocate(TOKENS_AT_ONCE, ENTRO_SKETCH_VECTORS);
    if (room->signs == NULL || room->scaled == NULL || room->products == NULL) {
        entro_sketch_room_free(room);
        return NULL;
    }
    uint64_t state = SEED;
    for (size_t column = 0; column < n_columns; column++)
        for (size_t first = 0; first < ENTRO_SKETCH_VECTORS; first += 64) {
            uint64_t bits = entro_splitmix64(&state);
            for (size_t i = 0; i < 64; i++)
                room->signs[entro_panel_index(n_columns, column, first + i)] = (bits >> i & 1) ? 1 : -1;
        }
    return room;
}

void entro_sketch_room_free(struct entro_sketch_room *room)
{
    if (room == NULL)
        return;
    free(room->signs);
    free(room->scaled);
    free(room->products);
    free(room);
}

size_t entro_sketch_directions(size_t n_columns)
{
    size_t n = n_columns / ENTRO_COLUMNS_FOR_DIRECTION;
    return n < ENTRO_DIRECTIONS ? n : ENTRO_DIRECTIONS;
}

static size_t n_panels_of(const struct entro_sketch *sketch)
{
    return (entro_sketch_vectors(sketch) + WIDTH - 1) / WIDTH;
}

bool entro_sketch_create(struct entro_sketch *out, size_t n_columns)
{
    *out = (struct entro_sketch){.n_columns = n_columns, .n_directions = entro_sketch_directions(n_columns)};
    if (out->n_directions == 0)
        return true;
    out->scales = calloc(n_columns, sizeof *out->scales);
    out->sums = allocate(n_columns, n_panels_of(out) * WIDTH);
    if (out->scales != NULL && out->sums != NULL)
        return true;
    entro_sketch_free(out);
    return false;
}

void entro_sketch_free(struct entro_sketch *sketch)
{
    free(sketch->scales);
    free(sketch->sums);
    *sketch = (struct entro_sketch){0};
}

/* The inputs of a call, or of a part of it. */
struct add_loop {
    struct entro_sketch *sketch;
    struct entro_sketch_room *room;
    const struct entro_kernels *kernels;
    const float *x;
    size_t x_stride, n_tokens;
};

/* One over the root mean squares of the first inputs: columns of all sizes get an equal share of the vectors.
 */
static void find_scales(const struct add_loop *loop)
{
    size_t n = loop->sketch->n_columns;
    float *scales = loop->sketch->scales;
    double all = 0;
    for (size_t token = 0; token < loop->n_tokens; token++)
        for (size_t i = 0; i < n; i++)
            scales[i] += loop->x[token * loop->x_stride + i] * loop->x[token * loop->x_stride + i];
    for (size_t i = 0; i < n; i++) {
        scales[i] = sqrtf(scales[i] / (float)loop->n_tokens);
        all += (double)scales[i];
    }
    float least = (float)(LEAST_SIZE * all / (double)n);
    for (size_t i = 0; i < n; i++)
        scales[i] = least > 0 ? 1 / fmaxf(scales[i], least) : 1;
}

/* Products of some tokens' inputs with the random vectors. */
static void project(void *context, size_t item, unsigned worker)
{
    const struct add_loop *loop = context;
    struct entro_sketch_room *room = loop->room;
    size_t n = loop->sketch->n_columns, first = item * TOKENS_OF_ITEM;
    size_t n_tokens = loop->n_tokens - first < TOKENS_OF_ITEM ? loop->n_tokens - first : TOKENS_OF_ITEM;
    float *scaled = room->scaled + first * n;
    (void)worker;
    for (size_t token = 0; token < n_tokens; token++)
        for (size_t i = 0; i < n; i++)
            scaled[token * n + i] = loop->x[(first + token) * loop->x_stride + i] * loop->sketch->scales[i];
    for (size_t panel = 0; panel < n_panels_of(loop->sketch); panel++)
        for (size_t i = 0; i < n; i += COLUMNS_OF_PANEL)
            loop->kernels->multiply_f32(room->signs + (panel * room->n_columns + i) * WIDTH,
                                        n - i < COLUMNS_OF_PANEL ? n - i : COLUMNS_OF_PANEL, scaled + i, n,
                                        n_tokens, room->products + (panel * TOKENS_AT_ONCE + first) * WIDTH,
                                        WIDTH, i > 0);
}

/* Adds the outer products of some columns' inputs and the tokens' products. */
static void sum_columns(void *context, size_t item, unsigned worker)
{
    const struct add_loop *loop = context;
    struct entro_sketch *sketch = loop->sketch;
    size_t first = item * COLUMNS_AT_ONCE;
    size_t n = sketch->n_columns - first < COLUMNS_AT_ONCE ? sketch->n_columns - first : COLUMNS_AT_ONCE;
    (void)worker;
    for (size_t token = 0; token < loop->n_tokens; token += WIDTH) {
        _Alignas(64) float turned[COLUMNS_AT_ONCE * WIDTH], rows[WIDTH * COLUMNS_AT_ONCE];
        size_t n_tokens = loop->n_tokens - token < WIDTH ? loop->n_tokens - token : WIDTH;
        const float *x = loop->x + token * loop->x_stride + first;
        size_t x_stride = loop->x_stride;
        if (n_tokens < WIDTH) { /* a kernel reads whole tiles */
            memset(rows, 0, sizeof rows);
            for (size_t i = 0; i < n_tokens; i++)
                memcpy(rows + i * COLUMNS_AT_ONCE, x + i * x_stride, n * sizeof *x);
            x = rows;
            x_stride = COLUMNS_AT_ONCE;
        }
        loop->kernels->transpose_tile(x, x_stride, n, turned);
        for (size_t panel = 0; panel < n_panels_of(sketch); panel++)
            loop->kernels->multiply_f32(
                loop->room->products + (panel * TOKENS_AT_ONCE + token) * WIDTH, n_tokens, turned, WIDTH, n,
                sketch->sums + (panel * sketch->n_columns + first) * WIDTH, WIDTH, true);
    }
}

void entro_sketch_add(struct entro_sketch *sketch, struct entro_sketch_room *room,
                      const struct entro_kernels *kernels, struct entro_pool *pool, const float *x,
                      size_t x_stride, size_t n_tokens)
{
    if (sketch->n_directions == 0)
        return;
    for (size_t done = 0; done < n_tokens; done += TOKENS_AT_ONCE) {
        struct add_loop loop = {.sketch = sketch,
                                .room = room,
                                .kernels = kernels,
                                .x = x + done * x_stride,
                                .x_stride = x_stride,
                                .n_tokens =
                                    n_tokens - done < TOKENS_AT_ONCE ? n_tokens - done : TOKENS_AT_ONCE};
        if (sketch->n_tokens == 0)
            find_scales(&loop);
        entro_parallel_for(pool, (loop.n_tokens + TOKENS_OF_ITEM - 1) / TOKENS_OF_ITEM, project, &loop);
        entro_parallel_for(pool, (sketch->n_columns + COLUMNS_AT_ONCE - 1) / COLUMNS_AT_ONCE, sum_columns,
                           &loop);
        sketch->n_tokens += loop.n_tokens;
    }
}
