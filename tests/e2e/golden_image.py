"""The golden image and what its files must be, by the second reader of the format (standard library only)."""

import pathlib
import sys

from conftest import ROOT

sys.path.insert(0, str(ROOT / "tests" / "golden"))
import reader  # noqa: E402
from xxh3 import xxh3_64, xxh3_128  # noqa: E402, F401

GOLDEN = ROOT / "tests" / "golden" / "golden-v1.entrofs"


def streams_of(image, tensor):
    return [n for n in (tensor[k] for k in ("stream", "row_scale", "column_scale", "outliers")) if n not in (None, reader.NONE)]


def expected_files(image):
    """{path: (bytes, the streams that they come from)} of everything on a mount but npy/ and tensors.json."""
    files = {}
    for path, extents in image.files.items():
        streams = set()
        for kind, _, reference, _, _ in extents:
            streams.update([reference] if kind == 0 else streams_of(image, image.tensors[reference]))
        files[path.decode()] = (image.file(path), streams)
    for tensor in image.tensors:
        for key, suffix in (("stream", ""), ("row_scale", ".row_scale"), ("column_scale", ".column_scale"), ("outliers", ".outliers")):
            if tensor[key] not in (None, reader.NONE):
                files[f"tensors/{tensor['name'].decode()}{suffix}"] = (image.stream(tensor[key]), {tensor[key]})
    return files


def files_under(root):
    return sorted(str(p.relative_to(root)) for p in pathlib.Path(root).rglob("*") if p.is_file())


def blocks_of(image):
    """(stream, offset, stored bytes) of each block."""
    for number, stream in enumerate(image.streams):
        for plane in stream["planes"]:
            for _, offset, stored, _, _ in plane["blocks"]:
                yield number, offset, stored
