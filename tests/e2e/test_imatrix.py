"""entrorun imatrix: the files that it writes, read by gguf and checked against numpy, and what it refuses."""

import json
import pathlib
import subprocess

import independent
import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader
from tokenizers import Tokenizer

DATA = pathlib.Path(__file__).resolve().parents[1] / "data"
TEXT = DATA / "perplexity" / "text.txt"
WINDOW = 64
PARTS = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")


@pytest.fixture(scope="module")
def source(program, tiny, tmp_path_factory):
    """The small model, lossless and extracted."""
    where = tmp_path_factory.mktemp("imatrix")
    subprocess.run([program("mkentrofs"), "--quiet", "--scheme", "lossless", tiny, where / "image"], check=True)
    subprocess.run([program("entrofsck"), "--quiet", "--extract", where / "source", where / "image"], check=True)
    return where / "source"


def collect(run, source, output, *options, text=TEXT):
    what = ["--random"] if text is None else ["-f", text]
    return run("entrorun", "imatrix", "-m", source, *what, "-o", output, "-c", WINDOW, *options)


def read(path):
    return {tensor.name: np.array(tensor.data) for tensor in GGUFReader(path).tensors}


def values(directory, name):
    tensor = next(tensor for tensor in independent.tensors(directory) if tensor["name"] == name)
    path, count = directory / tensor["file"], int(np.prod(tensor["shape"]))
    raw = np.fromfile(path, "<u2")
    array = independent.bf16_to_f32(raw) if path.stat().st_size == 2 * count else np.fromfile(path, "<f4")
    return array.reshape(tensor["shape"]).astype(np.float64)


def first_inputs(tiny, source, tokens):
    """What q, k and v of the first layer are multiplied with."""
    config = json.loads((tiny / "config.json").read_text())
    x = values(source, "model.embed_tokens.weight")[tokens]
    x /= np.sqrt((x * x).mean(axis=1, keepdims=True) + config["rms_norm_eps"])
    x *= values(source, "model.layers.0.input_layernorm.weight")
    return x


def first_sums(tiny, source, tokens):
    return (first_inputs(tiny, source, tokens) ** 2).sum(axis=0)


def test_the_file_is_what_llama_imatrix_would_write(run, source, tiny, tmp_path):
    output = tmp_path / "m.gguf"
    done = collect(run, source, output, "--no-directions")
    assert done.returncode == 0, done.stderr
    tokens = Tokenizer.from_file(str(tiny / "tokenizer.json")).encode(TEXT.read_text()).ids
    n_windows = len(tokens) // WINDOW
    fields = GGUFReader(output).fields
    assert fields["general.type"].contents() == "imatrix"
    assert fields["imatrix.datasets"].contents() == [str(TEXT)]
    assert fields["imatrix.chunk_count"].contents() == n_windows
    assert fields["imatrix.chunk_size"].contents() == WINDOW
    tensors = read(output)
    n_layers = json.loads((tiny / "config.json").read_text())["num_hidden_layers"]
    names = {f"blk.{layer}.{part}.weight" for layer in range(n_layers) for part in PARTS}
    assert set(tensors) == {name + suffix for name in names for suffix in (".in_sum2", ".counts")}
    for name in names:
        sums = tensors[name + ".in_sum2"]
        assert tensors[name + ".counts"] == [n_windows * WINDOW]
        assert sums.dtype == np.float32 and np.isfinite(sums).all() and (sums > 0).all()
    expected = first_sums(tiny, source, tokens[: n_windows * WINDOW])
    for part in ("attn_q", "attn_k", "attn_v"):
        np.testing.assert_allclose(tensors[f"blk.0.{part}.weight.in_sum2"], expected, rtol=1e-5)


def first_moments(tiny, source, tokens):
    """The second moments of what q, k and v of the first layer are multiplied with."""
    x = first_inputs(tiny, source, tokens)
    return x.T @ x / len(x)


