/* Elementwise functions with the instructions that every processor of the kind has, and the choice between
 * the variants; see vector_math.h. */
#define VARIANT entro_vector_math_portable
#include "runner/vector_math_loops.h"

#include <string.h>

#ifdef __x86_64__
extern const struct entro_vector_math entro_vector_math_avx2;
extern const struct entro_vector_math entro_vector_math_avx512;
#endif

const struct entro_vector_math *entro_vector_math_for(const char *kernels)
{
#ifdef __x86_64__
    if (strcmp(kernels, "avx2") == 0)
        return &entro_vector_math_avx2;
    if (strcmp(kernels, "avx512") == 0 || strcmp(kernels, "vnni") == 0 || strcmp(kernels, "amx") == 0)
        return &entro_vector_math_avx512;
#else
    (void)kernels;
#endif
    return &entro_vector_math_portable;
}
