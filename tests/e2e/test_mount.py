"""The daemon: what it serves, what it refuses and how, and what it survives. Contents are checked by the second reader of the format (standard library
only) and by numpy."""

import errno
import hashlib
import json
import mmap
import os
import pathlib
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from conftest import needs_fuse
from golden_image import GOLDEN, blocks_of, expected_files, files_under, reader, xxh3_64

pytestmark = [needs_fuse, pytest.mark.sanitized]

FAILURE, USAGE, UNREADABLE, BAD, UNSUPPORTED, MOUNTPOINT, BUSY, STALE, FUSE, DIED = range(1, 11)


@pytest.fixture(autouse=True)
def no_mount_is_left(tmp_path):
    """A test that fails between a mount of its own and the end leaves nothing behind."""
    yield
    for line in pathlib.Path("/proc/mounts").read_text().splitlines():
        if line.split()[1].startswith(str(tmp_path)):
            subprocess.run(["umount", "-l", line.split()[1]], check=False)


@pytest.fixture(scope="module")
def golden():
    return reader.Image(GOLDEN.read_bytes())


@pytest.fixture
def tiny_image(run, tiny, tmp_path):
    image = tmp_path / "tiny.entrofs"
    run("mkentrofs", tiny, image, check=True)
    return image


def daemon_of(point):
    """The process that serves a mount point."""
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if os.path.basename(words[0]) == b"entrofs" and os.fsencode(str(point)) in words:
            return int(entry.name)
    raise AssertionError(f"nobody serves {point}")


def is_running(process):
    try:
        return (pathlib.Path("/proc") / str(process) / "stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def wait_until(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "this took too long"
        time.sleep(0.02)


def stats_of(root):
    return {k: v for k, v in (line.split(" ", 1) for line in os.getxattr(root, "user.entrofs.stats").decode().splitlines())}


def refused(run, *arguments, code, words=(), **options):
    done = run("entrofs", *arguments, **options)
    assert done.returncode == code, done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith("Usage: ")]
    assert len(lines) == 1 and lines[0].startswith("entrofs: "), done.stderr
    for word in words:
        assert str(word) in lines[0]
    return lines[0]


# What is served


def test_the_golden_image_is_served_as_the_second_reader_sees_it(mount, golden):
    root = mount(GOLDEN)
    expected = expected_files(golden)
    for path, (data, _) in expected.items():
        assert (root / path).read_bytes() == data, path
    others = [f"npy/{t['name'].decode()}.npy" for t in golden.tensors] + ["tensors.json"]
    assert files_under(root) == sorted([*expected, *others])


