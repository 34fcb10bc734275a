"""How mounting grows: with the number of tensors, with the decoded size, with the readers of one block. Figures in lines."""
import mmap
import os
import shutil
import statistics
import subprocess
import tempfile
import threading
import time

from .contenders import Daemon, take_away
from .programs import processor, run as run_program, say

TENSORS = (10, 100, 1000, 10_000, 100_000)
SIZES_MB = (100, 1000, 4000, 8000, 16_000)
READERS = (1, 2, 4, 16, 64)
ROUNDS = 7
SHARD_TENSORS = 10_000  # a file of a model of more; a header has its limits
LIMITS_MS = {"mount": 100, "ls": 300}  # of 10,000 tensors, and of any size
LIMITED_TENSORS = 10_000


def make_image(programs, work, n_tensors, n_rows):
    """An image of `n_tensors` matrices of 1 KiB rows, almost all zero: large when decoded, and quickly made."""
    model = os.path.join(work, "scale-model")
    os.makedirs(model)
    image = os.path.join(work, "scale.entrofs")
    for first in range(0, n_tensors, SHARD_TENSORS):
        path = os.path.join(model, f"model-{first // SHARD_TENSORS:05}.safetensors")
        run_program(programs["make_model"], "--zero", "--first", first, path, min(SHARD_TENSORS, n_tensors - first), n_rows)
    start = time.monotonic()
    run_program(programs["mkentrofs"], "--force", "--quiet", model, image)
    seconds = time.monotonic() - start
    shutil.rmtree(model)
    return image, seconds


class Image:
    """Stands for measured data where only an entrofs image is needed."""

    def __init__(self, image):
        self.images = {"entrofs": image}


def time_mount(programs, image, folder):
    """Milliseconds from starting entrofs to its exit, by which it says that its daemon serves."""
    start = time.monotonic()
    run_program(programs["entrofs"], image, folder)
    return 1e3 * (time.monotonic() - start)


def stats(folder):
    text = os.getxattr(folder, "user.entrofs.stats").decode()
    return {name: value for name, _, value in (line.partition(" ") for line in text.splitlines())}


def ls_milliseconds(folder):
    start = time.monotonic()
    subprocess.run(["ls", "-l", folder], stdout=subprocess.DEVNULL, check=True)
    return 1e3 * (time.monotonic() - start)


def measure_image(programs, image, work):
    """Milliseconds of ROUNDS mounts, of the first `ls -l` in each and of a second one, and the daemon's RSS after that."""
    folder = tempfile.mkdtemp(prefix="scale.", dir=work)
    mounts, first, second, memory = [], [], [], []
    daemon = Daemon("entrofs", programs["entrofs"])
    for _ in range(ROUNDS):
        mounts.append(time_mount(programs, image, folder))
        try:
            first.append(ls_milliseconds(os.path.join(folder, "tensors")))
            second.append(ls_milliseconds(os.path.join(folder, "tensors")))
        finally:
            take_away(folder)
    daemon.mount(Image(image), folder)
    try:
        ls_milliseconds(os.path.join(daemon.path, "tensors"))
        memory = daemon.memory_mib()
    finally:
        daemon.unmount()
    shutil.rmtree(folder)
    return mounts, first, second, memory


def time_readers(programs, image, work, n_readers):
    """`n_readers` threads read the same 4 KiB at once, cold: blocks decoded, requests that waited for another's decode, all requests, milliseconds till all had it."""
    folder = tempfile.mkdtemp(prefix="scale.", dir=work)
    daemon = Daemon("entrofs", programs["entrofs"])
    daemon.mount(Image(image), folder)
    try:
        tensors = os.path.join(daemon.path, "tensors")
        path = os.path.join(tensors, sorted(os.listdir(tensors))[0])
        before = int(stats(daemon.path)["blocks_decoded"])
        barrier = threading.Barrier(n_readers + 1)

        def read():
            # O_DIRECT: else the kernel asks once, for all of them
            file = os.open(path, os.O_RDONLY | os.O_DIRECT)
            buffer = mmap.mmap(-1, 4096)  # aligned
            barrier.wait()
            os.preadv(file, [buffer], 0)
            os.close(file)

        threads = [threading.Thread(target=read) for _ in range(n_readers)]
        for thread in threads:
            thread.start()
        barrier.wait()
        start = time.monotonic()
        for thread in threads:
            thread.join()
        milliseconds = 1e3 * (time.monotonic() - start)
        facts = stats(daemon.path)
        return int(facts["blocks_decoded"]) - before, int(facts["cache_joins"]), int(facts["requests"]), milliseconds
    finally:
        daemon.unmount()
        shutil.rmtree(folder)


