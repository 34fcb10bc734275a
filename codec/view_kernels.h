/*
 * The inner loops of dequantized views, behind one table a variant. A variant converts as many elements as
 * make whole steps of it and gives the same bytes as the portable code in view.c, which is the reference and
 * does the rest. Internal to views.
 */
#ifndef ENTRO_VIEW_KERNELS_H
#define ENTRO_VIEW_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "codec/dtype.h"
#include "codec/view.h"

/* Zero points below this in magnitude: then code minus zero point is exact in F32, and one multiplication
 * rounds once, as the definition asks. Views of others are left to the portable code. */
#define ENTRO_VIEW_MAX_ZERO_POINT (1 << 23)

/* What a view's kernels need to know of it. */
struct entro_view_grid {
    enum entro_dtype dtype; /* F32, F16 or BF16 */
    unsigned bits;          /* 8 or 4 */
    float scale;
    int32_t zero_point;
    const uint16_t *halves; /* 256: the value of each code (of those there are) as F16 or BF16 */
};

struct entro_view_kernels {
    const char *name;
    /* Elements that begin with codes[0] (u4: with its low nibble) without factors; returns how many are done.
     */
    size_t (*convert)(const struct entro_view_grid *grid, const uint8_t *codes, size_t n_elements,
                      uint8_t *target);
    /* The same within one row: element k has the factor F32(row * columns[k]), or row where columns is NULL.
     */
    size_t (*scale)(const struct entro_view_grid *grid, const uint8_t *codes, size_t n_elements,
                    const float *columns, float row, uint8_t *target);
};

/* The variants that this processor runs, best first; NULL behind the last. There may be none. */
const struct entro_view_kernels *entro_view_kernels_at(unsigned i);

/* Makes a view use these, or the portable code alone where NULL: for tests, before threads share it. */
void entro_view_use_kernels(struct entro_view *view, const struct entro_view_kernels *kernels);

#if defined(__x86_64__)
extern const struct entro_view_kernels entro_view_avx2;
extern const struct entro_view_kernels entro_view_avx512;
#endif

#endif
