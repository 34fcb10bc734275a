"""The GPU backend given the image: stored blocks are decoded on the card, here the emulator's, to the same weights."""

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
def test_weights_decoded_on_the_card_write_the_same_text(run, mount, tiny, tmp_path, how):
    image = tmp_path / "tiny.entrofs"
    run("mkentrofs", *how, tiny, image, check=True)
    root = mount(image)
    raw = generate(run, root, "--device", "cuda")
    coded = generate(run, root, "--device", "cuda", "--load", "compressed")
    assert raw.returncode == 0 and coded.returncode == 0, raw.stderr + coded.stderr
    assert "emulated device" in coded.stderr
    assert coded.stdout == raw.stdout and len(coded.stdout.split()) > 3


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
