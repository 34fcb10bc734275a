"""The variants of the codec's inner loops, forced by ENTRO_KERNEL: all write the same image and read it; an unknown name is refused."""

import os

import pytest

from golden_image import GOLDEN, ROOT

USAGE = {"mkentrofs": 2, "entrofs": 2, "entrofsck": 16}


def refusal(run, name, arguments):
    done = run(name, *arguments, env={**os.environ, "ENTRO_KERNEL": "abacus"})
    assert done.returncode == USAGE[name] and done.stdout == ""
    assert done.stderr.startswith(f"{name}: ENTRO_KERNEL=abacus: this machine runs portable"), done.stderr
    assert done.stderr.count("\n") == 1
    return done.stderr.strip().partition("this machine runs ")[2].split(", ")


@pytest.mark.sanitized
def test_a_name_that_cannot_be_had_is_refused_by_every_program(run, tmp_path):
    image, mountpoint = tmp_path / "model.entrofs", tmp_path / "mountpoint"
    mountpoint.mkdir()
    refusal(run, "mkentrofs", [ROOT / "tests" / "data" / "tiny", image])
    assert not image.exists()
    refusal(run, "entrofs", [GOLDEN, mountpoint])
    refusal(run, "entrofsck", [GOLDEN])


def test_every_variant_writes_the_same_image_and_reads_it(run, tmp_path):
    names = refusal(run, "entrofsck", [GOLDEN])
    images = []
    for name in names:
        environment = {**os.environ, "ENTRO_KERNEL": name}
        images.append(tmp_path / f"{name}.entrofs")
        run("mkentrofs", ROOT / "tests" / "data" / "tiny", images[-1], check=True, env=environment)
        assert images[-1].read_bytes() == images[0].read_bytes()
        run("entrofsck", images[-1], check=True, env=environment)
