"""What is measured: each contender shows the same files below one folder; daemons run in the foreground, as children."""
import os
import shutil
import subprocess
import time

from .programs import BenchError, run

MIN_MAX_THREADS = 16  # fs/serve.c: two a processor, at least so many
MOUNT_SECONDS = 20


class Contender:
    """`path` is where its files are while it is mounted, `process` its daemon where it has one."""

    is_warm = False  # its files stay in the page cache

    def __init__(self, name):
        self.name = name
        self.path = None
        self.process = None

    def missing(self, data):
        """Why it cannot be measured here, or None."""
        return None

    def mount(self, data, folder):
        raise NotImplementedError

    def unmount(self):
        pass

    def cpu_seconds(self):
        """User and system time of the daemon so far, of its ended threads too."""
        return 0.0 if self.process is None else time.clock_gettime((~self.process.pid << 3) | 2)

    def forget_peak(self):
        if self.process is not None:
            with open(f"/proc/{self.process.pid}/clear_refs", "w") as file:
                file.write("5")

    def memory_mib(self):
        """Peak resident memory since forget_peak, and what of the present one is no file's."""
        facts = {"VmHWM": 0, "RssAnon": 0}
        if self.process is not None:
            with open(f"/proc/{self.process.pid}/status") as file:
                for line in file:
                    name, _, value = line.partition(":")
                    if name in facts:
                        facts[name] = int(value.split()[0]) / 1024
        return facts["VmHWM"], facts["RssAnon"]


class Plain(Contender):
    def __init__(self, name, is_warm):
        super().__init__(name)
        self.is_warm = is_warm

    def mount(self, data, folder):
        self.path = data.plain
        for place, _, names in os.walk(data.plain):
            for name in names:
                warm(os.path.join(place, name))


class Mounted(Contender):
    def make_folder(self, folder):
        self.path = os.path.join(folder, self.name)
        os.makedirs(self.path, exist_ok=True)

    def unmount(self):
        if self.path is not None and os.path.ismount(self.path):
            take_away(self.path)
        if self.process is not None:
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None


class Daemon(Mounted):
    def __init__(self, name, program, *arguments):
        super().__init__(name)
        self.program = program
        self.arguments = list(arguments)

    def missing(self, data):
        if shutil.which(self.program) is None:
            return f"there is no program {self.program}"
        return None if os.path.exists("/dev/fuse") else "there is no /dev/fuse"

    def command(self, data):
        return [self.program, *self.arguments, data.images["entrofs"], self.path, "-f"]

    def mount(self, data, folder):
        self.make_folder(folder)
        log = os.path.join(folder, self.name + ".log")
        with open(log, "w") as file:
            self.process = subprocess.Popen(self.command(data), stdout=file, stderr=file, start_new_session=True)
        deadline = time.monotonic() + MOUNT_SECONDS
        while not os.path.ismount(self.path):
            if self.process.poll() is not None or time.monotonic() > deadline:
                with open(log) as file:
                    raise BenchError(f"{self.name} does not mount: {file.read().strip()}")
            time.sleep(0.01)
        os.listdir(self.path)
        time.sleep(0.1)  # its own settings come after the first answer


class Squashfuse(Daemon):
    def missing(self, data):
        return super().missing(data) or (None if os.path.exists(data.images["squashfs"]) else "no squashfs image could be made")

    def command(self, data):
        return [self.program, "-f", data.images["squashfs"], self.path]


class Null(Daemon):
    """Set up as the entrofs mount beside it is: the same read-ahead and request size."""

    def __init__(self, name, program, *arguments):
        super().__init__(name, program, "--max-threads", str(max(MIN_MAX_THREADS, 2 * os.cpu_count())), *arguments)
        self.like = None

    def command(self, data):
        max_read = [] if self.like is None else mount_option(self.like.path, "max_read")
        limits = ["--max-read", max_read[0]] if max_read and int(max_read[0]) < 1 << 20 else []
        return [self.program, *self.arguments, *limits, data.plain, self.path]

    def mount(self, data, folder):
        super().mount(data, folder)
        if self.like is not None and os.geteuid() == 0:
            with open(readahead_file(self.path), "w") as file:
                file.write(str(readahead_kib(self.like.path)))


class NullDecode(Null):
    """Fills each reply by checking and decoding stored blocks of memory: what is left of a mount's work without image, cache and dispatch."""

    SETS = {"u8": "gauss_5.7", "u4": "u4_1.4"}  # of tests/bench/bench_codec, as the synthetic model's codes are

    def command(self, data):
        command = super().command(data)
        return [command[0], "--reply", "decoded", "--set", self.SETS[data.kind], *command[1:]]


class Kernel(Mounted):
    """A file system of the kernel, on a loop device over its image."""

    def missing(self, data):
        if os.geteuid() != 0:
            return "only root may mount it"
        with open("/proc/filesystems") as file:
            if self.name not in file.read().split():
                return f"this kernel has no {self.name}"
        return None if os.path.exists(data.images[self.name]) else f"no {self.name} image could be made"

    def mount(self, data, folder):
        self.make_folder(folder)
        run("mount", "-t", self.name, "-o", "ro,loop", data.images[self.name], self.path)


def take_away(path):
    """Unmounts; what is busy leaves the tree at once and ends later."""
    at_once, lazily = (["umount"], ["umount", "-l"]) if os.geteuid() == 0 else (["fusermount3", "-u"], ["fusermount3", "-uz"])
    if subprocess.run([*at_once, path], capture_output=True).returncode != 0:
        subprocess.run([*lazily, path], check=False)


def warm(path):
    with open(path, "rb", buffering=0) as file:
        buffer = bytearray(1 << 20)
        while file.readinto(buffer):
            pass


def mount_option(path, name):
    """The values that /proc/mounts has for an option of the mount at `path`."""
    with open("/proc/self/mounts") as file:
        rows = [line.split() for line in file]
    options = [row[3].split(",") for row in rows if row[1] == path.replace(" ", "\\040")]
    return [word.partition("=")[2] for words in options for word in words if word.startswith(name + "=")]


def readahead_file(path):
    device = os.stat(path).st_dev
    return f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb"


def readahead_kib(path):
    with open(readahead_file(path)) as file:
        return int(file.read())


def every(programs, entrofs_options, also):
    """All contenders, entrofs first: the null server copies its settings. `also`: (name, program, options)."""
    def entrofs(name, program, options):
        return Daemon(name, program, *(["-o", options] if options else []))

    first = entrofs("entrofs", programs["entrofs"], entrofs_options)
    nulls = [Null("null", programs["null_server"]), Null("null_fill", programs["null_server"], "--reply", "kept"),
             NullDecode("null_decode", programs["null_server"])]
    for null in nulls:
        null.like = first
    return [first, *(entrofs(*words) for words in also), *nulls, Kernel("squashfs"), Kernel("erofs"),
            Squashfuse("squashfuse_ll", "squashfuse_ll"), Plain("plain_cached", True), Plain("plain_disk", False)]
