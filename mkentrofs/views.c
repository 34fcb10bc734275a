/*
 * Chooses view types. What they mean to the bit is codec/view.h's.
 */
#include "mkentrofs/views.h"

#include <math.h>

#include "codec/half.h"
#include "codec/view.h"

/* general.file_type of GGUF (llama.cpp's names: ALL_F32, MOSTLY_F16, MOSTLY_Q4_1, MOSTLY_Q8_0). */
enum { FILE_TYPE_F32 = 0, FILE_TYPE_F16 = 1, FILE_TYPE_Q4_1 = 3, FILE_TYPE_Q8_0 = 7 };

/* Rounding to F16 may move a weight by this share of a quantization step: far below what quantization itself
 * moves it. */
#define F16_MAX_ERROR_STEPS (1.0 / 8)

#define F16_LARGEST        65504.0
#define F16_SUBNORMAL_STEP 0x1p-24

static bool f16_is_close(const struct entro_encoded *encoded)
{
    double scale = (double)encoded->tensor.scale;
    if (encoded->tensor.scheme == ENTRO_SCHEME_BALANCED) {
        /* Steps near this scale, and more bits than codes. A value is at most twice its weight (code 1 for
         * half a step), and of an F16 source none is beyond F16. */
        double largest = encoded->tensor.dtype == ENTRO_DTYPE_F16 ? F16_LARGEST : F16_LARGEST / 2;
        return encoded->largest <= largest && F16_SUBNORMAL_STEP / 2 <= F16_MAX_ERROR_STEPS * scale;
    }
    for (int32_t code = encoded->lowest; code <= encoded->highest; code++) {
        float weight = (float)(scale * code);
        double rounded = (double)entro_f16_to_f32(entro_f32_to_f16(weight));
        if (!isfinite(rounded) || fabs(rounded - (double)weight) > F16_MAX_ERROR_STEPS * scale)
            return false;
    }
    return true;
}

static bool fits(const struct entro_tensor *tensor, enum entro_dtype dtype)
{
    uint64_t size_bytes;
    return entro_view_is_defined(tensor, dtype) && entro_view_size_bytes(tensor, dtype, &size_bytes);
}

enum entro_dtype entro_view_dtype(enum entro_part_kind kind, const struct entro_encoded *encoded)
{
    const struct entro_tensor *tensor = &encoded->tensor;
    if (tensor->scheme == ENTRO_SCHEME_LOSSLESS || kind != ENTRO_PART_GGUF)
        return tensor->dtype;
    if (tensor->bits == 4 && fits(tensor, ENTRO_DTYPE_Q4_1))
        return ENTRO_DTYPE_Q4_1;
    if (tensor->bits == 8 && encoded->lowest >= INT8_MIN && encoded->highest <= INT8_MAX &&
        fits(tensor, ENTRO_DTYPE_Q8_0))
        return ENTRO_DTYPE_Q8_0;
    return f16_is_close(encoded) ? ENTRO_DTYPE_F16 : ENTRO_DTYPE_F32;
}

int entro_gguf_file_type(const struct entro_encoded *encoded, const enum entro_dtype *views, size_t n_tensors)
{
    static const struct {
        enum entro_dtype dtype;
        int file_type;
    } types[] = {
        {ENTRO_DTYPE_F16, FILE_TYPE_F16},
        {ENTRO_DTYPE_Q8_0, FILE_TYPE_Q8_0},
        {ENTRO_DTYPE_Q4_1, FILE_TYPE_Q4_1},
        {ENTRO_DTYPE_F32, FILE_TYPE_F32},
    };
    int best = -1;
    uint64_t best_elements = 0;
    for (size_t type = 0; type < sizeof types / sizeof *types; type++) {
        uint64_t n_elements = 0;
        for (size_t i = 0; i < n_tensors; i++)
            if (encoded[i].tensor.scheme != ENTRO_SCHEME_LOSSLESS && views[i] == types[type].dtype)
                n_elements += encoded[i].tensor.n_elements;
        if (n_elements > best_elements) {
            best_elements = n_elements;
            best = types[type].file_type;
        }
    }
    return best;
}
