"""The checker: what it finds, what it tells, and what it extracts (whole and verified, or not at all). Needs no FUSE."""

import json
import os
import pathlib
import pty
import signal
import subprocess
import time

import pytest

from golden_image import GOLDEN, blocks_of, expected_files, files_under, reader, xxh3_64, xxh3_128

pytestmark = pytest.mark.sanitized

GOOD, DAMAGED, OPERATIONAL, USAGE, CANCELLED = 0, 4, 8, 16, 32


@pytest.fixture(scope="module")
def golden():
    return reader.Image(GOLDEN.read_bytes())


def reseal(data):
    """Makes the checksums of index and superblock right again."""
    index_offset, index_bytes = (int.from_bytes(data[at : at + 8], "little") for at in (40, 48))
    data[56:72] = xxh3_128(bytes(data[index_offset : index_offset + index_bytes]))
    data[4088:4096] = xxh3_64(bytes(data[:4088])).to_bytes(8, "little")


def test_a_good_image_is_good(run):
    done = run("entrofsck", GOLDEN)
    assert done.returncode == GOOD and done.stderr == ""
    assert "good" in done.stdout
    quiet = run("entrofsck", "-q", GOLDEN)
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (GOOD, "", "")


def test_a_flipped_byte_in_each_block_is_found_and_named(run, golden, tmp_path):
    image = tmp_path / "bad.entrofs"
    for stream, offset, stored in blocks_of(golden):
        data = bytearray(GOLDEN.read_bytes())
        data[offset + stored // 2] ^= 1
        image.write_bytes(data)
        done = run("entrofsck", image)
        assert done.returncode == DAMAGED
        lines = done.stderr.splitlines()
        assert len(lines) == 2, done.stderr
        assert f"stream {stream}," in lines[0] and str(offset) in lines[0] and "expected" in lines[0]
        assert "damaged: 1 of" in lines[1]


def test_every_bad_block_of_a_stream_is_named(run, golden, tmp_path):
    image = tmp_path / "bad.entrofs"
    data = bytearray(GOLDEN.read_bytes())
    bad = [(s, o) for s, o, _ in blocks_of(golden)]
    for _, offset in bad:
        data[offset] ^= 0x80
    image.write_bytes(data)
    done = run("entrofsck", "-j", 4, image)
    assert done.returncode == DAMAGED
    assert len(done.stderr.splitlines()) == len(bad) + 1
    for stream, offset in bad:
        assert any(f"stream {stream}," in line and str(offset) in line for line in done.stderr.splitlines()), offset


def test_a_stream_that_decodes_to_other_bytes_is_found_and_not_extracted(run, golden, tmp_path):
    """All checksums but the one over the decoded bytes are right."""
    number = next(n for n, s in enumerate(golden.streams) if s["size"] == 70000)
    data = bytearray(GOLDEN.read_bytes())
    place = data.find(golden.streams[number]["xxh3_128"], golden.data_end)
    data[place] ^= 1
    reseal(data)
    image = tmp_path / "bad.entrofs"
    image.write_bytes(data)
    done = run("entrofsck", "--extract", tmp_path / "out", image)
    assert done.returncode == DAMAGED
    assert "XXH3-128 of the decoded bytes: expected" in done.stderr and f"stream {number}" in done.stderr
    assert "letters.txt" in done.stderr
    expected = expected_files(golden)
    for path, (content, streams) in expected.items():
        target = tmp_path / "out" / path
        assert not target.exists() if number in streams else target.read_bytes() == content


def test_extraction_gives_what_the_second_reader_sees(run, golden, tmp_path):
    out = tmp_path / "a" / "out"
    out.parent.mkdir()
    run("entrofsck", "--extract", out, GOLDEN, check=True)
    expected = expected_files(golden)
    for path, (data, _) in expected.items():
        assert (out / path).read_bytes() == data, path
    others = [f"npy/{t['name'].decode()}.npy" for t in golden.tensors] + ["tensors.json"]
    assert files_under(out) == sorted([*expected, *others])


def test_extraction_leaves_out_damaged_files_and_nothing_else(run, golden, tmp_path):
    expected = expected_files(golden)
    for tensor in golden.tensors:
        expected[f"npy/{tensor['name'].decode()}.npy"] = (None, {tensor["stream"]})
    expected["tensors.json"] = (None, set())
    image = tmp_path / "bad.entrofs"
    for i, (stream, offset, stored) in enumerate(list(blocks_of(golden))[::9]):
        data = bytearray(GOLDEN.read_bytes())
        data[offset + stored - 1] ^= 2
        image.write_bytes(data)
        out = tmp_path / f"out{i}"
        done = run("entrofsck", "--extract", out, image)
        assert done.returncode == DAMAGED
        assert files_under(out) == sorted(path for path, (_, streams) in expected.items() if stream not in streams)
        for path, (content, streams) in expected.items():
            if stream not in streams and content is not None:
                assert (out / path).read_bytes() == content


def test_existing_files_are_kept_unless_forced(run, tmp_path):
    out = tmp_path / "out"
    (out / "folder").mkdir(parents=True)
    (out / "folder" / "mixed.bin").write_text("mine")
    done = run("entrofsck", "-q", "--extract", out, GOLDEN)
    assert done.returncode == OPERATIONAL and "folder/mixed.bin" in done.stderr and "exists" in done.stderr
    assert files_under(out) == ["folder/mixed.bin"]
    assert (out / "folder" / "mixed.bin").read_text() == "mine"
    run("entrofsck", "-q", "--force", "--extract", out, GOLDEN, check=True)
    assert (out / "folder" / "mixed.bin").read_bytes() != b"mine"


def test_extraction_follows_no_links_out_of_its_folder(run, tmp_path):
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    out.mkdir(), elsewhere.mkdir()
    (out / "folder").symlink_to(elsewhere)
    done = run("entrofsck", "-q", "--force", "--extract", out, GOLDEN)
    assert done.returncode == OPERATIONAL
    assert list(elsewhere.iterdir()) == []


def test_a_full_disk_leaves_no_part_of_a_file(program, run, tmp_path):
    out, whole = tmp_path / "out", tmp_path / "whole"
    out.mkdir()
    run("entrofsck", "-q", "--extract", whole, GOLDEN, check=True)
    script = f'mount -t tmpfs -o size=120k none {out} && "$0" -q --extract {out}/x {GOLDEN}; echo "code $?"; find {out} -type f -printf "%s %P\\n"'
    done = subprocess.run(["unshare", "-m", "sh", "-c", script, program("entrofsck")], capture_output=True, text=True)
    if "unshare" in done.stderr:
        pytest.skip("no mount namespaces here")
    lines = done.stdout.splitlines()
    assert lines[0] == f"code {OPERATIONAL}" and "No space left" in done.stderr
    for line in lines[1:]:
        size, path = line.split(" ", 1)
        assert (whole / path.removeprefix("x/")).stat().st_size == int(size)
    assert ".tmp" not in done.stdout


def test_a_limit_on_file_sizes_leaves_no_part_of_a_file(program, run, tmp_path):
    out, whole = tmp_path / "out", tmp_path / "whole"
    run("entrofsck", "-q", "--extract", whole, GOLDEN, check=True)
    script = f'ulimit -f 16; "$0" -q --extract {out} {GOLDEN}'
    done = subprocess.run(["bash", "-c", script, program("entrofsck")], capture_output=True, text=True)
    assert done.returncode == OPERATIONAL and "File too large" in done.stderr, done
    for path in files_under(out):
        assert (out / path).read_bytes() == (whole / path).read_bytes(), path


def test_a_signal_stops_the_extraction_and_leaves_whole_files(run, program, tiny, tmp_path):
    image, out, whole = tmp_path / "tiny.entrofs", tmp_path / "out", tmp_path / "whole"
    run("mkentrofs", tiny, image, check=True)
    run("entrofsck", "-q", "--extract", whole, image, check=True)
    for delay in (0.0, 0.01, 0.03, 0.1):
        process = subprocess.Popen([program("entrofsck"), "-q", "--force", "--extract", out, image], stderr=subprocess.DEVNULL)
        time.sleep(delay)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) in (GOOD, CANCELLED, -signal.SIGTERM)
        for path in files_under(out) if out.exists() else []:
            assert (out / path).read_bytes() == (whole / path).read_bytes(), path


