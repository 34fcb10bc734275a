"""Fixtures of the end-to-end tests: the programs under test, a mount that is always taken down, and the models.

The programs come from ENTRO_BUILD (a build directory), default build/release. Nothing here imports code of ours: files are checked with the
independent readers safetensors, gguf and numpy.
"""

import os
import pathlib
import subprocess
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("ENTRO_BUILD", ROOT / "build" / "release")).resolve()
FOLDERS = {"mkentrofs": "mkentrofs", "entrofs": "fs", "entrofsck": "fs", "entrorun": "runner"}


def can_mount():
    return os.path.exists("/dev/fuse") and os.access("/dev/fuse", os.R_OK | os.W_OK)


needs_fuse = pytest.mark.skipif(not can_mount(), reason="MOUNT TESTS SKIPPED: /dev/fuse cannot be used here")



def pytest_terminal_summary(terminalreporter):
    if not can_mount():
        terminalreporter.write_line("WARNING: /dev/fuse cannot be used: no mount was tested", red=True, bold=True)


@pytest.fixture(scope="session")
def program():
    """program("mkentrofs") is the path of that program."""

    def path(name):
        found = BUILD / FOLDERS[name] / name
        assert found.exists(), f"{found} is not built"
        return str(found)

    return path


@pytest.fixture
def run(program):
    """run("mkentrofs", "a", "b") runs a program and gives back its CompletedProcess, output as text."""

    def call(name, *arguments, check=False, timeout=300, **options):
        options.setdefault("text", True)
        done = subprocess.run(
            [program(name), *map(str, arguments)], capture_output=True, timeout=timeout, check=False, **options
        )
        if check:
            assert done.returncode == 0, f"{name} {arguments}: exit {done.returncode}: {done.stderr}"
        return done

    return call


@pytest.fixture
def mount(program, tmp_path_factory):
    """mount(image) mounts it and gives back the mount point; everything is unmounted at the end."""
    points = []

    def call(image, *options):
        point = tmp_path_factory.mktemp("mount")
        points.append(point)
        done = subprocess.run([program("entrofs"), str(image), str(point), *options], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return point

    yield call
    for point in points:
        for _ in range(50):
            if subprocess.run(["umount", str(point)], capture_output=True).returncode == 0 or not os.path.ismount(point):
                break
            time.sleep(0.1)
        else:
            subprocess.run(["umount", "-l", str(point)], check=False)


@pytest.fixture(scope="session")
def tiny():
    """The small model of our own."""
    return ROOT / "tests" / "data" / "tiny"


@pytest.fixture(scope="session")
def smollm2():
    path = os.environ.get("ENTRO_SMOLLM2")
    if not path:
        pytest.skip("ENTRO_SMOLLM2 is not set")
    return pathlib.Path(path)
