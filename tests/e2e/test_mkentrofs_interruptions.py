"""What happens in the middle of a build: signals, sources that change, full disks; and how much memory it takes."""

import json
import os
import resource
import signal
import struct
import subprocess
import time

import pytest

from mkentrofs_fixtures import INTERRUPTED, RUNTIME, bf16, big_model, files_below, model, refused, weights  # noqa: F401


def start(program, *arguments):
    return subprocess.Popen([program("mkentrofs"), *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_temporary(folder, before, process):
    """Until the program has begun to write."""
    for _ in range(2000):
        if set(files_below(folder)) - before:
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    raise AssertionError("nothing was written")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_and_leaves_nothing(program, tmp_path, number):
    source = big_model(tmp_path / "source")
    before = set(files_below(tmp_path))
    process = start(program, source, tmp_path / "image")
    wait_for_temporary(tmp_path, before, process)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == INTERRUPTED and errors == "mkentrofs: interrupted\n"
    assert set(files_below(tmp_path)) == before


@pytest.mark.parametrize("what", ["shrinks", "vanishes", "is touched"])
def test_a_source_that_changes_during_the_build_is_an_error(program, tmp_path, what):
    source = big_model(tmp_path / "source")
    before = set(files_below(tmp_path))
    process = start(program, source, tmp_path / "image")
    wait_for_temporary(tmp_path, before, process)
    shard = source / "model.safetensors"
    if what == "shrinks":
        os.truncate(shard, 1000)
    elif what == "vanishes":
        shard.unlink()
        before.discard("source/model.safetensors")
    else:
        os.utime(shard, (1, 1))
    _, errors = process.communicate(timeout=60)
    assert process.returncode == RUNTIME, errors
    assert len(errors.splitlines()) == 1 and "model.safetensors" in errors and "during the build" in errors
    assert set(files_below(tmp_path)) == before


def test_a_full_disk_is_an_error_and_leaves_nothing(refused, tmp_path):
    source = model(tmp_path / "source", {"w": ("BF16", [2048, 2048], bf16(weights(2048, 2048)))})
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    refused(RUNTIME, "image", source, tmp_path / "image", preexec_fn=limit)


def test_memory_stays_bounded(program, tmp_path):
    """A sparse file of 2 GB with random weights in a part of it; the bound is 256 MiB and 16 MiB a thread."""
    rows, columns = 1 << 18, 4096
    path = tmp_path / "model.safetensors"
    header = json.dumps({"w": {"dtype": "BF16", "shape": [rows, columns], "data_offsets": [0, rows * columns * 2]}}).encode()
    header += b" " * (-len(header) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        for at in range(4):
            file.seek(8 + len(header) + at * (1 << 29))
            file.write(bf16(weights(1024, 4096, at)))
        file.truncate(8 + len(header) + rows * columns * 2)
    script = (
        "import resource, subprocess, sys; code = subprocess.call(sys.argv[1:]);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(code)"
    )
    done = subprocess.run(
        ["python3", "-c", script, program("mkentrofs"), "--quiet", "-t", "2", str(path), str(tmp_path / "image")],
        capture_output=True, text=True, timeout=600, check=True,
    )
    assert int(done.stdout) * 1024 < (256 + 2 * 16) << 20
