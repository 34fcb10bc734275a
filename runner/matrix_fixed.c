/*
 * Products of codes in whole numbers: the input becomes blocks of digits once (kernels_fixed.h); one vector
 * or a few meet the codes as they lie, many meet tiles of them.
 */
#include <math.h>
#include <string.h>

#include "runner/matrix_internal.h"

/* From so many tokens on it pays to arrange a tile of codes for all of them. */
#define MIN_TILE_TOKENS 4

/* Tokens of a tile's product at a time: their results stay in the L1 cache. */
#define TILE_TOKENS 32

/* Rows whose results of one vector are in hand at a time. */
#define DOT_ROWS 64

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t block_columns(const struct entro_matrix *matrix, size_t column)
{
    size_t n = matrix->n_columns - column;
    return n < ENTRO_FIXED_COLUMNS ? n : ENTRO_FIXED_COLUMNS;
}

bool entro_matrix_can_be_fixed(const struct entro_matrix *matrix)
{
    float zero = matrix->zero_point;
    return matrix->encoding != ENTRO_MATRIX_DTYPE && zero >= -ENTRO_FIXED_MAX_ZERO &&
           zero <= ENTRO_FIXED_MAX_ZERO && zero == (float)(int32_t)zero;
}

/* Off a multiple of 512, so that 16 vectors' digits do not meet in one set of the L1 cache. */
size_t entro_fixed_stride(size_t n_columns)
{
    size_t stride = ENTRO_FIXED_DIGITS * entro_fixed_padded(n_columns);
    return stride % 512 == 0 ? stride + 64 : stride;
}

size_t entro_fixed_n_blocks(size_t n_columns)
{
    return n_columns / ENTRO_FIXED_COLUMNS + (n_columns % ENTRO_FIXED_COLUMNS != 0);
}

void entro_matrix_fix_token(struct entro_matrix_input *input, size_t token)
{
    const struct entro_matrix *matrix = input->matrix;
    enum entro_fixed_order order =
        matrix->encoding == ENTRO_MATRIX_U4 ? ENTRO_FIXED_BY_NIBBLE : ENTRO_FIXED_IN_ORDER;
    for (size_t column = 0, i = 0; column < matrix->n_columns; column += ENTRO_FIXED_COLUMNS, i++)
        input->kernels->fixed->fix(input->x + token * input->x_stride + column,
                                   matrix->column_scale == NULL ? NULL : matrix->column_scale + column,
                                   block_columns(matrix, column), order,
                                   input->digits + token * input->digits_stride + column * ENTRO_FIXED_DIGITS,
                                   &input->blocks[token * input->n_blocks + i]);
}

/* n u4 codes that start with a high nibble, as if they started with a low one. */
static void shift_nibbles(const uint8_t *row, size_t n, uint8_t *shifted)
{
    for (size_t i = 0; i < (n + 1) / 2; i++) {
        unsigned low = row[i] >> 4, high = 2 * i + 1 < n ? row[i + 1] & 15U : 0;
        shifted[i] = (uint8_t)(low | high << 4);
    }
}

/* The products of rows that start in the middle of a byte, one by one. */
static void dots_shifted(const struct entro_matrix *matrix, const struct entro_fixed_kernels *fixed,
                         size_t row, size_t column, size_t n, const int8_t *digits,
                         const struct entro_fixed_block *block, float *y)
{
    uint8_t shifted[ENTRO_FIXED_COLUMNS / 2];
    const uint8_t *codes;
    size_t element = row * matrix->n_columns + column;
    if (entro_matrix_codes_at(matrix, element, &codes)) {
        shift_nibbles(codes, n, shifted);
        codes = shifted;
    }
    fixed->dots_u4(codes, 0, 1, n, digits, block, (int32_t)matrix->zero_point, y, column != 0);
}

