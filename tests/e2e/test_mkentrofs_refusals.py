"""What the builder refuses: one clear line, an exit code, and nothing left behind."""

import json
import struct

import pytest

from mkentrofs_fixtures import BAD_SOURCE, RUNTIME, USAGE, build, by_name, gguf_model, model, refused, safetensors_bytes, weights  # noqa: F401


@pytest.mark.parametrize(
    "arguments,word",
    [
        ([], "SOURCE"),
        (["a"], "SOURCE"),
        (["a", "b", "c"], "more than"),
        (["--bits", "5", "a", "b"], "8 or 4"),
        (["--bits", "x", "a", "b"], "8 or 4"),
        (["--scheme", "best", "a", "b"], "mixed or lossless"),
        (["--scale-bits", "0", "a", "b"], "1 to 24"),
        (["--block-size", "3K", "a", "b"], "4K"),
        (["--block-size", "256K", "a", "b"], "4K"),
        (["--threads", "0", "a", "b"], "1 to 1024"),
        (["--threads", "-3", "a", "b"], "1 to 1024"),
        (["--report", "html", "a", "b"], "json"),
        (["--nonsense", "a", "b"], "--nonsense"),
        (["a", "b", "--keep"], "--keep"),
        (["", "b"], "empty"),
    ],
)
def test_a_wrong_usage_is_explained(refused, arguments, word):
    refused(USAGE, word, *arguments)


def test_a_source_that_is_not_there_is_refused(refused, tmp_path):
    refused(BAD_SOURCE, "nowhere", tmp_path / "nowhere", tmp_path / "image")
    (tmp_path / "file").write_text("x")
    refused(BAD_SOURCE, "file/model", tmp_path / "file" / "model", tmp_path / "image")
    (tmp_path / "circle").symlink_to("circle")
    refused(BAD_SOURCE, "circle", tmp_path / "circle", tmp_path / "image")


def test_a_folder_without_weights_is_refused(refused, tmp_path):
    (tmp_path / "source").mkdir()
    refused(BAD_SOURCE, "no weights", tmp_path / "source", tmp_path / "image")
    (tmp_path / "source" / "config.json").write_text("{}")
    refused(BAD_SOURCE, "no weights", tmp_path / "source", tmp_path / "image")
    (tmp_path / "source" / "model.safetensors").write_bytes(safetensors_bytes({}))
    refused(BAD_SOURCE, "no weights", tmp_path / "source", tmp_path / "image")


def test_a_file_of_another_kind_is_refused(refused, tmp_path):
    (tmp_path / "model.bin").write_bytes(b"x" * 100)
    refused(BAD_SOURCE, "model.bin", tmp_path / "model.bin", tmp_path / "image")


def test_an_image_that_exists_is_not_overwritten(refused, tmp_path):
    source = model(tmp_path / "source")
    (tmp_path / "image").write_bytes(b"precious")
    refused(RUNTIME, "--force", source, tmp_path / "image")
    assert (tmp_path / "image").read_bytes() == b"precious"


def test_a_file_of_the_source_is_not_replaced_even_with_force(refused, tmp_path):
    source = model(tmp_path / "source")
    before = (source / "model.safetensors").read_bytes()
    refused(RUNTIME, "file of the source", "--force", source, source / "model.safetensors")
    refused(RUNTIME, "file of the source", "--force", source / "model.safetensors", source / "model.safetensors")
    refused(RUNTIME, "file of the source", "--force", source, source / "config.json")
    assert (source / "model.safetensors").read_bytes() == before


def test_another_image_in_the_source_is_refused(run, refused, tmp_path):
    source = model(tmp_path / "source")
    run("mkentrofs", source, source / "first.entrofs", check=True)
    refused(BAD_SOURCE, "--exclude", source, source / "second.entrofs")
    run("mkentrofs", "--exclude", "*.entrofs", source, source / "second.entrofs", check=True)


def test_an_image_in_a_folder_that_is_not_there_is_refused(refused, tmp_path):
    refused(RUNTIME, "image", model(tmp_path / "source"), tmp_path / "nowhere" / "image")


