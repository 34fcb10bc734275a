/* WITH_ASAN where AddressSanitizer is at work, whichever compiler it is of. */
#ifndef ENTRO_TESTS_WITH_ASAN_H
#define ENTRO_TESTS_WITH_ASAN_H

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif
#ifdef WITH_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#endif
