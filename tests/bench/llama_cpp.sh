#!/usr/bin/env bash
# The runner beside llama.cpp on SmolLM2-135M, on this machine with the same threads: its Q8_0 beside our u8, its Q4_0 beside our u4, both made from the same GGUF.
#   tests/bench/llama_cpp.sh [--build DIR] [--work DIR] [--threads N] [--rounds N] [--json]
# The first run takes some ten minutes: it builds llama.cpp (as the Python package llama-cpp-python carries it) from source for this processor, fetches the model (100 MB) and
# makes the files of both sides under --work (default build/llama_cpp). How to read what it prints: see the head of llama_cpp_turns.py.
set -euo pipefail
cd "$(dirname "$0")/../.."

build=build/release work=build/llama_cpp options=()
while [ $# -gt 0 ]; do
    case $1 in
    --build) build=$2; shift 2 ;;
    --work) work=$2; shift 2 ;;
    --threads | --rounds) options+=("$1" "$2"); shift 2 ;;
    --json) options+=("$1"); shift ;;
    *) sed -n '2,5s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    esac
done
mkdir -p "$work"

python=$(tests/bench/llama_cpp_venv.sh "$work")
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
