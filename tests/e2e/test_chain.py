"""The whole chain on real models: build, mount, compare with independent readers, generate, verify."""

import hashlib
import json
import math
import pathlib

import gguf
import numpy as np
import pytest
from safetensors import safe_open

import independent
from conftest import needs_fuse

NOT_WEIGHTS = (".safetensors", ".gguf")


def sha256(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


def ratio_to_entropy(root):
    """Stored bytes of the quantized tensors, everything included, against the order-0 entropy of the bytes that are coded."""
    stored = entropy = 0.0
    for tensor in independent.tensors(root):
        if tensor["scheme"] == "lossless":
            continue
        raw = np.fromfile(pathlib.Path(root) / tensor["file"], np.uint8)
        p = np.bincount(raw, minlength=256) / raw.size
        p = p[p > 0]
        stored += tensor["stored_bytes"]
        entropy += float(-(p * np.log2(p)).sum()) * raw.size / 8
    return stored / entropy


def check_all_views(root):
    tensors = independent.tensors(root)
    assert tensors
    for tensor in tensors:
        assert independent.check_view(root, tensor) == 0, tensor["name"]
    return tensors


@needs_fuse
@pytest.mark.sanitized
@pytest.mark.parametrize("bits", [8, 4])
def test_an_independent_reader_of_the_mounted_safetensors_gets_exactly_what_tensors_json_says(run, mount, tiny, tmp_path, bits):
    image = tmp_path / "tiny.entrofs"
    run("mkentrofs", "--bits", bits, tiny, image, check=True)
    root = mount(image)
    tensors = check_all_views(root)
    assert any(t["bits"] == bits for t in tensors)

    with safe_open(root / "model.safetensors", "np") as mounted, safe_open(tiny / "model.safetensors", "np") as source:
        assert sorted(mounted.keys()) == sorted(source.keys()) == sorted(t["name"] for t in tensors)
        for name in source.keys():
            assert mounted.get_slice(name).get_shape() == source.get_slice(name).get_shape()
            assert mounted.get_slice(name).get_dtype() == source.get_slice(name).get_dtype()
    for path in tiny.rglob("*"):
        if path.is_file() and path.suffix not in NOT_WEIGHTS:
            assert sha256(path) == sha256(root / path.relative_to(tiny)), path


@needs_fuse
@pytest.mark.sanitized
def test_the_mount_and_the_extracted_files_are_the_same_and_generate_the_same_text(run, mount, tiny, tmp_path):
    image = tmp_path / "tiny.entrofs"
    run("mkentrofs", tiny, image, check=True)
    root = mount(image)
    copy = tmp_path / "copy"
    run("entrofsck", "--extract", copy, image, check=True)
    mounted = sorted(p.relative_to(root) for p in root.rglob("*") if p.is_file())
    assert mounted == sorted(p.relative_to(copy) for p in copy.rglob("*") if p.is_file())
    for path in mounted:
        assert sha256(root / path) == sha256(copy / path), path
    texts = [
        run("entrorun", "run", "-m", where, "--no-chat", "--temp", 0, "-n", 24, "-p", "The old man", check=True).stdout
        for where in (root, copy)
    ]
    assert texts[0] == texts[1] and len(texts[0].split()) > 5
    run("entrofsck", image, check=True)


@needs_fuse
@pytest.mark.smollm2
@pytest.mark.parametrize("bits,limit", [(8, 1.010), (4, 1.035)])
def test_smollm2_is_small_and_exact_for_an_independent_reader(run, mount, smollm2, tmp_path, bits, limit):
    image = tmp_path / "smollm2.entrofs"
    report = json.loads(run("mkentrofs", "--bits", bits, "--report", "json", smollm2, image, check=True).stdout)
    assert report
    root = mount(image)
    tensors = check_all_views(root)
    ratio = ratio_to_entropy(root)
    print(f"u{bits}: stored bytes / order-0 entropy = {ratio:.4f}")
    assert 1 <= ratio <= limit
    assert all(t["view"]["dtype"] in ("Q4_1",) for t in tensors if t["bits"] == 4 and t["shape"][-1] % 32 == 0)

    source = gguf.GGUFReader(smollm2)
    mounted = gguf.GGUFReader(root / smollm2.name)
    assert [t.name for t in source.tensors] == [t.name for t in mounted.tensors]
    assert [list(t.shape) for t in source.tensors] == [list(t.shape) for t in mounted.tensors]
    for before, after in zip(source.tensors, mounted.tensors):
        original = gguf.quants.dequantize(before.data, before.tensor_type).astype(np.float64)
        decoded = gguf.quants.dequantize(after.data, after.tensor_type).astype(np.float64)
        energy, noise = (original**2).sum(), ((original - decoded) ** 2).sum()
        told = next(t["snr_db"] for t in tensors if t["name"] == before.name)
        if told is not None:
            # A view in F16 rounds once more than the codes do: far below what the quantizer costs.
            assert math.isclose(10 * math.log10(energy / noise), told, abs_tol=0.05), before.name
    # The runner answers from the mounted raw tensors. With an empty system message, see README.md, "Measured".
    if bits == 8:
        question = ("-p", "What is the capital of France?")
        answer = run("entrorun", "run", "-m", root, "-sys", "", "--temp", 0, "-n", 48, *question, check=True).stdout
        assert "Paris" in answer
