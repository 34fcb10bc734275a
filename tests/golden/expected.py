"""Writes expected.json: what the golden image must contain, computed from the formulas of golden.c stated a second time, in exact arithmetic, and
without reading any image. See README.md beside this file.
"""
import hashlib
import json
import struct
import sys
from fractions import Fraction

from xxh3 import xxh3_128

MASK = 2**64 - 1


class Generator:
    """Knuth's MMIX generator."""

    def __init__(self, seed):
        self.state = seed

    def next(self):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) & MASK
        return self.state >> 33

    def spread(self, n):
        mask = 2**n - 1
        return bin(self.next() & mask).count("1") - bin(self.next() & mask).count("1")


def peaked_codes(seed, n):
    generator = Generator(seed)
    codes = []
    for i in range(n):
        codes.append(128 + generator.spread(16))
        if i % 97 == 0:
            codes[-1] = generator.next() & 255
    return codes


def uniform_codes(seed, n, n_symbols, factor):
    generator = Generator(seed)
    return [generator.next() % n_symbols * factor for _ in range(n)]


def skewed_codes(seed, n):
    generator = Generator(seed)
    codes = []
    for i in range(n):
        number = generator.next()
        is_any = number % 16 == 0 or (i >= 17000 and number >> 13 & 1)
        codes.append(number >> 8 & 31 if is_any else 7)
    return codes


def nibble_codes(seed, n):
    generator = Generator(seed)
    return [7 + generator.spread(6) for _ in range(n)]


def packed(codes):
    codes = codes + [0] * (len(codes) % 2)
    return bytes(low | high << 4 for low, high in zip(codes[::2], codes[1::2]))


def float_words(seed, n, size, base, spread_bits):
    generator = Generator(seed)
    words = []
    for i in range(n):
        word = base + (generator.next() & (2**spread_bits - 1))
        words.append(word | 1 << (8 * size - 1) if i % 3 == 0 else word)
    return words


def float_bits(seed, n, size, base, spread_bits):
    return b"".join(word.to_bytes(size, "little") for word in float_words(seed, n, size, base, spread_bits))


def block_records(seed, n):
    generator = Generator(seed)
    data = bytearray()
    for _ in range(n):
        data += bytes([generator.next() & 255, 0x1C, generator.next() & 255, 0x20])
        data += bytes(32 + generator.spread(8) for _ in range(12))
        for _ in range(128):
            low = 7 + generator.spread(6)
            data.append(low | (7 + generator.spread(6)) << 4)
    return bytes(data)


def leaves_of_many_widths(seed):
    generator = Generator(seed)
    data = bytearray()
    symbol = 0
    for length, n_symbols in [(1, 1), (3, 1), (4, 3), (6, 7), (8, 15), (10, 19), (15, 32)]:
        for _ in range(n_symbols):
            data += bytes([(symbol * 37 + 11) & 255]) * 2 ** (15 - length)
            symbol += 1
    for i in range(len(data) - 1, 0, -1):
        j = generator.next() % (i + 1)
        data[i], data[j] = data[j], data[i]
    return bytes(data)


def mixed_blocks(seed):
    return b"A" * 4096 + bytes(uniform_codes(seed, 4096, 256, 1)) + bytes(peaked_codes(seed + 1, 4096)) + bytes([128]) * 100


def frame_content():
    """What the golden frame holds."""
    skewed = [code for i in range(4) for code in skewed_codes(91 + i, 16384)]
    return bytes(skewed) + bytes([7]) * 65536 + bytes(uniform_codes(95, 3000, 256, 1))


def text(seed, n):
    letters = b"etaoin shrdlu,.\n"
    generator = Generator(seed)
    return bytes(letters[min(generator.next() % 16, generator.next() % 16)] for _ in range(n))


# Rounding of exact numbers to a binary format with `bits` bits of significand and this smallest exponent.


def rounded(value, bits, lowest_exponent):
    if value == 0:
        return Fraction(0)
    magnitude = abs(value)
    exponent = magnitude.numerator.bit_length() - magnitude.denominator.bit_length()
    if magnitude < Fraction(2) ** exponent:
        exponent -= 1
    unit = Fraction(2) ** (max(exponent, lowest_exponent) - bits + 1)
    whole = round(value / unit)  # Python rounds fractions to nearest, ties to even
    return whole * unit


def f32(value):
    return rounded(value, 24, -126)


