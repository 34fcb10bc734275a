/* cmocka's header, which does not know C++. */
#ifndef ENTRO_CUDA_CMOCKA_CPP_H
#define ENTRO_CUDA_CMOCKA_CPP_H

#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
extern "C" {
#include <cmocka.h>
}

#endif
