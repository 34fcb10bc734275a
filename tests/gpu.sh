#!/bin/sh
# Checks and measures the GPU backend on a machine with a GPU, by nothing but the CUDA toolkit (nvcc, cuBLAS), a C
# compiler and this repository: no network, no other library, no CMake.
#   tests/gpu.sh [check|bench|all] [BUILD_DIR]          all by default; a folder in /tmp
# ENTRO_GPU_COMPILE_ONLY=1 ARCH=90 only compiles, also where there is no GPU.
# Every kernel against its plain C twin, models against the CPU backend, both under compute-sanitizer where there is
# one; then the card's bandwidth, the kernels', and a model of Mistral 7B's shape. Exits 0 where all agree, 77 where
# there is no GPU or no nvcc.
set -eu
what=${1:-all}
here=$(cd "$(dirname "$0")/.." && pwd)
build=${2:-$(mktemp -d "${TMPDIR:-/tmp}/entrofs-gpu.XXXXXX")}
nvcc=${NVCC:-$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)}
[ -x "$nvcc" ] || { echo "skipped: no nvcc (NVCC=/path/to/nvcc names one)"; exit 77; }
mkdir -p "$build"
cd "$here"

if [ "${ENTRO_GPU_COMPILE_ONLY:-}" = "" ]; then
    nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null ||
        { echo "skipped: nvidia-smi finds no GPU"; exit 77; }
fi
# The kernels for this card alone, unless ARCH says otherwise.
arch=${ARCH:-native}
[ "$arch" = native ] || arch=sm_$arch
cuda="$nvcc -O3 -std=c++17 -arch=$arch -lineinfo -I. -Xcompiler -fPIC,-Wall"
cc="${CC:-cc} -O2 -std=c11 -D_GNU_SOURCE -DENTRO_VERSION=\"gpu\" -DENTRO_PLUGIN_LIBDIR=\"lib\" -I. -ffp-contract=off -fPIC"
echo "building in $build"
kernels= others=
for source in runner/cuda/*.cu; do
    object="$build/$(basename "$source" .cu).o"
    $cuda -c "$source" -o "$object"
    case $source in
    */kernels_*) kernels="$kernels $object" ;;
    *) others="$others $object" ;;
    esac
done
$cc -c runner/cuda/twins.c -o "$build/twins.o"
$cuda tests/cuda/check_kernels.cu $kernels "$build/twins.o" -o "$build/check_kernels"
$cuda tests/cuda/bench_kernels.cu $kernels -lcublas -o "$build/bench_kernels"
$cuda -shared -cudart static $kernels $others -Xlinker --no-undefined -lcublas -o "$build/libentrorun-cuda.so"

# The runner's host side and CPU backend, as far as they need no library.
objects=
compile() {
    object="$build/$(echo "$1" | tr '/' '_').o"
    $cc $2 -c "$1" -o "$object"
    objects="$objects $object"
}
for source in codec/dtype codec/error codec/ggml_blocks codec/pool runner/backend runner/backend_cpu runner/backend_cpu_attention \
    runner/backend_cpu_cache runner/backend_cpu_products runner/backend_cpu_state runner/backend_cuda runner/config runner/architecture \
    runner/cuda_model runner/cuda_plugin runner/kernels_portable runner/matrix runner/matrix_fixed \
    runner/matrix_panels runner/rope runner/weights_check; do
    compile $source.c ""
done
compile runner/vector_math.c -fno-trapping-math
case $(uname -m) in
x86_64)
    compile runner/vector_math_avx2.c "-fno-trapping-math -mavx2 -mfma"
    compile runner/vector_math_avx512.c "-fno-trapping-math -mavx512f -mavx512bw -mavx512vl -mavx512dq"
    ;;
esac
compile tests/cuda/gpu_model.c ""
# Blocks of an image are read by codec's image reader, which needs xxHash; a synthetic model has none, and does not
# call these.
$cc $objects -no-pie -Wl,--defsym=entro_coded_stream_create=0,--defsym=entro_coded_stream_free=0,--defsym=entro_coded_fill=0 \
    -o "$build/gpu_model" -lm -lpthread -ldl
[ "${ENTRO_GPU_COMPILE_ONLY:-}" = "" ] || { echo "compiled; nothing was run"; exit 0; }

export ENTRORUN_CUDA_PLUGIN="$build/libentrorun-cuda.so"
failed=0
if [ "$what" != bench ]; then
    echo; echo "== kernels against their twins"
    "$build/check_kernels" || failed=1
    echo; echo "== models against the CPU"
    "$build/gpu_model" check || failed=1
    sanitizer=$(command -v compute-sanitizer || echo "$(dirname "$nvcc")/compute-sanitizer")
    if [ -x "$sanitizer" ]; then
        for tool in memcheck racecheck initcheck synccheck; do
            echo; echo "== compute-sanitizer $tool"
            for program in "$build/check_kernels" "$build/gpu_model check"; do
                "$sanitizer" --tool $tool --error-exitcode 9 $program > "$build/$tool.txt" 2>&1 || failed=1
                tail -n 1 "$build/$tool.txt"
            done
        done
    else
        echo; echo "compute-sanitizer: none here, left out"
    fi
fi
if [ "$what" != check ]; then
    echo; echo "== kernels"
    "$build/bench_kernels"
    echo; echo "== a model of Mistral 7B's shape"
    "$build/gpu_model" u8
    "$build/gpu_model" u4
fi
[ $failed = 0 ] && echo && echo "all checks passed"
exit $failed