/* Without row factors. */
static void dots(const struct entro_matrix *matrix, const struct entro_fixed_kernels *fixed, size_t first,
                 size_t n_rows, size_t column, size_t n, const int8_t *digits,
                 const struct entro_fixed_block *block, float *y)
{
    size_t element = first * matrix->n_columns + column;
    int32_t zero = (int32_t)matrix->zero_point;
    if (matrix->encoding == ENTRO_MATRIX_U8)
        fixed->dots_u8(matrix->data + element, matrix->n_columns, n_rows, n, digits, block, zero, y,
                       column != 0);
    else if (matrix->n_columns % 2 == 0)
        fixed->dots_u4(matrix->data + element / 2, matrix->n_columns / 2, n_rows, n, digits, block, zero, y,
                       column != 0);
    else
        for (size_t i = 0; i < n_rows; i++)
            dots_shifted(matrix, fixed, first + i, column, n, digits, block, y + i);
}

static void times_vector(const struct entro_matrix *matrix, const struct entro_matrix_input *input,
                         const struct entro_fixed_kernels *fixed, size_t token, size_t first, size_t n,
                         float *y)
{
    const int8_t *digits = input->digits + token * input->digits_stride;
    const struct entro_fixed_block *blocks = input->blocks + token * input->n_blocks;
    for (size_t row = first; row < first + n; row += DOT_ROWS) {
        size_t n_rows = first + n - row < DOT_ROWS ? first + n - row : DOT_ROWS;
        for (size_t column = 0, i = 0; column < matrix->n_columns; column += ENTRO_FIXED_COLUMNS, i++)
            dots(matrix, fixed, row, n_rows, column, block_columns(matrix, column),
                 digits + column * ENTRO_FIXED_DIGITS, &blocks[i], y + row);
        for (size_t i = row; i < row + n_rows; i++)
            y[i] *= entro_matrix_row_factor(matrix, i);
    }
}

/* Outliers that are added together. */
#define MAX_CORRECTIONS 128

/* Column factors below this, of numbers around 1, take digits from their input. */
#define MIN_FACTOR 0x1p-10F

/*
 * What an outlier's value adds to what its code stands for: as a factor of the fixed-point input, or of the
 * input itself where a column factor of (almost) 0 leaves nothing of it in the fixed-point input.
 */
struct correction {
    float difference;
    bool of_input; /* not of the fixed-point one */
    size_t column;
    uint32_t row; /* from the first */
    size_t block; /* of columns */
    size_t digit; /* where its first digit lies among a token's */
    size_t plane; /* bytes to the next one */
};

/* Where column `column` of a block lies in each plane. */
static size_t place_in_plane(const struct entro_matrix *matrix, size_t column)
{
    if (matrix->encoding == ENTRO_MATRIX_U8)
        return column;
    size_t step = column / ENTRO_FIXED_STEP * ENTRO_FIXED_STEP, place = column % ENTRO_FIXED_STEP;
    return step + place % 2 * (ENTRO_FIXED_STEP / 2) + place / 2;
}

/* The corrections of the outliers from *next on that lie before element `end`, as many as there is room for.
 */
static size_t collect_corrections(const struct entro_matrix *matrix, uint64_t first, uint64_t end,
                                  size_t *next, struct correction *corrections)
{
    size_t n = 0;
    uint64_t first_row = first / matrix->n_columns;
    for (; n < MAX_CORRECTIONS && *next < matrix->n_outliers; n++, ++*next) {
        uint64_t element = entro_outlier_index(matrix, *next);
        if (element >= end)
            break;
        size_t row = (size_t)(element / matrix->n_columns);
        size_t column = (size_t)(element - (uint64_t)row * matrix->n_columns);
        size_t block_start = column / ENTRO_FIXED_COLUMNS * ENTRO_FIXED_COLUMNS;
        float value = entro_outlier_value(matrix, *next);
        float coded = entro_matrix_row_factor(matrix, row) *
                      ((float)entro_matrix_code(matrix, (size_t)element) - matrix->zero_point);
        float factor = matrix->column_scale == NULL ? 1.0F : matrix->column_scale[column];
        /* The fixed-point input has the column's factor; the value is for the input without it. */
        bool is_direct = !(fabsf(factor) >= MIN_FACTOR);
        float difference = is_direct ? value - coded * factor : value / factor - coded;
        corrections[n] = (struct correction){.difference = difference,
                                             .of_input = is_direct,
                                             .column = column,
                                             .row = (uint32_t)(row - first_row),
                                             .block = column / ENTRO_FIXED_COLUMNS,
                                             .digit = block_start * ENTRO_FIXED_DIGITS +
                                                      place_in_plane(matrix, column - block_start),
                                             .plane = entro_fixed_padded(block_columns(matrix, block_start))};
    }
    return n;
}

