/*
 * Dequantized views; see view.h for the arithmetic. Tables of the codes' values are made once; without
 * factors a view is a table lookup a code byte (one u8 code or a pair of u4 codes), with factors it goes
 * through F32 in small runs. Outliers are put over the result.
 */
#include "codec/view.h"

#include <math.h>
#include <stdlib.h>

#include "codec/bytes.h"
#include "codec/half.h"
#include "codec/view_kernels.h"

#define N_CODE_BYTES  256
#define RUN_ELEMENTS  256 /* even: a run of u4 codes is whole bytes */
#define RECORD_CODES  32  /* of Q8_0 and Q4_1 */
#define OUTLIER_BYTES 12

struct entro_view {
    enum entro_dtype dtype;
    unsigned bits;
    int32_t zero_point;
    uint16_t record_d, record_m; /* F16, of Q8_0 and Q4_1 */
    uint64_t n_elements;
    uint64_t n_columns;
    const uint8_t *row_scale; /* not owned, NULL where absent */
    const uint8_t *outliers;  /* not owned */
    size_t n_outliers;
    float *column_scale;                      /* owned, NULL where absent */
    const struct entro_view_kernels *kernels; /* NULL: the portable code does it all */
    float scale;
    float value[N_CODE_BYTES];
    uint16_t half_of_code[N_CODE_BYTES]; /* value in a 16-bit type */
    union {
        uint16_t half[N_CODE_BYTES];    /* u8 to a 16-bit type */
        uint32_t halves[N_CODE_BYTES];  /* u4 pair to a 16-bit type */
        uint64_t singles[N_CODE_BYTES]; /* u4 pair to F32 */
    } table;
};

/*
 * F32(scale * difference), rounded once. The exact product may have 57 bits: it is rounded to F64 towards odd
 * first, after which rounding to F32 cannot go wrong (Boldo and Melquiond, "When double rounding is odd",
 * 2005).
 */
static float scaled(float scale, int64_t difference)
{
    double product = (double)scale * (double)difference;
    double rest = fma((double)scale, (double)difference, -product);
    uint64_t bits;
    memcpy(&bits, &product, sizeof bits);
    if (rest != 0 && (bits & 1) == 0)
        product = nextafter(product, rest > 0 ? INFINITY : -INFINITY);
    return (float)product;
}

static bool is_f16_exact(double value)
{
    if (fabs(value) > 65504)
        return false;
    float single = (float)value;
    return (double)single == value && entro_f16_to_f32(entro_f32_to_f16(single)) == single;
}

static bool has_record_shape(const struct entro_tensor *tensor)
{
    return tensor->rank > 0 && tensor->shape[tensor->rank - 1] % RECORD_CODES == 0;
}

static bool is_plain_grid(const struct entro_tensor *tensor)
{
    return tensor->row_scale == ENTRO_NONE && tensor->column_scale == ENTRO_NONE &&
           tensor->outliers == ENTRO_NONE;
}

bool entro_view_is_defined(const struct entro_tensor *tensor, enum entro_dtype dtype)
{
    if (tensor->scheme == ENTRO_SCHEME_LOSSLESS || (tensor->bits != 8 && tensor->bits != 4))
        return false;
    if (!(tensor->scale > 0) || !isfinite(tensor->scale))
        return false;
    int64_t last_code = ((int64_t)1 << tensor->bits) - 1;
    if (!isfinite(scaled(tensor->scale, -(int64_t)tensor->zero_point)) ||
        !isfinite(scaled(tensor->scale, last_code - tensor->zero_point)))
        return false;
    switch (dtype) {
    case ENTRO_DTYPE_F32:
    case ENTRO_DTYPE_F16:
    case ENTRO_DTYPE_BF16:
        return true;
    case ENTRO_DTYPE_Q8_0:
        return has_record_shape(tensor) && is_plain_grid(tensor) && is_f16_exact(tensor->scale);
    case ENTRO_DTYPE_Q4_1:
        return tensor->bits == 4 && has_record_shape(tensor) && is_plain_grid(tensor) &&
               is_f16_exact(tensor->scale) && is_f16_exact((double)tensor->scale * tensor->zero_point);
    default:
        return false;
    }
}

