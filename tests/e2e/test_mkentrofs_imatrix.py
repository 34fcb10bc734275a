"""mkentrofs --imatrix: column factors are half what balances them and half what the importances say, in either form of file, and matrices of other models are refused."""

import json
import pathlib
import struct

import gguf
import numpy as np
import pytest

import independent
from mkentrofs_fixtures import BAD_SOURCE, TOKENS, USAGE, build, extract, gguf_model, matrix, model, refused, weights, write_imatrix  # noqa: F401

HIDDEN, INNER = 192, 320
SHAPES = {"attn_q": (HIDDEN, HIDDEN), "ffn_up": (INNER, HIDDEN), "ffn_down": (HIDDEN, INNER)}
HF = {"attn_q": "self_attn.q_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
TEXT = pathlib.Path(__file__).resolve().parents[1] / "data" / "perplexity" / "text.txt"


@pytest.fixture
def source(tmp_path):
    tensors = {"model.embed_tokens.weight": matrix(256, HIDDEN, 1), "model.norm.weight": np.abs(weights(1, HIDDEN)).reshape(HIDDEN) + 0.5}
    for layer in range(2):
        for i, (part, shape) in enumerate(SHAPES.items()):
            tensors[f"model.layers.{layer}.{HF[part]}.weight"] = matrix(*shape, 10 * layer + i)
    tensors = {name: w.astype(np.float32) for name, w in tensors.items()}
    model(tmp_path / "source", {name: ("F32", list(w.shape), w.tobytes()) for name, w in tensors.items()})
    return tmp_path / "source", tensors


def importances(seed=7):
    """Mean squares by GGUF's names, as F32 times the tokens can hold them."""
    random = np.random.default_rng(seed)
    return {f"blk.{layer}.{part}.weight": np.exp(2 * random.standard_normal(shape[1])).astype(np.float32) for layer in range(2) for part, shape in SHAPES.items()}


def write_dat(path, means, calls=4):
    data = struct.pack("<i", len(means))
    for name, mean in means.items():
        data += struct.pack("<i", len(name)) + name.encode() + struct.pack("<ii", calls, mean.size) + (mean * np.float32(calls)).tobytes()
    path.write_bytes(data + struct.pack("<ii", calls, 8) + b"text.txt")
    return path


def entry_of(tensor_name):
    """The name in the matrix of one of the source's linear tensors."""
    for layer in range(2):
        for part, name in HF.items():
            if tensor_name == f"model.layers.{layer}.{name}.weight":
                return f"blk.{layer}.{part}.weight"
    return None


def columns_of(root, name):
    tensor = next(t for t in independent.tensors(root) if t["name"] == name)
    return np.fromfile(root / tensor["column_scale"], np.float16).astype(np.float64)


def test_columns_are_between_balanced_and_as_the_importances_say_and_rows_by_their_rms(build, extract, tmp_path, source):
    folder, tensors = source
    means = importances()
    build(folder, "--bpw", 5)
    plain = extract()
    report = build(folder, "--bpw", 5, "--imatrix", write_imatrix(tmp_path / "m.gguf", means))
    assert report["imatrix"] == str(tmp_path / "m.gguf") and abs(report["bits_per_weight"] / 5 - 1) < 0.03
    root, n = extract(), 0
    for tensor in independent.tensors(root):
        entry = entry_of(tensor["name"])
        if entry is None:
            continue
        n += 1
        columns, m = columns_of(root, tensor["name"]), means[entry].astype(np.float64)
        expected = np.sqrt(columns_of(plain, tensor["name"]) * (m + 1e-3 * m.mean()) ** -0.5)
        ratio = columns / expected
        assert ratio.max() / ratio.min() < 1.002, tensor["name"]
        rows = np.fromfile(root / tensor["row_scale"], np.float16).astype(np.float64)
        rms = np.sqrt(((tensors[tensor["name"]] / columns / rows[:, None]) ** 2).mean(axis=1))
        assert rms.max() / rms.min() < 1.002
        assert independent.check_view(root, tensor) == 0
    assert n == 6


def test_embeddings_keep_their_rule(build, extract, tmp_path, source):
    folder, tensors = source
    means = importances() | {"token_embd.weight": np.exp(weights(1, HIDDEN).reshape(-1) * 50), "output.weight": np.exp(weights(1, HIDDEN).reshape(-1) * 50)}
    build(folder, "--imatrix", write_imatrix(tmp_path / "m.gguf", means))
    product = columns_of(extract(), "model.embed_tokens.weight") * tensors["model.norm.weight"]
    assert product.max() / product.min() < 1.002


def test_both_forms_of_file_give_the_same_image(build, tmp_path, source):
    folder, _ = source
    means = importances()
    build(folder, "--imatrix", write_imatrix(tmp_path / "m.gguf", means), image=tmp_path / "a")
    build(folder, "--imatrix", write_dat(tmp_path / "m.dat", means), image=tmp_path / "b", check=True)
    build(folder, image=tmp_path / "c")
    images = [(tmp_path / name).read_bytes() for name in "abc"]
    assert images[0] == images[1] != images[2]


def test_tensors_that_are_missing_are_named_and_go_without(run, build, extract, tmp_path, source):
    folder, _ = source
    means = importances()
    without = "model.layers.1.mlp.up_proj.weight"
    del means["blk.1.ffn_up.weight"]
    matrix_path = write_imatrix(tmp_path / "m.gguf", means)
    done = run("mkentrofs", "--force", "--imatrix", matrix_path, folder, tmp_path / "image.entrofs", check=True)
    warnings = [line for line in done.stderr.splitlines() if "warning" in line]
    assert len(warnings) == 1 and "1 of 6 tensors" in warnings[0] and without in warnings[0] and "m.gguf" in warnings[0]
    root = extract()
    build(folder)
    plain = extract()
    assert (columns_of(root, without) == columns_of(plain, without)).all()
    other = "model.layers.0.mlp.up_proj.weight"
    assert (columns_of(root, other) != columns_of(plain, other)).any()
    # Tensors that no token reached say nothing either; of many only the first are named.
    means = {name: np.zeros_like(mean) if name != "blk.0.attn_q.weight" else mean for name, mean in means.items()}
    done = run("mkentrofs", "--force", "--imatrix", write_imatrix(tmp_path / "m.gguf", means), folder, tmp_path / "image.entrofs", check=True)
    warnings = [line for line in done.stderr.splitlines() if "warning" in line]
    assert len(warnings) == 1 and "5 of 6 tensors" in warnings[0] and warnings[0].endswith(", ...") and warnings[0].count("model.layers") == 4


def test_a_gguf_source_is_matched_by_its_own_names(run, tmp_path):
    path = tmp_path / "m.gguf"
    writer = gguf.GGUFWriter(path, "none")
    writer.add_tensor("blk.0.ffn_up.weight", matrix(INNER, HIDDEN, 3))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    done = run("mkentrofs", "--imatrix", write_imatrix(tmp_path / "i.gguf", importances()), path, tmp_path / "image", check=True)
    assert "warning" not in done.stderr


def test_a_matrix_of_another_model_is_refused(refused, tmp_path, source):
    folder, _ = source
    image = tmp_path / "none.entrofs"
    means = importances()
    means["blk.1.ffn_down.weight"] = means["blk.1.ffn_down.weight"][:-1]
    path = write_imatrix(tmp_path / "m.gguf", means)
    line = refused(BAD_SOURCE, "another model", "--imatrix", path, folder, image)
    assert all(word in line for word in ("m.gguf", "blk.1.ffn_down.weight", "model.layers.1.mlp.down_proj.weight", "319", "320"))
    path = write_imatrix(tmp_path / "m.gguf", {"blk.9.ffn_up.weight": means["blk.0.ffn_up.weight"]})
    line = refused(BAD_SOURCE, "another model", "--imatrix", path, folder, image)
    assert "m.gguf" in line and "blk.9.ffn_up.weight" in line


def test_bad_matrices_are_refused(refused, tmp_path, source):
    folder, _ = source
    image = tmp_path / "none.entrofs"

    def no(word, path):
        line = refused(BAD_SOURCE, word, "--imatrix", path, folder, image)
        assert path.name in line

    for value in (-1.0, np.nan, np.inf):
        for write, name in ((write_imatrix, "m.gguf"), (write_dat, "m.dat")):
            means = importances()
            means["blk.0.ffn_up.weight"][5] = value
            no('"blk.0.ffn_up.weight"', write(tmp_path / name, means))
    no("general.type", write_imatrix(tmp_path / "m.gguf", importances(), kind="model"))
    no("general.type", gguf_model(tmp_path / "model.gguf"))
    whole = write_dat(tmp_path / "m.dat", importances()).read_bytes()
    for size in (0, 3, 10, 100, len(whole) // 2):
        (tmp_path / "cut.dat").write_bytes(whole[:size])
        no("", tmp_path / "cut.dat")
    whole = write_imatrix(tmp_path / "m.gguf", importances()).read_bytes()
    (tmp_path / "cut.gguf").write_bytes(whole[: len(whole) // 2])
    no("", tmp_path / "cut.gguf")
    no("No such file", tmp_path / "missing.gguf")


def test_it_is_of_the_balanced_scheme(refused, tmp_path, source):
    folder, _ = source
    path = write_imatrix(tmp_path / "m.gguf", importances())
    for options in (["--scheme", "mixed"], ["--scheme", "lossless"], ["--bits", "8"]):
        assert "--imatrix" in refused(USAGE, "--scheme balanced", *options, "--imatrix", path, folder, tmp_path / "image")


def test_what_entrorun_makes_fits_and_helps(run, tiny, tmp_path):
    def extracted(name, *options):
        done = run("mkentrofs", *options, tiny, tmp_path / f"{name}.image", check=True)
        assert "warning" not in done.stderr, done.stderr
        run("entrofsck", "--quiet", "--extract", tmp_path / name, tmp_path / f"{name}.image", check=True)
        return tmp_path / name

    def divergence(name, *options):
        model = extracted(name, "--bpw", 3.5, *options)
        return json.loads(run("entrorun", "ppl", "-m", model, "--kl", source, "-f", TEXT, "-c", 64, "--json", check=True).stdout)["kl"]

    source = extracted("source", "--scheme", "lossless")
    matrix_path = tmp_path / "m.gguf"
    run("entrorun", "imatrix", "-m", source, "-f", TEXT, "-c", 64, "-o", matrix_path, check=True)
    assert divergence("with", "--imatrix", matrix_path) < 0.9 * divergence("without")
    random_path = tmp_path / "random.gguf"
    run("entrorun", "imatrix", "-m", source, "--random", "-c", 64, "-o", random_path, check=True)
    extracted("random", "--imatrix", random_path)
