"""The data: one model, its images of 8 and 4 bits, the files they decode to, and those files in other file systems."""
import os
import shutil

from .programs import BenchError, run, say

SQUASHFS_OPTIONS = ["-comp", "zstd", "-Xcompression-level", "15", "-b", "128K"]  # what mksquashfs does by itself with zstd
EROFS_OPTIONS = ["-zlz4hc", "-C65536"]
MATRIX_BYTES = 32 << 20  # decoded, u8


class Data:
    """`kind` is u8 or u4. `plain` is a folder with tensors/ and, for u8, the view files; `images` are by contender."""

    def __init__(self, kind, folder):
        self.kind = kind
        self.folder = folder
        self.plain = os.path.join(folder, "plain")
        self.images = {name: os.path.join(folder, name) for name in ("entrofs", "squashfs", "erofs")}

    def tensors(self):
        names = os.listdir(os.path.join(self.plain, "tensors"))
        sizes = {name: os.path.getsize(os.path.join(self.plain, "tensors", name)) for name in names}
        largest = max(sizes.values())  # biases and norms are no load for a read path
        return [f"tensors/{name}" for name in sorted(names) if sizes[name] >= min(largest, 1 << 20)]

    def views(self):
        return sorted(name for name in os.listdir(self.plain) if name.endswith((".safetensors", ".gguf")))

    def size_of(self, names):
        return sum(os.path.getsize(os.path.join(self.plain, name)) for name in names)


def make(programs, work, model, size_mib, kinds, needs_squashfs, needs_erofs):
    """Data by kind, made in `work` or found there from the last time (the entrofs images are always new)."""
    if model is None:
        model = os.path.join(work, "model")
        n = max(1, (size_mib << 20) // MATRIX_BYTES)
        if not os.path.exists(os.path.join(model, "made")):
            say(f"making a model of {n} matrices, {n * MATRIX_BYTES >> 20} Mi weights")
            shutil.rmtree(model, ignore_errors=True)
            os.makedirs(model)
            run(programs["make_model"], os.path.join(model, "model.safetensors"), n, MATRIX_BYTES // 1024)
            open(os.path.join(model, "made"), "w").close()
    return {kind: make_kind(programs, Data(kind, os.path.join(work, kind)), model, needs_squashfs, needs_erofs) for kind in kinds}


def make_kind(programs, data, model, needs_squashfs, needs_erofs):
    os.makedirs(data.folder, exist_ok=True)
    run(programs["mkentrofs"], "--force", "--quiet", "--bits", data.kind[1:], model, data.images["entrofs"])
    if not os.path.exists(data.plain):
        say(f"{data.kind}: extracting the files")
        shutil.rmtree(data.plain + ".part", ignore_errors=True)
        run(programs["entrofsck"], "--quiet", "--extract", data.plain + ".part", data.images["entrofs"])
        shutil.rmtree(os.path.join(data.plain + ".part", "npy"), ignore_errors=True)  # tensors/ again
        if data.kind != "u8":
            for name in os.listdir(data.plain + ".part"):
                if name.endswith((".safetensors", ".gguf")):
                    os.remove(os.path.join(data.plain + ".part", name))
        os.rename(data.plain + ".part", data.plain)
    if needs_squashfs:
        pack(data, "squashfs", ["mksquashfs", data.plain, "OUT", *SQUASHFS_OPTIONS, "-no-progress", "-quiet", "-noappend"])
    if needs_erofs:
        pack(data, "erofs", ["mkfs.erofs", "--quiet", *EROFS_OPTIONS, "OUT", data.plain])
    return data


def pack(data, name, command):
    image = data.images[name]
    if os.path.exists(image) or shutil.which(command[0]) is None:
        return
    say(f"{data.kind}: packing for {name}")
    try:
        run(*[image + ".part" if word == "OUT" else word for word in command])
        os.rename(image + ".part", image)
    except BenchError as error:
        say(f"{name} is left out: {error}")
