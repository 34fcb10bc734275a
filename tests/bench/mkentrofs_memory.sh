#!/usr/bin/env bash
# Peak memory of mkentrofs on one synthetic F32 tensor of 8 GB, of which 1 GB is random (the rest is a hole in the file), with 1, 2 and 4 threads.
#   tests/bench/mkentrofs_memory.sh [FOLDER]     needs about 3 GB there; programs from build/release; Debian's package time
set -euo pipefail
cd "$(dirname "$0")/../.."
mkentrofs=$PWD/build/release/mkentrofs/mkentrofs
work=$(mktemp -d "${1:-/tmp}/entrofs-memory.XXXXXX")
trap 'rm -rf "$work"' EXIT

python3 - "$work/big.safetensors" <<'PYTHON'
import array, json, random, struct, sys
rows, columns = 1 << 18, 1 << 13
header = json.dumps({"big": {"dtype": "F32", "shape": [rows, columns], "data_offsets": [0, 4 * rows * columns]}}).encode()
header += b" " * (-len(header) % 8)
random.seed(1)
with open(sys.argv[1], "wb") as out:
    out.write(struct.pack("<Q", len(header)) + header)
    megabytes = [array.array("f", (random.gauss(0, 0.02) for _ in range(1 << 18))).tobytes() for _ in range(4)]
    for _ in range(1024):
        out.write(random.choice(megabytes))
    out.truncate(8 + len(header) + 4 * rows * columns)
PYTHON
for threads in 1 2 4; do
    /usr/bin/time -f "threads $threads: peak %M KiB, %e s (limit: $((256 + 16 * threads)) MiB)" \
        "$mkentrofs" --force --quiet --threads "$threads" "$work/big.safetensors" "$work/big.entrofs"
done
