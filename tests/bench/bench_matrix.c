/*
 * How fast the runner's products are: GB/s of weights for one vector (generation; beside it, the bandwidth of
 * a plain copy) and GFLOP/s for a batch of 512 (a prompt), for every variant of the kernels that this machine
 * runs and every way weights are stored.
 *     bench_matrix [THREADS [ROWS COLUMNS [VARIANT]]]          defaults: 1 1536 576, all variants
 * Each figure is the best of several runs; with one thread by processor time, which other programs disturb
 * less. The vector's matrices take 256 MiB together, so that no cache of common size holds them; outliers are
 * 2 in 10 000.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "codec/bytes.h"
#include "codec/half.h"
#include "codec/pool.h"
#include "runner/matrix.h"

#define WEIGHTS_BYTES ((size_t)256 << 20)
#define BATCH         512
#define RUNS          5

static const char *const variants[] = {"portable", "avx2", "avx512", "vnni", "amx", "neon"};

struct encoding {
    const char *name;
    enum entro_matrix_encoding encoding;
    enum entro_dtype dtype;
    unsigned bits_per_256; /* of 256 weights, in bytes */
    bool with_factors;     /* of rows and of columns */
    bool with_outliers;
};

static const struct encoding encodings[] = {
    {"u8", ENTRO_MATRIX_U8, ENTRO_DTYPE_NONE, 256, false, false},
    {"u8 factors", ENTRO_MATRIX_U8, ENTRO_DTYPE_NONE, 256, true, false},
    {"u8 factors, outliers", ENTRO_MATRIX_U8, ENTRO_DTYPE_NONE, 256, true, true},
    {"u4", ENTRO_MATRIX_U4, ENTRO_DTYPE_NONE, 128, false, false},
    {"u4 factors", ENTRO_MATRIX_U4, ENTRO_DTYPE_NONE, 128, true, false},
    {"u4 factors, outliers", ENTRO_MATRIX_U4, ENTRO_DTYPE_NONE, 128, true, true},
    {"BF16", ENTRO_MATRIX_DTYPE, ENTRO_DTYPE_BF16, 512, false, false},
    {"F16", ENTRO_MATRIX_DTYPE, ENTRO_DTYPE_F16, 512, false, false},
    {"F32", ENTRO_MATRIX_DTYPE, ENTRO_DTYPE_F32, 1024, false, false},
    {"Q8_0", ENTRO_MATRIX_DTYPE, ENTRO_DTYPE_Q8_0, 272, false, false},
    {"Q4_1", ENTRO_MATRIX_DTYPE, ENTRO_DTYPE_Q4_1, 160, false, false},
    {"Q4_K", ENTRO_MATRIX_DTYPE, ENTRO_DTYPE_Q4_K, 144, false, false},
};

static struct entro_pool *pool;

