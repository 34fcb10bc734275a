"""Small models made by code, and fixtures that build, extract and refuse: what the tests of the builder share."""

import json
import struct
import time

import gguf
import numpy as np
import pytest

# Exit codes of mkentrofs.
RUNTIME, USAGE, BAD_SOURCE, INTERRUPTED = 1, 2, 3, 130

# That an importance matrix has seen.
TOKENS = 1024


def bf16(values):
    bits = values.astype(np.float32).view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2").tobytes()


def safetensors_bytes(tensors, entries=None, header=None):
    """A file of {name: (dtype, shape, bytes)}; `entries` replaces entries of the header, `header` all of it."""
    offset, described, data = 0, {"__metadata__": {"format": "pt"}}, b""
    for name, (dtype, shape, raw) in tensors.items():
        described[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + len(raw)]}
        offset += len(raw)
        data += raw
    described.update(entries or {})
    text = header if header is not None else json.dumps(described).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def weights(rows=64, columns=128, seed=1):
    return np.random.default_rng(seed).standard_normal((rows, columns)).astype(np.float32) * 0.02


def matrix(rows, columns, seed):
    """Weights whose rows and columns are of different sizes."""
    random = np.random.default_rng(seed)
    return (weights(rows, columns, seed) * np.exp(random.standard_normal((rows, 1))) * np.exp(random.standard_normal((1, columns)))).astype(np.float32)


def write_imatrix(path, means, count=TOKENS, kind="imatrix", directions={}):
    """An importance matrix in the GGUF form: mean squares by tensor, and directions (BF16) of those that have some."""
    writer = gguf.GGUFWriter(path, "none")
    writer.add_string("general.type", kind)
    writer.add_uint32("imatrix.chunk_count", 2)
    writer.add_uint32("imatrix.chunk_size", 512)
    writer.add_array("imatrix.datasets", ["text.txt"])
    for name, mean in means.items():
        writer.add_tensor(name + ".in_sum2", (mean * np.float32(count)).reshape(1, -1))
        writer.add_tensor(name + ".counts", np.array([[count]], np.float32))
        if name in directions:
            bits = gguf.quants.quantize(directions[name].astype(np.float32), gguf.GGMLQuantizationType.BF16)
            writer.add_tensor(name + ".in_directions", bits, raw_dtype=gguf.GGMLQuantizationType.BF16)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def model(folder, tensors=None, name="model.safetensors", **more):
    folder.mkdir(parents=True, exist_ok=True)
    if tensors is None:
        tensors = {
            "embed.weight": ("BF16", [64, 128], bf16(weights())),
            "norm.weight": ("F32", [128], weights(1, 128).tobytes()),
            "up.weight": ("F16", [96, 64], weights(96, 64, 2).astype("<f2").tobytes()),
            "down.weight": ("F32", [64, 96], weights(64, 96, 3).tobytes()),
            "ids": ("I64", [1, 16], np.arange(16, dtype="<i8").tobytes()),
        }
    (folder / name).write_bytes(safetensors_bytes(tensors, **more))
    (folder / "config.json").write_text('{"model_type": "none"}\n')
    return folder


def gguf_model(path, types=None):
    """A .gguf with tensors of several types, written by the reference package."""
    types = types or [gguf.GGMLQuantizationType.F32, gguf.GGMLQuantizationType.F16, gguf.GGMLQuantizationType.Q8_0]
    writer = gguf.GGUFWriter(path, "none")
    writer.add_uint32("general.file_type", 2)
    writer.add_string("general.name", "a test")
    writer.add_tensor("norm.weight", weights(1, 100).reshape(100))
    for i, kind in enumerate(types):
        writer.add_tensor(f"blk.{i}.weight", gguf.quants.quantize(weights(64, 256, i), kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def files_below(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


@pytest.fixture
def refused(run, tmp_path):
    """refused(code, word, *arguments): one line that holds the word, the exit code, and nothing left behind."""

    def call(code, word, *arguments, **options):
        before = files_below(tmp_path)
        done = run("mkentrofs", *arguments, **options)
        assert done.returncode == code, (done.returncode, done.stderr)
        lines = [line for line in done.stderr.splitlines() if "skipped " not in line]
        if code == USAGE:
            lines = lines[:1]
        assert len(lines) == 1 and lines[0].startswith("mkentrofs: "), done.stderr
        assert word in lines[0], lines[0]
        assert done.stdout == ""
        assert files_below(tmp_path) == before
        return lines[0]

    return call


@pytest.fixture
def build(run, tmp_path):
    """build(source, *options) builds tmp_path/image.entrofs and gives back the report."""

    def call(source, *options, image=None, check=True):
        image = image or tmp_path / "image.entrofs"
        done = run("mkentrofs", "--report", "json", "--force", *options, source, image, check=check)
        return json.loads(done.stdout)

    return call


@pytest.fixture
def extract(run, tmp_path):
    """extract() gives the folder with the files of tmp_path/image.entrofs."""

    def call(image=None):
        target = tmp_path / f"extracted-{time.monotonic_ns()}"
        run("entrofsck", "--extract", target, image or tmp_path / "image.entrofs", check=True)
        return target

    return call


def by_name(report):
    return {tensor["name"]: tensor for tensor in report["tensors"]}


def big_model(folder, n_tensors=24):
    """About 200 MB: enough to be met in the middle of the work."""
    w = bf16(weights(2048, 2048))
    return model(folder, {f"w{i}": ("BF16", [2048, 2048], w) for i in range(n_tensors)})
