# Compiler settings that every target shares, and the options a builder may set.
set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()

set(ENTRO_SANITIZE "" CACHE STRING "Sanitizers for every target, as -fsanitize= takes them (address,undefined or thread)")
option(ENTRO_FUZZ "Build the fuzz targets with libFuzzer (needs clang); otherwise they replay files" OFF)
option(ENTRO_CODEC_ONLY "Build the codec library and its tests, and no program" OFF)
option(ENTRO_WERROR "Treat warnings as errors" ON)

add_compile_definitions(_GNU_SOURCE _FILE_OFFSET_BITS=64 ENTRO_VERSION="${PROJECT_VERSION}")
# -ffp-contract=off: dequantized values are specified to the bit (codec/FORMAT.md); a fused multiply-add would round differently.
add_compile_options(-Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion "$<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes>" "$<$<COMPILE_LANGUAGE:C>:-Wmissing-prototypes>"
                    -Wpointer-arith -Wundef -ffp-contract=off)
if(ENTRO_WERROR)
  add_compile_options(-Werror)
endif()
if(ENTRO_SANITIZE)
  add_compile_options(-fsanitize=${ENTRO_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${ENTRO_SANITIZE})
endif()
if(ENTRO_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

# CUDA is optional: found or left out without an error. The kernels come with the GPU backend of the runner.
include(CheckLanguage)
check_language(CUDA)
if(CMAKE_CUDA_COMPILER)
  set(ENTRO_HAVE_CUDA ON)
  message(STATUS "CUDA compiler: ${CMAKE_CUDA_COMPILER}")
else()
  set(ENTRO_HAVE_CUDA OFF)
  message(STATUS "CUDA compiler: none; building for the CPU only")
endif()
