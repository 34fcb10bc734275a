"""How bytes get to readers: in any order and from many at once, ahead of them, from an image that is cut short or goes away under them."""

import errno
import json
import mmap
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from conftest import needs_fuse
from mkentrofs_fixtures import bf16, model
from test_mount import daemon_of, is_running, no_mount_is_left, read_outcome, stats_of, wait_until  # noqa: F401 (fixtures)

pytestmark = [needs_fuse, pytest.mark.sanitized]

BLOCK = 65536
PROCESSORS = len(os.sched_getaffinity(0))
ROWS, COLUMNS = 2048, 1024  # 2 MiB of codes, 4 MiB of BF16


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    random_numbers = np.random.default_rng(5)
    tensors = {
        f"layer.{i}.weight": ("BF16", [ROWS, COLUMNS], bf16(random_numbers.standard_normal((ROWS, COLUMNS)).astype(np.float32) * 0.02)) for i in range(3)
    }
    return model(tmp_path_factory.mktemp("source") / "model", tensors)


def build(program, source, image, *options):
    subprocess.run([program("mkentrofs"), "--quiet", *options, source, image], check=True, timeout=120)
    return image


@pytest.fixture(scope="module")
def coded(program, source, tmp_path_factory):
    return build(program, source, tmp_path_factory.mktemp("coded") / "coded.entrofs", "--scheme", "mixed")


@pytest.fixture(scope="module")
def lossless(program, source, tmp_path_factory):
    return build(program, source, tmp_path_factory.mktemp("lossless") / "lossless.entrofs", "--scheme", "lossless")


@pytest.fixture(scope="module")
def expected(program, coded, tmp_path_factory):
    """What the files of the mount hold, as entrofsck extracts them: one thread, no workers, no mapping."""
    folder = tmp_path_factory.mktemp("expected") / "files"
    subprocess.run([program("entrofsck"), "--quiet", "--extract", folder, coded], check=True, timeout=120)
    return folder


def serve(program, image, point, *options):
    """A daemon in the foreground, its log in .log."""
    point.mkdir(exist_ok=True)
    daemon = subprocess.Popen([program("entrofs"), image, point, "-f", *options], stderr=subprocess.PIPE, text=True)
    wait_until(lambda: os.path.ismount(point) or daemon.poll() is not None)
    assert daemon.poll() is None, daemon.stderr.read()
    return daemon


def end(daemon, point):
    subprocess.run(["umount", point], check=True)
    log = daemon.communicate(timeout=20)[1]
    assert daemon.returncode == 0, log
    return log


def direct(path):
    return os.open(path, os.O_RDONLY | os.O_DIRECT)


