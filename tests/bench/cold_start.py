#!/usr/bin/env python3
"""Time to the first token when nothing of the model is in memory: from a mount, and from the same model as raw files.

    tests/bench/cold_start.py [--build DIR] [--work DIR] [--model DIR] [--bits 8] [--rounds 5] [--threads N] [--json]

MODEL (default: SmolLM2-135M, fetched) becomes an image and the raw files that a mount of it shows (without the views that entrorun does not read), both under --work. Before each run the pages of the image, or of the
raw files, are dropped (POSIX_FADV_DONTNEED) and the image is mounted anew, so that all comes from the disk. Contenders take turns, every second round the other way round:

    mount, raw               entrorun as it is: weights that are not in memory are read ahead, several large reads at a time
    mount/faults, raw/faults with --no-preload: weights come by page faults, as they are used
    mount/direct, raw/direct with --direct-io: past the page cache
    mount/cached             as mount, but the image is in the page cache: what decoding alone costs
    raw/cached               the raw files in the page cache: what is left when nothing has to be read

The figures are medians of entrorun's own ("first token ... after the start": opening, reading ahead, one prompt token); mounting is a column of its own. Nothing passes or
fails. Needs /dev/fuse.
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONTENDERS = [f"{source}{how}" for source in ("mount", "raw") for how in ("", "/faults", "/direct", "/cached")]
OPTIONS = {"faults": ["--no-preload"], "direct": ["--direct-io"]}


def files(path):
    return [f for f in path.rglob("*") if f.is_file()] if path.is_dir() else [path]


def drop(path):
    for file in files(path):
        with open(file, "rb") as handle:
            os.fsync(handle.fileno())
            os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def fill(path):
    for file in files(path):
        with open(file, "rb", buffering=0) as handle:
            while handle.read(8 << 20):
                pass


@contextlib.contextmanager
def mounted(options, image):
    point = options.work / "point"
    point.mkdir(exist_ok=True)
    subprocess.run([options.build / "fs" / "entrofs", image, point], check=True)
    try:
        yield point
    finally:
        for _ in range(50):
            if any(subprocess.run([*command, point], capture_output=True).returncode == 0 for command in (["umount"], ["fusermount3", "-u"])):
                break
            time.sleep(0.1)


def prepare(options):
    """The image and the raw files, made once."""
    options.work.mkdir(parents=True, exist_ok=True)
    model = options.model
    if model is None:
        done = subprocess.run([ROOT / "tests" / "smollm2.sh", options.work], check=True, capture_output=True, text=True)
        model = pathlib.Path(done.stdout.strip()).parent
    name = f"{model.resolve().name}-u{options.bits}"
    image, raw = options.work / f"{name}.entrofs", options.work / f"{name}.raw"
    if not image.exists():
        subprocess.run([options.build / "mkentrofs" / "mkentrofs", "--quiet", "--bits", str(options.bits), model, image], check=True)
    if not raw.exists():
        part = options.work / f"{name}.part"
        shutil.rmtree(part, ignore_errors=True)
        with mounted(options, image) as point:
            shutil.copytree(point, part, ignore=shutil.ignore_patterns("npy", "*.safetensors"), copy_function=shutil.copyfile)
        part.rename(raw)
    return image, raw


def first_token(options, directory, *arguments):
    command = [options.build / "runner" / "entrorun", "run", "-m", directory, "-no-cnv", "-p", "The", "-n", "1", "--temp", "0", *arguments]
    command += ["-t", str(options.threads)] if options.threads else []
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(re.search(r"first token ([0-9.]+) s", done.stderr)[1])


def turn(options, contender, image, raw):
    """Seconds to mount, and to the first token."""
    arguments = OPTIONS.get(contender.partition("/")[2], [])
    source = image if contender.startswith("mount") else raw
    (fill if contender.endswith("/cached") else drop)(source)
    if source is raw:
        return 0.0, first_token(options, raw, *arguments)
    start = time.monotonic()
    with mounted(options, image) as point:
        seconds = time.monotonic() - start
        return seconds, first_token(options, point, *arguments)


def processor():
    found = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    return found[1] if found else "unknown processor"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build" / "release")
    parser.add_argument("--work", type=pathlib.Path, default=ROOT / "build" / "cold_start")
    parser.add_argument("--model", type=pathlib.Path)
    parser.add_argument("--bits", type=int, default=8, choices=(8, 4))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    options.build, options.work = options.build.resolve(), options.work.resolve()
    image, raw = prepare(options)
    raw_bytes = sum(f.stat().st_size for f in (raw / "tensors").iterdir())
    times = {contender: [] for contender in CONTENDERS}
    for i in range(options.rounds):
        for contender in CONTENDERS if i % 2 == 0 else CONTENDERS[::-1]:
            times[contender].append(turn(options, contender, image, raw))
    rows = []
    for contender in CONTENDERS:
        mounted, first = (statistics.median(column) for column in zip(*times[contender]))
        rows.append({"contender": contender, "mount_seconds": mounted, "first_token_seconds": first, "smallest": min(t[1] for t in times[contender]), "largest": max(t[1] for t in times[contender])})
    figures = {"processor": processor(), "processors": os.cpu_count(), "rounds": options.rounds, "image_bytes": image.stat().st_size, "raw_bytes": raw_bytes, "rows": rows}
    if options.json:
        json.dump(figures, sys.stdout, indent=1)
        print()
        return
    print(f"{figures['processor']}, {figures['processors']} processors; image {figures['image_bytes'] / 1e6:.1f} MB, raw tensors {raw_bytes / 1e6:.1f} MB, {options.rounds} rounds\n")
    print("| contender | mount, s | first token, s | smallest | largest |\n|---|---:|---:|---:|---:|")
    for row in rows:
        print(f"| {row['contender']} | {row['mount_seconds']:.3f} | {row['first_token_seconds']:.3f} | {row['smallest']:.3f} | {row['largest']:.3f} |")


if __name__ == "__main__":
    main()
