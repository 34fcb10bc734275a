#!/usr/bin/env bash
# What quantization does to a chat model's answers: greedy answers to four questions under four system messages, lossless, at 5.5 bits, u8 and u4. A look, no measure.
#   tests/bench/answers.sh MODEL     a chatml model (SmolLM2: $(tests/smollm2.sh build/models)); programs from build/release
set -euo pipefail
model=$(realpath "${1:?usage: tests/bench/answers.sh MODEL}")
cd "$(dirname "$0")/../.."
export PATH="$PWD/build/release/mkentrofs:$PWD/build/release/fs:$PWD/build/release/runner:$PATH"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

answer() {
    entrorun run -m "$work/files" --temp 0 -n 24 --no-perf "$@" | tr '\n' ' '
    echo
}

for options in "--scheme lossless" "--quality high" "--bits 8" "--bits 4"; do
    # shellcheck disable=SC2086 # two words are meant
    mkentrofs --force --quiet $options "$model" "$work/image"
    rm -rf "$work/files"
    entrofsck --quiet --extract "$work/files" "$work/image"
    for country in France Germany Italy Japan; do
        question="What is the capital of $country?"
        printf '\n%s, %s\n' "$options" "$question"
        printf '  the model'\''s own: ' && answer -p "$question"
        printf '  a common one:    ' && answer -sys "You are a helpful assistant." -p "$question"
        printf '  empty:           ' && answer -sys "" -p "$question"
        printf '  none:            ' && answer --no-chat -p $'<|im_start|>user\n'"$question"$'<|im_end|>\n<|im_start|>assistant\n'
    done
done
