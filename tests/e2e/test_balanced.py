"""The balanced scheme, seen by numpy alone: no weight is clipped, outliers are exact, the size is what was asked for, and mounts show it correctly rounded."""

import json

import gguf
import numpy as np
import pytest
from safetensors.numpy import load_file

import independent
from conftest import needs_fuse
from mkentrofs_fixtures import USAGE, bf16, build, by_name, extract, model, refused, weights  # noqa: F401

LINEAR = "model.layers.0.mlp.up_proj.weight"


def steps(root, tensor):
    """What one code more or less means, for each element: scale * row * column."""
    rows, columns = tensor["shape"][0], int(np.prod(tensor["shape"][1:]))
    factor = np.full((rows, columns), tensor["scale"])
    if tensor["row_scale"]:
        factor *= np.fromfile(root / tensor["row_scale"], np.float16).astype(np.float64)[:, None]
    if tensor["column_scale"]:
        factor *= np.fromfile(root / tensor["column_scale"], np.float16).astype(np.float64)[None, :]
    return factor.reshape(-1)


def assert_nothing_is_clipped(root, tensor, source):
    """Each weight within half a step of the value that is shown for it, or in the list, exactly."""
    shown = independent.values(root, tensor)
    error = np.abs(shown - source.reshape(-1).astype(np.float64))
    assert (error <= steps(root, tensor) * 0.5000001).all(), tensor["name"]
    if tensor["outliers"]:
        records = np.fromfile(root / tensor["outliers"], np.dtype([("i", "<u8"), ("v", "<f4")]))
        assert (np.diff(records["i"].astype(np.int64)) > 0).all()
        assert (records["v"] == source.reshape(-1)[records["i"]]).all()
        return len(records)
    return 0


def gaussian(rows, columns, seed):
    """With rows and columns of very different size, and a few weights far out."""
    random = np.random.default_rng(seed)
    w = random.standard_normal((rows, columns)) * np.exp(random.standard_normal((rows, 1))) * np.exp(random.standard_normal((1, columns))) * 0.02
    w[random.integers(0, rows, 4), random.integers(0, columns, 4)] *= 60
    return w.astype(np.float32)


def layers(folder, n=2, hidden=320):
    tensors = {"model.embed_tokens.weight": gaussian(1024, hidden, 1), "model.norm.weight": np.abs(weights(1, hidden)).reshape(hidden) + 0.5}
    for i in range(n):
        tensors[f"model.layers.{i}.mlp.up_proj.weight"] = gaussian(768, hidden, 10 + i)
        tensors[f"model.layers.{i}.mlp.down_proj.weight"] = gaussian(hidden, 768, 20 + i)
    return model(folder, {name: ("F32", list(w.shape), w.tobytes()) for name, w in tensors.items()}), tensors


@pytest.mark.parametrize("bpw", [2.5, 3.2, 4.1, 5.5, 7])
def test_the_size_is_what_was_asked_for_and_nothing_is_clipped(build, extract, tmp_path, bpw):
    source, tensors = layers(tmp_path / "source")
    report = build(source, "--bpw", bpw)
    assert abs(report["bits_per_weight"] / bpw - 1) < 0.01 and report["scheme"] == "balanced"
    root, n_outliers = extract(), 0
    for tensor in independent.tensors(root):
        if tensor["scheme"] != "lossless":
            assert tensor["scheme"] == "balanced" and tensor["bits"] in (4, 8)
            n_outliers += assert_nothing_is_clipped(root, tensor, tensors[tensor["name"]])
            stored = by_name(report)[tensor["name"]]["stored_bytes"]
            assert stored == tensor["stored_bytes"]
    assert n_outliers == report["outliers"] and (n_outliers > 0 or bpw in (3.2, 4.1))


