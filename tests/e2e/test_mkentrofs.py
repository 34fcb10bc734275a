"""The builder: what it refuses and how, what it leaves behind (nothing), and what it writes. Contents are checked by extracting them."""

import json
import math
import os
import pty
import resource
import signal
import struct
import subprocess
import time

import gguf
import numpy as np
import pytest

RUNTIME, USAGE, BAD_SOURCE, INTERRUPTED = 1, 2, 3, 130


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


# What is written


@pytest.mark.sanitized
def test_a_model_folder_comes_out_with_the_same_files_headers_and_kept_tensors(build, extract, tmp_path):
    source = model(tmp_path / "source")
    (source / "onnx").mkdir()
    (source / "onnx" / "notes.txt").write_bytes(bytes(range(256)) * 1000)
    (source / "empty").write_bytes(b"")
    report = by_name(build(source))
    assert {n for n, t in report.items() if t["scheme"] != "lossless"} == {"embed.weight", "up.weight", "down.weight"}
    assert report["norm.weight"]["kept_reason"] == "one dimension" and report["ids"]["kept_reason"] == "dtype"
    out = extract()
    for name in ("config.json", "onnx/notes.txt", "empty"):
        assert (out / name).read_bytes() == (source / name).read_bytes()
    before, after = (source / "model.safetensors").read_bytes(), (out / "model.safetensors").read_bytes()
    start = 8 + struct.unpack("<Q", before[:8])[0]
    assert len(before) == len(after) and before[:start] == after[:start]
    for name, at, size in (("norm.weight", 64 * 128 * 2, 512), ("ids", len(before) - start - 128, 128)):
        assert before[start + at :][:size] == after[start + at :][:size], name


@pytest.mark.sanitized
@pytest.mark.parametrize("bits", [8, 4])
def test_codes_are_the_nearest_ones_and_the_reported_snr_is_true(build, extract, tmp_path, bits):
    w = weights(96, 160, 7)
    source = model(tmp_path / "source", {"w": ("F32", [96, 160], w.tobytes())})
    tensor = by_name(build(source, "--bits", bits))["w"]
    raw = np.fromfile(extract() / "tensors" / "w", np.uint8)
    q = raw if bits == 8 else np.stack([raw & 15, raw >> 4], axis=1).reshape(-1)
    q = q.astype(np.int64)
    scale, zero = tensor["scale"], tensor["zero_point"]
    error = scale * (q - zero) - w.reshape(-1).astype(np.float64)
    assert np.abs(error).max() <= scale / 2 * (1 + 1e-12)
    assert q.max() - q.min() > (2**bits - 1) * 0.9
    told = 10 * math.log10((w.astype(np.float64) ** 2).sum() / (error**2).sum())
    assert math.isclose(told, tensor["snr_db"], abs_tol=1e-6)
    p = np.bincount(raw, minlength=256) / raw.size
    p = p[p > 0]
    assert math.isclose(-(p * np.log2(p)).sum() * raw.size / w.size, tensor["entropy_bits"], abs_tol=1e-9)


@pytest.mark.sanitized
def test_the_image_is_the_same_with_one_thread_and_with_many(build, tmp_path):
    big = weights(1600, 2048, 5)  # several chunks
    source = model(
        tmp_path / "source",
        {
            "a": ("BF16", [1600, 2048], bf16(big)),
            "b": ("F32", [1600, 2048], big.tobytes()),
            "odd": ("F16", [67, 101], weights(67, 101).astype("<f2").tobytes()),
            "kept": ("BF16", [1600 * 2048], bf16(big)),
        },
    )
    for bits in (8, 4):
        images, reports = [], []
        for n_threads in (1, 2, 7):
            image = tmp_path / f"{n_threads}.entrofs"
            reports.append(build(source, "-t", n_threads, "--bits", bits, image=image))
            images.append(image.read_bytes())
        assert images[0] == images[1] == images[2]
        assert reports[0]["snr_db"] == reports[1]["snr_db"] == reports[2]["snr_db"]