bool entro_view_size_bytes(const struct entro_tensor *tensor, enum entro_dtype dtype, uint64_t *size_bytes)
{
    return entro_dtype_size_bytes(dtype, tensor->shape, tensor->rank, size_bytes);
}

unsigned entro_view_block_elements(enum entro_dtype dtype)
{
    const struct entro_dtype_info *info = entro_dtype_info(dtype);
    return info == NULL ? 0 : info->block_elements;
}

unsigned entro_view_block_bytes(enum entro_dtype dtype)
{
    const struct entro_dtype_info *info = entro_dtype_info(dtype);
    return info == NULL ? 0 : info->block_bytes;
}

static uint16_t to_half(enum entro_dtype dtype, float value)
{
    return dtype == ENTRO_DTYPE_BF16 ? entro_f32_to_bf16(value) : entro_f32_to_f16(value);
}

static void fill_tables(struct entro_view *view, const struct entro_tensor *tensor)
{
    unsigned n_codes = 1U << tensor->bits;
    for (unsigned code = 0; code < n_codes; code++) {
        view->value[code] = scaled(tensor->scale, (int64_t)code - tensor->zero_point);
        view->half_of_code[code] = to_half(view->dtype, view->value[code]);
    }
    for (unsigned byte = 0; byte < N_CODE_BYTES; byte++) {
        if (tensor->bits == 8) {
            view->table.half[byte] = to_half(view->dtype, view->value[byte]);
            continue;
        }
        float low = view->value[byte & 15], high = view->value[byte >> 4];
        if (view->dtype == ENTRO_DTYPE_F32)
            view->table.singles[byte] = entro_f32_bits(low) | (uint64_t)entro_f32_bits(high) << 32;
        else
            view->table.halves[byte] = to_half(view->dtype, low) | (uint32_t)to_half(view->dtype, high) << 16;
    }
    view->record_d = entro_f32_to_f16(tensor->scale);
    view->record_m =
        tensor->zero_point == 0 ? 0 : entro_f32_to_f16(-scaled(tensor->scale, tensor->zero_point));
}

static bool is_finite_f16(const uint8_t *factor)
{
    return (entro_load_u16(factor) & 0x7c00U) != 0x7c00U;
}

static enum entro_error check_factors(const uint8_t *factors, uint64_t n_factors, const char *what,
                                      const struct entro_tensor *tensor, struct entro_message *message)
{
    for (uint64_t i = 0; i < n_factors; i++)
        if (!is_finite_f16(factors + 2 * i))
            return entro_fail(message, ENTRO_ERROR_FORMAT, "tensor %s: %s factor %llu is not finite",
                              tensor->name, what, (unsigned long long)i);
    return ENTRO_OK;
}

static uint64_t outlier_element(const uint8_t *outliers, size_t i)
{
    return entro_load_u64(outliers + i * OUTLIER_BYTES);
}

static enum entro_error check_outliers(const struct entro_tensor *tensor,
                                       const struct entro_view_parts *parts, struct entro_message *message)
{
    uint64_t next = 0; /* smallest element that may come */
    for (size_t i = 0; i < parts->n_outliers; i++) {
        uint64_t element = outlier_element(parts->outliers, i);
        if (element < next || element >= tensor->n_elements)
            return entro_fail(message, ENTRO_ERROR_FORMAT,
                              "tensor %s: outlier %zu is element %llu, expected %llu to %llu", tensor->name,
                              i, (unsigned long long)element, (unsigned long long)next,
                              (unsigned long long)tensor->n_elements);
        next = element + 1;
    }
    return ENTRO_OK;
}