@pytest.mark.parametrize("bpw", [2.6, 3.2, 4.4])
@pytest.mark.parametrize("what", ["uniform", "mostly zeros", "heavy tails"])
def test_odd_distributions_have_the_size_too(build, tmp_path, what, bpw):
    random = np.random.default_rng(3)
    w = {
        "uniform": random.uniform(-1, 1, (512, 768)),
        "mostly zeros": random.standard_normal((512, 768)) * (random.random((512, 768)) > 0.7),
        "heavy tails": random.standard_t(3, (512, 768)),
    }[what].astype(np.float32)
    report = build(model(tmp_path / "source", {LINEAR: ("F32", list(w.shape), w.tobytes())}), "--bpw", bpw)
    assert abs(report["bits_per_weight"] / bpw - 1) < 0.01


def test_rows_and_columns_are_balanced(build, extract, tmp_path):
    source, tensors = layers(tmp_path / "source", 1)
    build(source, "--bpw", 5)
    root = extract()
    tensor = next(t for t in independent.tensors(root) if t["name"] == LINEAR)
    normalized = (tensors[LINEAR].reshape(-1) / steps(root, tensor)).reshape(tensor["shape"])
    for axis in (0, 1):
        rms = np.sqrt((normalized**2).mean(axis))
        assert rms.max() / rms.min() < 1.03


def test_an_embedding_has_its_own_rule(build, extract, tmp_path):
    source, tensors = layers(tmp_path / "source", 1)
    build(source, "--bpw", 4)
    root = extract()
    embedding = next(t for t in independent.tensors(root) if t["name"] == "model.embed_tokens.weight")
    columns = np.fromfile(root / embedding["column_scale"], np.float16).astype(np.float64)
    product = columns * tensors["model.norm.weight"]  # columns by one over the final norm's weights
    assert product.max() / product.min() < 1.002
    linear = next(t for t in independent.tensors(root) if t["name"] == LINEAR)
    relative = [np.sqrt(((tensors[t["name"]].reshape(-1) / steps(root, t)) ** 2).mean()) for t in (embedding, linear)]
    assert 1.9 < relative[0] / relative[1] < 2.1  # a bit finer


def test_an_embedding_whose_tails_would_fill_the_list_of_outliers_is_no_finer(build, extract, tmp_path):
    source, tensors = layers(tmp_path / "source", 1)
    build(source, "--bpw", 5.5)
    root = extract()
    found = {t["name"]: t for t in independent.tensors(root)}
    relative = [np.sqrt(((tensors[name].reshape(-1) / steps(root, found[name])) ** 2).mean()) for name in ("model.embed_tokens.weight", LINEAR)]
    assert 0.95 < relative[0] / relative[1] < 1.05


@pytest.mark.parametrize(
    "form, prefix, config, more",
    [
        ("safetensors", "model.", {"model_type": "gemma3_text"}, 1),
        ("safetensors", "language_model.model.", {"model_type": "gemma3", "text_config": {"model_type": "gemma3_text"}}, 1),
        ("safetensors", "model.language_model.", {"model_type": "paligemma", "text_config": {"model_type": "gemma"}}, 1),
        ("safetensors", "model.language_model.", {"model_type": "gemma3n"}, 0),
        ("safetensors", "model.language_model.", {"model_type": "qwen3_5", "text_config": {"model_type": "qwen3_5_text"}}, 1),
        ("safetensors", "", {"text_config": 7}, 0),
        ("gguf", None, {"model_type": "gemma3_text"}, 0),
    ],
)
def test_a_final_norm_counts_as_its_family_has_it(build, extract, tmp_path, form, prefix, config, more):
    """Gemma's norms are stored less one in safetensors; other families' and those in GGUF files are not."""
    embedding, norm = gaussian(1024, 320, 1), np.abs(weights(1, 320)).reshape(320) + np.float32(0.5)
    if form == "safetensors":
        source = model(tmp_path / "source", {f"{prefix}embed_tokens.weight": ("F32", [1024, 320], embedding.tobytes()), f"{prefix}norm.weight": ("F32", [320], norm.tobytes())})
    else:
        source = tmp_path / "source"
        source.mkdir()
        writer = gguf.GGUFWriter(source / "model.gguf", "gemma3")
        writer.add_tensor("token_embd.weight", embedding)
        writer.add_tensor("output_norm.weight", norm)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    (source / "config.json").write_text(json.dumps(config))
    build(source)
    root = extract()
    tensor = next(t for t in independent.tensors(root) if t["scheme"] == "balanced")
    product = np.fromfile(root / tensor["column_scale"], np.float16).astype(np.float64) * (norm + more)
    assert product.max() / product.min() < 1.002