def test_numpy_maps_every_npy_file(mount, golden, tiny_image):
    for root in (mount(GOLDEN), mount(tiny_image)):
        for tensor in json.loads((root / "tensors.json").read_text())["tensors"]:
            array = np.load(root / "npy" / f"{tensor['name']}.npy", mmap_mode="r" if tensor["shape"] and 0 not in tensor["shape"] else None)
            assert array.tobytes() == (root / tensor["file"]).read_bytes(), tensor["name"]
            shape = list(tensor["shape"])
            if tensor["bits"] == 8 or tensor["dtype"] in ("F32", "F64", "BF16", "I32", "C64") and tensor["bits"] is None:
                assert list(array.shape) == shape
            elif tensor["bits"] == 4 and shape[-1] % 2 == 0:
                assert list(array.shape) == [*shape[:-1], shape[-1] // 2]


def test_attributes_say_what_tensors_json_says(mount):
    root = mount(GOLDEN)
    for tensor in json.loads((root / "tensors.json").read_text())["tensors"]:
        for path in (root / tensor["file"], root / "npy" / f"{tensor['name']}.npy"):
            facts = {name: os.getxattr(path, name).decode() for name in os.listxattr(path)}
            assert facts["user.entrofs.dtype"] == tensor["dtype"]
            assert facts["user.entrofs.shape"] == ",".join(map(str, tensor["shape"]))
            assert facts["user.entrofs.scheme"] == tensor["scheme"]
            assert facts["user.entrofs.xxh3"] == tensor["xxh3_128"]
            assert abs(float(facts["user.entrofs.bits_per_weight"]) - tensor["bits_per_weight"]) < 1e-3
            if tensor["scheme"] == "lossless":
                assert "user.entrofs.scale" not in facts and "user.entrofs.zero_point" not in facts
            else:
                assert np.float32(facts["user.entrofs.scale"]) == np.float32(tensor["scale"])
                assert int(facts["user.entrofs.zero_point"]) == tensor["zero_point"]
    for path, name in ((root / "config.json", "user.entrofs.dtype"), (root / tensor["file"], "user.nothing"), (root, "user.entrofs.dtype")):
        with pytest.raises(OSError) as caught:
            os.getxattr(path, name)
        assert caught.value.errno == errno.ENODATA
    for name in ("security.selinux", "system.posix_acl_access"):
        with pytest.raises(OSError) as caught:
            os.getxattr(root / "config.json", name)
        assert caught.value.errno in (errno.ENODATA, errno.EOPNOTSUPP)
    assert os.listxattr(root) == ["user.entrofs.stats"]


def test_stat_tells_the_size_the_cost_and_numbers_that_stay(mount, golden, tmp_path):
    first, second = mount(GOLDEN), mount(GOLDEN)
    expected = expected_files(golden)
    stored = {t["file"]: t["stored_bytes"] for t in json.loads((first / "tensors.json").read_text())["tensors"]}
    seen = {}
    for path in files_under(first):
        a, b = os.stat(first / path), os.stat(second / path)
        assert a.st_ino == b.st_ino and a.st_ino not in seen, path
        seen[a.st_ino] = path
        assert stat.S_IMODE(a.st_mode) == 0o444 and a.st_nlink == 1 and a.st_blksize == 4096
        assert (a.st_uid, a.st_gid) == (os.getuid(), os.getgid())
        assert a.st_mtime_ns == os.stat(GOLDEN).st_mtime_ns
        if path in expected:
            assert a.st_size == len(expected[path][0])
        if path in stored and a.st_size > 0 and f"{path}.row_scale" not in expected and f"{path}.outliers" not in expected:
            assert a.st_blocks == -(-stored[path] // 512), path
    assert [os.stat(first / name).st_ino for name in (".", "tensors", "npy", "tensors.json")] == [1, 2, 3, 4]
    assert os.stat(first).st_nlink == 2 + sum(p.is_dir() for p in first.iterdir())
    assert os.statvfs(first).f_bfree == 0 and os.statvfs(first).f_bsize == 4096
    du = [int(subprocess.check_output(["du", "-sB1", *options, first / "tensors"]).split()[0]) for options in ([], ["--apparent-size"])]
    assert du[0] < du[1]


def test_the_mount_is_listed_under_its_image(mount, tmp_path):
    strange = tmp_path / "an image, with \\ strange name.entrofs"
    shutil.copy(GOLDEN, strange)
    root = mount(strange)
    fields = [line.split() for line in pathlib.Path("/proc/mounts").read_text().splitlines()]
    found = [f for f in fields if f[1] == str(root)]
    assert len(found) == 1
    assert found[0][2] == "fuse.entrofs" and "ro" in found[0][3].split(",")
    assert found[0][0].replace("\\040", " ").replace("\\134", "\\") == str(strange)


def test_nothing_can_be_written(mount):
    root = mount(GOLDEN)
    for attempt in (
        lambda: os.open(root / "config.json", os.O_RDWR),
        lambda: os.open(root / "new", os.O_CREAT | os.O_WRONLY),
        lambda: os.unlink(root / "config.json"),
        lambda: os.mkdir(root / "folder2"),
        lambda: os.rename(root / "config.json", root / "other"),
        lambda: os.truncate(root / "config.json", 0),
    ):
        with pytest.raises(OSError) as caught:
            attempt()
        assert caught.value.errno in (errno.EROFS, errno.EACCES)


# Ways to read


def big_file(golden):
    """A view over factors and outliers among other things: nothing in it is aligned."""
    return "views.bin", golden.file(b"views.bin")


def test_reads_at_and_beyond_the_end_are_as_on_any_file_system(mount, golden):
    root = mount(GOLDEN)
    path, data = big_file(golden)
    file = os.open(root / path, os.O_RDONLY)
    n = len(data)
    assert os.pread(file, 100, n - 10) == data[-10:]
    for offset in (n, n + 1, n + 4096, 2**40, 2**62):
        assert os.pread(file, 100, offset) == b""
    assert os.pread(file, 0, 5) == b""
    with pytest.raises(OSError) as caught:
        os.pread(file, 10, -5)
    assert caught.value.errno == errno.EINVAL
    assert os.lseek(file, 0, os.SEEK_DATA) == 0 and os.lseek(file, 0, os.SEEK_HOLE) == n
    os.close(file)
    assert (root / "empty.txt").read_bytes() == b""


def test_private_and_shared_maps_show_the_bytes(mount, golden):
    root = mount(GOLDEN)
    path, data = big_file(golden)
    with open(root / path, "rb") as file:
        with mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ) as shared:
            assert shared[:] == data
        with mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE) as private:
            private[1000:1004] = b"copy"
            assert private[:1000] + private[1004:] == data[:1000] + data[1004:]
        assert file.read() == data


