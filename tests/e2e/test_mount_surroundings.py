"""What lies around a mount: names of mount points and images, other mounts in the same place, signals at the wrong moment, callers that wait."""

import ctypes
import errno
import json
import mmap
import os
import pathlib
import random
import shutil
import signal
import subprocess
import threading

import pytest

from conftest import needs_fuse
from golden_image import GOLDEN
from test_mount import BUSY, USAGE, golden, is_running, no_mount_is_left, refused, wait_until  # noqa: F401 (fixtures)

pytestmark = [needs_fuse, pytest.mark.sanitized]


def unmount(point):
    subprocess.run(["umount", point], check=True)


def daemons_of(point):
    found = set()
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if os.path.basename(words[0]) == b"entrofs" and os.fsencode(str(point)) in words and is_running(int(entry.name)):
            found.add(int(entry.name))
    return found


def start(program, image, point):
    """Mounts and gives back the process that serves."""
    point.mkdir(exist_ok=True)
    before = daemons_of(point)
    subprocess.run([program("entrofs"), image, point], check=True, timeout=60)
    (daemon,) = daemons_of(point) - before
    return daemon


def test_a_daemon_whose_mount_was_taken_away_leaves_the_next_mount_alone(program, tmp_path, golden):
    point = tmp_path / "point"
    old = start(program, GOLDEN, point)
    with open(point / "letters.txt", "rb") as file:
        subprocess.run(["umount", "-l", point], check=True)
        new = start(program, GOLDEN, point)
        os.kill(old, signal.SIGTERM)
        wait_until(lambda: not is_running(old))
        with pytest.raises(OSError) as caught:
            os.pread(file.fileno(), 1 << 20, 1 << 15)
        assert caught.value.errno == errno.ENOTCONN
    assert os.path.ismount(point) and is_running(new)
    assert (point / "letters.txt").read_bytes() == golden.file(b"letters.txt")
    unmount(point)


def test_a_bind_mount_is_in_the_way_as_any_other(run, tmp_path):
    point = tmp_path / "point"
    point.mkdir()
    subprocess.run(["mount", "--bind", point, point], check=True)
    try:
        refused(run, GOLDEN, point, code=BUSY, words=["busy"])
    finally:
        unmount(point)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_at_any_moment_of_the_start_leaves_no_dead_mount(program, tmp_path, number):
    point = tmp_path / "point"
    point.mkdir()
    for _ in range(10):  # at the very moment that the mount appears, and a little around it
        process = subprocess.Popen([program("entrofs"), GOLDEN, point, "-f"], stderr=subprocess.DEVNULL)
        wait_until(lambda: str(point) in open("/proc/self/mounts").read())
        process.send_signal(number)
        assert process.wait(timeout=20) == 0
        assert not os.path.ismount(point)


@pytest.mark.parametrize("name", ["a b", "comma,colon:", "back\\slash", "línea", "-dash"])
def test_odd_names_of_images_and_mount_points_are_names_like_others(program, tmp_path, golden, name):
    image, point = tmp_path / f"{name}.entrofs", tmp_path / name
    shutil.copy(GOLDEN, image)
    start(program, image, point)
    try:
        assert (point / "letters.txt").read_bytes() == golden.file(b"letters.txt")
        listed = [line.split()[:2] for line in open("/proc/self/mounts", encoding="utf-8")]
        escaped = [[part.replace("\\", "\\134").replace(" ", "\\040") for part in (str(image), str(point))]]
        assert escaped[0] in listed
    finally:
        unmount(point)


def test_a_link_to_a_folder_is_a_mount_point(program, tmp_path, golden):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    start(program, GOLDEN, tmp_path / "link")
    assert (tmp_path / "folder" / "letters.txt").read_bytes() == golden.file(b"letters.txt")
    unmount(tmp_path / "folder")


