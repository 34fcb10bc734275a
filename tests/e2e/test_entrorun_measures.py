"""entrorun bench, ppl, tokenize and info: what they print, against independent computations where there is something to compute."""

import importlib.util
import json
import pathlib
import signal
import subprocess
import time

import independent
import numpy as np
import pytest
from tokenizers import Tokenizer

DATA = pathlib.Path(__file__).resolve().parents[1] / "data"
TEXT = DATA / "perplexity" / "text.txt"


def load_reference():
    spec = importlib.util.spec_from_file_location("perplexity_reference", DATA / "perplexity" / "reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def models(program, tiny, tmp_path_factory):
    """The small model extracted: lossless, with 8-bit and with 4-bit codes."""
    where = tmp_path_factory.mktemp("measures")
    for name, options in {"source": ["--scheme", "lossless"], "u8": [], "u4": ["--bits", "4"]}.items():
        subprocess.run([program("mkentrofs"), "--quiet", *options, tiny, where / "image"], check=True)
        subprocess.run([program("entrofsck"), "--quiet", "--extract", where / name, where / "image"], check=True)
        (where / "image").unlink()
    return where


def weights(reference, directory):
    """All tensors of a directory as float64, the codes dequantized."""
    tensors = {}
    for tensor in independent.tensors(directory):
        path, count = directory / tensor["file"], int(np.prod(tensor["shape"]))
        if tensor["bits"]:
            values = independent.values(directory, tensor)
        else:
            values = independent.bf16_to_f32(np.fromfile(path, "<u2")) if path.stat().st_size == 2 * count else np.fromfile(path, "<f4")
        tensors[tensor["name"]] = values.reshape(tensor["shape"]).astype(np.float64)
    return tensors


@pytest.mark.parametrize("name", ["u8", "u4"])
@pytest.mark.parametrize("convention", ["llama.cpp", "gptq"])
def test_perplexity_and_divergence_are_what_numpy_computes(run, models, tiny, name, convention):
    reference = load_reference()
    config = json.loads((tiny / "config.json").read_text())
    tokens = Tokenizer.from_file(str(tiny / "tokenizer.json")).encode(TEXT.read_text()).ids[:256]

    def model(directory):
        tensors = weights(reference, models / directory)
        return lambda piece: reference.log_probabilities(tensors, config, piece)

    expected = reference.measure(model(name), tokens, 64, convention, base=model("source"))
    done = run("entrorun", "ppl", "-m", models / name, "--kl", models / "source", "-f", TEXT, "-c", "64", "--chunks", "4",
               "--convention", convention, "--json", "--device", "cpu", check=True)
    assert done.stderr == ""
    figures = json.loads(done.stdout)
    assert (figures["convention"], figures["window"], figures["windows"], figures["scored"]) == (convention, 64, 4, expected["scored"])
    assert figures["perplexity"] == pytest.approx(expected["perplexity"], rel=2e-3)
    assert figures["loss_error"] == pytest.approx(expected["loss"]["error"], rel=1e-2)
    assert figures["kl"] == pytest.approx(expected["kl"]["mean"], rel=2e-2, abs=1e-5)
    assert figures["kl_error"] == pytest.approx(expected["kl"]["error"], rel=5e-2, abs=1e-5)
    assert figures["same_top"] == pytest.approx(expected["same_top"]["mean"], abs=0.01)


@pytest.mark.parametrize("convention", ["llama.cpp", "gptq"])
def test_saved_predictions_are_as_good_as_the_model(run, models, tmp_path, convention):
    saved = tmp_path / "source.logits"
    common = ["-f", TEXT, "-c", "64", "--convention", convention, "--json"]
    source = json.loads(run("entrorun", "ppl", "-m", models / "source", *common, "--save-logits", saved, check=True).stdout)
    assert [path.name for path in tmp_path.iterdir()] == ["source.logits"]
    assert len(source["window_loss"]) == source["windows"] == 15
    assert np.mean(source["window_loss"]) == pytest.approx(source["loss"], rel=1e-6)
    for name in ("u8", "u4"):
        direct, from_file = (json.loads(run("entrorun", "ppl", "-m", models / name, *common, "--kl", base, check=True).stdout) for base in (models / "source", saved))
        assert from_file["perplexity"] == direct["perplexity"]
        for key in ("kl", "kl_error", "base_perplexity"):
            assert from_file[key] == pytest.approx(direct[key], rel=1e-3, abs=1e-5), key
        assert from_file["same_top"] == direct["same_top"]
        assert from_file["window_kl"] == pytest.approx(direct["window_kl"], rel=1e-3, abs=2e-5)
        assert np.mean(from_file["window_kl"]) == pytest.approx(from_file["kl"], rel=1e-6)
    # A part of it, too.
    assert json.loads(run("entrorun", "ppl", "-m", models / "u8", *common, "--chunks", "3", "--kl", saved, check=True).stdout)["windows"] == 3


def test_predictions_of_something_else_are_refused(run, models, tmp_path):
    saved, text = tmp_path / "source.logits", TEXT.read_text()
    (tmp_path / "short.txt").write_text(text[: len(text) // 2])
    run("entrorun", "ppl", "-m", models / "source", "-f", tmp_path / "short.txt", "-c", "64", "--save-logits", saved, check=True)

    def refused(code, word, *arguments):
        done = run("entrorun", "ppl", "-m", models / "u8", "-c", "64", "--kl", saved, *arguments)
        assert done.returncode == code and done.stdout == "" and done.stderr.count("\n") == 1, done.stderr
        assert word in done.stderr and "source.logits" in done.stderr, done.stderr

    refused(2, "--chunks 7", "-f", TEXT)
    refused(2, "another text", "-p", "x" + text[: len(text) // 2])
    refused(2, "windows of 64 tokens with 31 scored", "-f", tmp_path / "short.txt", "--convention", "gptq")
    refused(2, "windows of 64 tokens", "-f", tmp_path / "short.txt", "-c", "32")
    with open(saved, "r+b") as file:
        file.truncate(saved.stat().st_size - 1)
    refused(3, "cut off", "-f", tmp_path / "short.txt")
    saved.write_bytes(b"not this")
    refused(3, "no file of saved logits", "-f", tmp_path / "short.txt")
    saved.unlink()
    refused(3, "source.logits", "-f", tmp_path / "short.txt")
    done = run("entrorun", "ppl", "-m", models / "u8", "-c", "64", "-f", TEXT, "--save-logits", tmp_path / "none" / "file")
    assert done.returncode == 4 and "none/file" in done.stderr and done.stdout == ""


def test_an_interruption_leaves_no_half_file(program, models, tmp_path):
    (tmp_path / "long.txt").write_text(TEXT.read_text() * 100)
    command = [program("entrorun"), "ppl", "-m", models / "source", "-f", tmp_path / "long.txt", "-c", "64", "--save-logits", tmp_path / "saved"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for _ in range(1000):
        if any(path.name.startswith(".entrofs-") and path.stat().st_size > 100_000 for path in tmp_path.iterdir()):
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and out == "" and "interrupted" in err
    assert [path.name for path in tmp_path.iterdir()] == ["long.txt"]


def test_the_convention_is_always_printed(run, models):
    for arguments, words in [((), "llama.cpp: 15 windows of 64 tokens, the last 31"), (("--convention", "gptq"), "gptq: 15 windows of 64 tokens, the last 63")]:
        done = run("entrorun", "ppl", "-m", models / "u8", "-f", TEXT, "-c", "64", "--device", "cpu", *arguments, check=True)
        assert done.stdout.startswith("convention: ") and words in done.stdout and "Final estimate: PPL = " in done.stdout
        assert done.stderr == ""


def test_a_text_that_cannot_be_measured_is_refused(run, models, tmp_path):
    def refused(code, *arguments, words=(), **options):
        done = run("entrorun", "ppl", "-m", models / "u8", *arguments, **options)
        assert done.returncode == code, done.stderr
        assert done.stdout == "" and done.stderr.startswith("entrorun: ") and done.stderr.count("\n") == 1
        for word in words:
            assert word in done.stderr

    refused(2, "-f", TEXT, words=["1002 tokens", "512"])
    refused(2, "-p", "Hello", words=["512"])
    refused(2, "-f", TEXT, "-c", "1024", words=["1024", "512"])
    refused(2, "-f", TEXT, "-c", "3", words=["3"])
    refused(2, "-f", TEXT, "--convention", "other", words=["gptq"])
    refused(2, words=["-f"])
    refused(3, "-f", TEXT, "-c", "64", "--kl", tmp_path, words=[str(tmp_path)])


def test_tokens_are_those_of_the_tokenizers_package(run, models, tiny):
    text = "Once upon a time, naïve  Lily\tsaid: 😀 <|im_end|>\n"
    expected = Tokenizer.from_file(str(tiny / "tokenizer.json")).encode(text)
    for arguments, options in [(("-p", text), {}), ((), {"input": text}), (("-f", "-"), {"input": text}), (("-e", "-p", text.replace("\t", "\\t").replace("\n", "\\n")), {})]:
        figures = json.loads(run("entrorun", "tokenize", "-m", models / "u8", "--json", *arguments, check=True, **options).stdout)
        assert figures["ids"] == expected.ids
        assert figures["tokens"] == expected.tokens
    lines = run("entrorun", "tokenize", "-m", models / "u8", "-p", text, "--show-count", check=True).stdout.splitlines()
    assert lines.pop() == f"Total number of tokens: {len(expected.ids)}"
    assert [int(line.split()[0]) for line in lines] == expected.ids
    # And back, from either form of a list.
    for ids in (json.dumps(expected.ids), " ".join(map(str, expected.ids))):
        assert run("entrorun", "tokenize", "-m", models / "u8", "--ids", ids, check=True).stdout == text + "\n"
    figures = json.loads(run("entrorun", "tokenize", "-m", models / "u8", "--ids", str(expected.ids), "--json", "--no-parse-special", check=True).stdout)
    assert figures["text"] == text.replace("<|im_end|>", "")
    plain = json.loads(run("entrorun", "tokenize", "-m", models / "u8", "--json", "--no-parse-special", "-p", "<|im_end|>", check=True).stdout)
    assert len(plain["ids"]) > 1


def test_ids_that_are_none_are_refused(run, models):
    for ids in ("x", "1,-2", "99999", "1.5", "99999999999999999999"):
        done = run("entrorun", "tokenize", "-m", models / "u8", "--ids", ids)
        assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1, ids


def test_bench_measures_what_it_is_asked_for(run, models):
    rows = json.loads(run("entrorun", "bench", "-m", models / "u8", "-p", "64", "-n", "8", "-r", "3", "-t", "1", "-ub", "32", "-o", "json", check=True).stdout)
    assert [(row["n_prompt"], row["n_gen"]) for row in rows] == [(64, 0), (0, 8)]
    for row in rows:
        assert len(row["samples_ns"]) == len(row["samples_ts"]) == 3
        assert row["avg_ts"] == pytest.approx(np.mean(row["samples_ts"]), rel=1e-6)
        assert row["stddev_ts"] == pytest.approx(np.std(row["samples_ts"], ddof=1), rel=1e-4)
        assert row["avg_ns"] == pytest.approx(np.mean(row["samples_ns"]), rel=1e-6)
        assert (row["n_threads"], row["n_ubatch"], row["model_type"]) == (1, 32, "llama u8")
        assert row["memory_copy_gbps"] > 0.1 and row["first_token_seconds"] > 0
    # Codes, norms, and keys and values of (8 + 1) / 2 positions.
    size = sum(f.stat().st_size for f in (models / "u8" / "tensors").iterdir())
    assert rows[1]["read_gbps"] == pytest.approx((size + 4.5 * 6 * 2 * 2 * 64) * rows[1]["avg_ts"] / 1e9, rel=0.01)
    table = run("entrorun", "bench", "-m", models / "u8", "-p", "16", "-n", "0", "-r", "2", check=True).stdout
    assert "pp16" in table and "tg" not in table and "±" in table and "GB/s" in table


def test_bench_refuses_what_makes_no_sense(run, models):
    for arguments in [("-p", "0", "-n", "0"), ("-o", "xml"), ("-r", "0"), ("-n", "1000")]:
        done = run("entrorun", "bench", "-m", models / "u8", *arguments)
        assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1, arguments


def test_info_says_what_a_model_is(run, models):
    done = run("entrorun", "info", "-m", models / "u4", check=True)
    assert "u4 codes of BF16" in done.stdout and "architecture     llama (safetensors)" in done.stdout