def test_direct_reads_show_the_bytes(mount, golden):
    root = mount(GOLDEN)
    path, data = big_file(golden)
    file = os.open(root / path, os.O_RDONLY | os.O_DIRECT)
    room = mmap.mmap(-1, 1 << 20)
    for offset in (0, 4096, 65536, 69632, 1234):
        n = os.preadv(file, [room], offset)
        assert room[:n] == data[offset:]
    os.close(file)


def test_many_threads_read_one_file(mount, tiny_image, tiny):
    root = mount(tiny_image, "-o", "cache=1M")
    tensors = sorted(json.loads((root / "tensors.json").read_text())["tensors"], key=lambda t: -t["stored_bytes"])
    path = root / tensors[0]["view"]["file"]
    whole = path.read_bytes()
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT)
    wrong = []

    def work(seed):
        random = np.random.default_rng(seed)
        room = mmap.mmap(-1, 1 << 19)
        for _ in range(12):
            offset = int(random.integers(0, len(whole) // 4096)) * 4096
            n = os.preadv(descriptor, [room], offset)
            if room[:n] != whole[offset : offset + (1 << 19)]:
                wrong.append(offset)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.close(descriptor)
    assert not wrong
    assert stats_of(root)["requests_failed"] == "0"


def test_no_cache_and_a_tiny_cache_are_only_slower(mount, golden):
    for size in ("0", "1", "70000"):
        root = mount(GOLDEN, "-o", f"cache={size},readahead=0")
        for path, (data, _) in expected_files(golden).items():
            assert (root / path).read_bytes() == data, path


def test_neighbouring_reads_decode_a_block_once(mount):
    root = mount(GOLDEN)
    before = int(stats_of(root)["blocks_decoded"])
    file = os.open(root / "widths.bin", os.O_RDONLY | os.O_DIRECT)
    room = mmap.mmap(-1, 4096)
    for offset in range(0, 4096 * 8, 512):
        os.preadv(file, [memoryview(room)[:512]], offset)
    os.close(file)
    blocks = len(reader.Image(GOLDEN.read_bytes()).streams) and int(stats_of(root)["blocks_decoded"]) - before
    assert 1 <= blocks <= 8


# Damage


def read_outcome(path):
    try:
        return pathlib.Path(path).read_bytes()
    except OSError as error:
        return error.errno


def test_a_flipped_byte_in_each_block_gives_eio_for_exactly_its_files(program, golden, tmp_path):
    expected = expected_files(golden)
    for tensor in golden.tensors:  # the .npy files follow their tensors
        name = tensor["name"].decode()
        expected[f"npy/{name}.npy"] = (None, {tensor["stream"]})
    whole = GOLDEN.read_bytes()
    image, point = tmp_path / "bad.entrofs", tmp_path / "point"
    point.mkdir()
    n_blocks = 0
    for stream, offset, stored in blocks_of(golden):
        damaged = bytearray(whole)
        damaged[offset + stored // 2] ^= 0x20
        image.write_bytes(damaged)
        subprocess.run([program("entrofs"), image, point], check=True)
        try:
            for path, (data, streams) in expected.items():
                outcome = read_outcome(point / path)
                if stream in streams:
                    assert outcome == errno.EIO, (path, stream, offset)
                else:
                    assert data is None and isinstance(outcome, bytes) or outcome == data, (path, stream, offset)
            assert json.loads((point / "tensors.json").read_text())
            assert stats_of(point)["blocks_failed"] == "1"
        finally:
            subprocess.run(["umount", point], check=True)
        n_blocks += 1
    assert n_blocks == len(golden.tables["blocks"])


def test_a_bad_block_is_one_line_in_the_log_and_its_neighbours_are_served(program, tiny_image, tmp_path):
    image = reader.Image(tiny_image.read_bytes())
    tensor = max(image.tensors, key=lambda t: image.streams[t["stream"]]["size"])
    blocks = image.streams[tensor["stream"]]["planes"][0]["blocks"]
    bad = len(blocks) // 2
    data = bytearray(tiny_image.read_bytes())
    data[blocks[bad][1] + 3] ^= 1
    good_root, bad_image, point = tmp_path / "good", tmp_path / "bad.entrofs", tmp_path / "point"
    bad_image.write_bytes(data)
    point.mkdir(), good_root.mkdir()
    subprocess.run([program("entrofs"), tiny_image, good_root], check=True)
    good = (good_root / "tensors" / tensor["name"].decode()).read_bytes()
    subprocess.run(["umount", good_root], check=True)
    daemon = subprocess.Popen([program("entrofs"), bad_image, point, "-f"], stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: os.path.ismount(point))
        path = point / "tensors" / tensor["name"].decode()
        assert read_outcome(path) == errno.EIO
        block_bytes = blocks[0][3]
        with open(path, "rb") as file:
            for page in range(0, len(good), 4096):
                if page // block_bytes == bad:
                    with pytest.raises(OSError):
                        os.pread(file.fileno(), 4096, page)
                else:
                    assert os.pread(file.fileno(), 4096, page) == good[page : page + 4096]
    finally:
        subprocess.run(["umount", point], check=True)
        errors = daemon.communicate(timeout=20)[1]
    assert daemon.returncode == 0
    lines = [line for line in errors.splitlines() if "serving" not in line]
    assert len(lines) == 1, errors
    for word in (f"tensors/{tensor['name'].decode()}", f"block {bad} of {len(blocks)}", str(blocks[bad][1]), "expected", "found"):
        assert word in lines[0], lines[0]


def test_an_image_truncated_while_it_is_mounted_gives_eio_and_the_daemon_lives(mount, tmp_path, golden):
    image = tmp_path / "image.entrofs"
    shutil.copy(GOLDEN, image)
    root = mount(image)
    data = (root / "config.json").read_bytes()
    os.truncate(image, 4096)
    assert read_outcome(root / "letters.txt") == errno.EIO
    assert read_outcome(root / "tensors" / "tied.u8") == errno.EIO
    assert (root / "config.json").read_bytes() == data  # in the page cache
    assert (root / "tensors.json").read_bytes()
    assert is_running(daemon_of(root))
    shutil.copyfile(GOLDEN, tmp_path / "again")
    with open(image, "r+b") as file:  # the disk is back
        file.write((tmp_path / "again").read_bytes())
    time.sleep(6)  # I/O errors are remembered for a moment only
    assert (root / "letters.txt").read_bytes() == golden.file(b"letters.txt")


def test_an_image_replaced_while_it_is_mounted_serves_on(mount, tmp_path, golden):
    image = tmp_path / "image.entrofs"
    shutil.copy(GOLDEN, image)
    root = mount(image)
    (tmp_path / "other").write_bytes(b"something else")
    os.rename(tmp_path / "other", image)
    assert (root / "letters.txt").read_bytes() == golden.file(b"letters.txt")


# Refusals


def test_truncated_images_are_refused(run, tmp_path):
    data = GOLDEN.read_bytes()
    point = tmp_path / "point"
    point.mkdir()
    image = tmp_path / "cut.entrofs"
    n = len(data)
    for size in [0, 1, 8, 4095, 4096, 4097, n - 1, n - 4096, *(n * i // 13 for i in range(1, 13))]:
        image.write_bytes(data[:size])
        refused(run, image, point, code=BAD, words=[image])
        assert not os.path.ismount(point)


def test_what_is_no_image_is_refused(run, tmp_path):
    point = tmp_path / "point"
    point.mkdir()
    text = tmp_path / "text"
    text.write_text("no image\n" * 10000)
    refused(run, text, point, code=BAD, words=[text])
    refused(run, tmp_path / "nothing", point, code=UNREADABLE, words=["nothing", "No such file"])
    refused(run, tmp_path, point, code=BAD, words=["not a regular file"])
    newer = bytearray(GOLDEN.read_bytes())
    newer[8] = 99
    newer[4088:4096] = xxh3_64(bytes(newer[:4088])).to_bytes(8, "little")
    text.write_bytes(newer)
    refused(run, text, point, code=UNSUPPORTED, words=["99"])


def test_mount_points_in_the_way_are_refused(run, mount, tmp_path):
    refused(run, GOLDEN, tmp_path / "nothing", code=MOUNTPOINT, words=["nothing", "No such file"])
    file = tmp_path / "file"
    file.write_text("")
    refused(run, GOLDEN, file, code=MOUNTPOINT, words=["not a directory"])
    root = mount(GOLDEN)
    refused(run, GOLDEN, root, code=BUSY, words=["busy"])
    assert (root / "config.json").read_bytes()


def test_options_are_checked_before_anything_else(run, tmp_path):
    refused(run, "nothing", "nowhere", "-o", "ro,unheard_of", code=USAGE, words=["unheard_of"])
    refused(run, "nothing", "nowhere", "-o", "cache=much", code=USAGE, words=["cache=much"])
    refused(run, "nothing", code=USAGE)
    refused(run, "a", "b", "c", code=USAGE)
    refused(run, "-z", code=USAGE, words=["-z"])
    help_text = run("entrofs", "-h", check=True).stdout
    assert "cache=" in help_text and "readahead=" in help_text
    assert run("entrofs", "-V", check=True).stdout.startswith("entrofs ")


def test_a_machine_without_fuse_is_told_so(program, tmp_path):
    point = tmp_path / "point"
    point.mkdir()
    script = 'mount -t tmpfs none /dev && exec "$0" "$@"'
    done = subprocess.run(["unshare", "-m", "sh", "-c", script, program("entrofs"), GOLDEN, point], capture_output=True, text=True)
    if "unshare" in done.stderr:
        pytest.skip("no mount namespaces here")
    assert done.returncode == FUSE, done.stderr
    assert "FUSE is not available" in done.stderr


def test_a_stale_mount_is_named_with_the_command_that_clears_it(run, mount):
    root = mount(GOLDEN)
    os.kill(daemon_of(root), signal.SIGKILL)
    wait_until(lambda: read_outcome(root / "letters.txt") == errno.ENOTCONN)
    line = refused(run, GOLDEN, root, code=STALE, words=["fusermount3 -uz"])
    subprocess.run(line.split("clear it with: ")[1].split(), check=True)
    assert not os.path.ismount(root)
    run("entrofs", GOLDEN, root, check=True)
    assert (root / "config.json").read_bytes()


# Beginning and end


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("holds_file", [False, True])
def test_a_signal_unmounts_cleanly(program, tmp_path, number, holds_file):
    point = tmp_path / "point"
    point.mkdir()
    daemon = subprocess.Popen([program("entrofs"), GOLDEN, point, "-f"], stderr=subprocess.PIPE, text=True)
    wait_until(lambda: os.path.ismount(point))
    file = open(point / "letters.txt", "rb") if holds_file else None
    daemon.send_signal(number)
    wait_until(lambda: not os.path.ismount(point), 5)
    if holds_file:  # still served for a moment
        assert os.pread(file.fileno(), 10, 0)
    assert daemon.wait(timeout=10) == 0, daemon.stderr.read()
    if holds_file:
        file.close()
    daemon.stderr.close()


def test_a_second_signal_ends_at_once(program, tmp_path):
    point = tmp_path / "point"
    point.mkdir()
    daemon = subprocess.Popen([program("entrofs"), GOLDEN, point, "-f"], stderr=subprocess.DEVNULL)
    wait_until(lambda: os.path.ismount(point))
    with open(point / "letters.txt", "rb"):
        daemon.terminate()
        wait_until(lambda: not os.path.ismount(point))
        begin = time.monotonic()
        daemon.terminate()
        assert daemon.wait(timeout=10) == 0
        assert time.monotonic() - begin < 1.5


def test_the_background_daemon_serves_when_the_command_returns(program, tmp_path):
    point = tmp_path / "point"
    point.mkdir()
    for _ in range(20):
        # Pipes would stay open if the daemon kept them: this returns when nobody holds them.
        done = subprocess.run([program("entrofs"), GOLDEN, point], capture_output=True, text=True, timeout=20)
        assert done.returncode == 0 and done.stdout == "" and done.stderr == ""
        assert (point / "config.json").read_bytes()
        daemon = daemon_of(point)
        assert os.readlink(f"/proc/{daemon}/cwd") == "/"
        subprocess.run(["umount", point], check=True)
        wait_until(lambda: not is_running(daemon))


def test_relative_paths_work(program, tmp_path, golden):
    (tmp_path / "point").mkdir()
    shutil.copy(GOLDEN, tmp_path / "image.entrofs")
    subprocess.run([program("entrofs"), "image.entrofs", "point"], check=True, cwd=tmp_path)
    assert (tmp_path / "point" / "letters.txt").read_bytes() == golden.file(b"letters.txt")
    subprocess.run(["umount", tmp_path / "point"], check=True)


@pytest.mark.skipif(shutil.which("mount.fuse3") is None, reason="mount.fuse3 is not installed")
@pytest.mark.parametrize("options", ["", "-o ro,allow_other,nofail,noauto,x-systemd.device-timeout=3,noatime,cache=1M"])
def test_mount_8_mounts_it(program, tmp_path, golden, options):
    """In a mount namespace where the program lies in a folder that mount.fuse3 looks in."""
    point, copy = tmp_path / "point", tmp_path / "copy"
    point.mkdir()
    script = f"""
        set -e
        mount --bind {os.path.dirname(program("entrofs"))} /usr/local/bin
        mount -t fuse.entrofs {options} {GOLDEN} {point}
        cp {point}/letters.txt {copy}
        grep " {point} " /proc/mounts
        umount {point}
        ! mount -t fuse.entrofs -o unheard_of {GOLDEN} {point}
        """
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, timeout=60)
    if "unshare" in done.stderr:
        pytest.skip("no mount namespaces here")
    assert done.returncode == 0, done.stderr
    assert copy.read_bytes() == golden.file(b"letters.txt")
    flags = done.stdout.split()[3].split(",")
    assert "ro" in flags and ("allow_other" in flags) == bool(options)
    assert "unknown mount option unheard_of" in done.stderr


def test_the_read_ahead_is_raised_where_that_is_allowed(mount):
    for option, expected in (("readahead=2048", "2048"), ("cache=1M", "1024")):
        root = mount(GOLDEN, "-o", option)
        device = os.stat(root).st_dev
        knob = pathlib.Path(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb")
        if os.access(knob, os.W_OK):
            assert knob.read_text().strip() == expected
            assert stats_of(root)["readahead_kib"] == expected
        else:
            assert stats_of(root)["readahead_kib"] == "default"


def test_two_mounts_of_one_image_do_not_disturb_each_other(program, mount, golden):
    first, second = mount(GOLDEN), mount(GOLDEN)
    os.kill(daemon_of(first), signal.SIGTERM)
    wait_until(lambda: not os.path.ismount(first))
    assert (second / "letters.txt").read_bytes() == golden.file(b"letters.txt")


def test_readers_that_are_killed_leave_nothing_stuck(mount, tiny_image):
    root = mount(tiny_image, "-o", "cache=0")
    readers = [
        subprocess.Popen([sys.executable, "-c", f"while True:\n for p in __import__('glob').glob('{root}/tensors/*'):\n  __import__('os').system(f'dd if=\"{{p}}\" iflag=direct bs=1M of=/dev/null 2>/dev/null')"])
        for _ in range(6)
    ]
    time.sleep(1.0)
    for process in readers:
        process.kill()
        process.wait()
    data = {p: p.read_bytes() for p in (root / "tensors").iterdir()}
    tensors = json.loads((root / "tensors.json").read_text())["tensors"]
    parts = ("file", "row_scale", "column_scale", "outliers")
    assert sorted(p.name for p in data) == sorted(pathlib.Path(t[part]).name for t in tensors for part in parts if t.get(part))
    assert is_running(daemon_of(root))


def test_a_lazy_unmount_while_reading_ends_the_daemon_after_the_last_reader(mount, tiny_image):
    root = mount(tiny_image)
    daemon = daemon_of(root)
    path = max((root / "tensors").iterdir(), key=lambda p: p.stat().st_size)
    whole = path.read_bytes()
    with open(path, "rb") as file:
        subprocess.run(["umount", "-l", root], check=True)
        assert not os.path.ismount(root)
        assert file.read() == whole
        assert is_running(daemon)
    wait_until(lambda: not is_running(daemon))


def test_bytes_of_verbatim_files_hash_as_in_the_source(mount, tiny, tiny_image):
    root = mount(tiny_image)
    n = 0
    for path in tiny.rglob("*"):
        if path.is_file() and path.suffix != ".safetensors":
            assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256((root / path.relative_to(tiny)).read_bytes()).digest()
            n += 1
    assert n > 3


def test_a_bad_page_of_a_map_is_sigbus_to_its_reader_alone(mount, tmp_path, golden):
    data = bytearray(GOLDEN.read_bytes())
    stream = next(number for number, s in enumerate(golden.streams) if s["size"] == 70000)
    _, offset, stored, _, _ = golden.streams[stream]["planes"][0]["blocks"][0]
    data[offset + stored // 2] ^= 4
    image = tmp_path / "bad.entrofs"
    image.write_bytes(data)
    root = mount(image)
    code = "import mmap,sys; f=open(sys.argv[1],'rb'); m=mmap.mmap(f.fileno(),0,mmap.MAP_SHARED,mmap.PROT_READ); print(m[0])"
    done = subprocess.run([sys.executable, "-c", code, root / "letters.txt"], capture_output=True)
    assert done.returncode == -signal.SIGBUS
    assert (root / "config.json").read_bytes() == golden.file(b"config.json")