def test_a_shell_that_waits_for_the_output_goes_on(program, tmp_path):
    point = tmp_path / "point"
    point.mkdir()
    script = 'x=$("$0" "$1" "$2" 2>&1); "$0" -V | cat; umount "$2"; "$0" "$1" "$2" 2>&1 | cat; umount "$2"; echo "[$x]"'
    done = subprocess.run(["sh", "-c", script, program("entrofs"), GOLDEN, point], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0 and done.stdout.endswith("[]\n"), done


def test_too_few_descriptors_are_an_error_with_a_reason_and_no_mount(program, tmp_path):
    point = tmp_path / "point"
    point.mkdir()
    served = False
    for limit in range(4, 16):
        script = f'ulimit -n {limit}; exec "$0" "$@"'
        done = subprocess.run(["bash", "-c", script, program("entrofs"), GOLDEN, point], capture_output=True, text=True, timeout=60)
        if done.returncode == 0:
            served = True
            assert (point / "config.json").read_bytes()
            unmount(point)
        else:
            assert "Too many open files" in done.stderr or "Error 24" in done.stderr, (limit, done.stderr)
            assert not os.path.ismount(point)
    assert served


@pytest.mark.parametrize("program_name", ["entrofs", "entrofsck"])
def test_an_unknown_letter_among_others_is_named(run, program_name):
    for words, unknown in ((["-zV"], "-z"), (["-qz"] if program_name == "entrofsck" else ["-fz"], "-z"), (["--bogus"], "--bogus")):
        done = run(program_name, *words)
        assert done.returncode in (USAGE, 16) and f"unknown option {unknown}\n" in done.stderr, done.stderr


def test_names_that_are_too_long_are_said_to_be(mount):
    root = mount(GOLDEN)
    for name, code in (("n" * 255, errno.ENOENT), ("n" * 256, errno.ENAMETOOLONG)):
        with pytest.raises(OSError) as caught:
            os.stat(root / name)
        assert caught.value.errno == code


def test_a_private_map_can_be_written_and_changes_nothing(mount, golden):
    path = mount(GOLDEN) / "letters.txt"
    content = golden.file(b"letters.txt")
    with open(path, "rb") as file:
        with mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE) as view:
            view[7], view[-1] = 0xFF, 0xFE
            assert view[:] == content[:7] + b"\xff" + content[8:-1] + b"\xfe"
        assert os.pread(file.fileno(), len(content), 0) == content
        with pytest.raises(PermissionError):
            mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)


@pytest.mark.parametrize("options", [["-o", "cache=0"], ["-o", "cache=5000,max_threads=1"], []])
def test_64_threads_read_at_random_what_is_there(mount, golden, options):
    path = mount(GOLDEN, *options) / "views.bin"
    content = golden.file(b"views.bin")
    wrong = []

    def read(seed):
        place = random.Random(seed)
        with open(path, "rb", buffering=0) as buffered, open(os.open(path, os.O_RDONLY | os.O_DIRECT), "rb", buffering=0) as direct:
            for _ in range(30):
                offset, size = place.randrange(len(content) + 100), place.choice([1, 33, 4096, 70000])
                wrong.extend((offset, size) for file in (buffered, direct) if os.pread(file.fileno(), size, offset) != content[offset:][:size])

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_attributes_answer_sizes_and_short_buffers_as_getxattr_does(mount):
    root = mount(GOLDEN)
    libc = ctypes.CDLL(None, use_errno=True)
    path = os.fsencode(next((root / "tensors").iterdir()))

    def ask(call, *arguments):
        size = libc[call](path, *arguments)
        return size if size >= 0 else -ctypes.get_errno()

    buffer = ctypes.create_string_buffer(1000)
    length = ask("getxattr", b"user.entrofs.shape", None, 0)
    assert length > 1 and ask("getxattr", b"user.entrofs.shape", buffer, length - 1) == -errno.ERANGE
    assert ask("getxattr", b"user.entrofs.shape", buffer, length) == length
    total = ask("listxattr", None, 0)
    assert ask("listxattr", buffer, total - 1) == -errno.ERANGE and ask("listxattr", buffer, total) == total
    assert ask("getxattr", b"user.nothing", buffer, 10) == -errno.ENODATA
    assert ask("getxattr", b"security.selinux", buffer, 10) == -errno.EOPNOTSUPP


def test_weight_files_of_names_that_are_not_utf8_are_served(run, mount, tmp_path):
    source, image = tmp_path / "source", tmp_path / "model.entrofs"
    source.mkdir()
    header = json.dumps({"t": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    content = len(header).to_bytes(8, "little") + header + bytes(range(16))
    name = b"mod\xe8le.safetensors"
    pathlib.Path(os.fsdecode(os.path.join(os.fsencode(source), name))).write_bytes(content)
    run("mkentrofs", source, image, check=True)
    root = mount(image)
    assert (root / os.fsdecode(name)).read_bytes() == content
    (tensor,) = json.loads((root / "tensors.json").read_bytes())["tensors"]
    assert tensor["view"] is None and (root / tensor["file"]).read_bytes() == bytes(range(16))
    assert run("entrofsck", "--json", image, check=True)