@pytest.mark.parametrize(
    "embedding, norm, head",
    [
        ("language_model.model.embed_tokens.weight", "language_model.model.norm.weight", "language_model.lm_head.weight"),
        ("model.language_model.embed_tokens.weight", "model.language_model.norm.weight", "lm_head.weight"),
        ("gpt_neox.embed_in.weight", "gpt_neox.final_layer_norm.weight", "embed_out.weight"),
        ("transformer.wte.weight", "transformer.ln_f.weight", "lm_head.weight"),
    ],
)
def test_the_ends_of_a_model_are_known_in_every_family(build, extract, tmp_path, embedding, norm, head):
    gamma = np.abs(weights(1, 320)).reshape(320) + np.float32(0.5)
    looked_up = ["vision_tower.embeddings.position_embedding.weight", "model.language_model.embed_tokens_per_layer.weight", "per_layer_token_embd.weight"]
    matrices = {name: gaussian(1024, 320, seed) for seed, name in enumerate((embedding, head, *looked_up, "vision_tower.layers.0.fc1.weight"))}
    tensors = {name: ("F32", [1024, 320], w.tobytes()) for name, w in matrices.items()}
    build(model(tmp_path / "source", {norm: ("F32", [320], gamma.tobytes()), **tensors}))
    root = extract()
    found = {t["name"]: t for t in independent.tensors(root)}
    product = np.fromfile(root / found[head]["column_scale"], np.float16).astype(np.float64) * gamma
    assert product.max() / product.min() < 1.002
    assert not any(found[name]["column_scale"] for name in (embedding, *looked_up))  # rows are looked up
    assert found["vision_tower.layers.0.fc1.weight"]["column_scale"]


def test_an_embedding_stored_again_as_the_head_costs_nothing_more(build, extract, tmp_path):
    _, tensors = layers(tmp_path / "source", 1)
    embedding, head = "model.embed_tokens.weight", "lm_head.weight"

    def described(these):
        return {name: ("F32", list(w.shape), w.tobytes()) for name, w in these.items()}

    def listed():
        root = extract()
        found = {t["name"]: t for t in independent.tensors(root)}
        return root, found[embedding], found[head]

    build(model(tmp_path / "untied", described({**tensors, head: tensors[embedding] + np.float32(1e-4)})), "--bpw", 5)
    _, first, second = listed()
    assert second["column_scale"] and not first["column_scale"]  # each has its rule
    shards = model(tmp_path / "shards", described(tensors))
    model(shards, described({head: tensors[embedding]}), name="other.safetensors")
    for source in (shards, model(tmp_path / "tied", described({**tensors, head: tensors[embedding]}))):
        report = build(source, "--bpw", 5)
        assert {by_name(report)[name]["shared"] for name in (embedding, head)} == {False, True}
        assert abs(report["bits_per_weight"] / 5 - 1) < 0.01
        root, first, second = listed()
        assert first["scale"] == second["scale"]
        for part in ("file", "row_scale", "column_scale", "outliers"):
            assert (root / first[part]).read_bytes() == (root / second[part]).read_bytes(), part
    report = build(source, "--bpw", 5, "--keep", head)
    assert by_name(report)[embedding]["scheme"] == "balanced" and abs(report["bits_per_weight"] / 5 - 1) < 0.01


