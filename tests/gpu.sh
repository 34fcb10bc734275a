#!/bin/sh
# Checks and measures the GPU backend on a machine with a GPU, by nothing but the CUDA toolkit (nvcc, cuBLAS), a C
# compiler and this repository: no network, no other library, no CMake. Where the programs' libraries and CMake are
# there too, the programs are built and tests/cuda/gpu_programs.sh checks texts and measures loading with them.
#   tests/gpu.sh [check|bench|all] [BUILD_DIR]          all by default; a folder in /tmp
# ENTRO_GPU_COMPILE_ONLY=1 ARCH=90 only compiles, also where there is no GPU.
# Every kernel against its plain C twin, models against the CPU backend, the block decoder against the encoder and on
# damaged blocks, all under compute-sanitizer where there is one; then the card's bandwidth, the kernels', the block
# decoder's, and a model of Mistral 7B's shape. At the end a table of all. Exits 0 where all agree, 77 where there is
# no GPU or no nvcc.
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

# The block decoder's program, and the encoder that it takes its blocks from.
objects=
for source in codec/block codec/codebook codec/error codec/histogram codec/joint_lengths codec/lengths codec/pivot_decode \
    codec/pivot_encode codec/pivot_kernels codec/pivot_plan codec/pivot_portable codec/pivot_range codec/pivot_root \
    codec/pivot_rows codec/pivot_walk runner/coded_plan tests/cuda/plain_checksum; do
    compile $source.c ""
done
case $(uname -m) in
x86_64)
    avx512=-mavx512f
    for extension in bw vl dq vbmi vbmi2 vpopcntdq; do avx512="$avx512 -mavx512$extension"; done
    compile codec/pivot_avx2.c "-mavx2 -mbmi2 -mpopcnt"
    compile codec/pivot_avx512.c "$avx512 -mbmi2 -mpopcnt"
    ;;
aarch64) compile codec/pivot_neon.c "" ;;
esac
$cuda tests/bench/bench_gpu_decode.cu "$build/decode_kernel.o" $objects -o "$build/bench_gpu_decode" -lm

# All programs, where they can be built; the plug-in is the one from above.
programs=
if command -v cmake > "$build/programs.txt" 2>&1 && command -v pkg-config >> "$build/programs.txt" &&
    pkg-config --exists libxxhash 'jansson >= 2.12' 'fuse3 >= 3.12' 'libpcre2-8 >= 10.40' libutf8proc; then
    echo "building the programs"
    if cmake -S . -B "$build/programs" -DCMAKE_BUILD_TYPE=Release -DENTRO_CUDA=OFF -DBUILD_TESTING=OFF \
        >> "$build/programs.txt" 2>&1 && cmake --build "$build/programs" -j "$(nproc)" >> "$build/programs.txt" 2>&1; then
        programs="$build/programs"
    else
        echo "the programs do not build: see $build/programs.txt"
        exit 1
    fi
else
    echo "the programs are left out: no cmake, pkg-config, or one of xxHash, jansson, FUSE 3, PCRE2, utf8proc"
fi
[ "${ENTRO_GPU_COMPILE_ONLY:-}" = "" ] || { echo "compiled; nothing was run"; exit 0; }

export ENTRORUN_CUDA_PLUGIN="$build/libentrorun-cuda.so"
failed=0
table="$build/table.txt"
: > "$table"
# check NAME COMMAND...: a line of the table by how it ends.
check() {
    name=$1
    shift
    echo; echo "== $name"
    if "$@"; then result=passed; else result=FAILED failed=1; fi
    printf '%-58s %s\n' "$name" "$result" >> "$table"
}
# measure NAME COMMAND...: all that it prints is part of the table.
measure() {
    name=$1
    shift
    echo; echo "== $name"
    if "$@" > "$build/measured.txt"; then result=; else result=" FAILED" failed=1; fi
    cat "$build/measured.txt"
    { printf '\n%s%s\n' "$name" "$result"; cat "$build/measured.txt"; } >> "$table"
}
sanitize() {
    "$sanitizer" --tool "$@" > "$build/sanitizer.txt" 2>&1
    status=$?
    tail -n 1 "$build/sanitizer.txt"
    return $status
}
if [ "$what" != bench ]; then
    check "kernels against their twins" "$build/check_kernels"
    check "models against the CPU (1e-2 of the logits, same text)" "$build/gpu_model" check
    check "decoded blocks are the encoder's" "$build/bench_gpu_decode" 8
    check "damaged blocks do no harm" "$build/bench_gpu_decode" 1 damaged
    sanitizer=$(command -v compute-sanitizer || echo "$(dirname "$nvcc")/compute-sanitizer")
    if [ -x "$sanitizer" ]; then
        for tool in memcheck racecheck initcheck synccheck; do
            for program in "check_kernels" "gpu_model check" "bench_gpu_decode 1" "bench_gpu_decode 1 damaged"; do
                check "compute-sanitizer $tool: $program" sanitize $tool --error-exitcode 9 "$build"/$program
            done
        done
    else
        echo "compute-sanitizer: none here, left out" | tee -a "$table"
    fi
    if [ -n "$programs" ]; then
        check "the programs: same texts as on the CPU" tests/cuda/gpu_programs.sh check "$programs" "$build/work"
    else
        echo "the programs: not built here, left out" | tee -a "$table"
    fi
fi
if [ "$what" != check ]; then
    measure "kernels" "$build/bench_kernels"
    measure "block decoder" "$build/bench_gpu_decode"
    measure "a model of Mistral 7B's shape, u8" "$build/gpu_model" u8
    measure "a model of Mistral 7B's shape, u4" "$build/gpu_model" u4
    [ -z "$programs" ] || measure "loading and generating" tests/cuda/gpu_programs.sh bench "$programs" "$build/work"
fi
echo; echo "== table"
cat "$table"
[ $failed = 0 ] && [ "$what" != bench ] && echo && echo "all checks passed"
exit $failed