def encoded(value, dtype):
    """Little-endian bytes of an exact number that is rounded to the dtype; no case here overflows."""
    if dtype == "F32":
        return struct.pack("<f", float(f32(value)))
    if dtype == "F16":
        return struct.pack("<e", float(rounded(value, 11, -14)))
    return struct.pack("<f", float(rounded(value, 8, -126)))[2:]


def from_bits(form, bits):
    return Fraction(*struct.unpack(form, bits)[0].as_integer_ratio())


def halves(data):
    return [Fraction(*half.as_integer_ratio()) for half in struct.unpack("<%de" % (len(data) // 2), data)]


class Quantized:
    def __init__(self, scheme, bits, scale, zero_point, rows, columns, codes, row_scale=None, column_scale=None, outliers=()):
        assert len(codes) == rows * columns
        self.scheme, self.bits, self.zero_point, self.rows, self.columns, self.codes = scheme, bits, zero_point, rows, columns, codes
        self.scale = Fraction(*float.fromhex(scale).as_integer_ratio())
        self.row_scale, self.column_scale, self.outliers = row_scale, column_scale, outliers
        self.stream = bytes(codes) if bits == 8 else packed(codes)

    def view(self, dtype):
        if dtype == "Q8_0":
            return self.records(lambda record: struct.pack("32b", *(code - self.zero_point for code in record)), [self.scale])
        if dtype == "Q4_1":
            pairs = lambda record: bytes(low | high << 4 for low, high in zip(record[:16], record[16:]))
            return self.records(pairs, [self.scale, -self.scale * self.zero_point])
        values = [f32(self.scale * (code - self.zero_point)) for code in self.codes]
        if self.row_scale or self.column_scale:
            row = halves(self.row_scale) if self.row_scale else [1] * self.rows
            column = halves(self.column_scale) if self.column_scale else [1] * self.columns
            values = [value * row[e // self.columns] * column[e % self.columns] for e, value in enumerate(values)]
        parts = [signed(value, encoded(value, dtype), self, e) for e, value in enumerate(values)]
        for element, bits in self.outliers:
            value = struct.pack("<I", bits)
            # One outlier is a negative number too small for the 16-bit types: it becomes their negative zero (F16) or stays (BF16).
            exact = from_bits("<f", value)
            part = value if dtype == "F32" else encoded(exact, dtype)
            parts[element] = part if exact >= 0 or part[-1] & 128 else part[:-1] + bytes([part[-1] | 128])
        return b"".join(parts)

    def records(self, body, head):
        heads = b"".join(encoded(value, "F16") for value in head)
        return b"".join(heads + body(self.codes[i : i + 32]) for i in range(0, len(self.codes), 32))

    def facts(self, views):
        optional = lambda data: digest(data) if data else None
        outliers = b"".join(struct.pack("<QI", *outlier) for outlier in self.outliers)
        return {
            "dtype": "BF16", "shape": [self.rows, self.columns], "scheme": self.scheme, "stream": digest(self.stream),
            "bits": self.bits, "scale": float(self.scale).hex(), "zero_point": self.zero_point,
            "row_scale": optional(self.row_scale), "column_scale": optional(self.column_scale), "outliers": optional(outliers),
            "views": {view: digest(self.view(view)) for view in views},
        }


def signed(value, part, tensor, element):
    """A product that is zero is negative where just one factor is: a zero difference is +0, so its factors decide."""
    if value != 0 or not (tensor.row_scale or tensor.column_scale):
        return part
    negative = False
    for factors, i in ((tensor.row_scale, element // tensor.columns), (tensor.column_scale, element % tensor.columns)):
        if factors:
            negative ^= factors[2 * i + 1] >= 128
    return part[:-1] + bytes([part[-1] | 128]) if negative else part


def digest(data):
    return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "xxh3_128": xxh3_128(data).hex()}


OUTLIERS = [(5, 0x41200000), (100, 0xC1280001), (101, 0x3F9E0652), (767, 0x80000001)]


def quantized_tensors():
    rows = float_bits(50, 24, 2, 0x3800, 11)
    columns = float_bits(51, 32, 2, 0x3A00, 9)
    peaked = peaked_codes(1, 96 * 128)
    return {
        "asymmetric.u8": Quantized("asymmetric", 8, "0x1p-7", 128, 96, 128, peaked),
        "tied.u8": Quantized("asymmetric", 8, "0x1.4p-5", 120, 128, 96, peaked),
        "unsigned.u8": Quantized("unsigned", 8, "0x1.23456p-9", 0, 40, 50, uniform_codes(2, 40 * 50, 64, 4)),
        "asymmetric.u4": Quantized("asymmetric", 4, "0x1.8p-7", 7, 33, 64, nibble_codes(3, 33 * 64)),
        "odd.u4": Quantized("unsigned", 4, "0x1.99999ap-4", 15, 7, 9, nibble_codes(4, 7 * 9)),
        "balanced.u8": Quantized(
            "balanced", 8, "0x1.47ae14p-7", 130, 24, 32, peaked_codes(5, 24 * 32), rows, columns, OUTLIERS
        ),
        "balanced.u4": Quantized("balanced", 4, "0x1.47ae14p-3", -2, 24, 40, nibble_codes(6, 24 * 40), rows),
    }


def lossless_tensors():
    """name: (dtype, shape, bytes)"""
    return {
        "kept.bf16": ("BF16", [3000], float_bits(7, 3000, 2, 0x3D00, 9)),
        "kept.f32": ("F32", [19, 27], float_bits(8, 19 * 27, 4, 0x3C000000, 26)),
        "kept.f64": ("F64", [150], float_bits(9, 150, 8, 0x3F80000000000000, 30)),
        "kept.i32": ("I32", [999], float_bits(10, 999, 4, 1000, 10)),
        "kept.c64": ("C64", [77], float_bits(11, 2 * 77, 4, 0x40000000, 12)),
        "kept.q4_k": ("Q4_K", [3, 13 * 256], block_records(12, 3 * 13)),
        "skewed.u8": ("U8", [100, 200], bytes(skewed_codes(13, 20000))),
        "scalar.f32": ("F32", [], struct.pack("<f", 1.5)),
        "empty.f32": ("F32", [0, 4], b""),
    }


FLOATS = ["BF16", "F16", "F32"]
VIEWS = {
    "asymmetric.u8": FLOATS + ["Q8_0"], "tied.u8": FLOATS, "unsigned.u8": FLOATS, "asymmetric.u4": FLOATS + ["Q4_1", "Q8_0"],
    "odd.u4": FLOATS, "balanced.u8": FLOATS, "balanced.u4": FLOATS,
}
VIEWS_FILE = [
    ("asymmetric.u8", "BF16"), ("asymmetric.u8", "Q8_0"), ("unsigned.u8", "F32"), ("unsigned.u8", "F16"),
    ("asymmetric.u4", "Q4_1"), ("asymmetric.u4", "Q8_0"), ("asymmetric.u4", "F16"), ("odd.u4", "F32"), ("odd.u4", "BF16"),
    ("balanced.u8", "F32"), ("balanced.u8", "F16"), ("balanced.u8", "BF16"), ("balanced.u4", "F32"), ("balanced.u4", "BF16"),
]


def main():
    quantized, lossless = quantized_tensors(), lossless_tensors()
    header = b"the views begin here\n"
    bf16 = lossless["kept.bf16"][2]
    plain = {
        "config.json": b'{"golden": true}\n',
        "widths.bin": leaves_of_many_widths(20),
        "folder/seven.bin": bytes(uniform_codes(21, 4096, 128, 2)),
        "folder/mixed.bin": mixed_blocks(22),
        "folder/deep/pairs.bin": text(24, 15000),
        "folder-zeros.bin": bytes(10000),
        "letters.txt": text(25, 70000),
        "blocks of 8 KiB": text(26, 20000),
    }
    files = dict(plain)
    files["empty.txt"] = b""
    files["views.bin"] = header + b"".join(quantized[name].view(view) for name, view in VIEWS_FILE)
    files["folder/parts.bin"] = header + bf16[1001:5001] + bf16[:6000] + header

    tensors = {name: tensor.facts(VIEWS[name]) for name, tensor in quantized.items()}
    for name, (dtype, shape, data) in lossless.items():
        tensors[name] = {"dtype": dtype, "shape": shape, "scheme": "lossless", "stream": digest(data)}
    # Equal streams once: tied.u8 and the second row factors are not there again.
    streams = [tensor.stream for name, tensor in quantized.items() if name != "tied.u8"]
    streams += [quantized["balanced.u8"].row_scale, quantized["balanced.u8"].column_scale]
    streams += [b"".join(struct.pack("<QI", *outlier) for outlier in OUTLIERS), header]
    streams += [data for _, _, data in lossless.values()] + list(plain.values())
    expected = {
        "source": "safetensors",
        "tensors": tensors,
        "files": {path: digest(data) for path, data in files.items()},
        "streams": sorted(hashlib.sha256(data).hexdigest() for data in streams),
    }
    json.dump(expected, sys.stdout, indent=1, sort_keys=True)
    print()


if __name__ == "__main__":
    main()
