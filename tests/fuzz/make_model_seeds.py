#!/usr/bin/env python3
"""Writes the seed inputs of fuzz_safetensors, fuzz_gguf, fuzz_npy, fuzz_saved_logits, fuzz_imatrix and (of the architectures) fuzz_runner_config to corpus/, beside this script. Standard library only."""

import json
import pathlib
import struct

CORPUS = pathlib.Path(__file__).parent / "corpus"


def write(target, name, extra_bytes, content):
    """An input: four bytes that say how much follows the content in the file, and the content."""
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(struct.pack("<I", extra_bytes) + content)


def safetensors_seeds():
    def entry(dtype, shape, begin, end):
        return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}

    headers = {
        "good": (20, {"__metadata__": {"format": "pt"}, "a": entry("F32", [2], 0, 8), "b": entry("BF16", [2, 3], 8, 20)}),
        "empty_tensors": (4, {"z": entry("U8", [0], 4, 4), "s": entry("F32", [], 0, 4), "e": entry("I64", [3, 0], 0, 0)}),
        "sub_byte": (6, {"a": entry("F4", [2, 3], 0, 3), "b": entry("F6_E2M3", [4], 3, 6)}),
        "no_tensors": (0, {}),
        "hole": (3, {"a": entry("U8", [1], 0, 1), "b": entry("U8", [1], 2, 3)}),
        "overlap": (3, {"a": entry("U8", [2], 0, 2), "b": entry("U8", [2], 1, 3)}),
        "overflow": (0, {"a": entry("F32", [2**32, 2**32], 0, 0)}),
        "unknown_dtype": (1, {"a": entry("I4", [2], 0, 1)}),
        "index": (0, {"metadata": {"total_size": 12}, "weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}),
        "index_elsewhere": (0, {"weight_map": {"a": "../1.safetensors"}}),
    }
    for name, (data_bytes, header) in headers.items():
        write("fuzz_safetensors", name, data_bytes, json.dumps(header).encode())
    write("fuzz_safetensors", "duplicate", 0, b'{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{}}')
    write("fuzz_safetensors", "nested", 0, b'{"a":' + b"[" * 300)
    whole = json.dumps({"a": entry("U8", [1], 0, 1)}).encode()
    folder = CORPUS / "fuzz_safetensors"
    (folder / "whole_file").write_bytes(struct.pack("<Q", len(whole)) + whole + b"x")


U32, F32, BOOL, STRING, ARRAY, U64 = 4, 6, 7, 8, 9, 10


def text(value):
    return struct.pack("<Q", len(value)) + value.encode()


def pair(key, kind, value):
    return text(key) + struct.pack("<I", kind) + value


def array(kind, n, elements):
    return struct.pack("<IQ", kind, n) + elements


def tensor(name, dimensions, kind, offset):
    return text(name) + struct.pack(f"<I{len(dimensions)}QIQ", len(dimensions), *dimensions, kind, offset)


def gguf(pairs, tensors, version=3, alignment=32):
    header = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(pairs)) + b"".join(pairs + tensors)
    return header + bytes(-len(header) % alignment)


def gguf_seeds():
    pairs = [
        pair("general.architecture", STRING, text("llama")),
        pair("general.file_type", U32, struct.pack("<I", 15)),
        pair("f", F32, struct.pack("<f", 0.5)),
        pair("b", BOOL, b"\x01"),
        pair("u", U64, struct.pack("<Q", 2**64 - 1)),
        pair("strings", ARRAY, array(STRING, 2, text("one") + text(""))),
        pair("numbers", ARRAY, array(F32, 2, struct.pack("<2f", 1, 2))),
    ]
    tensors = [tensor("q", [64, 3], 8, 0), tensor("n", [5], 0, 224), tensor("h", [3, 2, 1], 1, 256)]
    good = gguf(pairs, tensors)
    write("fuzz_gguf", "good", 288, good)
    write("fuzz_gguf", "no_last_padding", 268, good)
    write("fuzz_gguf", "version_2", 288, gguf(pairs, tensors, version=2))
    write("fuzz_gguf", "version_1", 288, gguf(pairs, tensors, version=1))
    write("fuzz_gguf", "big_endian", 288, gguf(pairs, tensors, version=0x03000000))
    write("fuzz_gguf", "no_tensors", 0, gguf(pairs, []))
    write("fuzz_gguf", "k_types", 144 + 16 + 176 + 16 + 210, gguf(pairs, [
        tensor("a", [256], 12, 0), tensor("b", [256], 13, 160), tensor("c", [256], 14, 352)]))
    aligned = [pair("general.alignment", U32, struct.pack("<I", 64))]
    write("fuzz_gguf", "aligned_64", 64 + 20, gguf(aligned, [tensor("a", [5], 0, 0), tensor("b", [5], 0, 64)], alignment=64))
    write("fuzz_gguf", "hole", 96, gguf([], [tensor("a", [5], 0, 0), tensor("b", [5], 0, 64)]))
    write("fuzz_gguf", "duplicate_keys", 0, gguf([pair("a", BOOL, b"\0")] * 2, []))
    write("fuzz_gguf", "duplicate_names", 64, gguf([], [tensor("a", [8], 0, 0), tensor("a", [8], 0, 32)]))
    write("fuzz_gguf", "nested_array", 99, gguf([pair("a", ARRAY, array(ARRAY, 1, array(BOOL, 1, b"\0")))], []))
    write("fuzz_gguf", "absurd_array", 99, gguf([pair("a", ARRAY, array(U64, 2**61, b""))], []))
    write("fuzz_gguf", "absurd_counts", 99, b"GGUF" + struct.pack("<IQQ", 3, 2**63, 2**63))
    write("fuzz_gguf", "unknown_type", 99, gguf([], [tensor("a", [32], 4, 0)]))


def npy(dictionary, version=1):
    header = dictionary.encode()
    return b"\x93NUMPY" + struct.pack("<BB" + ("H" if version == 1 else "I"), version, 0, len(header)) + header


def npy_seeds():
    form = "{{'descr': '{}', 'fortran_order': {}, 'shape': {}, }}\n"
    write("fuzz_npy", "matrix", 24, npy(form.format("<f4", False, (2, 3))))
    write("fuzz_npy", "vector", 5, npy(form.format("|u1", False, (5,))))
    write("fuzz_npy", "scalar", 8, npy(form.format("<c8", False, ())))
    write("fuzz_npy", "version_2", 4, npy(form.format("<f2", False, (1, 2)), 2))
    write("fuzz_npy", "version_3", 4, npy(form.format("<i4", False, (1,)), 3))
    write("fuzz_npy", "fortran", 24, npy(form.format("<f4", True, (2, 3))))
    write("fuzz_npy", "big_endian", 24, npy(form.format(">f4", False, (2, 3))))
    write("fuzz_npy", "overflow", 0, npy(form.format("<f4", False, (2**32, 2**32))))
    write("fuzz_npy", "python_2", 24, npy('{ "shape" : (2L, 3L), "descr":"=f4","fortran_order":False}'))
    write("fuzz_npy", "records", 8, npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }"))


def config_seeds():
    """A config of each architecture in the spelling of transformers 5 and 4, and one in a GGUF's header."""
    folder = CORPUS / "fuzz_runner_config"
    references = pathlib.Path(__file__).parents[1] / "data" / "architectures" / "references.json"
    for reference in json.loads(references.read_text(encoding="utf-8")):
        name = reference["name"].replace(",", "").replace(" ", "_")
        for key, suffix in (("config", 5), ("config_of_transformers_4", 4)):
            (folder / f"{name}.transformers{suffix}.json").write_text(json.dumps(reference[key]), encoding="utf-8")
    counts = {"block_count": 8, "embedding_length": 64, "feed_forward_length": 96, "attention.head_count": 4, "attention.sliding_window": 16}
    pairs = [pair("general.architecture", STRING, text("gemma3"))]
    pairs += [pair("gemma3." + key, U32, struct.pack("<I", value)) for key, value in counts.items()]
    pairs += [
        pair("gemma3.rope.scaling.type", STRING, text("linear")),
        pair("gemma3.rope.scaling.factor", F32, struct.pack("<f", 8.0)),
        pair("gemma3.attention.sliding_window_pattern", ARRAY, array(BOOL, 8, b"\1\1\0\1\1\0\1\1")),
    ]
    (folder / "gemma3.gguf").write_bytes(gguf(pairs, []))


def saved_logits_seeds():
    """Checksums are zero: the target sets them right."""
    folder = CORPUS / "fuzz_saved_logits"
    folder.mkdir(exist_ok=True)
    for name, vocabulary, scored, windows, rows in (("good", 5, 3, 2, 6), ("no_windows", 5, 3, 0, 0), ("short", 5, 3, 2, 5), ("no_rows", 5, 0, 2, 0), ("huge", 5, 2**62, 2**62, 1)):
        header = b"ENTROLGT" + struct.pack("<IIQQQ", 1, vocabulary, 2 * scored + 2, scored, windows) + bytes(24)
        row = struct.pack(f"<{vocabulary}H", *range(vocabulary)) + bytes(8)
        (folder / name).write_bytes(header + bytes(range(8)) * min(windows, 2) + bytes(8) + row * rows)


def imatrix_seeds():
    """Both forms of importance matrices."""
    folder = CORPUS / "fuzz_imatrix"
    folder.mkdir(exist_ok=True)
    pairs = [
        pair("general.type", STRING, text("imatrix")),
        pair("imatrix.datasets", ARRAY, array(STRING, 1, text("a.txt"))),
        pair("imatrix.chunk_count", U32, struct.pack("<I", 2)),
        pair("imatrix.chunk_size", U32, struct.pack("<I", 512)),
    ]
    name = "blk.0.attn_q.weight"
    experts = gguf(pairs, [tensor(name + ".in_sum2", [3, 2], 0, 0), tensor(name + ".counts", [1, 2], 0, 32)])
    data = struct.pack("<6f8x2f24x", 1, 2, 3, 4, 5, 6, 2, 0)
    (folder / "experts.gguf").write_bytes(experts + data)
    (folder / "negative.gguf").write_bytes(experts + data.replace(struct.pack("<f", 2), struct.pack("<f", -2)))
    (folder / "truncated.gguf").write_bytes((experts + data)[:-40])
    parts = [tensor(name + ".in_sum2", [4], 0, 0), tensor(name + ".counts", [1], 0, 32)]
    data = struct.pack("<4f16xf28x", 1, 2, 3, 4, 2) + struct.pack("<8H16x", *range(0x3F00, 0x3F80, 16))
    (folder / "directions.gguf").write_bytes(gguf(pairs, [*parts, tensor(name + ".in_directions", [4, 2], 30, 64)]) + data)
    (folder / "directions_no_bf16.gguf").write_bytes(gguf(pairs, [*parts, tensor(name + ".in_directions", [4, 2], 1, 64)]) + data)
    (folder / "directions_alone.gguf").write_bytes(gguf(pairs, [*parts, tensor("x.in_directions", [4, 2], 30, 64)]) + data)
    (folder / "no_counts.gguf").write_bytes(gguf(pairs, [tensor(name + ".in_sum2", [8], 0, 0)]) + bytes(32))
    (folder / "no_matrix.gguf").write_bytes(gguf(pairs[1:], [tensor(name + ".in_sum2", [8], 0, 0)]) + bytes(32))

    def entry(name, calls, *values):
        return struct.pack("<i", len(name)) + name.encode() + struct.pack(f"<2i{len(values)}f", calls, len(values), *values)

    entries = entry(name, 4, 1, 2, 3) + entry("blk.0.ffn_down.weight", 0, 5)
    (folder / "two.dat").write_bytes(struct.pack("<i", 2) + entries + struct.pack("<2i", 4, 5) + b"a.txt")
    (folder / "no_end.dat").write_bytes(struct.pack("<i", 2) + entries)
    (folder / "twice.dat").write_bytes(struct.pack("<i", 2) + 2 * entry(name, 1, 1))
    (folder / "not_finite.dat").write_bytes(struct.pack("<i", 1) + entry(name, 1, float("nan")))
    (folder / "huge.dat").write_bytes(struct.pack("<3i", 1, 1, 2**31 - 1) + bytes(64))


if __name__ == "__main__":
    imatrix_seeds()
    saved_logits_seeds()
    config_seeds()
    safetensors_seeds()
    gguf_seeds()
    npy_seeds()
