"""A tiny model of each architecture through the whole chain: built, quantized or not, extracted, and run."""

import json
import shutil
import string
import sys

import numpy
import pytest
from safetensors.numpy import load_file, save_file

from conftest import ROOT

DATA = ROOT / "tests" / "data" / "architectures"
sys.path.insert(0, str(DATA))
from weights import weight  # noqa: E402

REFERENCES = {reference["name"]: reference for reference in json.loads((DATA / "references.json").read_text(encoding="utf-8"))}


def tokenizer(n_tokens):
    """A tokenizer.json of single characters."""
    pieces = ["<unk>", "<s>", "</s>"] + list(string.ascii_letters + " .,!?'")
    assert len(pieces) == n_tokens
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    added = [
        {"id": i, "content": pieces[i], "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
        for i in range(3)
    ]
    model = {"type": "BPE", "unk_token": "<unk>", "vocab": vocabulary, "merges": []}
    return {"version": "1.0", "added_tokens": added, "normalizer": None, "pre_tokenizer": None, "post_processor": None, "decoder": {"type": "Fuse"}, "model": model}


def write_model(folder, reference):
    """The model, three times as wide unless it is wide already: mkentrofs keeps small tensors as they are."""
    folder.mkdir()
    config = dict(reference["config"])
    n_vocabulary, times = config["vocab_size"], 1 if config["hidden_size"] > 100 else 3
    for key in ("hidden_size", "intermediate_size", "head_dim"):
        if config.get(key) is not None:
            config[key] *= times
    tensors = {}
    for tensor in reference["tensors"]:
        shape = tuple(size if size == n_vocabulary else size * times for size in tensor["shape"])
        values = weight(tensor["name"], shape, config["model_type"].startswith("gemma"))
        tensors[tensor["name"]] = values.astype(numpy.float16)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer(n_vocabulary)), encoding="utf-8")


@pytest.mark.parametrize("name", REFERENCES)
def test_a_model_of_the_architecture_is_built_quantized_and_run(run, tmp_path, name):
    write_model(tmp_path / "model", REFERENCES[name])
    for bits, options in ((None, ["--scheme", "lossless"]), (8, ["--bits", "8"]), (4, ["--bits", "4"])):
        label = f"bits-{bits}"
        image, files = tmp_path / f"{label}.entrofs", tmp_path / label
        run("mkentrofs", tmp_path / "model", image, *options, check=True)
        run("entrofsck", "-q", "--extract", files, image, check=True)
        done = run(
            "entrorun", "run", "-m", files, "--no-chat", "-p", "What is a tiny model good for?" * 5, "-n", "24", "--temp", "0", "--ignore-eos", check=True
        )
        assert "24 tokens" in done.stderr
        assert done.stdout
        matrices = [tensor for tensor in json.loads((files / "tensors.json").read_text())["tensors"] if len(tensor["shape"]) == 2]
        assert sum(tensor["bits"] == bits for tensor in matrices) > 0.7 * len(matrices)
        info = run("entrorun", "info", "-m", files, check=True).stdout
        assert f"architecture     {REFERENCES[name]['config']['model_type'].removesuffix('_text')} " in info


def test_a_weight_that_is_no_number_is_named(run, tmp_path):
    reference = REFERENCES["qwen2, tied"]
    write_model(tmp_path / "model", reference)
    tensors = load_file(tmp_path / "model" / "model.safetensors")
    tensors["model.layers.1.mlp.up_proj.weight"][5, 7] = numpy.nan
    save_file(tensors, tmp_path / "model" / "model.safetensors", metadata={"format": "pt"})
    run("mkentrofs", tmp_path / "model", tmp_path / "image", check=True)
    run("entrofsck", "-q", "--extract", tmp_path / "files", tmp_path / "image", check=True)
    done = run("entrorun", "run", "-m", tmp_path / "files", "--no-chat", "-p", "abc", "-n", "4")
    assert done.returncode == 3 and done.stdout == ""
    assert "model.layers.1.mlp.up_proj.weight" in done.stderr and done.stderr.count("\n") == 1


def test_a_tokenizer_of_another_model_is_refused(run, tmp_path):
    write_model(tmp_path / "model", REFERENCES["llama, linear scaling"])
    shutil.copy(ROOT / "tests" / "data" / "tiny" / "tokenizer.json", tmp_path / "model" / "tokenizer.json")
    run("mkentrofs", tmp_path / "model", tmp_path / "image", check=True)
    run("entrofsck", "-q", "--extract", tmp_path / "files", tmp_path / "image", check=True)
    done = run("entrorun", "run", "-m", tmp_path / "files", "--no-chat", "-p", "abc", "-n", "4")
    assert done.returncode == 3 and done.stdout == ""
    assert "tokenizer has 2048 tokens" in done.stderr and done.stderr.count("\n") == 1