def test_directions_stand_beside_it(run, source, tiny, tmp_path):
    """In BF16, for each input once; their outer products are the moments but for a diagonal and what is small."""
    assert collect(run, source, tmp_path / "plain", "--no-directions").returncode == 0
    assert collect(run, source, tmp_path / "more").returncode == 0
    plain, more = GGUFReader(tmp_path / "plain").tensors, GGUFReader(tmp_path / "more").tensors
    directions = {tensor.name: tensor for tensor in more if tensor.name.endswith(".in_directions")}
    assert [t.name for t in plain] == [t.name for t in more if t.name not in directions]
    for one, other in zip(plain, (t for t in more if t.name not in directions)):
        assert one.tensor_type == other.tensor_type and np.array_equal(one.data, other.data)
    config = json.loads((tiny / "config.json").read_text())
    columns = {part: config["hidden_size"] for part in ("attn_q", "attn_output", "ffn_gate")}
    columns["ffn_down"] = config["intermediate_size"]
    layers = range(config["num_hidden_layers"])
    assert set(directions) == {f"blk.{layer}.{part}.weight.in_directions" for layer in layers for part in columns}
    for name, tensor in directions.items():
        n = columns[name.split(".")[2]]
        assert tensor.tensor_type == GGMLQuantizationType.BF16 and list(tensor.shape) == [n, min(64, n // 4)]
    tokens = Tokenizer.from_file(str(tiny / "tokenizer.json")).encode(TEXT.read_text()).ids
    expected = first_moments(tiny, source, tokens[: len(tokens) // WINDOW * WINDOW])
    tensor = directions["blk.0.attn_q.weight.in_directions"]
    vectors = independent.bf16_to_f32(np.array(tensor.data).view("<u2")).reshape(tensor.shape[::-1]).astype(np.float64)
    found = vectors.T @ vectors
    rest = np.diag(expected - found)
    assert (rest > -0.01 * np.diag(expected)).all()
    error = found + np.diag(rest) - expected
    off_diagonal = expected - np.diag(np.diag(expected))
    assert np.linalg.norm(error) < 0.7 * np.linalg.norm(off_diagonal)


def test_the_number_of_threads_changes_no_bit(run, source, tmp_path):
    for threads in (1, 3):
        assert collect(run, source, tmp_path / str(threads), "-t", threads, "--process-output").returncode == 0
    assert (tmp_path / "1").read_bytes() == (tmp_path / "3").read_bytes()
    assert "output.weight.in_sum2" in read(tmp_path / "1")


def test_random_tokens_do_where_there_is_no_text(run, source, tmp_path):
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        done = collect(run, source, tmp_path / name, "--seed", seed, "--chunks", 3, text=None)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    a, c = read(tmp_path / "a"), read(tmp_path / "c")
    assert a["blk.0.attn_q.weight.counts"] == [3 * WINDOW]
    assert not any(name.endswith(".in_directions") for name in a)
    assert not np.array_equal(a["blk.0.attn_q.weight.in_sum2"], c["blk.0.attn_q.weight.in_sum2"])
    assert GGUFReader(tmp_path / "a").fields["imatrix.datasets"].contents() == ["random tokens (seed 7)"]


def test_a_text_shorter_than_two_windows_is_refused(run, source, tmp_path):
    short = tmp_path / "short.txt"
    short.write_text("Too short.")
    done = collect(run, source, tmp_path / "m.gguf", text=short)
    assert done.returncode == 2 and "too few for two windows of 64" in done.stderr
    assert not (tmp_path / "m.gguf").exists()


def test_a_file_that_exists_is_kept(run, source, tmp_path):
    output = tmp_path / "m.gguf"
    output.write_text("mine")
    done = collect(run, source, output)
    assert done.returncode == 1 and "--force" in done.stderr
    assert output.read_text() == "mine"
    assert collect(run, source, output, "--force", "--chunks", 2).returncode == 0
    assert read(output)["blk.0.attn_q.weight.counts"] == [2 * WINDOW]
    assert [path.name for path in tmp_path.iterdir()] == ["m.gguf"]


@pytest.mark.parametrize(
    "arguments, part",
    [
        (["-f", TEXT], "-o FILE"),
        (["-o", "m.gguf"], "--random"),
        (["-o", "m.gguf", "-f", TEXT, "--random"], "give one of them"),
        (["-o", "missing/m.gguf", "--random"], "No such file"),
    ],
)
def test_wrong_usage_is_told_before_any_work(run, source, tmp_path, arguments, part):
    done = run("entrorun", "imatrix", "-m", source, *arguments, cwd=tmp_path)
    assert done.returncode in (2, 4) and part in done.stderr, done.stderr
    assert list(tmp_path.iterdir()) == []
