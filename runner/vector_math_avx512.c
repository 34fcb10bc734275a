/* Elementwise functions with AVX-512; see vector_math_loops.h. */
#ifdef __x86_64__
#define VARIANT entro_vector_math_avx512
#include "runner/vector_math.h"
extern const struct entro_vector_math entro_vector_math_avx512;
#include "runner/vector_math_loops.h"
#else
typedef int entro_vector_math_no_avx512;
#endif