@pytest.mark.sanitized
def test_keep_leaves_matching_tensors_as_they_are(build, extract, tmp_path):
    source = model(tmp_path / "source")
    report = by_name(build(source, "--keep", "emb*", "--keep", "down.weight"))
    assert {n for n, t in report.items() if t["scheme"] != "lossless"} == {"up.weight"}
    assert report["embed.weight"]["kept_reason"] == "--keep"
    assert (extract() / "tensors" / "embed.weight").read_bytes() == bf16(weights())


@pytest.mark.sanitized
def test_lossless_safetensors_are_the_same_to_the_byte(build, extract, tmp_path):
    source = model(tmp_path / "source")
    build(source, "--scheme", "lossless")
    assert (extract() / "model.safetensors").read_bytes() == (source / "model.safetensors").read_bytes()


def test_tensors_with_nan_or_infinities_are_kept_with_a_warning(run, tmp_path):
    bad, worse = weights(), weights()
    bad[3, 5], worse[0, 0] = np.nan, -np.inf
    source = model(tmp_path / "source", {"bad": ("F32", [64, 128], bad.tobytes()), "worse": ("BF16", [64, 128], bf16(worse))})
    done = run("mkentrofs", "--report", "json", source, tmp_path / "image.entrofs", check=True)
    report = by_name(json.loads(done.stdout))
    assert {t["scheme"] for t in report.values()} == {"lossless"}
    assert "tensor bad" in done.stderr and "tensor worse" in done.stderr and "warning" in done.stderr


def test_weights_at_the_limit_of_f16_do_not_become_infinite(build, extract, tmp_path):
    w = np.linspace(-65504, 65504, 8192).astype("<f2").reshape(64, 128)
    source = model(tmp_path / "source", {"w": ("F16", [64, 128], w.tobytes())})
    build(source)
    out = extract() / "model.safetensors"
    assert np.isfinite(np.frombuffer(out.read_bytes()[-64 * 128 * 2 :], "<f2")).all()


@pytest.mark.sanitized
def test_degenerate_tensors_are_built(build, extract, tmp_path):
    source = model(
        tmp_path / "source",
        {
            "empty": ("F32", [0, 4096], b""),
            "scalar": ("F32", [], struct.pack("<f", 1.5)),
            "zeros": ("BF16", [64, 128], bytes(64 * 128 * 2)),
            "constant": ("F32", [64, 128], np.full(64 * 128, -3.25, "<f4").tobytes()),
            "positive": ("F32", [64, 128], np.abs(weights()).tobytes()),
            "negative": ("F32", [64, 128], (-np.abs(weights())).tobytes()),
            "column": ("F32", [8192, 1], weights().tobytes()),
            "tiny": ("F32", [64, 128], (weights() * 1e-42).tobytes()),
        },
    )
    report = by_name(build(source))
    assert report["positive"]["scheme"] == report["negative"]["scheme"] == "unsigned"
    assert report["positive"]["zero_point"] == 0 and report["negative"]["zero_point"] == 255
    out = extract()
    start = 8 + struct.unpack("<Q", (source / "model.safetensors").read_bytes()[:8])[0]
    data = (out / "model.safetensors").read_bytes()[start:]
    assert data[:4] == struct.pack("<f", 1.5) and data[4 : 4 + 64 * 128 * 2] == bytes(64 * 128 * 2)


def test_tied_tensors_are_stored_once(build, tmp_path):
    raw = bf16(weights(512, 512))
    once = build(model(tmp_path / "once", {"a": ("BF16", [512, 512], raw)}))
    twice = build(model(tmp_path / "twice", {"a": ("BF16", [512, 512], raw), "b": ("BF16", [512, 512], raw)}))
    assert twice["image_bytes"] - once["image_bytes"] < 1000
    assert by_name(twice)["b"]["shared"]


