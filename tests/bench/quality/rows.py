"""The rows of the table: what each is called, what it is made from, and how it is made. Measuring is measure.py's."""

import dataclasses
import json
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
PEERS = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_0", "Q3_K_M")
PEERS_WITH_IMATRIX = ("Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M")
BPW = (2.6, 3.1, 3.6, 4.1, 4.9, 5.5, 6.6)


@dataclasses.dataclass
class Inputs:
    """Where everything is."""

    source: pathlib.Path  # a model directory, as mkentrofs takes it
    gguf: pathlib.Path | None  # the same weights as F16 or F32, for llama.cpp
    imatrix: pathlib.Path | None
    text: pathlib.Path
    mkentrofs: pathlib.Path
    entrofsck: pathlib.Path
    entrorun: pathlib.Path


@dataclasses.dataclass
class Row:
    id: str
    name: str
    group: str  # source, paper, ours, ours-imatrix, nominal, nominal-imatrix, file, file-imatrix
    kind: str  # image or peer
    options: tuple = ()  # of mkentrofs; or how and type for peers.py
    imatrix: bool = False
    bits_wanted: float | None = None


def image_row(id, name, group, *options, imatrix=False, bits_wanted=None):
    return Row(id, name, group, "image", options, imatrix, bits_wanted)


def peer_row(how, kind, imatrix=False):
    group = how + ("-imatrix" if imatrix else "")
    return Row(f"{group}-{kind}", kind, group, "peer", (how, kind), imatrix)


def all_rows(inputs, bpw=BPW, balanced=True):
    rows = [image_row("source", "source", "source", "--scheme", "lossless")]
    if inputs.gguf:
        rows += [peer_row("nominal", kind) for kind in PEERS]
        rows += [peer_row("nominal", kind, imatrix=True) for kind in PEERS_WITH_IMATRIX if inputs.imatrix]
    rows += [image_row(f"u{bits}", f"u{bits}", "paper", "--scheme", "mixed", "--bits", str(bits)) for bits in (8, 4)]
    if balanced:
        rows += [image_row(f"bpw-{bits}", f"--bpw {bits}", "ours", "--bpw", str(bits), bits_wanted=bits) for bits in bpw]
        if inputs.imatrix:
            rows += [image_row(f"bpw-{bits}-imatrix", f"--bpw {bits}", "ours-imatrix", "--bpw", str(bits), imatrix=True, bits_wanted=bits) for bits in bpw]
    if inputs.gguf:
        rows += [peer_row("file", kind) for kind in PEERS]
        rows += [peer_row("file", kind, imatrix=True) for kind in PEERS_WITH_IMATRIX if inputs.imatrix]
    return rows


def run(command, **options):
    return subprocess.run([str(part) for part in command], check=True, text=True, **options)


def extract(inputs, model, folder, options):
    """A directory that entrorun reads, and the builder's report."""
    image = folder / "image"
    done = run([inputs.mkentrofs, "--quiet", "--report", "json", *options, model, image], stdout=subprocess.PIPE)
    run([inputs.entrofsck, "--quiet", "--extract", folder / "model", image])
    image.unlink()
    return folder / "model", json.loads(done.stdout)


def make_image(row, inputs, folder):
    options = list(row.options) + (["--imatrix", inputs.imatrix] if row.imatrix else [])
    directory, report = extract(inputs, inputs.source, folder, options)
    quantized, all_bytes = report["stored_bytes"], report["stored_bytes"] + report["lossless_stored_bytes"]
    return directory, {
        "bits": 8 * all_bytes / report["parameters"],
        "bits_quantized": 8 * quantized / report["quantized_parameters"] if report["quantized_parameters"] else None,
        "snr_db": report["snr_db"],
        "image_bytes": report["image_bytes"],
    }


def make_peer(row, inputs, folder):
    (folder / "gguf").mkdir()
    command = [sys.executable, HERE / "peers.py", row.options[0], inputs.gguf, folder / "gguf" / "model.gguf", row.options[1]]
    facts = json.loads(run(command + ([inputs.imatrix] if row.imatrix else []), stdout=subprocess.PIPE).stdout)
    directory, _ = extract(inputs, folder / "gguf", folder, ["--scheme", "lossless"])
    return directory, facts


def make(row, inputs, folder):
    """The row's model in `folder`, which is empty: a directory for entrorun, and facts for the result."""
    return (make_image if row.kind == "image" else make_peer)(row, inputs, folder)