struct tile {
    _Alignas(64) uint8_t rows[ENTRO_TILE_ROWS * ENTRO_FIXED_COLUMNS];
    _Alignas(64) uint8_t panel[ENTRO_FIXED_COLUMNS * ENTRO_TILE_ROWS];
    float factors[ENTRO_TILE_ROWS];
    struct correction corrections[MAX_CORRECTIONS];
};

static void copy_codes(const struct entro_matrix *matrix, const struct entro_fixed_kernels *fixed, size_t row,
                       size_t column, size_t n, uint8_t *out)
{
    const uint8_t *codes;
    uint8_t shifted[ENTRO_FIXED_COLUMNS / 2];
    bool in_mid_byte = entro_matrix_codes_at(matrix, row * matrix->n_columns + column, &codes);
    if (matrix->encoding == ENTRO_MATRIX_U8) {
        memcpy(out, codes, n);
        memset(out + n, 0, entro_fixed_padded(n) - n);
        return;
    }
    if (in_mid_byte)
        shift_nibbles(codes, n, shifted);
    fixed->split_u4(in_mid_byte ? shifted : codes, n, out);
}

/* Rows that are not there are zeros. */
static void arrange_tile(struct tile *tile, const struct entro_matrix *matrix,
                         const struct entro_kernels *kernels, size_t first, size_t n_rows, size_t column,
                         size_t n)
{
    size_t padded = entro_fixed_padded(n);
    if (matrix->encoding == ENTRO_MATRIX_U8 && n_rows == ENTRO_TILE_ROWS && n == padded &&
        matrix->n_columns % 4 == 0) {
        /* Nothing to add to them as they lie. */
        kernels->transpose_tile(matrix->data + first * matrix->n_columns + column, matrix->n_columns / 4,
                                n / 4, tile->panel);
    } else {
        for (size_t i = 0; i < n_rows; i++)
            copy_codes(matrix, kernels->fixed, first + i, column, n, tile->rows + i * padded);
        memset(tile->rows + n_rows * padded, 0, (ENTRO_TILE_ROWS - n_rows) * padded);
        kernels->transpose_tile(tile->rows, padded / 4, padded / 4, tile->panel);
    }
    for (size_t i = 0; i < ENTRO_TILE_ROWS; i++)
        tile->factors[i] = i < n_rows ? entro_matrix_row_factor(matrix, first + i) : 0;
}

/* Adds the corrections for the tokens from `token` on; y is at that token and at the first row. The input is
 * read from its digits: the product has brought those near, while x may be far. */
static void correct(const struct correction *corrections, size_t n, const struct entro_matrix_input *input,
                    size_t token, size_t n_tokens, float *y, size_t y_stride)
{
    for (const struct correction *c = corrections; c < corrections + n; c++) {
        const int8_t *digit = input->digits + token * input->digits_stride + c->digit;
        const struct entro_fixed_block *block = input->blocks + token * input->n_blocks + c->block;
        float *out = y + c->row;
        const float *x = input->x + token * input->x_stride + c->column;
        for (size_t t = 0; t < n_tokens && c->of_input; t++)
            out[t * y_stride] += c->difference * x[t * input->x_stride];
        for (size_t t = 0; t < n_tokens && !c->of_input; t++) {
            int32_t value = digit[0] * 65536 + digit[c->plane] * 256 + digit[2 * c->plane];
            *out += c->difference * (block->scale * (float)value);
            out += y_stride;
            digit += input->digits_stride;
            block += input->n_blocks;
        }
    }
}