@pytest.mark.sanitized
def test_shards_behind_links_are_followed_as_in_a_download_cache(build, extract, tmp_path):
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "main"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    index = {"metadata": {}, "weight_map": {}}
    for i in (1, 2):
        name = f"model-0000{i}-of-00002.safetensors"
        (blobs / f"hash{i}").write_bytes(safetensors_bytes({f"w{i}": ("BF16", [64, 128], bf16(weights(seed=i)))}))
        (snapshot / name).symlink_to(f"../../blobs/hash{i}")
        index["weight_map"][f"w{i}"] = name
    (blobs / "hash3").write_text(json.dumps(index))
    (snapshot / "model.safetensors.index.json").symlink_to("../../blobs/hash3")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "vocab.txt").write_text("a b c\n")
    (snapshot / "more").symlink_to(outside)
    report = build(snapshot)
    assert set(by_name(report)) == {"w1", "w2"} and report["n_files"] == 4
    out = extract()
    assert (out / "more" / "vocab.txt").read_text() == "a b c\n"
    assert (out / "model-00002-of-00002.safetensors").stat().st_size == (blobs / "hash2").stat().st_size


@pytest.mark.sanitized
def test_a_lossless_gguf_is_the_same_to_the_byte(build, extract, tmp_path):
    path = gguf_model(tmp_path / "model.gguf")
    raw = path.read_bytes()
    # Padding between tensors need not be zero: it is kept as it is.
    reader = gguf.GGUFReader(path)
    end = int(reader.tensors[0].data_offset + reader.tensors[0].n_bytes)
    assert int(reader.tensors[1].data_offset) > end
    raw = raw[:end] + b"\x5a" + raw[end + 1 :]
    path.write_bytes(raw)
    build(path, "--scheme", "lossless")
    assert (extract() / "model.gguf").read_bytes() == raw


@pytest.mark.sanitized
@pytest.mark.parametrize("bits", [8, 4])
def test_a_quantized_gguf_is_read_by_a_stock_reader(build, extract, tmp_path, bits):
    kinds = gguf.GGMLQuantizationType
    path = gguf_model(tmp_path / "model.gguf", [kinds.F32, kinds.F16, kinds.BF16, kinds.Q8_0, kinds.Q4_0, kinds.Q4_1, kinds.Q5_0, kinds.Q5_1])
    report = by_name(build(path, "--bits", bits))
    out = extract()
    before, after = gguf.GGUFReader(path), gguf.GGUFReader(out / "model.gguf")
    assert after.fields["general.name"].contents() == "a test"
    assert after.fields["general.file_type"].contents() == {4: 3, 8: after.fields["general.file_type"].contents()}[bits]
    assert [t.name for t in before.tensors] == [t.name for t in after.tensors]
    for old, new in zip(before.tensors, after.tensors):
        tensor = report[old.name]
        assert list(old.shape) == list(new.shape) and tensor["view"] == new.tensor_type.name
        values = gguf.quants.dequantize(new.data, new.tensor_type).reshape(-1)
        if tensor["scheme"] == "lossless":
            assert bytes(old.data) == bytes(new.data)
            continue
        raw = np.fromfile(out / "tensors" / old.name, np.uint8)
        q = raw if bits == 8 else np.stack([raw & 15, raw >> 4], axis=1).reshape(-1)
        exact = np.float64(tensor["scale"]) * (q.astype(np.int64) - tensor["zero_point"])
        expected = exact.astype(np.float32) if tensor["view"] in ("Q4_1", "Q8_0", "F32") else exact.astype(np.float16)
        assert np.array_equal(expected.astype(np.float32), values.astype(np.float32)), old.name
        assert bits == 8 or tensor["view"] == "Q4_1"
        source = gguf.quants.dequantize(old.data, old.tensor_type).reshape(-1)
        assert np.abs(exact - source).max() <= tensor["scale"] / 2 * (1 + 1e-9)


# Bytes of a block of 256 weights, and where its F16 scales lie.
K_TYPES = {"Q4_K": (144, (0, 2)), "Q5_K": (176, (0, 2)), "Q6_K": (210, (208,))}