def run_threads(functions):
    """All at once; their exceptions are raised here."""
    failures = []
    barrier = threading.Barrier(len(functions))

    def call(function):
        barrier.wait()
        try:
            function()
        except BaseException as failure:  # noqa: BLE001 (raised again below)
            failures.append(failure)

    threads = [threading.Thread(target=call, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def tensor_files(root):
    return sorted((root / "tensors").iterdir())


# Bytes


@pytest.mark.parametrize("options", [[], ["-o", "readahead=0,prefetch=8M"], ["-o", "cache=0"], ["-o", "cache=200K,max_threads=2,readahead=0,prefetch=8M"]], ids=str)
def test_every_way_of_reading_gives_the_same_bytes(mount, coded, expected, options):
    root = mount(coded, *options)
    for path in ("model.safetensors", "tensors/layer.1.weight"):
        whole = (expected / path).read_bytes()
        descriptor = direct(root / path)

        def in_pieces(size, first=0):
            with open(root / path, "rb", buffering=0) as file:
                for offset in range(first, len(whole), size):
                    assert os.pread(file.fileno(), size, offset) == whole[offset : offset + size]

        def at_random(seed):
            place, room = random.Random(seed), mmap.mmap(-1, 1 << 20)
            for _ in range(25):
                offset, size = place.randrange(len(whole)), place.choice([4096, 70000, 131072, 1 << 20])
                n = os.preadv(descriptor, [memoryview(room)[:size]], offset)
                assert room[:n] == whole[offset : offset + size]

        run_threads([lambda: in_pieces(1 << 20), lambda: in_pieces(100_000, 4321), lambda: at_random(1), lambda: at_random(2)])
        os.close(descriptor)
        with open(root / path, "rb") as file, mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ) as mapped:
            assert mapped[:] == whole
    assert stats_of(root)["requests_failed"] == "0"


@pytest.mark.parametrize("options", [[], ["-o", "readahead=0,prefetch=8M"]], ids=str)
def test_a_lossless_model_of_two_planes_is_the_source(mount, lossless, source, options):
    root = mount(lossless, *options)
    whole = (source / "model.safetensors").read_bytes()
    descriptor, room = direct(root / "model.safetensors"), mmap.mmap(-1, 1 << 20)
    for offset in range(1000, len(whole), 1 << 20):
        n = os.preadv(descriptor, [room], offset)
        assert room[:n] == whole[offset : offset + (1 << 20)]
    os.close(descriptor)
    assert (root / "model.safetensors").read_bytes() == whole


@pytest.mark.parametrize("options", [[], ["-o", "cache=0"]], ids=str)
def test_small_reads_here_and_there_decode_parts_of_blocks(mount, coded, lossless, source, expected, options):
    """At any offset, of raw tensors, of a view and of a model of two planes: the bytes of the whole, and hardly a block decoded for them."""
    root, second = mount(coded, *options), mount(lossless, *options)
    wholes = {path: (expected / path.relative_to(root)).read_bytes() for path in [*tensor_files(root), root / "model.safetensors"]}
    wholes[second / "model.safetensors"] = (source / "model.safetensors").read_bytes()
    place, room = random.Random(6), mmap.mmap(-1, 16384)
    for path, whole in wholes.items():
        descriptor = direct(path)
        starts = list(range(BLOCK, len(whole) - 2 * BLOCK, 4 * BLOCK))
        place.shuffle(starts)
        for start in starts:
            offset, size = start + place.randrange(BLOCK), place.choice([1, 511, 4096, 7000])
            n = os.preadv(descriptor, [memoryview(room)[:size]], offset)
            assert room[:n] == whole[offset : offset + size]
        os.close(descriptor)
    for folder in (root, second):
        stats = {name: int(value) for name, value in stats_of(folder).items() if value.isdigit()}
        assert stats["requests_failed"] == 0
        assert stats["blocks_partial"] > 10 * stats["blocks_decoded"] and stats["bytes_partial"] > stats["blocks_partial"]


def test_readers_of_one_block_cause_one_decode(mount, coded, expected):
    root = mount(coded)
    path = tensor_files(root)[0]
    block = (expected / "tensors" / path.name).read_bytes()[BLOCK : 2 * BLOCK]
    descriptor = direct(path)
    rooms = [mmap.mmap(-1, BLOCK) for _ in range(64)]

    def read(number):
        size, offset = (BLOCK, 0) if number % 2 else (4096, number // 2 % 16 * 4096)
        n = os.preadv(descriptor, [memoryview(rooms[number])[:size]], BLOCK + offset)
        assert rooms[number][:n] == block[offset : offset + size]

    before = stats_of(root)
    run_threads([lambda number=number: read(number) for number in range(64)])
    after = stats_of(root)
    os.close(descriptor)
    assert int(after["blocks_decoded"]) - int(before["blocks_decoded"]) == 1
    assert int(after["requests"]) - int(before["requests"]) == 64


@pytest.mark.parametrize("options", [[], ["-o", "readahead=0,prefetch=8M"], ["-o", "readahead=0,prefetch=0"]], ids=str)
def test_a_file_read_in_order_decodes_each_block_once(mount, coded, expected, options):
    """Though requests begin and end within blocks: those of the model's file behind its header."""
    root = mount(coded, *options)
    assert (root / "model.safetensors").read_bytes() == (expected / "model.safetensors").read_bytes()
    stats = stats_of(root)
    n_blocks = 3 * ROWS * COLUMNS // BLOCK
    assert n_blocks <= int(stats["blocks_decoded"]) <= n_blocks + 2  # and the header's


# Ahead of readers


def test_what_reads_ahead_is_said_once_and_in_the_counters(program, mount, coded, tmp_path):
    for options, words, wanted in (
        (["-o", "readahead=0"], *(("decoding up to 8192 KiB ahead of readers", str(8 << 20)) if PROCESSORS >= 4 else ("the kernel's own read-ahead", "0"))),
        (["-o", "readahead=0,prefetch=1M"], "decoding up to 1024 KiB ahead of readers", str(1 << 20)),
        (["-o", "readahead=0,prefetch=1G,cache=4M"], "decoding up to 2048 KiB ahead of readers", str(2 << 20)),
        (["-o", "readahead=0,cache=0"], "the kernel's own read-ahead", "0"),
        (["-o", "readahead=0,prefetch=0"], "the kernel's own read-ahead", "0"),
    ):
        if PROCESSORS == 1:
            words, wanted = "the kernel's own read-ahead", "0"
        daemon = serve(program, coded, tmp_path / "point", *options)
        wait_until(lambda: "prefetch_bytes" in stats_of(tmp_path / "point"))
        assert stats_of(tmp_path / "point")["prefetch_bytes"] == wanted
        log = end(daemon, tmp_path / "point")
        assert len(log.splitlines()) == 1 and log.rstrip().endswith(words), log


@pytest.mark.skipif(PROCESSORS == 1, reason="needs a processor to spare")
def test_readers_in_order_are_decoded_ahead_and_others_are_not(mount, coded):
    root = mount(coded, "-o", "readahead=0,prefetch=8M")
    files = tensor_files(root)
    with open(files[0], "rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        places = list(range(0, ROWS * COLUMNS, 20 * 4096))
        random.Random(3).shuffle(places)
        for offset in places:
            os.pread(file.fileno(), 4096, offset)
    assert stats_of(root)["bytes_prefetched"] == "0"
    for _ in range(20):  # whether a processor is idle is chance
        if int(stats_of(root)["bytes_prefetched"]) > 0:
            break
        for path in files:
            descriptor, room = direct(path), mmap.mmap(-1, BLOCK)
            for offset in range(0, ROWS * COLUMNS, BLOCK):
                os.preadv(descriptor, [room], offset)
                time.sleep(0.002)
            os.close(descriptor)
    assert int(stats_of(root)["bytes_prefetched"]) > 0


# Bad conditions


@pytest.mark.parametrize("mode", [0o644, 0o664], ids=["mapped", "read"])  # others may write: it is not mapped
def test_an_image_cut_short_under_its_readers_gives_eio_and_the_daemon_lives(program, coded, expected, tmp_path, mode):
    image, point = tmp_path / "image.entrofs", tmp_path / "point"
    outcomes = set()
    for options in ([], ["-o", "readahead=0,prefetch=8M"], ["-o", "lock_image"]):
        shutil.copy(coded, image)
        image.chmod(mode)
        daemon = serve(program, image, point, *options)
        whole = (expected / "model.safetensors").read_bytes()
        stop = time.monotonic() + 1.0

        def read(seed):
            place, room = random.Random(seed), mmap.mmap(-1, 1 << 18)
            descriptor = direct(point / "model.safetensors")
            while time.monotonic() < stop:
                offset = place.randrange(len(whole))
                try:
                    n = os.preadv(descriptor, [room], offset)
                except OSError as error:
                    outcomes.add(error.errno)
                else:
                    assert room[:n] == whole[offset : offset + (1 << 18)]
            os.close(descriptor)

        def cut():
            time.sleep(0.2)
            os.truncate(image, coded.stat().st_size // 2)
            time.sleep(0.2)
            os.truncate(image, 4096)

        run_threads([cut, *(lambda seed=seed: read(seed) for seed in range(6))])
        assert outcomes == {errno.EIO}
        assert daemon.poll() is None
        assert json.loads((point / "tensors.json").read_text())
        log = end(daemon, point)
        assert any("it has been truncated" in line for line in log.splitlines()), log


READ_FOR_EVER = """
import mmap, os, random, sys
room = mmap.mmap(-1, 1 << 20)
files = [os.open(path, os.O_RDONLY | os.O_DIRECT) for path in sys.argv[1:]]
print("reading", flush=True)
while True:
    for file in files:
        for offset in range(0, os.fstat(file).st_size, 1 << 20):
            os.preadv(file, [room], offset)
"""


def start_readers(root, n):
    readers = [subprocess.Popen([sys.executable, "-c", READ_FOR_EVER, *map(str, tensor_files(root)), root / "model.safetensors"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) for _ in range(n)]
    for reader in readers:
        assert reader.stdout.readline()
    return readers


def kill(processes):
    for process in processes:
        process.kill()
    for process in processes:
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("options", [[], ["-o", "readahead=0,prefetch=8M"]], ids=str)
def test_readers_killed_in_mid_request_leave_a_daemon_that_serves(program, coded, expected, tmp_path, options):
    point = tmp_path / "point"
    daemon = serve(program, coded, point, *options)
    for round_number in range(6):
        readers = start_readers(point, 3)
        time.sleep(0.02 * round_number)
        kill(readers)
    assert (point / "model.safetensors").read_bytes() == (expected / "model.safetensors").read_bytes()
    lines = end(daemon, point).splitlines()
    # libfuse prints this where the end of the mount and a killed reader's last request meet.
    assert len([line for line in lines if "reading device: Software caused connection abort" not in line]) == 1, lines


@pytest.mark.parametrize("options", [[], ["-o", "readahead=0,prefetch=16M"]], ids=str)
@pytest.mark.parametrize("how", ["lazily", "by a signal"])
def test_an_unmount_while_readers_are_at_work_ends_the_daemon(program, coded, tmp_path, options, how):
    for delay in (0, 0.03, 0.1):
        point = tmp_path / "point"
        daemon = serve(program, coded, point, *options)
        readers = start_readers(point, 3)
        time.sleep(delay)
        if how == "lazily":
            subprocess.run(["umount", "-l", point], check=True)
            kill(readers)
        else:
            daemon.send_signal(signal.SIGTERM)  # readers are served for a moment more, then get ENOTCONN
        log = daemon.communicate(timeout=20)[1]
        assert daemon.returncode == 0, log
        assert not os.path.ismount(point)
        if how != "lazily":
            kill(readers)


def test_an_unmount_while_it_decodes_ahead_ends_at_once(program, coded, tmp_path):
    for _ in range(10):
        point = tmp_path / "point"
        daemon = serve(program, coded, point, "-o", "readahead=0,prefetch=16M")
        descriptor, room = direct(tensor_files(point)[0]), mmap.mmap(-1, BLOCK)
        for offset in range(0, 5 * BLOCK, BLOCK):
            os.preadv(descriptor, [room], offset)
        os.close(descriptor)
        begin = time.monotonic()
        end(daemon, point)
        assert time.monotonic() - begin < 5


def test_two_mounts_of_one_image_read_at_once(mount, coded, expected):
    roots = [mount(coded), mount(coded, "-o", "readahead=0,prefetch=8M,cache=1M")]
    whole = (expected / "model.safetensors").read_bytes()

    def read(root):
        assert (root / "model.safetensors").read_bytes() == whole

    run_threads([lambda root=root: read(root) for root in roots])
    assert is_running(daemon_of(roots[0])) and is_running(daemon_of(roots[1]))
    assert daemon_of(roots[0]) != daemon_of(roots[1])


def test_damage_under_many_readers_is_reported_once(program, coded, tmp_path):
    image, point = tmp_path / "bad.entrofs", tmp_path / "point"
    data = bytearray(coded.read_bytes())
    data[5000] ^= 1  # in the first block of some stream
    image.write_bytes(data)
    daemon = serve(program, image, point, "-o", "readahead=0,prefetch=8M")
    paths = [*tensor_files(point), *(p for p in point.iterdir() if p.is_file())]
    run_threads([lambda path=path: read_outcome(path) for path in paths for _ in range(4)])
    stats = stats_of(point)
    log = end(daemon, point)
    assert stats["blocks_failed"] == "1", log
    assert len([line for line in log.splitlines() if "checksum mismatch" in line]) == 1, log