@pytest.mark.parametrize("what", ["zeros", "a row of zeros", "one row", "one column", "many rows", "nan", "infinite", "tiny", "huge", "half"])
def test_degenerate_tensors_are_quantized_or_kept(build, extract, tmp_path, what):
    dtype, w = "F32", gaussian(400, 300, 3)
    if what == "zeros":
        w[:] = 0
    elif what == "a row of zeros":
        w[7], w[:, 11] = 0, 0
    elif what == "one row":
        w = w.reshape(1, -1)
    elif what == "one column":
        w = w.reshape(-1, 1)
    elif what == "many rows":
        w = np.tile(w, (10, 1)).reshape(-1, 2)
    elif what == "nan":
        w[3, 3] = np.nan
    elif what == "infinite":
        w[3, 3] = -np.inf
    elif what == "tiny":
        w *= np.float32(1e-30)
    elif what == "huge":
        w *= np.float32(1e36) / np.abs(w).max() * 300
    elif what == "half":
        dtype, w = "F16", (w / np.abs(w).max() * 65504).astype("<f2")
    source = model(tmp_path / "source", {"w": (dtype, list(w.shape), w.tobytes()), "v": ("F32", [300, 300], gaussian(300, 300, 5).tobytes())})
    tensor = by_name(build(source))["w"]
    root = extract()
    listed = next(t for t in independent.tensors(root) if t["name"] == "w")
    if what in ("nan", "infinite"):
        assert tensor["scheme"] == "lossless" and tensor["kept_reason"] == "NaN or infinite"
    else:
        assert tensor["scheme"] == "balanced", tensor
        assert_nothing_is_clipped(root, listed, w.astype(np.float32))
    assert independent.check_view(root, listed) == 0
    seen = load_file(root / "model.safetensors")["w"]
    assert np.isfinite(seen.astype(np.float64)).all() or what in ("nan", "infinite")


def test_the_threads_do_not_change_a_byte(build, tmp_path):
    source, _ = layers(tmp_path / "source")
    images = []
    for n in (1, 2, 5):
        build(source, "--bpw", 3.3, "-t", n, image=tmp_path / f"image.{n}")
        images.append((tmp_path / f"image.{n}").read_bytes())
    assert images[0] == images[1] == images[2]


def test_more_outliers_than_are_remembered_are_all_there(build, extract, tmp_path):
    """8 MiB of them are kept while a tensor is encoded; the others are found again."""
    w = np.random.default_rng(3).standard_normal((512, 16384)).astype(np.float32)
    w = np.where(np.random.default_rng(5).random(w.shape) < 0.24, w * 50, w * 0.01).astype(np.float32)
    source = model(tmp_path / "source", {"w": ("F32", list(w.shape), w.tobytes())})
    report = build(source, "--bpw", 7.6)
    assert report["outliers"] * 12 > 8 << 20
    root = extract()
    tensor = independent.tensors(root)[0]
    assert assert_nothing_is_clipped(root, tensor, w) == report["outliers"]


@needs_fuse
@pytest.mark.sanitized
@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_a_mount_shows_what_the_formula_says(run, mount, tmp_path, dtype):
    tensors = {f"w{i}": gaussian(rows, columns, i) for i, (rows, columns) in enumerate([(300, 333), (65, 1000), (1000, 64), (64, 65)])}
    to_bytes = {"F32": lambda w: w.tobytes(), "F16": lambda w: w.astype("<f2").tobytes(), "BF16": bf16}[dtype]
    source = model(tmp_path / "source", {name: (dtype, list(w.shape), to_bytes(w)) for name, w in tensors.items()})
    for bpw in (3.0, 6.5):
        run("mkentrofs", "--force", "--quiet", "--bpw", bpw, source, tmp_path / "image", check=True)
        root = mount(tmp_path / "image")
        listed = independent.tensors(root)
        assert {t["bits"] for t in listed} == {4 if bpw == 3.0 else 8} or bpw == 3.0
        assert any(t["outliers"] for t in listed)
        for tensor in listed:
            assert independent.check_view(root, tensor) == 0, tensor["name"]


