"""What an independent reader sees of a mount, and what it must see by tensors.json: none of our code, only numpy, safetensors and gguf."""

import json
import pathlib

import gguf
import numpy as np

NUMPY = {"F32": np.float32, "F16": np.float16}


def bf16_to_f32(words):
    return (words.astype(np.uint32) << 16).view(np.float32)


def to_bf16(values):
    """Bits of the BF16 nearest to finite F64 values, ties to even. In F64 the unit of a BF16 number is a power of two: dividing by it is exact, and so is the product of what numpy rounds there to a whole number, ties to even."""
    exponents = np.frexp(values)[1] - 1
    unit = np.maximum(exponents, -126) - 7
    rounded = np.ldexp(np.rint(np.ldexp(values, -unit)), unit)
    with np.errstate(over="ignore"):
        return (rounded.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)


def tensors(root):
    return json.loads((pathlib.Path(root) / "tensors.json").read_text())["tensors"]


def codes(root, tensor):
    """Codes of a quantized tensor as int64, row-major and flat."""
    raw = np.fromfile(pathlib.Path(root) / tensor["file"], dtype=np.uint8)
    count = int(np.prod(tensor["shape"], dtype=np.int64))
    if tensor["bits"] == 4:
        assert raw.size == (count + 1) // 2
        raw = np.stack([raw & 15, raw >> 4], axis=1).reshape(-1)[:count]
    assert raw.size == count
    return raw.astype(np.int64)


def values(root, tensor):
    """The exact values, as F64, that every view rounds from once: F32(scale * (q - zero_point)), times factors, with the outliers put in."""
    shape = tensor["shape"]
    q = codes(root, tensor)
    w = (np.float64(tensor["scale"]) * (q - tensor["zero_point"])).astype(np.float32).astype(np.float64)
    rows, columns = shape[0], int(np.prod(shape[1:], dtype=np.int64))
    if tensor["row_scale"] or tensor["column_scale"]:
        factor = np.ones((rows, columns))
        if tensor["row_scale"]:
            factor *= np.fromfile(pathlib.Path(root) / tensor["row_scale"], np.float16).astype(np.float64)[:, None]
        if tensor["column_scale"]:
            factor *= np.fromfile(pathlib.Path(root) / tensor["column_scale"], np.float16).astype(np.float64)[None, :]
        w = w * factor.reshape(-1)
    if tensor["outliers"]:
        records = np.fromfile(pathlib.Path(root) / tensor["outliers"], np.dtype([("i", "<u8"), ("v", "<f4")]))
        w[records["i"]] = records["v"]
    return w


def view_bytes(root, tensor):
    """The bytes of the dequantized view at its place in its file."""
    view = tensor["view"]
    return pathlib.Path(root) / view["file"], view["dtype"], view["offset"]


def check_view(root, tensor):
    """Elements of the tensor's view that differ from the formula."""
    path, dtype, offset = view_bytes(root, tensor)
    count = int(np.prod(tensor["shape"], dtype=np.int64))
    if tensor["scheme"] == "lossless":
        raw = np.fromfile(pathlib.Path(root) / tensor["file"], np.uint8)
        seen = np.fromfile(path, np.uint8, count=raw.size, offset=offset)
        return int((raw != seen).sum())
    w = values(root, tensor)
    if dtype == "BF16":
        return int((np.fromfile(path, "<u2", count=count, offset=offset) != to_bf16(w)).sum())
    if dtype in NUMPY:
        seen = np.fromfile(path, NUMPY[dtype], count=count, offset=offset)
        with np.errstate(over="ignore"):
            expected = w.astype(NUMPY[dtype])
        return int((seen.view(f"u{seen.itemsize}") != expected.view(f"u{seen.itemsize}")).sum())
    kind = gguf.GGMLQuantizationType[dtype]
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    seen = np.fromfile(path, np.uint8, count=count // elements * size, offset=offset)
    return int((gguf.quants.dequantize(seen.reshape(-1, size), kind).reshape(-1) != w).sum())
