"""Programs that are started with stdin, stdout or stderr closed: no file that they write may become one of those."""

import os
import subprocess

import numpy as np
import pytest

from mkentrofs_fixtures import RUNTIME, model, weights

CLOSED = [(0,), (1,), (2,), (0, 1), (1, 2), (0, 1, 2)]


def start_with_closed(command, closed):
    def close():
        for file in closed:
            os.close(file)

    return subprocess.run(command, preexec_fn=close, timeout=60).returncode


@pytest.mark.sanitized
@pytest.mark.parametrize("closed", CLOSED)
def test_warnings_do_not_end_up_in_the_image(program, run, tmp_path, closed):
    w = weights()
    w[3, 4] = np.nan  # a warning each
    source = model(tmp_path / "source", {f"{i}.{'x' * 200}": ("F32", [64, 128], (w + i).astype("f4").tobytes()) for i in range(40)})
    image = tmp_path / "image.entrofs"
    code = start_with_closed([program("mkentrofs"), source, image], closed)
    assert code == (RUNTIME if 1 in closed else 0)  # the report could not be written
    run("entrofsck", image, check=True)


@pytest.mark.sanitized
@pytest.mark.parametrize("closed", CLOSED)
def test_error_lines_do_not_end_up_in_an_extracted_file(program, run, tmp_path, closed):
    source = model(tmp_path / "source")
    for i in range(40):
        (source / f"{i:02}.{'y' * 200}").write_bytes(os.urandom(5000))
    image = tmp_path / "image.entrofs"
    run("mkentrofs", source, image, check=True)
    damaged = bytearray(image.read_bytes())
    text = (source / f"00.{'y' * 200}").read_bytes()
    damaged[damaged.index(text[:64])] ^= 1  # random bytes are stored as they are
    image.write_bytes(damaged)
    out = tmp_path / "out"
    start_with_closed([program("entrofsck"), "--extract", out, image], closed)
    for path in out.iterdir():
        if path.is_file() and (source / path.name).exists() and path.suffix != ".safetensors":
            assert path.read_bytes() == (source / path.name).read_bytes(), path
