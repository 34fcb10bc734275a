"""The measuring script of the mount runs and says what it promises to say; how fast anything is is no test."""

import json
import subprocess
import sys

from conftest import BUILD, ROOT, needs_fuse

CONTENDERS = ["entrofs", "null", "plain_cached"]


def bench_mount(tmp_path, *arguments):
    command = [sys.executable, str(ROOT / "tests/bench/bench_mount"), "--build", str(BUILD), "--work", str(tmp_path), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@needs_fuse
def test_every_contender_and_pattern_gets_a_row_with_its_ratio_to_the_null_server(tmp_path):
    wanted = [word for name in CONTENDERS for word in ("--contender", name)]
    done = bench_mount(tmp_path, "--size", "32", "--rounds", "1", "--bits", "8", "--only", "readers4_parts", "--only", "random4k", "--json", *wanted)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert {(row["name"], row["contender"]) for row in rows} == {
        (pattern, name) for pattern in ("readers4_parts", "random4k", "bf16_view_random4k") for name in CONTENDERS
    }
    for row in rows:
        assert row["data"] == "u8" and row["gbps"] > 0 and row["ratio_to_null"] > 0
        assert (row["p50_us"] is not None) == row["name"].endswith("random4k")
        assert (row["rss_mib"] > 0) == (row["contender"] != "plain_cached")


@needs_fuse
def test_a_daemon_that_does_not_mount_ends_the_measurement_with_its_message(tmp_path):
    done = bench_mount(tmp_path, "--size", "32", "--rounds", "1", "--bits", "8", "--contender", "entrofs", "--options", "nonsense")
    assert done.returncode == 1
    assert "unknown mount option nonsense" in done.stderr
    assert done.stdout == ""