/* The columns of block `block`, n_tokens <= TILE_TOKENS tokens; `addend` has rows of ENTRO_TILE_ROWS or is
 * NULL. */
static void times_block(const struct tile *tile, const struct entro_fixed_kernels *fixed,
                        const struct entro_fixed_batch *batch, int32_t zero, size_t n_rows, bool is_first,
                        const float *addend, float *y, size_t y_stride)
{
    if (n_rows == ENTRO_TILE_ROWS) {
        if (is_first)
            fixed->multiply(tile->panel, batch, zero, tile->factors, addend, ENTRO_TILE_ROWS, y, y_stride);
        else
            fixed->multiply(tile->panel, batch, zero, tile->factors, y, y_stride, y, y_stride);
        return;
    }
    /* Fewer rows pass through a buffer, since a kernel writes whole tiles. */
    _Alignas(64) float results[TILE_TOKENS * ENTRO_TILE_ROWS];
    fixed->multiply(tile->panel, batch, zero, tile->factors, addend, ENTRO_TILE_ROWS, results,
                    ENTRO_TILE_ROWS);
    for (size_t t = 0; t < batch->n_tokens; t++)
        for (size_t i = 0; i < n_rows; i++)
            y[t * y_stride + i] = results[t * ENTRO_TILE_ROWS + i] + (is_first ? 0 : y[t * y_stride + i]);
}

static size_t code_bytes(const struct entro_matrix *matrix, size_t n)
{
    return matrix->encoding == ENTRO_MATRIX_U8 ? n : n / 2;
}

/*
 * Brings a share of the next tile's codes into the L2 cache while this one is multiplied: `done` of `total`
 * tokens are behind, n come now. To read 32 short rows side by side is nothing that the processor foresees.
 */
static void prefetch_next(const struct entro_matrix *matrix, size_t row, size_t done, size_t n, size_t total)
{
    size_t n_rows = least(matrix->n_rows - row, ENTRO_TILE_ROWS);
    const uint8_t *codes = matrix->data + code_bytes(matrix, row * matrix->n_columns);
    size_t n_bytes = code_bytes(matrix, n_rows * matrix->n_columns);
    for (size_t i = n_bytes * done / total; i < n_bytes * (done + n) / total; i += 64)
        __builtin_prefetch(codes + i, 0, 2);
    __asm__ volatile(""); /* GCC takes a function that only prefetches for one that does nothing */
}

/* A tile's product with the columns of block `block` for all tokens, and, in the first block, what the
 * outliers add: that is put together where it lies close, and becomes an addend. */
static void times_tokens(const struct tile *tile, const struct entro_matrix *matrix,
                         const struct entro_matrix_input *input, const struct entro_fixed_kernels *fixed,
                         size_t block, size_t first, size_t n_rows, size_t n_corrections, float *y,
                         size_t y_stride)
{
    _Alignas(64) float addend[TILE_TOKENS * ENTRO_TILE_ROWS];
    size_t column = block * ENTRO_FIXED_COLUMNS, n_tokens;
    for (size_t token = 0; token < input->n_tokens; token += n_tokens) {
        n_tokens = least(input->n_tokens - token, TILE_TOKENS);
        struct entro_fixed_batch batch = {.digits = input->digits + token * input->digits_stride +
                                                    column * ENTRO_FIXED_DIGITS,
                                          .stride = input->digits_stride,
                                          .blocks = input->blocks + token * input->n_blocks + block,
                                          .block_stride = input->n_blocks,
                                          .n_columns = block_columns(matrix, column),
                                          .n_tokens = n_tokens};
        if (input->n_blocks == 1) /* the rows of wider ones are long enough */
            prefetch_next(matrix, first + n_rows, token, n_tokens, input->n_tokens);
        if (n_corrections != 0) {
            memset(addend, 0, n_tokens * ENTRO_TILE_ROWS * sizeof *addend);
            correct(tile->corrections, n_corrections, input, token, n_tokens, addend, ENTRO_TILE_ROWS);
        }
        times_block(tile, fixed, &batch, (int32_t)matrix->zero_point, n_rows, block == 0,
                    n_corrections == 0 ? NULL : addend, y + token * y_stride, y_stride);
    }
}

