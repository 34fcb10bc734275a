#!/usr/bin/env bash
# The runner beside llama.cpp on SmolLM2-135M, on this machine with the same threads: its Q8_0 beside our u8, its Q4_0 beside our u4, both made from the same GGUF.
#   tests/bench/llama_cpp.sh [--build DIR] [--work DIR] [--threads N] [--rounds N] [--json]
# The first run takes some ten minutes: it builds llama.cpp (as the Python package llama-cpp-python carries it) from source for this processor, fetches the model (100 MB) and
# makes the files of both sides under --work (default build/llama_cpp). How to read what it prints: see the head of llama_cpp_turns.py.
# The compiler: GCC 12 leaves out half of the stores before ldtilecfg, so that llama.cpp's AMX code dies of a general protection fault; with clang it works. Without clang the
# build has everything but AMX. (No cache: pip would take a wheel that was built earlier with other flags.)
set -euo pipefail
cd "$(dirname "$0")/../.."

build=build/release work=build/llama_cpp options=()
while [ $# -gt 0 ]; do
    case $1 in
    --build) build=$2; shift 2 ;;
    --work) work=$2; shift 2 ;;
    --threads | --rounds) options+=("$1" "$2"); shift 2 ;;
    --json) options+=("$1"); shift ;;
    *) sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    esac
done
mkdir -p "$work"

has() { grep -qw "$1" /proc/cpuinfo; }
switch() { if has "$2"; then echo "-D$1=ON"; else echo "-D$1=OFF"; fi; }

python=$work/venv/bin/python
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
    python3 -m venv "$work/venv"
    CMAKE_ARGS=$flags "$work/venv/bin/pip" install --quiet --no-cache-dir --no-binary llama-cpp-python "llama-cpp-python==0.3.36" >&2
fi

model=$(PYTHON=$python tests/smollm2.sh "$work")
for type in Q8_0 Q4_0; do
    [ -f "$work/$type.gguf" ] || "$python" tests/bench/llama_cpp_turns.py quantize "$model" "$work/$type.gguf" "$type" >&2
done
for bits in 8 4; do
    [ -d "$work/u$bits" ] && continue
    rm -rf "$work/u$bits.image" "$work/u$bits.part"
    "$build/mkentrofs/mkentrofs" --quiet --bits "$bits" "$(dirname "$model")" "$work/u$bits.image"
    "$build/fs/entrofsck" --quiet --extract "$work/u$bits.part" "$work/u$bits.image"
    mv "$work/u$bits.part" "$work/u$bits"
done
exec "$python" tests/bench/llama_cpp_turns.py compare "$build/tests/bench/bench_forward" "$work" "${options[@]}"
