#!/bin/sh
# The programs with a GPU, as a part of tests/gpu.sh: entrorun writes the CPU's text whichever way its weights come to
# the card and lie there, and how fast they come. ENTRORUN_CUDA_PLUGIN names the plug-in.
#   tests/cuda/gpu_programs.sh check|bench BUILD_DIR WORK_DIR
# check takes the committed tiny model. bench takes the checkpoint that ENTRO_GPU_LOAD_MODEL names, else 8 layers of
# Mistral 7B's shape where python3 has NumPy, else the tiny model, which is too small for its figures to mean much.
# Without /dev/fuse and fusermount3 the model is read from extracted files alone.
set -eu
what=$1 build=$2 work=$3
here=$(cd "$(dirname "$0")/../.." && pwd)
build=$(cd "$build" && pwd)
mkdir -p "$work"
work=$(cd "$work" && pwd)
mounted=
unmount() {
    [ -z "$mounted" ] || fusermount3 -u "$mounted" || true
    mounted=
}
trap unmount EXIT
trap 'exit 1' INT TERM
can_mount=no
[ -w /dev/fuse ] && command -v fusermount3 > "$work/log.txt" && can_mount=yes

# make_model CHECKPOINT OPTIONS...: an image, its files in $work/files, its mount (where that can be) in $work/mount.
make_model() {
    unmount
    rm -rf "$work/files" "$work/model.entrofs"
    mkdir -p "$work/files" "$work/mount"
    checkpoint=$1
    shift
    "$build/mkentrofs/mkentrofs" "$@" "$checkpoint" "$work/model.entrofs" > "$work/log.txt"
    "$build/fs/entrofsck" --extract "$work/files" "$work/model.entrofs" > "$work/log.txt"
    if [ $can_mount = yes ]; then
        "$build/fs/entrofs" "$work/model.entrofs" "$work/mount"
        mounted=$work/mount
    fi
}

# generate DIRECTORY OPTIONS...: the text in $work/text, the figures in $work/figures.
generate() {
    directory=$1
    shift
    "$build/runner/entrorun" run -m "$directory" -c 512 --no-chat --temp 0 -n 32 -p "The old man" "$@" \
        > "$work/text" 2> "$work/figures" || { cat "$work/figures" >&2; exit 1; }
}

check_texts() {
    for how in "--bits 8" "--bits 4" "--bpw 3" "--scheme lossless"; do
        make_model "$here/tests/data/tiny" $how
        generate "$work/files" --device cpu
        mv "$work/text" "$work/expected"
        generate "$work/files" --device cuda
        cmp "$work/text" "$work/expected"
        if [ $can_mount = yes ]; then
            for options in "" "--direct-io" "--load compressed" "--resident compressed"; do
                generate "$work/mount" --device cuda $options
                cmp "$work/text" "$work/expected"
            done
            echo "$how: the same text from files, the mount, compressed, and resident compressed"
        else
            echo "$how: the same text from files; not mounted: no /dev/fuse or no fusermount3"
        fi
    done
}

# report NAME DIRECTORY OPTIONS...: twice, of which the second is warm.
report() {
    name=$1
    shift
    generate "$@" --device cuda
    generate "$@" --device cuda
    printf '%-44s' "$name"
    sed -n 's/^ *of that \(.* s\) to read \(.*\) ahead, /\2 in \1, /p' "$work/figures" | tr '\n' ' '
    sed -n 's/^GPU memory: weights \([0-9.]* MB\).*/; weights take \1/p; s/^generation: .*, \(.* tokens.s\) .*/; \1/p' "$work/figures" | tr '\n' ' '
    echo
}

bench() {
    model=${ENTRO_GPU_LOAD_MODEL:-}
    if [ -z "$model" ] && python3 -c 'import numpy' 2> "$work/log.txt"; then
        model=$work/checkpoint
        [ -e "$model/config.json" ] || python3 "$here/tests/bench/synthetic_checkpoint.py" mistral-7b "$model" --layers 8 > "$work/log.txt"
    fi
    [ -n "$model" ] || model=$here/tests/data/tiny
    for bits in 8 4; do
        make_model "$model" --bits $bits
        report "u$bits: raw, from extracted files" "$work/files"
        report "u$bits: raw, from extracted files, direct" "$work/files" --direct-io
        if [ $can_mount = yes ]; then
            report "u$bits: raw, from the warm mount" "$work/mount"
            report "u$bits: --load compressed" "$work/mount" --load compressed
            report "u$bits: --resident compressed" "$work/mount" --resident compressed
        fi
    done
}

case $what in
check) check_texts ;;
bench) bench ;;
*) echo "usage: gpu_programs.sh check|bench BUILD_DIR WORK_DIR" >&2; exit 2 ;;
esac