def verdict(milliseconds, limit_ms):
    return f"{'within' if milliseconds < limit_ms else 'MISSES'} the limit of {limit_ms} ms"


def measure_growth(programs, work, kind, cases, rows):
    """Lines of how mounting grows; `cases`: (value of `kind`, tensors, rows of 1 KiB a tensor)."""
    lines = ["", f"{kind:>10} {'decoded MB':>11} {'image MB':>9} {'built s':>8} {'mount ms':>9} {'(best)':>7} {'ls -l ms':>9} {'(best)':>7} {'again ms':>9}"
             f" {'RSS MiB':>8} {'anon MiB':>9}"]
    for value, n_tensors, n_rows in cases:
        image, seconds = make_image(programs, work, n_tensors, n_rows)
        mounts, listings, again, (rss, anon) = measure_image(programs, image, work)
        row = {"name": f"scale_{kind}", "value": value, "decoded_mb": round(n_tensors * n_rows * 1024 / 1e6, 2),
               "image_mb": round(os.path.getsize(image) / 1e6, 2), "build_s": round(seconds, 2),
               "mount_ms": round(statistics.median(mounts), 2), "mount_best_ms": round(min(mounts), 2),
               "ls_ms": round(statistics.median(listings), 2), "ls_best_ms": round(min(listings), 2),
               "ls_again_ms": round(statistics.median(again), 2), "rss_mib": round(rss, 1), "anon_mib": round(anon, 1)}
        os.remove(image)
        rows.append(row)
        lines.append(f"{value:10} {row['decoded_mb']:11.0f} {row['image_mb']:9.2f} {seconds:8.2f} {row['mount_ms']:9.1f} {row['mount_best_ms']:7.1f} "
                     f"{row['ls_ms']:9.1f} {row['ls_best_ms']:7.1f} {row['ls_again_ms']:9.1f} {rss:8.1f} {anon:9.1f}")
        say(lines[-1])
        if kind == "tensors" and value == LIMITED_TENSORS:
            lines.append(f"           mount {verdict(row['mount_ms'], LIMITS_MS['mount'])}, ls -l {verdict(row['ls_ms'], LIMITS_MS['ls'])}")
    return lines


def measure_readers(programs, work, rows):
    lines = ["", f"{'readers':>10} {'requests':>9} {'decoded blocks':>15} {'waited':>7} {'all done ms':>12}     of one block, at once"]
    model = os.path.join(work, "readers-model")
    image = os.path.join(work, "readers.entrofs")
    os.makedirs(model)
    run_program(programs["make_model"], os.path.join(model, "model.safetensors"), 1, 4096)
    run_program(programs["mkentrofs"], "--quiet", model, image)
    for n in READERS:
        decoded, joined, requests, milliseconds = time_readers(programs, image, work, n)
        rows.append({"name": "scale_readers", "value": n, "blocks_decoded": decoded, "joins": joined, "requests": requests, "milliseconds": round(milliseconds, 2)})
        lines.append(f"{n:10} {requests:9} {decoded:15} {joined:7} {milliseconds:12.2f}" + ("" if decoded == 1 else "     MISSED: one decode was due"))
    return lines


def run(programs, work, quick, only):
    """Rows for --json, and the lines of the report; `only`: parts of names of what is measured, empty for everything."""
    rows, lines = [], [processor(), f"median and best of {ROUNDS} mounts; again: ls -l once more"]
    counts = TENSORS[:-1] if quick else TENSORS
    sizes = SIZES_MB[:2] if quick else SIZES_MB
    with tempfile.TemporaryDirectory(prefix="scale.", dir=work) as folder:
        parts = {"tensors": lambda: measure_growth(programs, folder, "tensors", [(n, n, 4) for n in counts], rows),
                 "megabytes": lambda: measure_growth(programs, folder, "megabytes", [(mb, mb // 50, 48_828) for mb in sizes], rows),
                 "readers": lambda: measure_readers(programs, folder, rows)}
        for name, measure in parts.items():
            if not only or any(word in name for word in only):
                lines += measure()
    return rows, lines
