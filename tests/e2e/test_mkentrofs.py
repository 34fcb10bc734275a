"""What the builder writes and says. Contents are checked by extracting them."""

import json
import math
import os
import pty
import struct
import subprocess

import gguf
import numpy as np
import pytest

from mkentrofs_fixtures import bf16, big_model, build, by_name, extract, gguf_model, model, safetensors_bytes, weights  # noqa: F401


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
    report = by_name(build(source, "--scheme", "mixed"))
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


# Bytes of 256 weights (of IQ4_NL those are eight blocks), and where the F16 scales lie.
BLOCK_TYPES = {"Q2_K": (84, (80, 82)), "Q3_K": (110, (108,)), "Q4_K": (144, (0, 2)), "Q5_K": (176, (0, 2)), "Q6_K": (210, (208,)), "IQ4_NL": (144, range(0, 144, 18)), "IQ4_XS": (136, (0,))}


@pytest.mark.sanitized
@pytest.mark.parametrize("name", BLOCK_TYPES)
def test_block_types_are_dequantized_to_be_quantized_again(build, extract, tmp_path, name):
    block_bytes, scales = BLOCK_TYPES[name]
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
    tensor = by_name(build(tmp_path / "model.gguf", "--scheme", "mixed"))["w"]
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
    tensor = by_name(build(path, "--scheme", "mixed"))["w"]
    assert (tensor["view"] == "Q8_0") == (tensor["zero_point"] in (127, 128)), tensor
    assert tensor["view"] == "Q8_0"


def test_numpy_files_become_tensors(build, extract, tmp_path):
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    np.save(source / "w.npy", weights())
    np.save(source / "sub" / "i.npy", np.arange(10))
    report = by_name(build(source, "--scheme", "mixed"))
    assert set(report) == {"w", "i"} and report["w"]["scheme"] != "lossless"
    loaded = np.load(extract() / "w.npy")
    assert np.abs(loaded - weights()).max() <= report["w"]["scale"] / 2 * 1.001


def test_what_is_left_out_is_said(run, extract, tmp_path):
    source = model(tmp_path / "source")
    (source / ".git").mkdir()
    (source / ".git" / "config").write_text("x")
    (source / ".gitattributes").write_text("x")
    (source / ".cache").mkdir()
    (source / ".entrofs-0123456789ab").write_text("of a build that was killed, or still works")
    (source / "self").symlink_to(".")
    os.mkfifo(source / "pipe")
    (source / "old.bin").write_text("x")
    image = source / "model.entrofs"
    for options in ((), ("--force",)):  # the second time the first image lies in the source
        done = run("mkentrofs", *options, "--exclude", "*.bin", source, image, check=True)
        for name in (".git", ".gitattributes", ".cache", ".entrofs-0123456789ab", "self", "pipe", "old.bin"):
            assert f"skipped {name}" in done.stderr
    assert "skipped model.entrofs" in done.stderr
    out = extract(image)
    assert {p.name for p in out.iterdir()} >= {"config.json", "model.safetensors", "tensors.json"}
    assert not {".git", ".cache", ".entrofs-0123456789ab", "self", "pipe", "old.bin", "model.entrofs"} & {p.name for p in out.iterdir()}


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