@pytest.mark.parametrize("name", ["tensors", "npy", "tensors.json"])
def test_names_that_the_mount_uses_itself_are_refused(run, refused, tmp_path, name):
    source = model(tmp_path / "source")
    if name == "tensors.json":
        (source / name).write_text("{}")
    else:
        (source / name).mkdir()
    refused(BAD_SOURCE, "--exclude", source, tmp_path / "image")
    run("mkentrofs", "--exclude", name, source, tmp_path / "image", check=True)


def test_a_link_that_leads_nowhere_is_refused(refused, tmp_path):
    source = model(tmp_path / "source")
    (source / "gone").symlink_to("nothing")
    refused(BAD_SOURCE, "gone", source, tmp_path / "image")
    (source / "gone").unlink()
    (source / "circle").symlink_to("circle")
    refused(BAD_SOURCE, "circle", source, tmp_path / "image")


def test_links_that_make_a_few_folders_look_like_millions_are_refused(refused, tmp_path):
    folder = model(tmp_path / "source")
    for _ in range(24):
        (folder / "a").mkdir()
        (folder / "b").symlink_to("a")
        folder = folder / "a"
    refused(BAD_SOURCE, "folders", tmp_path / "source", tmp_path / "image", timeout=60)


RAW = ("F32", [64, 128], weights().tobytes())
BAD_ENTRIES = {
    "overlapping": ({"x": {"dtype": "F32", "shape": [64, 128], "data_offsets": [0, 32768]}}, "x"),
    "a hole": ({"w": {"dtype": "F32", "shape": [64, 127], "data_offsets": [256, 32768]}}, "w"),
    "beyond the end": ({"w": {"dtype": "F32", "shape": [64, 129], "data_offsets": [0, 33024]}}, "w"),
    "backwards": ({"w": {"dtype": "F32", "shape": [64, 128], "data_offsets": [32768, 0]}}, "w"),
    "negative": ({"w": {"dtype": "F32", "shape": [64, 128], "data_offsets": [-1, 32767]}}, "w"),
    "an overflowing shape": ({"w": {"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 32768]}}, "w"),
    "huge numbers": ({"w": {"dtype": "F32", "shape": [2**80], "data_offsets": [0, 32768]}}, "model.safetensors"),
    "another size": ({"w": {"dtype": "F32", "shape": [64, 64], "data_offsets": [0, 32768]}}, "w"),
    "an unknown dtype": ({"w": {"dtype": "F7", "shape": [64, 128], "data_offsets": [0, 32768]}}, "F7"),
    "a missing shape": ({"w": {"dtype": "F32", "data_offsets": [0, 32768]}}, "w"),
    "a missing dtype": ({"w": {"shape": [64, 128], "data_offsets": [0, 32768]}}, "w"),
    "missing offsets": ({"w": {"dtype": "F32", "shape": [64, 128]}}, "w"),
    "no object": ({"w": 7}, "w"),
}


@pytest.mark.parametrize("case", BAD_ENTRIES)
def test_a_bad_safetensors_entry_is_refused(refused, tmp_path, case):
    entries, word = BAD_ENTRIES[case]
    source = model(tmp_path / "source", {"w": RAW}, entries=entries)
    line = refused(BAD_SOURCE, word, source, tmp_path / "image")
    assert "model.safetensors" in line


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"1234567",
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 100) + b"{}",
        struct.pack("<Q", 8) + b"not json",
        struct.pack("<Q", 8) + b"[1,2,3] ",
        safetensors_bytes({"w": RAW})[:-1],
        safetensors_bytes({"w": RAW}) + b"x",
        safetensors_bytes({}, header=b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"w":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}')
        + bytes(8),
        safetensors_bytes({}, header=b'{"a\xff":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}') + bytes(4),
    ],
    ids=range(10),
)
def test_a_malformed_safetensors_file_is_refused(refused, tmp_path, raw):
    source = model(tmp_path / "source")
    (source / "model.safetensors").write_bytes(raw)
    refused(BAD_SOURCE, "model.safetensors", source, tmp_path / "image")