def test_info_and_json_describe_the_image(run, golden):
    text = run("entrofsck", "--info", GOLDEN, check=True).stdout
    described = json.loads(run("entrofsck", "--info", "--json", GOLDEN, check=True).stdout)
    assert described["version"] == 1 and described["source"] == golden.source
    assert described["n_streams"] == len(golden.streams) and described["image_bytes"] == GOLDEN.stat().st_size
    assert [f["path"].encode() for f in described["files"]] == sorted(golden.files)
    assert [t["name"].encode() for t in described["tensors"]] == [t["name"] for t in golden.tensors]
    for name, method in (("constant", 0), ("raw", 1), ("coded", 2)):
        blocks = [b for s in golden.streams for p in s["planes"] for b in p["blocks"] if b[0] == method]
        assert described["methods"][name] == {"blocks": len(blocks), "stored_bytes": sum(b[2] for b in blocks)}
    for tensor in described["tensors"]:
        assert tensor["name"] in text
    assert described["id"] in text


def test_bad_images_and_bad_usage_have_their_codes(run, tmp_path):
    data = GOLDEN.read_bytes()
    cut = tmp_path / "cut.entrofs"
    cut.write_bytes(data[:-1])
    for arguments, code in (
        ([cut], DAMAGED),
        ([cut, "--info"], DAMAGED),
        ([tmp_path / "nothing"], OPERATIONAL),
        ([], USAGE),
        ([GOLDEN, GOLDEN], USAGE),
        (["--wrong", GOLDEN], USAGE),
        (["--extract"], USAGE),
        (["--info", "--extract", tmp_path / "x", GOLDEN], USAGE),
        (["-j", "0", GOLDEN], USAGE),
        (["-j", "many", GOLDEN], USAGE),
    ):
        done = run("entrofsck", *arguments)
        assert done.returncode == code, (arguments, done.stderr)
        assert done.stdout == "" and done.stderr.startswith("entrofsck: ")
    assert not (tmp_path / "x").exists()
    done = run("entrofsck", "--extract", cut, GOLDEN)  # a file where a folder is wanted
    assert done.returncode == OPERATIONAL
    assert cut.read_bytes() == data[:-1]


def test_each_flipped_byte_of_superblock_and_index_is_refused(run, golden, tmp_path):
    """A sample by the program; every byte is tried where that costs less, in the unit tests."""
    data = GOLDEN.read_bytes()
    image = tmp_path / "bad.entrofs"
    for position in [*range(0, 4096, 331), *range(golden.data_end, len(data), 631)]:
        bad = bytearray(data)
        bad[position] ^= 0x04
        image.write_bytes(bad)
        done = run("entrofsck", image)
        assert done.returncode in (DAMAGED, OPERATIONAL), position
        assert len(done.stderr.splitlines()) == 1


def test_progress_is_for_terminals(program):
    master, slave = pty.openpty()
    done = subprocess.run([program("entrofsck"), GOLDEN], stdout=subprocess.PIPE, stderr=slave)
    os.close(slave)
    shown = os.read(master, 10000)
    os.close(master)
    assert done.returncode == GOOD and b"100 %" in shown


def test_the_checker_needs_no_libfuse(program):
    libraries = subprocess.run(["ldd", program("entrofsck")], capture_output=True, text=True).stdout
    assert "libc.so" in libraries and "fuse" not in libraries
    assert pathlib.Path(program("entrofsck")).exists()