static enum entro_error take_factors(struct entro_view *view, const struct entro_tensor *tensor,
                                     const struct entro_view_parts *parts, struct entro_message *message)
{
    bool has_rows = tensor->row_scale != ENTRO_NONE, has_columns = tensor->column_scale != ENTRO_NONE;
    if (tensor->n_elements == 0 || (!has_rows && !has_columns))
        return ENTRO_OK;
    if ((has_rows && parts->row_scale == NULL) || (has_columns && parts->column_scale == NULL))
        return entro_fail(message, ENTRO_ERROR_ARGUMENT, "tensor %s: a view needs its factors", tensor->name);
    enum entro_error error = ENTRO_OK;
    if (has_rows)
        error = check_factors(parts->row_scale, tensor->n_rows, "row", tensor, message);
    if (error == ENTRO_OK && has_columns)
        error = check_factors(parts->column_scale, tensor->n_columns, "column", tensor, message);
    if (error != ENTRO_OK)
        return error;

    view->row_scale = has_rows ? parts->row_scale : NULL;
    if (!has_columns)
        return ENTRO_OK;
    if (tensor->n_columns > SIZE_MAX / sizeof *view->column_scale)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "tensor %s: out of memory", tensor->name);
    size_t n_columns = (size_t)tensor->n_columns;
    view->column_scale = malloc(n_columns * sizeof *view->column_scale);
    if (view->column_scale == NULL)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "tensor %s: out of memory", tensor->name);
    for (size_t j = 0; j < n_columns; j++)
        view->column_scale[j] = entro_f16_to_f32(entro_load_u16(parts->column_scale + 2 * j));
    return ENTRO_OK;
}

enum entro_error entro_view_create(struct entro_view **out, const struct entro_tensor *tensor,
                                   enum entro_dtype dtype, const struct entro_view_parts *parts,
                                   struct entro_message *message)
{
    *out = NULL;
    if (!entro_view_is_defined(tensor, dtype)) {
        const struct entro_dtype_info *info = entro_dtype_info(dtype);
        return entro_fail(message, ENTRO_ERROR_ARGUMENT, "tensor %s has no view as %s", tensor->name,
                          info == NULL ? "an unknown type" : info->name);
    }
    if (tensor->outliers != ENTRO_NONE && parts->n_outliers > 0 && parts->outliers == NULL)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT, "tensor %s: a view needs its outliers",
                          tensor->name);
    struct entro_view *view = calloc(1, sizeof *view);
    if (view == NULL)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "tensor %s: out of memory", tensor->name);
    view->dtype = dtype;
    view->bits = tensor->bits;
    view->zero_point = tensor->zero_point;
    view->scale = tensor->scale;
    entro_view_use_kernels(view, entro_view_kernels_at(0));
    view->n_elements = tensor->n_elements;
    view->n_columns = tensor->n_columns;

    enum entro_error error = take_factors(view, tensor, parts, message);
    if (error == ENTRO_OK && tensor->outliers != ENTRO_NONE) {
        view->outliers = parts->outliers;
        view->n_outliers = parts->n_outliers;
        error = check_outliers(tensor, parts, message);
    }
    if (error != ENTRO_OK) {
        entro_view_free(view);
        return error;
    }
    fill_tables(view, tensor);
    *out = view;
    return ENTRO_OK;
}

void entro_view_free(struct entro_view *view)
{
    if (view == NULL)
        return;
    free(view->column_scale);
    free(view);
}

/* Code `i` after the element that codes[0] begins with. */
static unsigned code_at(const struct entro_view *view, const uint8_t *codes, size_t i)
{
    if (view->bits == 8)
        return codes[i];
    return codes[i / 2] >> i % 2 * 4 & 15U;
}

static void store_value(enum entro_dtype dtype, float value, uint8_t *target)
{
    if (dtype == ENTRO_DTYPE_F32)
        entro_store_f32(target, value);
    else
        entro_store_u16(target, to_half(dtype, value));
}

