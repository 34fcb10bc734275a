"""Lossless images of every dtype in odd shapes: what comes out is what went in, to the byte."""

import struct

import gguf
import numpy as np
import pytest

from mkentrofs_fixtures import build, by_name, extract, safetensors_bytes  # noqa: F401

# Bits of an element.
SAFETENSORS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64, "C64": 64,
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip
# Around the sizes of records, blocks and chunks; all counts are multiples of four where a byte holds no whole number of elements.
SHAPES = [[], [1], [0], [3, 0, 5], [7], [1, 1, 1], [5, 3], [2, 2, 2, 2, 2, 2, 2, 2], [65537], [257, 129], [3, 43691], [1048576], [1, 1048579]]
SUB_BYTE_SHAPES = [[0], [4], [12], [2, 2], [3, 0], [7, 3, 4], [65540], [129, 516]]


def random_bytes(rng, size, kind):
    """Data that is coded, stored, constant, or a mixture of them."""
    if kind == 0:
        return rng.integers(0, 256, size, dtype=np.uint8).tobytes()
    if kind == 1:
        return bytes([rng.integers(256)]) * size
    if kind == 2:
        return np.minimum(rng.geometric(0.3, size), 255).astype(np.uint8).tobytes()
    half = size // 2
    return random_bytes(rng, half, 1) + random_bytes(rng, size - half, 2)


def all_tensors(seed):
    rng = np.random.default_rng(seed)
    tensors = {}
    for dtype, bits in SAFETENSORS.items():
        for shape in SUB_BYTE_SHAPES if bits < 8 else SHAPES:
            size = int(np.prod(shape, dtype=np.int64)) * bits // 8
            if size > 600_000 and dtype not in ("U8", "BF16", "I32", "F64"):  # one of each record size
                continue
            tensors[f"{dtype}.{'x'.join(map(str, shape))}"] = (dtype, shape, random_bytes(rng, size, int(rng.integers(4))))
    return tensors


@pytest.mark.sanitized
@pytest.mark.parametrize("block_size", ["4K", "64K", "128K"])
def test_safetensors_of_every_dtype_come_out_as_they_went_in(build, extract, tmp_path, block_size):
    tensors = all_tensors(int(block_size[:-1]))
    source = tmp_path / "source"
    source.mkdir()
    (source / "model.safetensors").write_bytes(safetensors_bytes(tensors))
    report = by_name(build(source, "--scheme", "lossless", "--block-size", block_size))
    out = extract()
    assert (out / "model.safetensors").read_bytes() == (source / "model.safetensors").read_bytes()
    assert set(report) == set(tensors)
    for name, (dtype, shape, raw) in tensors.items():
        assert (out / "tensors" / name).read_bytes() == raw, name
        assert (report[name]["dtype"], report[name]["shape"], report[name]["source_bytes"]) == (dtype, shape, len(raw))
        npy = (out / "npy" / f"{name}.npy").read_bytes()
        assert npy.endswith(raw) and len(npy) - len(raw) < 512, name
        if dtype not in ("BF16", "BOOL") and not dtype.startswith(("F4", "F6", "F8")):
            array = np.load(out / "npy" / f"{name}.npy")
            assert list(array.shape) == shape and array.tobytes() == raw, name


def gguf_file(types, rng):
    """A GGUF written by hand, as not every block type has a quantizer in the package: (bytes, {name: bytes})."""
    infos, data, raws = b"", b"", {}
    for kind in types:
        elements, size = gguf.GGML_QUANT_SIZES[kind]
        if kind.name == "Q8_1":  # the package has it with F32 scales, as ggml had long ago
            size = 2 + 2 + 32
        for rows, blocks in ((1, 1), (3, 7), (67, 13)):
            name = f"{kind.name}.{rows}x{blocks}"
            data += b"\0" * (-len(data) % 32)
            infos += struct.pack("<Q", len(name)) + name.encode() + struct.pack("<IQQIQ", 2, elements * blocks, rows, kind, len(data))
            raws[name] = random_bytes(rng, rows * blocks * size, int(rng.integers(4)))
            data += raws[name]
    metadata = b"".join(struct.pack("<Q", len(key)) + key + struct.pack("<IQ", 8, 4) + b"none" for key in (b"general.architecture",))
    head = b"GGUF" + struct.pack("<IQQ", 3, len(raws), 1) + metadata + infos
    return head + b"\0" * (-len(head) % 32) + data, raws


@pytest.mark.sanitized
def test_a_gguf_with_every_block_type_comes_out_as_it_went_in(build, extract, tmp_path):
    types = [t for t in gguf.GGMLQuantizationType if t.name in GGUF_TYPES]
    assert len(types) == len(GGUF_TYPES)
    raw, raws = gguf_file(types, np.random.default_rng(9))
    path = tmp_path / "model.gguf"
    path.write_bytes(raw)
    report = by_name(build(path, "--scheme", "lossless"))
    out = extract()
    assert (out / "model.gguf").read_bytes() == raw
    assert set(report) == set(raws)
    for name, expected in raws.items():
        assert (out / "tensors" / name).read_bytes() == expected, name


GGUF_TYPES = """F32 F16 BF16 F64 I8 I16 I32 I64 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q8_1 Q2_K Q3_K Q4_K Q5_K Q6_K Q8_K IQ2_XXS IQ2_XS IQ2_S
IQ3_XXS IQ3_S IQ1_S IQ1_M IQ4_NL IQ4_XS TQ1_0 TQ2_0 MXFP4""".split()
