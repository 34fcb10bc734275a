#!/usr/bin/env bash
# Prints the Python of a virtual environment with llama.cpp (as the package llama-cpp-python carries it), made in the folder given once: built from source for this processor, some ten
# minutes.
# The compiler: GCC 12 leaves out half of the stores before ldtilecfg, so that llama.cpp's AMX code dies of a general protection fault; with clang it works. Without clang the
# build has everything but AMX. (No cache: pip would take a wheel that was built earlier with other flags.)
set -euo pipefail
folder=${1:?usage: tests/bench/llama_cpp_venv.sh FOLDER}

has() { grep -qw "$1" /proc/cpuinfo; }
switch() { if has "$2"; then echo "-D$1=ON"; else echo "-D$1=OFF"; fi; }

python=$folder/venv/bin/python
if ! "$python" -c 'import llama_cpp' 2>/dev/null; then
    flags="-DGGML_NATIVE=OFF -DLLAVA_BUILD=OFF -DLLAMA_BUILD_TOOLS=OFF"
    flags+=" $(switch GGML_SSE42 sse4_2) $(switch GGML_AVX avx) $(switch GGML_AVX2 avx2) $(switch GGML_FMA fma) $(switch GGML_F16C f16c) $(switch GGML_BMI2 bmi2)"
    flags+=" $(switch GGML_AVX512 avx512f) $(switch GGML_AVX512_VBMI avx512vbmi) $(switch GGML_AVX512_VNNI avx512_vnni) $(switch GGML_AVX512_BF16 avx512_bf16)"
    if command -v clang++ >/dev/null; then
        flags+=" -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++ -DGGML_OPENMP=OFF"
        # clang before 16 announces AMX by another name than the one that llama.cpp asks for.
        if has amx_int8; then flags+=" -DCMAKE_C_FLAGS=-D__AMX_INT8__=1 -DCMAKE_CXX_FLAGS=-D__AMX_INT8__=1"; fi
        flags+=" $(switch GGML_AMX_TILE amx_tile) $(switch GGML_AMX_INT8 amx_int8) $(switch GGML_AMX_BF16 amx_bf16)"
    fi
    python3 -m venv "$folder/venv"
    CMAKE_ARGS=$flags "$folder/venv/bin/pip" install --quiet --no-cache-dir --no-binary llama-cpp-python "llama-cpp-python==0.3.36" >&2
fi
echo "$python"
