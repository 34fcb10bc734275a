"""The weights of the tiny models: worked out from their tensors' names, here and in tests/unit/tiny_model.c."""

import numpy


def hash_name(name):
    """FNV-1a, 64 bits (Fowler, Noll, Vo)."""
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


def mix(value):
    """The output function of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014)."""
    value = (value ^ value >> numpy.uint64(30)) * numpy.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ value >> numpy.uint64(27)) * numpy.uint64(0x94D049BB133111EB)
    return value ^ value >> numpy.uint64(31)


def weight(name, shape, adds_one):
    """A tensor: whole numbers from -128 to 127 over a power of two, so that BF16 holds them."""
    n = int(numpy.prod(shape))
    with numpy.errstate(over="ignore"):
        counter = (numpy.arange(1, n + 1, dtype=numpy.uint64)) * numpy.uint64(0x9E3779B97F4A7C15)
        whole = (mix(counter + numpy.uint64(hash_name(name))) >> numpy.uint64(56)).astype(numpy.int64) - 128
    if name.endswith("norm.weight"):
        return (numpy.floor_divide(whole, 2) / 128.0 + (0.0 if adds_one else 1.0)).astype(numpy.float32).reshape(shape)
    return (whole / 512.0).astype(numpy.float32).reshape(shape)
