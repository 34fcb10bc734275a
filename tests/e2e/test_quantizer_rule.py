"""The mixed scheme against the rule of codec/quantize.h written down a second time, in numpy, on weights that no model has."""

import math

import numpy as np
import pytest

import independent
from mkentrofs_fixtures import bf16, build, by_name, extract, safetensors_bytes  # noqa: F401

F32_MAX, F32_MIN_NORMAL = float(np.finfo(np.float32).max), float(np.finfo(np.float32).tiny)


def round_up(value, significant_bits):
    mantissa, exponent = math.frexp(value)
    return math.ldexp(math.ceil(math.ldexp(mantissa, significant_bits)), exponent - significant_bits)


def grid(w, bits, significant_bits):
    """(scheme, scale, zero point), or None where there is no such grid."""
    low, high, n = float(w.min()), float(w.max()), 2**bits
    if low == 0 and high == 0:
        return "unsigned", 1.0, 0
    one_signed = low >= 0 or high <= 0
    scale = round_up((max(high, 0.0) - min(low, 0.0)) / (n - 1), significant_bits)
    while round(max(high, 0.0) / scale) - round(min(low, 0.0) / scale) > n - 1:
        scale = round_up(math.nextafter(scale, math.inf), significant_bits)
    zero = 0 if low >= 0 else n - 1 if high <= 0 else -round(low / scale)
    if not F32_MIN_NORMAL <= scale <= F32_MAX or scale * max(zero, n - 1 - zero) > F32_MAX:
        return None
    return "unsigned" if one_signed else "asymmetric", scale, zero


def as_dtype(w, dtype):
    """(stored bytes, the F32 values that they are) of F64 values."""
    with np.errstate(over="ignore", under="ignore"):
        if dtype == "F32":
            w = w.astype(np.float32)
            return w.tobytes(), w
        if dtype == "F16":
            w = w.astype(np.float16)
            return w.tobytes(), w.astype(np.float32)
        raw = bf16(w.astype(np.float32))
        return raw, independent.bf16_to_f32(np.frombuffer(raw, "<u2"))


def view_is_finite(w, scale, zero, dtype):
    codes = np.rint(np.array([w.min(), w.max()], np.float64) / scale)
    with np.errstate(over="ignore"):
        return bool(np.isfinite(as_dtype((scale * codes).astype(np.float32).astype(np.float64), dtype)[1]).all())


def distributions(rng, count):
    normal = rng.standard_normal(count)
    spikes = normal * 1e-3
    spikes[rng.integers(count)] = 1.0
    tiny_negative = np.abs(normal)
    tiny_negative[7] = -1e-30
    edges = rng.choice([-1.0, 1.0, 0.0, -0.0], count)
    return {
        "normal": normal * 0.02,
        "positive": np.abs(normal) + 0.5,
        "negative": -np.abs(normal) - 1e-3,
        "constant": np.full(count, 0.3),
        "constant_negative": np.full(count, -7.0),
        "zero": np.where(rng.random(count) < 0.5, 0.0, -0.0),
        "ties": rng.integers(-255, 256, count) / 2.0,
        "codes": rng.integers(-100, 156, count) * 0.5,
        "sixteen_codes": rng.integers(-7, 9, count) * 0.25,
        "one_spike": spikes,
        "one_tiny_negative": tiny_negative,
        "edges": edges,
        "lopsided": np.where(normal > 0, normal * 100, normal * 0.01),
        "subnormal": normal * 1e-40,
        "least_normal_scale": normal * 1e-36,
        "small": normal * 1e-30,
        "half_subnormal": normal * 1e-6,
        "half_limit": np.clip(normal * 30000, -65504, 65504),
        "limit": np.clip(normal * 2e38, -F32_MAX, F32_MAX),
        "limit_positive": np.clip(np.abs(normal) * 2e38, 0, F32_MAX),
        "large": normal * 1e37,
    }


@pytest.mark.sanitized
@pytest.mark.parametrize("bits,scale_bits", [(8, 7), (4, 7), (8, 1), (4, 1), (8, 24), (4, 24), (8, 3)])
def test_scale_zero_point_and_codes_are_those_of_the_rule(build, extract, tmp_path, bits, scale_bits):
    rng = np.random.default_rng(bits * 100 + scale_bits)
    shape = [67, 65]  # an odd number of weights
    tensors, weights = {}, {}
    for name, w in distributions(rng, shape[0] * shape[1]).items():
        for dtype in ("F32", "F16", "BF16"):
            raw, values = as_dtype(w, dtype)
            if np.isfinite(values).all():
                tensors[f"{name}.{dtype}"], weights[f"{name}.{dtype}"] = (dtype, shape, raw), values
    (tmp_path / "source.safetensors").write_bytes(safetensors_bytes(tensors))
    report = by_name(build(tmp_path / "source.safetensors", "--bits", bits, "--scale-bits", scale_bits))
    out = extract()
    told = {tensor["name"]: tensor for tensor in independent.tensors(out)}
    n_quantized = 0
    for name, w in weights.items():
        tensor, dtype = told[name], tensors[name][0]
        expected = grid(w, bits, scale_bits)
        if expected is None or not view_is_finite(w, expected[1], expected[2], dtype):
            assert tensor["scheme"] == "lossless", name
            assert report[name]["kept_reason"] == ("no grid" if expected is None else "too near the dtype's limits"), name
            assert independent.check_view(out, tensor) == 0, name
            continue
        n_quantized += 1
        assert (tensor["scheme"], tensor["bits"], tensor["scale"], tensor["zero_point"]) == (expected[0], bits, *expected[1:]), name
        codes = np.rint(w.astype(np.float64) / expected[1]) + expected[2]
        assert codes.min() >= 0 and codes.max() < 2**bits, name
        assert (independent.codes(out, tensor) == codes).all(), name
        error = w.astype(np.float64) - expected[1] * (codes - expected[2])
        assert np.abs(error).max() <= expected[1] / 2, name
        if error.any():
            snr = 10 * math.log10((w.astype(np.float64) ** 2).sum() / (error**2).sum())
            assert math.isclose(tensor["snr_db"], snr, rel_tol=1e-9, abs_tol=1e-9), name
        else:
            assert tensor["snr_db"] is None, name
        assert independent.check_view(out, tensor) == 0, name
    assert n_quantized > 30