@pytest.mark.sanitized
@pytest.mark.parametrize("name", K_TYPES)
def test_k_types_are_dequantized_to_be_quantized_again(build, extract, tmp_path, name):
    block_bytes, scales = K_TYPES[name]
    random = np.random.default_rng(11)
    blocks = random.integers(0, 256, (64 * 2, block_bytes), dtype=np.uint8)
    for at in scales:
        halves = (random.random(len(blocks)) * 1e-3).astype("<f2")
        blocks[:, at : at + 2] = halves.view(np.uint8).reshape(-1, 2)
    kind = gguf.GGMLQuantizationType[name]
    writer = gguf.GGUFWriter(tmp_path / "model.gguf", "none")
    writer.add_tensor("w", blocks.reshape(64, -1), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    tensor = by_name(build(tmp_path / "model.gguf"))["w"]
    assert tensor["dtype"] == name and tensor["shape"] == [64, 512] and tensor["scheme"] == "asymmetric"
    q = np.fromfile(extract() / "tensors" / "w", np.uint8).astype(np.int64)
    source = gguf.quants.dequantize(blocks, kind).reshape(-1)
    error = tensor["scale"] * (q - tensor["zero_point"]) - source
    assert np.abs(error).max() <= tensor["scale"] / 2 * (1 + 1e-5)


def test_a_gguf_centred_on_its_zero_point_is_shown_as_q8_0(build, tmp_path):
    path = tmp_path / "model.gguf"
    w = np.clip(weights(64, 256), -0.05, 0.05)
    w[0, 0], w[0, 1] = -0.0508, 0.0504
    writer = gguf.GGUFWriter(path, "none")
    writer.add_tensor("w", w.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    tensor = by_name(build(path))["w"]
    assert (tensor["view"] == "Q8_0") == (tensor["zero_point"] in (127, 128)), tensor
    assert tensor["view"] == "Q8_0"


def test_numpy_files_become_tensors(build, extract, tmp_path):
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    np.save(source / "w.npy", weights())
    np.save(source / "sub" / "i.npy", np.arange(10))
    report = by_name(build(source))
    assert set(report) == {"w", "i"} and report["w"]["scheme"] != "lossless"
    loaded = np.load(extract() / "w.npy")
    assert np.abs(loaded - weights()).max() <= report["w"]["scale"] / 2 * 1.001


def test_what_is_left_out_is_said(run, extract, tmp_path):
    source = model(tmp_path / "source")
    (source / ".git").mkdir()
    (source / ".git" / "config").write_text("x")
    (source / ".gitattributes").write_text("x")
    (source / ".cache").mkdir()
    (source / "self").symlink_to(".")
    os.mkfifo(source / "pipe")
    (source / "old.bin").write_text("x")
    image = source / "model.entrofs"
    for options in ((), ("--force",)):  # the second time the first image lies in the source
        done = run("mkentrofs", *options, "--exclude", "*.bin", source, image, check=True)
        for name in (".git", ".gitattributes", ".cache", "self", "pipe", "old.bin"):
            assert f"skipped {name}" in done.stderr
    assert "skipped model.entrofs" in done.stderr
    out = extract(image)
    assert {p.name for p in out.iterdir()} >= {"config.json", "model.safetensors", "tensors.json"}
    assert not {".git", ".cache", "self", "pipe", "old.bin", "model.entrofs"} & {p.name for p in out.iterdir()}


def test_the_table_and_quiet(run, tmp_path):
    source = model(tmp_path / "source")
    done = run("mkentrofs", source, tmp_path / "a", check=True)
    for word in ("tensors", "parameters", "bits per weight", "order-0 entropy", "SNR", "source", "image", "ratio", "seconds"):
        assert word in done.stdout
    assert done.stderr == ""  # no terminal, no bar
    done = run("mkentrofs", "--quiet", "--bits", 4, source, tmp_path / "b", check=True)
    assert done.stdout == "" and done.stderr == ""
    done = run("mkentrofs", "--bits", 4, source, tmp_path / "c", check=True)
    assert "warning" in done.stderr and "quality" in done.stderr


def test_a_terminal_gets_a_bar_that_is_taken_away_in_the_end(program, tmp_path):
    source = big_model(tmp_path / "source")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [program("mkentrofs"), str(source), str(tmp_path / "image")], stdout=subprocess.DEVNULL, stderr=theirs
    )
    os.close(theirs)
    seen = b""
    while True:
        try:
            got = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not got:
            break
        seen += got
    os.close(ours)
    assert process.wait(timeout=60) == 0
    bars = [line for line in seen.split(b"\r") if line.startswith(b"[")]
    assert bars and all(b"%" in bar and b"/s" in bar and b"left" in bar for bar in bars)
    assert seen.endswith(b"\r\x1b[K")


def test_a_pattern_of_keep_that_matches_nothing_is_warned_of(run, tmp_path):
    done = run("mkentrofs", "--keep", "embd*", model(tmp_path / "source"), tmp_path / "image", check=True)
    assert "warning" in done.stderr and "embd*" in done.stderr


def test_help_teaches_and_version_is_printed(run):
    help_text = run("mkentrofs", "--help", check=True).stdout
    for option in ("--scheme", "--bits", "--keep", "--exclude", "--force", "--threads", "--report", "--block-size", "examples"):
        assert option in help_text
    assert run("mkentrofs", "--version", check=True).stdout.startswith("mkentrofs ")


# What is refused


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


# What happens in between


def big_model(folder, n_tensors=24):
    """About 200 MB: enough to be met in the middle of the work."""
    w = bf16(weights(2048, 2048))
    return model(folder, {f"w{i}": ("BF16", [2048, 2048], w) for i in range(n_tensors)})


def start(program, *arguments):
    return subprocess.Popen([program("mkentrofs"), *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_temporary(folder, before, process):
    """Until the program has begun to write."""
    for _ in range(2000):
        if set(files_below(folder)) - before:
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    raise AssertionError("nothing was written")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_and_leaves_nothing(program, tmp_path, number):
    source = big_model(tmp_path / "source")
    before = set(files_below(tmp_path))
    process = start(program, source, tmp_path / "image")
    wait_for_temporary(tmp_path, before, process)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == INTERRUPTED and errors == "mkentrofs: interrupted\n"
    assert set(files_below(tmp_path)) == before


@pytest.mark.parametrize("what", ["shrinks", "vanishes", "is touched"])
def test_a_source_that_changes_during_the_build_is_an_error(program, tmp_path, what):
    source = big_model(tmp_path / "source")
    before = set(files_below(tmp_path))
    process = start(program, source, tmp_path / "image")
    wait_for_temporary(tmp_path, before, process)
    shard = source / "model.safetensors"
    if what == "shrinks":
        os.truncate(shard, 1000)
    elif what == "vanishes":
        shard.unlink()
        before.discard("source/model.safetensors")
    else:
        os.utime(shard, (1, 1))
    _, errors = process.communicate(timeout=60)
    assert process.returncode == RUNTIME, errors
    assert len(errors.splitlines()) == 1 and "model.safetensors" in errors and "during the build" in errors
    assert set(files_below(tmp_path)) == before


def test_a_full_disk_is_an_error_and_leaves_nothing(refused, tmp_path):
    source = model(tmp_path / "source", {"w": ("BF16", [2048, 2048], bf16(weights(2048, 2048)))})
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    refused(RUNTIME, "image", source, tmp_path / "image", preexec_fn=limit)


def test_memory_stays_bounded(program, tmp_path):
    """A sparse file of 2 GB with random weights in a part of it; the bound is 256 MiB and 16 MiB a thread."""
    rows, columns = 1 << 18, 4096
    path = tmp_path / "model.safetensors"
    header = json.dumps({"w": {"dtype": "BF16", "shape": [rows, columns], "data_offsets": [0, rows * columns * 2]}}).encode()
    header += b" " * (-len(header) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        for at in range(4):
            file.seek(8 + len(header) + at * (1 << 29))
            file.write(bf16(weights(1024, 4096, at)))
        file.truncate(8 + len(header) + rows * columns * 2)
    script = (
        "import resource, subprocess, sys; code = subprocess.call(sys.argv[1:]);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(code)"
    )
    done = subprocess.run(
        ["python3", "-c", script, program("mkentrofs"), "--quiet", "-t", "2", str(path), str(tmp_path / "image")],
        capture_output=True, text=True, timeout=600, check=True,
    )
    assert int(done.stdout) * 1024 < (256 + 2 * 16) << 20
