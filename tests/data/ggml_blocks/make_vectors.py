#!/usr/bin/env python3
"""Writes vectors.h: random blocks of GGUF's types and what the Python package gguf makes of them.

Needs `pip install gguf numpy`. Run in this folder: ./make_vectors.py > vectors.h
"""

import numpy
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

# Type, number of blocks, byte offsets of the F16 scales in a block.
TYPES = [
    ("Q4_0", 3, [0]),
    ("Q4_1", 3, [0, 2]),
    ("Q5_0", 3, [0]),
    ("Q5_1", 3, [0, 2]),
    ("Q8_0", 3, [0]),
    ("Q4_K", 2, [0, 2]),
    ("Q5_K", 2, [0, 2]),
    ("Q6_K", 2, [208]),
    ("Q2_K", 2, [80, 82]),
    ("Q3_K", 2, [108]),
    ("IQ4_NL", 3, [0]),
    ("IQ4_XS", 2, [0]),
]


def random_blocks(generator, n_blocks, block_bytes, scale_offsets):
    """Random bytes with finite F16 scales: ordinary ones of both signs, then one that is subnormal, then a large one."""
    blocks = generator.integers(0, 256, (n_blocks, block_bytes), dtype=numpy.uint8)
    for i, magnitude in zip(range(n_blocks), [0.05, 3e-6, 90.0]):
        for offset in scale_offsets:
            scale = numpy.float16(magnitude * generator.uniform(-1, 1))
            blocks[i, offset : offset + 2] = numpy.frombuffer(scale.tobytes(), numpy.uint8)
    return blocks


def print_array(kind, name, values, form):
    print(f"static const {kind} {name}[{len(values)}] = {{")
    step = 12 if kind == "uint8_t" else 8
    for i in range(0, len(values), step):
        print("    " + " ".join(form.format(v) + "," for v in values[i : i + step]))
    print("};")


def main():
    generator = numpy.random.default_rng(20240229)
    print("/* Made by make_vectors.py: blocks of GGUF types and the bits of the F32 values that the Python package gguf reads. */")
    print("/* clang-format off */")
    print("#include <stdint.h>\n")
    for name, n_blocks, scale_offsets in TYPES:
        kind = GGMLQuantizationType[name]
        blocks = random_blocks(generator, n_blocks, GGML_QUANT_SIZES[kind][1], scale_offsets)
        values = dequantize(blocks, kind).astype(numpy.float32)
        print_array("uint8_t", f"{name.lower()}_blocks", blocks.ravel().tolist(), "{}")
        print_array("uint32_t", f"{name.lower()}_bits", values.ravel().view(numpy.uint32).tolist(), "0x{:08x}")
        print()


if __name__ == "__main__":
    main()