void entro_view_use_kernels(struct entro_view *view, const struct entro_view_kernels *kernels)
{
    bool is_exact =
        view->zero_point < ENTRO_VIEW_MAX_ZERO_POINT && view->zero_point > -ENTRO_VIEW_MAX_ZERO_POINT;
    view->kernels = is_exact ? kernels : NULL;
}

static struct entro_view_grid grid_of(const struct entro_view *view)
{
    return (struct entro_view_grid){.dtype = view->dtype,
                                    .bits = view->bits,
                                    .scale = view->scale,
                                    .zero_point = view->zero_point,
                                    .halves = view->half_of_code};
}

static void convert_by_table(const struct entro_view *view, size_t n_elements, const uint8_t *codes,
                             uint8_t *target)
{
    bool is_single = view->dtype == ENTRO_DTYPE_F32;
    if (view->kernels != NULL) {
        const struct entro_view_grid grid = grid_of(view);
        size_t n_done = view->kernels->convert(&grid, codes, n_elements, target);
        n_elements -= n_done;
        codes += n_done * view->bits / 8;
        target += n_done * (is_single ? 4 : 2);
    }
    if (view->bits == 8) {
        if (is_single)
            for (size_t i = 0; i < n_elements; i++)
                entro_store_f32(target + 4 * i, view->value[codes[i]]);
        else
            for (size_t i = 0; i < n_elements; i++)
                entro_store_u16(target + 2 * i, view->table.half[codes[i]]);
        return;
    }
    size_t n_pairs = n_elements / 2;
    if (is_single)
        for (size_t i = 0; i < n_pairs; i++)
            entro_store_u64(target + 8 * i, view->table.singles[codes[i]]);
    else
        for (size_t i = 0; i < n_pairs; i++)
            entro_store_u32(target + 4 * i, view->table.halves[codes[i]]);
    if (n_elements % 2 != 0) {
        size_t element_bytes = is_single ? 4 : 2;
        store_value(view->dtype, view->value[codes[n_pairs] & 15], target + (n_elements - 1) * element_bytes);
    }
}

/*
 * The product for rounding to a 16-bit type: as rounded to F32, but to odd where that may be a tie of the
 * type (the last twelve bits of all ties are zeros), so that rounding again goes as from the exact product,
 * which F64 holds.
 */
static float multiply_for_half(float value, float factor)
{
    float product = value * factor;
    uint32_t bits = entro_f32_bits(product);
    if ((bits & 0xfffU) != 0)
        return product;
    double exact = fabs((double)value * (double)factor), rounded = fabs((double)product);
    if (exact != rounded)
        bits += exact > rounded ? 1U : UINT32_MAX;
    return entro_f32_from_bits(bits);
}

static void store_run(enum entro_dtype dtype, const float *values, size_t n_values, uint8_t *target)
{
    if (dtype == ENTRO_DTYPE_F32)
        memcpy(target, values, n_values * sizeof *values);
    else if (dtype == ENTRO_DTYPE_BF16)
        for (size_t i = 0; i < n_values; i++)
            entro_store_u16(target + 2 * i, entro_f32_to_bf16(values[i]));
    else
        for (size_t i = 0; i < n_values; i++)
            entro_store_u16(target + 2 * i, entro_f32_to_f16(values[i]));
}

