#!/bin/sh
# Checks and measures the GPU backend on a machine with a GPU, by nothing but the CUDA toolkit (nvcc, cuBLAS), a C
# compiler and this repository: no network, no other library, no CMake. Where the programs' libraries and CMake are
# there too, the programs are built and tests/cuda/gpu_programs.sh checks texts and measures loading with them.
#   tests/gpu.sh [check|bench|all] [BUILD_DIR]          all by default; a folder in /tmp
# ARCH=90 compiles for sm_90 instead of the card that is there; ENTRO_GPU_COMPILE_ONLY=1 only compiles, also where there
# is no GPU.
# Every kernel against its plain C twin, models against the CPU backend, the block decoder against the encoder and on
# damaged blocks, all under compute-sanitizer where there is one; then the card's bandwidth, the kernels', the block
# decoder's, and a model of Mistral 7B's shape. At the end a table of all. Exits 0 where all agree, 1 where
# something differs or does not build, 77 where there is no GPU or no nvcc.
set -eu
what=${1:-all}
case $what in
check | bench | all) ;;
*)
    echo "usage: tests/gpu.sh [check|bench|all] [BUILD_DIR]" >&2
    exit 2
    ;;
esac
nvcc=${NVCC:-$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)}
[ -x "$nvcc" ] || { echo "skipped: no nvcc (NVCC=/path/to/nvcc names one)"; exit 77; }
nvcc=$(cd "$(dirname "$nvcc")" && pwd)/$(basename "$nvcc")
build=${2:-$(mktemp -d "${TMPDIR:-/tmp}/entrofs-gpu.XXXXXX")}
mkdir -p "$build"
build=$(cd "$build" && pwd)
case $build in
*[[:space:]]*)
    echo "a BUILD_DIR with a space in its name will not do: $build" >&2
    exit 2
    ;;
esac
cd "$(dirname "$0")/.."
# The toolkit's libraries, where nobody has told the loader of them.
toolkit=$(cd "$(dirname "$(readlink -f "$nvcc")")/.." && pwd)
export LD_LIBRARY_PATH="$toolkit/lib64:$toolkit/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"

if [ "${ENTRO_GPU_COMPILE_ONLY:-}" = "" ]; then
    "$nvcc" tests/cuda/probe.cu -o "$build/probe"
    "$build/probe" > "$build/gpu.txt" || { echo "skipped: no GPU: $(cat "$build/gpu.txt")"; exit 77; }
    tail -n 1 "$build/gpu.txt"
    arch=${ARCH:+sm_$ARCH}
    # The kernels for this card alone, unless ARCH says otherwise.
    arch=${arch:-$(head -n 1 "$build/gpu.txt")}
else
    arch=sm_${ARCH:-90}
fi
cuda="$nvcc -O3 -std=c++17 -arch=$arch -lineinfo -I. -Xcompiler -fPIC,-Wall"
cc="${CC:-cc} -O2 -std=c11 -D_GNU_SOURCE -DENTRO_VERSION=\"gpu\" -DENTRO_PLUGIN_LIBDIR=\"lib\" -I. -ffp-contract=off -fPIC"
echo "building in $build for $arch"
# All at a time: a compilation of kernels takes long, and such machines have processors enough.
kernels= others= compilations=
for source in runner/cuda/*.cu; do
    object="$build/$(basename "$source" .cu).o"
    $cuda -c "$source" -o "$object" &
    compilations="$compilations $!"
    case $source in
    */kernels_*) kernels="$kernels $object" ;;
    *) others="$others $object" ;;
    esac
done
for compilation in $compilations; do wait "$compilation"; done
$cc -c runner/cuda/twins.c -o "$build/twins.o"
$cuda tests/cuda/check_kernels.cu $kernels "$build/twins.o" -lcublas -o "$build/check_kernels"
$cuda tests/cuda/bench_kernels.cu $kernels -lcublas -o "$build/bench_kernels"
$cuda -shared -cudart static $kernels $others -Xlinker --no-undefined,-z,nodelete -lcublas -o "$build/libentrorun-cuda.so"

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
compile tests/cuda/no_image.c ""
$cc $objects -o "$build/gpu_model" -lm -lpthread -ldl

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
    pkg-config --exists libxxhash 'jansson >= 2.12' 'fuse3 >= 3.13' 'libpcre2-8 >= 10.40' libutf8proc; then
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
# sanitize TOOL REPORT COMMAND...: the whole report is kept.
sanitize() {
    tool=$1 report=$2
    shift 2
    if "$sanitizer" --tool "$tool" --error-exitcode 9 "$@" > "$report" 2>&1; then
        tail -n 1 "$report"
        return 0
    fi
    head -n 40 "$report"
    echo "all of it: $report"
    return 1
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
                report="$build/$tool-$(echo "$program" | tr ' ' '-').txt"
                check "compute-sanitizer $tool: $program" sanitize $tool "$report" "$build"/$program
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