@needs_fuse
def test_a_gguf_is_shown_as_f16(run, mount, tmp_path):
    w = gaussian(256, 512, 1)
    writer = gguf.GGUFWriter(tmp_path / "model.gguf", "llama")
    writer.add_uint32("general.file_type", 0)
    writer.add_tensor("blk.0.ffn_up.weight", w)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    run("mkentrofs", "--quiet", tmp_path / "model.gguf", tmp_path / "image", check=True)
    root = mount(tmp_path / "image")
    reader = gguf.GGUFReader(root / "model.gguf")
    assert reader.tensors[0].tensor_type == gguf.GGMLQuantizationType.F16
    assert reader.get_field("general.file_type").contents() == 1
    listed = independent.tensors(root)[0]
    assert independent.check_view(root, listed) == 0
    assert (np.asarray(reader.tensors[0].data).reshape(-1).view("<u2") == independent.values(root, listed).astype(np.float16).view("<u2")).all()


@needs_fuse
def test_the_small_model_still_writes_at_every_quality(run, mount, tiny, tmp_path):
    for quality in ("near-lossless", "high", "medium", "small"):
        run("mkentrofs", "--force", "--quiet", "--quality", quality, tiny, tmp_path / "image", check=True)
        root = mount(tmp_path / "image")
        text = run("entrorun", "run", "-m", root, "--no-chat", "--temp", 0, "-n", 5, "-p", "The capital of France is", check=True).stdout
        assert "Paris" in text, quality


def test_what_cannot_be_had_is_told_and_what_is_nearest_is_the_default(run, refused, build, tmp_path):
    w = np.zeros((1024, 1024), np.float32)
    w[0, 0] = 1
    source = model(tmp_path / "source", {"w": ("F32", [1024, 1024], w.tobytes())})
    line = refused(USAGE, "out of reach", "--bpw", "5", source, tmp_path / "image")
    assert "bits a weight can be had" in line
    assert build(source)["bits_per_weight"] < 1


@pytest.mark.parametrize(
    "options, part",
    [
        (["--bpw", "2.4"], "2.5 to 8"),
        (["--bpw", "8.1"], "2.5 to 8"),
        (["--bpw", "nan"], "2.5 to 8"),
        (["--bpw", "5e0"], "2.5 to 8"),
        (["--bpw", ""], "2.5 to 8"),
        (["--quality", "best"], "near-lossless, high, medium or small"),
        (["--bpw", "5", "--quality", "high"], "say the same"),
        (["--bpw", "5", "--bits", "8"], "--scheme mixed"),
        (["--scheme", "mixed", "--bpw", "5"], "--scheme balanced"),
        (["--scheme", "lossless", "--quality", "small"], "--scheme balanced"),
        (["--scheme", "balanced", "--bits", "4"], "--scheme mixed"),
    ],
)
def test_options_that_make_no_sense_are_refused(run, tmp_path, options, part):
    done = run("mkentrofs", *options, model(tmp_path / "source"), tmp_path / "image")
    assert done.returncode == USAGE and part in done.stderr.splitlines()[0], done.stderr
    assert not (tmp_path / "image").exists()


def test_few_bits_are_warned_of(run, tmp_path):
    source, _ = layers(tmp_path / "source", 1)
    done = run("mkentrofs", "--bpw", "3.4", source, tmp_path / "image", check=True)
    assert "warning: under 3.5 bits" in done.stderr
    done = run("mkentrofs", "--force", "--bpw", "3.6", source, tmp_path / "image", check=True)
    assert "warning" not in done.stderr

