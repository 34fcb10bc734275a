"""-o lock_image: the compressed image stays in memory, or the mount is refused. Not for sanitizers: they make mlock do nothing."""

import os
import shutil
import subprocess

import pytest

from conftest import needs_fuse
from test_mount import FAILURE, daemon_of, no_mount_is_left  # noqa: F401 (a fixture)
from test_mount_reading import coded, expected, source  # noqa: F401 (fixtures)

pytestmark = needs_fuse


def locked_kib(process):
    return int(next(line for line in open(f"/proc/{process}/status") if line.startswith("VmLck")).split()[1])


def test_a_locked_image_stays_in_memory(mount, coded, expected):
    root = mount(coded, "-o", "lock_image")
    assert locked_kib(daemon_of(root)) >= coded.stat().st_size // 1024
    assert (root / "model.safetensors").read_bytes() == (expected / "model.safetensors").read_bytes()
    assert locked_kib(daemon_of(mount(coded))) == 0


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is not installed")
@pytest.mark.parametrize("options", [[], ["-f"]], ids=str)
def test_an_image_that_may_not_be_locked_is_refused_with_what_to_do(program, coded, tmp_path, options):
    point = tmp_path / "point"
    point.mkdir()
    script = 'ulimit -l 64; exec "$0" "$@"'
    command = ["setpriv", "--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock", "bash", "-c", script, program("entrofs"), coded, point, "-o", "lock_image", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == FAILURE, done
    (line,) = done.stderr.splitlines()
    for word in ("65536 may be locked", "ulimit -l", "LimitMEMLOCK", "lock_image"):
        assert word in line
    assert not os.path.ismount(point)