static void times_tile(struct tile *tile, const struct entro_matrix *matrix,
                       const struct entro_matrix_input *input, const struct entro_kernels *kernels,
                       size_t first, size_t n_rows, float *y, size_t y_stride)
{
    uint64_t start = (uint64_t)first * matrix->n_columns, end = start + (uint64_t)n_rows * matrix->n_columns;
    size_t next = entro_first_outlier(matrix, start);
    for (size_t i = 0; i < input->n_blocks; i++) {
        size_t column = i * ENTRO_FIXED_COLUMNS, n_corrections = 0;
        if (i == 0)
            n_corrections = collect_corrections(matrix, start, end, &next, tile->corrections);
        arrange_tile(tile, matrix, kernels, first, n_rows, column, block_columns(matrix, column));
        times_tokens(tile, matrix, input, kernels->fixed, i, first, n_rows, n_corrections, y, y_stride);
    }
    /* More of them than there is room for. */
    size_t n;
    while ((n = collect_corrections(matrix, start, end, &next, tile->corrections)) != 0)
        correct(tile->corrections, n, input, 0, input->n_tokens, y, y_stride);
}

/*
 * What the outliers of n rows add to the product with one vector, whose input is near. A head may have
 * hundreds of thousands, one or two a row: a division is cheaper than a branch at each row's end, which no
 * processor foresees.
 */
static void correct_vector(const struct entro_matrix *matrix, const float *x, size_t first, size_t n,
                           float *y)
{
    const uint64_t n_columns = matrix->n_columns, end = (first + n) * n_columns;
    const float *column_scale = matrix->column_scale;
    const float zero_point = matrix->zero_point;
    for (size_t i = entro_first_outlier(matrix, first * n_columns); i < matrix->n_outliers; i++) {
        uint64_t element = entro_outlier_index(matrix, i), row = element / n_columns;
        if (element >= end)
            break;
        size_t column = (size_t)(element - row * n_columns);
        float factor = entro_matrix_row_factor(matrix, (size_t)row);
        if (column_scale != NULL)
            factor *= column_scale[column];
        float coded = factor * ((float)entro_matrix_code(matrix, (size_t)element) - zero_point);
        y[row] += (entro_outlier_value(matrix, i) - coded) * x[column];
    }
}

static void times_vectors(const struct entro_matrix *matrix, const struct entro_matrix_input *input,
                          const struct entro_fixed_kernels *fixed, size_t first, size_t n, float *y,
                          size_t y_stride)
{
    for (size_t t = 0; t < input->n_tokens; t++) {
        times_vector(matrix, input, fixed, t, first, n, y + t * y_stride);
        if (matrix->n_outliers != 0)
            correct_vector(matrix, input->x + t * input->x_stride, first, n, y + t * y_stride);
    }
}

void entro_matrix_times_fixed(const struct entro_matrix *matrix, const struct entro_kernels *kernels,
                              const struct entro_matrix_input *input, size_t first, size_t n, float *y,
                              size_t y_stride)
{
    if (input->n_tokens < MIN_TILE_TOKENS) {
        times_vectors(matrix, input, kernels->fixed, first, n, y, y_stride);
        return;
    }
    struct tile tile;
    for (size_t row = first; row < first + n; row += ENTRO_TILE_ROWS) {
        size_t n_rows = first + n - row < ENTRO_TILE_ROWS ? first + n - row : ENTRO_TILE_ROWS;
        times_tile(&tile, matrix, input, kernels, row, n_rows, y + row, y_stride);
    }
}
