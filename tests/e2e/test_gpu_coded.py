"""The GPU backend given the image: stored blocks are decoded on the card, here the emulator's, to the same weights."""

import json
import re

import pytest

from conftest import BUILD, needs_fuse

PLUGIN = BUILD / "tests" / "cuda" / "libentrorun-cuda-emulated.so"

pytestmark = [needs_fuse, pytest.mark.skipif(not PLUGIN.exists(), reason="the emulated GPU plug-in is not built")]


@pytest.fixture(autouse=True)
def plugin(monkeypatch):
    monkeypatch.setenv("ENTRORUN_CUDA_PLUGIN", str(PLUGIN))


def generate(run, root, *options):
    return run("entrorun", "run", "-m", root, "--no-chat", "--temp", 0, "-n", 6, "-p", "The old man", *options)


@pytest.mark.parametrize("how", [["--bits", 8], ["--bits", 4], ["--scheme", "lossless"]], ids=["u8", "u4", "lossless"])
# Layers that stay coded are decoded on a stream of their own: whenever the emulator does its work, the text is the same.
@pytest.mark.parametrize("option, streams", [("--load", "now"), ("--resident", "late"), ("--resident", "apart")])
def test_weights_decoded_on_the_card_write_the_same_text(run, mount, tiny, tmp_path, monkeypatch, how, option, streams):
    monkeypatch.setenv("ENTRO_EMULATED_STREAMS", streams)
    image = tmp_path / "tiny.entrofs"
    run("mkentrofs", *how, tiny, image, check=True)
    root = mount(image)
    raw = generate(run, root, "--device", "cuda")
    coded = generate(run, root, "--device", "cuda", option, "compressed")
    assert raw.returncode == 0 and coded.returncode == 0, raw.stderr + coded.stderr
    assert "emulated device" in coded.stderr
    assert coded.stdout == raw.stdout and len(coded.stdout.split()) > 3
    assert read_ahead(coded) < read_ahead(raw)  # the stored bytes are fewer
    assert ("tokens take longer" in coded.stderr) == (option == "--resident")
    assert "tokens take longer" not in raw.stderr


def read_ahead(done):
    return float(re.search(r"to read ([0-9.]+) MB ahead", done.stderr).group(1))


def test_layers_that_stay_coded_take_a_prompt_in_batches(run, mount, tiny, tmp_path):
    """Balanced, so with outliers and factors; many tokens at once, then one by one; and all windows of ppl."""
    image, text = tmp_path / "tiny.entrofs", tmp_path / "text.txt"
    run("mkentrofs", "--bpw", 3, tiny, image, check=True)
    root = mount(image)
    tensors = json.loads((root / "tensors.json").read_text())["tensors"]
    assert any(tensor["outliers"] and ".layers." in tensor["name"] for tensor in tensors)
    text.write_text("The old man went to the sea and the sea was not there. " * 12)
    results = [run("entrorun", "ppl", "-m", root, "-f", text, "-c", 64, "--device", "cuda", *how, check=True).stdout
               for how in ([], ["--resident", "compressed"])]
    values = [re.search(r"PPL = [0-9.]+", result).group() for result in results]
    assert values[0] == values[1], results


def test_an_image_of_something_else_is_refused(run, mount, tiny, tmp_path):
    images = [tmp_path / "8.entrofs", tmp_path / "4.entrofs"]
    for bits, image in zip((8, 4), images):
        run("mkentrofs", "--bits", bits, tiny, image, check=True)
    done = generate(run, mount(images[0]), "--device", "cuda", "--image", images[1])
    assert done.returncode != 0 and "not what the image has" in done.stderr
    done = generate(run, tiny, "--device", "cuda", "--load", "compressed")
    assert done.returncode != 0
    done = generate(run, mount(images[0]), "--device", "cuda", "--load", "quickly")
    assert done.returncode != 0 and "no such way" in done.stderr


def test_compressed_weights_are_for_a_gpu_alone(run, mount, tiny, tmp_path, monkeypatch):
    image = tmp_path / "8.entrofs"
    run("mkentrofs", "--bits", 8, tiny, image, check=True)
    root = mount(image)
    for option in ("--load", "--resident"):
        done = generate(run, root, "--device", "cpu", option, "compressed")
        assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
        assert f"{option} compressed: only a GPU" in done.stderr
    done = generate(run, root, "--load", "raw", "--resident", "compressed")
    assert done.returncode == 2 and "exclude each other" in done.stderr
    monkeypatch.setenv("ENTRO_EMULATED_DEVICES", "0")
    done = generate(run, root, "--resident", "compressed")
    assert done.returncode == 0, done.stderr
    assert "device:     the CPU: there is no NVIDIA GPU; --resident compressed, which is for a GPU, does nothing\n" in done.stderr
    text = tmp_path / "text.txt"
    text.write_text("The old man went to the sea and the sea was not there. " * 12)
    for command in (["bench", "-p", 4, "-n", 2, "-r", 1], ["ppl", "-f", text, "-c", 64]):
        done = run("entrorun", command[0], "-m", root, *command[1:], check=True)
        assert done.stderr.count("device:     the CPU: there is no NVIDIA GPU\n") == 1


def test_a_card_that_is_too_small_is_told_either_way(run, mount, tiny, tmp_path, monkeypatch):
    image = tmp_path / "8.entrofs"
    run("mkentrofs", "--bits", 8, tiny, image, check=True)
    root = mount(image)
    monkeypatch.setenv("ENTRO_EMULATED_MEMORY", "1000000")
    refused = [generate(run, root, "--device", "cuda", *how) for how in ([], ["--resident", "compressed"])]
    for done in refused:
        assert done.returncode != 0 and "GiB of GPU memory" in done.stderr and done.stderr.count("\n") == 1