static double seconds(void)
{
    struct timespec now;
    clock_gettime(entro_pool_threads(pool) == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void *allocate(size_t size_bytes)
{
    void *memory = aligned_alloc(64, (size_bytes + 63) / 64 * 64);
    if (memory == NULL) {
        fprintf(stderr, "bench_matrix: out of memory\n");
        exit(1);
    }
    return memory;
}

static size_t n_rows = 1536, n_columns = 576;
static uint8_t *weights, *copy, *outliers;
static float *x, *y, *factors;
static void *scratch;

struct products {
    struct entro_matrix matrix;
    const struct entro_kernels *kernels;
    struct entro_matrix_input input;
    size_t matrix_bytes, n_pieces, piece_rows;
};

static void run_piece(void *context, size_t item, unsigned worker)
{
    const struct products *products = context;
    struct entro_matrix matrix = products->matrix;
    (void)worker;
    matrix.data += item / products->n_pieces * products->matrix_bytes;
    size_t first = item % products->n_pieces * products->piece_rows;
    size_t n = n_rows - first < products->piece_rows ? n_rows - first : products->piece_rows;
    entro_matrix_times(&matrix, products->kernels, &products->input, first, n, y, n_rows);
}

/* The shortest time that n_matrices products take, in seconds. */
static double time_products(const struct encoding *encoding, const struct entro_kernels *kernels,
                            size_t n_matrices, size_t n_tokens)
{
    struct products products = {.kernels = kernels};
    products.matrix = (struct entro_matrix){.name = encoding->name,
                                            .n_rows = n_rows,
                                            .n_columns = n_columns,
                                            .encoding = encoding->encoding,
                                            .dtype = encoding->dtype,
                                            .data = weights,
                                            .scale = 0.01F,
                                            .zero_point = encoding->bits_per_256 == 256 ? 128 : 8};
    if (encoding->with_factors)
        products.matrix.row_scale = products.matrix.column_scale = factors;
    if (encoding->with_outliers) {
        products.matrix.outliers = outliers;
        products.matrix.n_outliers = n_rows * n_columns / 5000;
    }
    products.matrix_bytes = n_rows * n_columns / 256 * encoding->bits_per_256;
    products.piece_rows = 4 * ENTRO_MATRIX_TILE_ROWS;
    products.n_pieces = (n_rows + products.piece_rows - 1) / products.piece_rows;
    double best = 1e9;
    for (int run = 0; run < RUNS; run++) {
        double start = seconds();
        entro_matrix_prepare_begin(&products.input, &products.matrix, kernels, x, n_columns, n_tokens,
                                   scratch);
        entro_matrix_prepare_tokens(&products.input, 0, n_tokens);
        entro_parallel_for(pool, n_matrices * products.n_pieces, run_piece, &products);
        double time = seconds() - start;
        best = time < best ? time : best;
    }
    return best;
}

static void measure(const char *variant)
{
    const struct entro_kernels *kernels = entro_kernels_by_name(variant);
    if (kernels == NULL)
        return;
    for (size_t i = 0; i < sizeof encodings / sizeof encodings[0]; i++) {
        const struct encoding *encoding = &encodings[i];
        size_t matrix_bytes = n_rows * n_columns / 256 * encoding->bits_per_256;
        size_t n_matrices = WEIGHTS_BYTES / 4 / matrix_bytes;
        bool slow = strcmp(variant, "portable") == 0;
        double vector = time_products(encoding, kernels, slow ? n_matrices / 16 + 1 : n_matrices, 1);
        double batch = time_products(encoding, kernels, 1, slow ? BATCH / 16 : BATCH);
        double read = (double)matrix_bytes * (double)(slow ? n_matrices / 16 + 1 : n_matrices);
        double flop = 2.0 * (double)(n_rows * n_columns) * (slow ? BATCH / 16 : BATCH);
        printf("%-9s %-21s %8.2f GB/s %9.1f GFLOP/s\n", variant, encoding->name, read / vector / 1e9,
               flop / batch / 1e9);
    }
}

static void copy_piece(void *context, size_t item, unsigned worker)
{
    (void)context;
    (void)worker;
    memcpy(copy + (item << 20), weights + (item << 20), (size_t)1 << 20);
}

int main(int argc, char **argv)
{
    unsigned n_threads = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 1;
    n_rows = argc > 3 ? strtoul(argv[2], NULL, 10) : n_rows;
    n_columns = argc > 3 ? strtoul(argv[3], NULL, 10) : n_columns;
    if (n_threads == 0 || n_rows == 0 || n_columns == 0 || n_columns % 256 != 64 * (n_columns / 64 % 4) ||
        n_rows > 65536 || n_columns > 16384 || n_rows * n_columns * 4 > WEIGHTS_BYTES) {
        fprintf(stderr, "usage: bench_matrix [THREADS [ROWS COLUMNS [VARIANT]]], columns by 64\n");
        return 2;
    }
    if (entro_pool_create(&pool, n_threads) != ENTRO_OK) {
        fprintf(stderr, "bench_matrix: cannot start %u threads\n", n_threads);
        return 1;
    }
    weights = allocate(WEIGHTS_BYTES);
    copy = allocate(WEIGHTS_BYTES);
    size_t n_outliers = n_rows * n_columns / 5000;
    size_t widest = n_rows > n_columns ? n_rows : n_columns;
    outliers = allocate(n_outliers * ENTRO_OUTLIER_BYTES + 1);
    x = allocate(BATCH * n_columns * sizeof *x);
    y = allocate(BATCH * n_rows * sizeof *y);
    factors = allocate(widest * sizeof *factors);
    scratch = allocate(entro_matrix_scratch_bytes(n_columns, BATCH));
    for (size_t i = 0; i < WEIGHTS_BYTES; i++)
        weights[i] = (uint8_t)(48 + (i * 2654435761U >> 13) % 16); /* a small number in any type of float */
    memset(copy, 0, WEIGHTS_BYTES);
    for (size_t i = 0; i < BATCH * n_columns; i++)
        x[i] = (float)(i * 40503U % 65536) / 65536.0F - 0.5F;
    for (size_t i = 0; i < widest; i++)
        factors[i] = 1.0F + (float)(i % 3) / 8.0F;
    for (size_t i = 0; i < n_outliers; i++) {
        entro_store_u64(outliers + i * ENTRO_OUTLIER_BYTES, i * 5000 + i * 7919 % 4999);
        entro_store_f32(outliers + i * ENTRO_OUTLIER_BYTES + 8, 1.5F);
    }

    double best = 1e9;
    for (int run = 0; run < RUNS; run++) {
        double start = seconds();
        entro_parallel_for(pool, WEIGHTS_BYTES >> 20, copy_piece, NULL);
        double time = seconds() - start;
        best = time < best ? time : best;
    }
    printf("%u threads, %zu x %zu; copy: %.2f GB/s read and as much written\n", n_threads, n_rows, n_columns,
           (double)WEIGHTS_BYTES / best / 1e9);
    for (size_t v = 0; v < sizeof variants / sizeof variants[0]; v++)
        if (argc <= 4 || strcmp(argv[4], variants[v]) == 0)
            measure(variants[v]);
    entro_pool_free(pool);
    free(weights);
    free(copy);
    free(outliers);
    free(x);
    free(y);
    free(factors);
    free(scratch);
    return 0;
}
