/*
 * Products of matrices with many vectors: a tile of weights is unpacked to F32 once and used for all of them,
 * so that every encoding costs the same. The tile lies with its rows innermost ("panel"), where a kernel
 * multiplies a vector of weights with one element of the input (Goto and van de Geijn, "Anatomy of
 * High-Performance Matrix Multiplication", 2008).
 */
#include <string.h>

#include "runner/matrix_internal.h"

/* Columns of a panel: a multiple of every dtype's block. The panel (64 KiB) stays in the L2 cache. */
#define PANEL_COLUMNS 512

/* Tokens of a product with fewer rows than a tile at a time. */
#define NARROW_TOKENS 32

_Static_assert(PANEL_COLUMNS % 256 == 0, "a panel starts at a block of the dtype");

struct tile {
    _Alignas(64) float rows[ENTRO_TILE_ROWS * PANEL_COLUMNS];
    _Alignas(64) float panel[PANEL_COLUMNS * ENTRO_TILE_ROWS];
};

/* Rows that are not there are zeros. */
static void unpack_tile(struct tile *tile, const struct entro_matrix *matrix,
                        const struct entro_kernels *kernels, size_t first, size_t n_rows, size_t column,
                        size_t n_columns)
{
    for (size_t i = 0; i < n_rows; i++)
        entro_matrix_piece(matrix, kernels, first + i, column, n_columns, tile->rows + i * PANEL_COLUMNS);
    for (size_t i = n_rows; i < ENTRO_TILE_ROWS; i++)
        memset(tile->rows + i * PANEL_COLUMNS, 0, n_columns * sizeof(float));
    kernels->transpose_tile(tile->rows, PANEL_COLUMNS, n_columns, tile->panel);
}

/* A tile with fewer rows: its results pass through a buffer, since a kernel writes whole tiles. */
static void multiply_narrow(const struct tile *tile, const struct entro_kernels *kernels,
                            const struct entro_matrix_input *input, size_t column, size_t n_columns,
                            size_t n_rows, float *y, size_t y_stride)
{
    _Alignas(64) float results[NARROW_TOKENS * ENTRO_TILE_ROWS];
    for (size_t token = 0; token < input->n_tokens; token += NARROW_TOKENS) {
        size_t n = input->n_tokens - token < NARROW_TOKENS ? input->n_tokens - token : NARROW_TOKENS;
        for (size_t t = 0; t < n && column != 0; t++)
            memcpy(results + t * ENTRO_TILE_ROWS, y + (token + t) * y_stride, n_rows * sizeof(float));
        for (size_t t = 0; t < n && column != 0; t++)
            memset(results + t * ENTRO_TILE_ROWS + n_rows, 0, (ENTRO_TILE_ROWS - n_rows) * sizeof(float));
        kernels->multiply_f32(tile->panel, n_columns, input->x + token * input->x_stride + column,
                              input->x_stride, n, results, ENTRO_TILE_ROWS, column != 0);
        for (size_t t = 0; t < n; t++)
            memcpy(y + (token + t) * y_stride, results + t * ENTRO_TILE_ROWS, n_rows * sizeof(float));
    }
}

void entro_matrix_times_panels(const struct entro_matrix *matrix, const struct entro_kernels *kernels,
                               const struct entro_matrix_input *input, size_t first, size_t n, float *y,
                               size_t y_stride)
{
    struct tile tile;
    for (size_t row = first; row < first + n; row += ENTRO_TILE_ROWS) {
        size_t n_rows = first + n - row < ENTRO_TILE_ROWS ? first + n - row : ENTRO_TILE_ROWS;
        for (size_t column = 0; column < matrix->n_columns; column += PANEL_COLUMNS) {
            size_t n_columns =
                matrix->n_columns - column < PANEL_COLUMNS ? matrix->n_columns - column : PANEL_COLUMNS;
            unpack_tile(&tile, matrix, kernels, row, n_rows, column, n_columns);
            if (n_rows < ENTRO_TILE_ROWS)
                multiply_narrow(&tile, kernels, input, column, n_columns, n_rows, y + row, y_stride);
            else
                kernels->multiply_f32(tile.panel, n_columns, input->x + column, input->x_stride,
                                      input->n_tokens, y + row, y_stride, column != 0);
        }
    }
}
