/* The CPU backend's products, spread over the pool by rows; what one product does is matrix.h's business. */
#include "runner/backend_cpu_internal.h"

/* A work item takes at least so many weights (its start costs as much as a few thousand), and at most so
 * many. */
#define MIN_ITEM_WEIGHTS ((size_t)8192)
#define MAX_ITEM_WEIGHTS ((size_t)131072)

/* Tokens that are prepared as one work item. */
#define PREPARED_TOKENS ((size_t)8)

struct product_loop {
    struct entro_cpu_backend *self;
    const struct entro_cpu_product *products;
    const struct entro_matrix_input *inputs[ENTRO_CPU_MAX_PRODUCTS];
    size_t n_items[ENTRO_CPU_MAX_PRODUCTS];
    size_t rows_per_item;
};

static void run_product_item(void *context, size_t item, unsigned worker)
{
    const struct product_loop *loop = context;
    size_t i = 0;
    (void)worker;
    while (item >= loop->n_items[i])
        item -= loop->n_items[i++];
    const struct entro_cpu_product *product = &loop->products[i];
    size_t first = item * loop->rows_per_item;
    size_t n = product->matrix->n_rows - first;
    if (n > loop->rows_per_item)
        n = loop->rows_per_item;
    entro_matrix_times(product->matrix, loop->self->kernels, loop->inputs[i], first, n, product->y,
                       product->y_stride);
}

/* The inputs of the products that share one vector but not its factors. */
struct preparation {
    struct entro_matrix_input inputs[ENTRO_CPU_MAX_PRODUCTS];
    size_t n_inputs;
};

/* All inputs of some tokens: they are read once. */
static void prepare_item(void *context, size_t item, unsigned worker)
{
    struct preparation *preparation = context;
    (void)worker;
    for (size_t i = 0; i < preparation->n_inputs; i++) {
        struct entro_matrix_input *input = &preparation->inputs[i];
        size_t first = item * PREPARED_TOKENS, n = input->n_tokens - first;
        entro_matrix_prepare_tokens(input, first, n < PREPARED_TOKENS ? n : PREPARED_TOKENS);
    }
}

static void prepare(struct entro_cpu_backend *self, struct preparation *preparation, size_t n_tokens)
{
    size_t n_items = (n_tokens + PREPARED_TOKENS - 1) / PREPARED_TOKENS;
    if (n_items == 1)
        prepare_item(preparation, 0, 0);
    else
        entro_parallel_for(self->pool, n_items, prepare_item, preparation);
}

static size_t choose_rows(const struct entro_cpu_backend *self, size_t n_rows, size_t n_columns,
                          size_t n_tokens)
{
    const size_t tile = n_tokens == 1 ? 4 : ENTRO_MATRIX_TILE_ROWS;
    size_t item_weights = n_rows * n_columns / (4 * (size_t)entro_pool_threads(self->pool));
    if (item_weights < MIN_ITEM_WEIGHTS)
        item_weights = MIN_ITEM_WEIGHTS;
    if (item_weights > MAX_ITEM_WEIGHTS)
        item_weights = MAX_ITEM_WEIGHTS;
    size_t rows = (item_weights + n_columns - 1) / n_columns;
    return (rows + tile - 1) / tile * tile;
}

static void show_inputs(const struct entro_observer *observer, const struct entro_cpu_product *products,
                        size_t n_products, const float *x, size_t x_stride, size_t n_tokens)
{
    for (size_t i = 0; i < n_products; i++)
        observer->inputs(observer->context, products[i].matrix, x, x_stride, n_tokens);
}

void entro_cpu_multiply(struct entro_cpu_backend *self, const struct entro_cpu_product *products,
                        size_t n_products, const float *x, size_t x_stride, size_t n_tokens)
{
    struct preparation preparation = {.n_inputs = 0};
    struct product_loop loop = {.self = self, .products = products};
    size_t n_rows = 0, n_items = 0;
    if (self->observer != NULL)
        show_inputs(self->observer, products, n_products, x, x_stride, n_tokens);
    for (size_t i = 0; i < n_products; i++) {
        n_rows += products[i].matrix->n_rows;
        for (size_t j = 0; j < i && loop.inputs[i] == NULL; j++)
            if (entro_matrix_shares_input(products[j].matrix, products[i].matrix))
                loop.inputs[i] = loop.inputs[j];
        if (loop.inputs[i] != NULL)
            continue;
        struct entro_matrix_input *input = &preparation.inputs[preparation.n_inputs++];
        entro_matrix_prepare_begin(input, products[i].matrix, self->kernels, x, x_stride, n_tokens,
                                   self->state.scratch[i]);
        loop.inputs[i] = input;
    }
    prepare(self, &preparation, n_tokens);
    loop.rows_per_item = choose_rows(self, n_rows, products[0].matrix->n_columns, n_tokens);
    for (size_t i = 0; i < n_products; i++) {
        loop.n_items[i] = (products[i].matrix->n_rows + loop.rows_per_item - 1) / loop.rows_per_item;
        n_items += loop.n_items[i];
    }
    entro_parallel_for(self->pool, n_items, run_product_item, &loop);
}
