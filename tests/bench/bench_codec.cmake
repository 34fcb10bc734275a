# bench_codec and what it compares with: libzstd-dev and liblz4-dev are used where they are, and missed by nothing else.
add_executable(bench_codec
  bench_codec.c
  bench_coded.c
  bench_contenders.c
  bench_generate.c
  bench_model.c
  bench_others.c
  bench_output.c
  bench_timing.c
)
target_link_libraries(bench_codec PRIVATE codec PkgConfig::JANSSON Threads::Threads m)

find_path(ZSTD_INCLUDE_DIR zstd.h)
find_library(ZSTD_STATIC_LIBRARY libzstd.a)
find_library(ZSTD_LIBRARY zstd)
find_path(LZ4_INCLUDE_DIR lz4.h)
find_library(LZ4_LIBRARY lz4)
mark_as_advanced(ZSTD_INCLUDE_DIR ZSTD_STATIC_LIBRARY ZSTD_LIBRARY LZ4_INCLUDE_DIR LZ4_LIBRARY)

# huff0 is inside of zstd: its symbols can be linked from the static library only, and their prototypes (bench_others.c) are those of
# zstd 1.5.4 to 1.5.7.
if(ZSTD_INCLUDE_DIR AND ZSTD_STATIC_LIBRARY)
  include(CheckCSourceCompiles)
  include(CMakePushCheckState)
  cmake_push_check_state(RESET)
  set(CMAKE_REQUIRED_INCLUDES ${ZSTD_INCLUDE_DIR})
  set(CMAKE_REQUIRED_LIBRARIES ${ZSTD_STATIC_LIBRARY} Threads::Threads)
  check_c_source_compiles("
    #include <zstd.h>
    #if ZSTD_VERSION_NUMBER < 10504 || ZSTD_VERSION_NUMBER > 10507
    #error other prototypes
    #endif
    char HUF_compress4X_repeat(void);
    char HUF_decompress4X_hufOnly_wksp(void);
    char HUF_isError(void);
    int main(void) { return HUF_compress4X_repeat() + HUF_decompress4X_hufOnly_wksp() + HUF_isError(); }
    " ENTRO_BENCH_HUFF0_LINKS)
  cmake_pop_check_state()
endif()

if(ZSTD_INCLUDE_DIR AND ENTRO_BENCH_HUFF0_LINKS)
  target_link_libraries(bench_codec PRIVATE ${ZSTD_STATIC_LIBRARY})
  target_compile_definitions(bench_codec PRIVATE ENTRO_BENCH_ZSTD=1 ENTRO_BENCH_HUFF0=1)
elseif(ZSTD_INCLUDE_DIR AND ZSTD_LIBRARY)
  target_link_libraries(bench_codec PRIVATE ${ZSTD_LIBRARY})
  target_compile_definitions(bench_codec PRIVATE ENTRO_BENCH_ZSTD=1 ENTRO_BENCH_HUFF0=0)
else()
  target_compile_definitions(bench_codec PRIVATE ENTRO_BENCH_ZSTD=0 ENTRO_BENCH_HUFF0=0)
endif()
if(ZSTD_INCLUDE_DIR)
  target_include_directories(bench_codec SYSTEM PRIVATE ${ZSTD_INCLUDE_DIR})
endif()
if(LZ4_INCLUDE_DIR AND LZ4_LIBRARY)
  target_link_libraries(bench_codec PRIVATE ${LZ4_LIBRARY})
  target_compile_definitions(bench_codec PRIVATE ENTRO_BENCH_LZ4=1)
  target_include_directories(bench_codec SYSTEM PRIVATE ${LZ4_INCLUDE_DIR})
else()
  target_compile_definitions(bench_codec PRIVATE ENTRO_BENCH_LZ4=0)
endif()

# That it runs, and that all contenders decode what they encode; its figures are looked at by nobody here. Under sanitizers it takes minutes.
if(NOT ENTRO_SANITIZE)
  add_test(NAME bench_codec_runs COMMAND bench_codec --sets gauss_5,u4_1 --size 1 --rounds 1 --threads 1,2 --kernel all --checksum --json)
endif()
