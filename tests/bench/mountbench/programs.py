"""Finds or builds the programs that the measurements need, and the packages of the other file systems."""
import os
import shutil
import subprocess
import sys

TREE = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
PACKAGES = {  # by contender: Debian packages by the program that is needed of them
    "squashfs": {"mksquashfs": "squashfs-tools"},
    "squashfuse_ll": {"mksquashfs": "squashfs-tools", "squashfuse_ll": "squashfuse"},
    "erofs": {"mkfs.erofs": "erofs-utils"},
}
TARGETS = {
    "mkentrofs": "mkentrofs/mkentrofs",
    "entrofs": "fs/entrofs",
    "entrofsck": "fs/entrofsck",
    "null_server": "tests/bench/null_server",
    "read_pattern": "tests/bench/read_pattern",
    "make_model": "tests/bench/make_model",
}


class BenchError(Exception):
    """Something without which nothing can be measured; its text says what."""


def say(text):
    print(text, file=sys.stderr, flush=True)


def run(*command, **options):
    """Runs a command to its end and returns what it printed; its error messages are the exception's text."""
    result = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)
    if result.returncode != 0:
        raise BenchError(f"{' '.join(str(word) for word in command)[:300]}: {result.stderr.strip() or result.stdout.strip()}")
    return result.stdout


def build(folder):
    """The programs' paths by name, built in `folder` (None: the release preset)."""
    if folder is None:
        folder = os.path.join(TREE, "build", "release")
        run("cmake", "--preset", "release", cwd=TREE)
    elif not os.path.exists(os.path.join(folder, "CMakeCache.txt")):
        run("cmake", "-S", TREE, "-B", folder, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release")
    run("cmake", "--build", folder, "--target", *TARGETS)
    return {name: os.path.join(folder, path) for name, path in TARGETS.items()}


def install_packages(contenders):
    """As root installs the programs of other file systems; says what is missing otherwise. A refusal is no failure."""
    needed = [item for contender in contenders for item in PACKAGES.get(contender, {}).items()]
    missing = sorted({package for program, package in needed if shutil.which(program) is None})
    if not missing:
        return
    if os.geteuid() != 0:
        say(f"missing Debian packages (as root they are installed): {' '.join(missing)}")
        return
    try:
        run("bash", "-c", 'source cmake/packages.sh && install_packages "$@"', "-", *missing, cwd=TREE)
    except BenchError as error:
        say(f"not installed: {error}")


def processor():
    name, flags = "unknown processor", ""
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                name = line.split(":", 1)[1].strip()
            elif line.startswith("flags"):
                flags = " with AVX-512 VBMI" if "avx512_vbmi" in line or "avx512vbmi" in line else ""
    return f"{os.cpu_count()} x {name}{flags}, Linux {os.uname().release}"