@pytest.mark.parametrize("name", ["a/b", "/", ".", "..", "", "x" * 300, "x" * 241, "nul\0nul"], ids=range(8))
def test_a_tensor_name_that_no_file_can_have_is_refused(refused, tmp_path, name):
    source = model(tmp_path / "source", {name: RAW})
    refused(BAD_SOURCE, "model.safetensors", source, tmp_path / "image")


def test_a_tensor_name_with_a_newline_does_not_break_the_line(refused, tmp_path):
    source = model(tmp_path / "source", {"a\nb/c": RAW})
    refused(BAD_SOURCE, "model.safetensors", source, tmp_path / "image")


def test_the_longest_name_is_accepted(build, tmp_path):
    assert set(by_name(build(model(tmp_path / "source", {"x" * 240: RAW})))) == {"x" * 240}


def test_a_tensor_in_two_shards_is_refused(refused, tmp_path):
    source = model(tmp_path / "source", {"w": RAW}, name="a.safetensors")
    model(tmp_path / "source", {"w": RAW}, name="b.safetensors")
    line = refused(BAD_SOURCE, "a.safetensors", source, tmp_path / "image")
    assert "b.safetensors" in line and "tensor w " in line


def test_two_kinds_of_weights_are_refused(refused, tmp_path):
    source = model(tmp_path / "source")
    gguf_model(source / "model.gguf")
    refused(BAD_SOURCE, "--exclude", source, tmp_path / "image")


@pytest.mark.parametrize(
    "index,word",
    [
        ({"weight_map": {"w": "other.safetensors"}}, "other.safetensors"),
        ({"weight_map": {"v": "model.safetensors"}}, "tensor v"),
        ({"weight_map": {"w": "../model.safetensors"}}, "index.json"),
        ({"weight_map": {"w": 7}}, "index.json"),
        ({"weight_map": 7}, "index.json"),
        ({}, "index.json"),
        ([], "index.json"),
    ],
    ids=range(7),
)
def test_an_index_that_does_not_fit_its_shards_is_refused(refused, tmp_path, index, word):
    source = model(tmp_path / "source", {"w": RAW})
    (source / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(BAD_SOURCE, word, source, tmp_path / "image")


def gguf_header(version=3, n_tensors=1, n_pairs=0, name=b"w", dims=(32,), kind=0, offset=0, magic=b"GGUF"):
    raw = magic + struct.pack("<IQQ", version, n_tensors, n_pairs)
    raw += struct.pack("<Q", len(name)) + name + struct.pack("<I", len(dims))
    raw += b"".join(struct.pack("<Q", d) for d in dims) + struct.pack("<IQ", kind, offset)
    return raw + bytes(-len(raw) % 32) + bytes(128)


BAD_GGUF = {
    "magic": {"magic": b"GGML"},
    "version": {"version": 99},
    "tensor count": {"n_tensors": 2**60},
    "pair count": {"n_pairs": 2**60},
    "dimensions": {"dims": (1,) * 200},
    "a dimension": {"dims": (2**62, 2**62)},
    "a type": {"kind": 1000},
    "an offset": {"offset": 64},
    "an offset beyond": {"offset": 2**63},
    "a slash": {"name": b"a/b"},
    "dots": {"name": b".."},
    "nul": {"name": b"a\0b"},
    "a long name": {"name": b"x" * 300},
    "no UTF-8": {"name": b"\xff\xfe"},
    "no name": {"name": b""},
}


@pytest.mark.parametrize("case", BAD_GGUF)
def test_a_bad_gguf_is_refused(refused, tmp_path, case):
    (tmp_path / "model.gguf").write_bytes(gguf_header(**BAD_GGUF[case]))
    refused(BAD_SOURCE, "model.gguf", tmp_path / "model.gguf", tmp_path / "image")


def test_a_gguf_cut_anywhere_is_refused(refused, tmp_path):
    raw = gguf_model(tmp_path / "whole.gguf").read_bytes()
    (tmp_path / "whole.gguf").unlink()
    for size in [0, 3, 4, 8, 16, 23, 24, 40, 100, 200, len(raw) // 2, len(raw) - 64]:
        (tmp_path / "model.gguf").write_bytes(raw[:size])
        refused(BAD_SOURCE, "model.gguf", tmp_path / "model.gguf", tmp_path / "image")