static void convert_with_factors(const struct entro_view *view, uint64_t first, size_t n_elements,
                                 const uint8_t *codes, uint8_t *target)
{
    float run[RUN_ELEMENTS];
    size_t element_bytes = view->dtype == ENTRO_DTYPE_F32 ? 4 : 2;
    uint64_t i = first / view->n_columns, j = first % view->n_columns;
    const struct entro_view_grid grid = grid_of(view);
    for (size_t done = 0; done < n_elements;) {
        size_t n_run = n_elements - done < RUN_ELEMENTS ? n_elements - done : RUN_ELEMENTS;
        if (n_run > view->n_columns - j)
            n_run = (size_t)(view->n_columns - j);
        float row =
            view->row_scale != NULL ? entro_f16_to_f32(entro_load_u16(view->row_scale + 2 * i)) : 1.0F;
        const float *columns = view->column_scale != NULL ? view->column_scale + j : NULL;
        if (view->kernels != NULL && done * view->bits % 8 == 0) {
            size_t n_row = (size_t)(view->n_columns - j);
            n_row = n_elements - done < n_row ? n_elements - done : n_row;
            size_t n_done = view->kernels->scale(&grid, codes + done * view->bits / 8, n_row, columns, row,
                                                 target + done * element_bytes);
            if (n_done > 0) {
                done += n_done;
                j += n_done;
                if (j == view->n_columns) {
                    j = 0;
                    i++;
                }
                continue;
            }
        }
        for (size_t k = 0; k < n_run; k++) {
            float factor = columns != NULL ? row * columns[k] : row;
            float value = view->value[code_at(view, codes, done + k)];
            run[k] = view->dtype == ENTRO_DTYPE_F32 ? value * factor : multiply_for_half(value, factor);
        }
        store_run(view->dtype, run, n_run, target + done * element_bytes);
        done += n_run;
        j += n_run;
        if (j == view->n_columns) {
            j = 0;
            i++;
        }
    }
}

static void put_outliers(const struct entro_view *view, uint64_t first, size_t n_elements, uint8_t *target)
{
    size_t low = 0, high = view->n_outliers; /* finds the first outlier at or after `first` */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (outlier_element(view->outliers, middle) < first)
            low = middle + 1;
        else
            high = middle;
    }
    size_t element_bytes = view->dtype == ENTRO_DTYPE_F32 ? 4 : 2;
    for (; low < view->n_outliers; low++) {
        uint64_t element = outlier_element(view->outliers, low) - first;
        if (element >= n_elements)
            return;
        const uint8_t *value = view->outliers + low * OUTLIER_BYTES + 8;
        if (view->dtype == ENTRO_DTYPE_F32) /* as bytes: a NaN keeps its bits */
            memcpy(target + element * 4, value, 4);
        else
            store_value(view->dtype, entro_load_f32(value), target + element * element_bytes);
    }
}

static void convert_q8_0(const struct entro_view *view, size_t n_elements, const uint8_t *codes,
                         uint8_t *target)
{
    for (size_t i = 0; i < n_elements; i += RECORD_CODES, target += 2 + RECORD_CODES) {
        entro_store_u16(target, view->record_d);
        for (size_t k = 0; k < RECORD_CODES; k++)
            target[2 + k] = (uint8_t)(code_at(view, codes, i + k) - (uint32_t)view->zero_point);
    }
}

static void convert_q4_1(const struct entro_view *view, size_t n_elements, const uint8_t *codes,
                         uint8_t *target)
{
    for (size_t i = 0; i < n_elements; i += RECORD_CODES, target += 4 + RECORD_CODES / 2) {
        entro_store_u16(target, view->record_d);
        entro_store_u16(target + 2, view->record_m);
        for (size_t k = 0; k < RECORD_CODES / 2; k++)
            target[4 + k] =
                (uint8_t)(code_at(view, codes, i + k) | code_at(view, codes, i + k + RECORD_CODES / 2) << 4);
    }
}

void entro_view_convert(const struct entro_view *view, uint64_t first, size_t n_elements,
                        const uint8_t *codes, uint8_t *target)
{
    if (n_elements == 0)
        return;
    if (view->dtype == ENTRO_DTYPE_Q8_0)
        convert_q8_0(view, n_elements, codes, target);
    else if (view->dtype == ENTRO_DTYPE_Q4_1)
        convert_q4_1(view, n_elements, codes, target);
    else {
        if (view->row_scale != NULL || view->column_scale != NULL)
            convert_with_factors(view, first, n_elements, codes, target);
        else
            convert_by_table(view, n_elements, codes, target);
        put_outliers(view, first, n_elements, target);
    }
}
