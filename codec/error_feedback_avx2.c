/* Error feedback with AVX2; see error_feedback_kernels.h. Empty on other processors. */
#include "codec/error_feedback_kernels.h"

#if defined(__x86_64__)
#define ENTRO_LANES_BYTES  32
#define ENTRO_FIND_TARGETS entro_feedback_targets_avx2
#include "codec/error_feedback_variant.h"
#endif
