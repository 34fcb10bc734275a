"""Measures rows with entrorun ppl, once: what is known of a row stays in a JSON file until something that it is made from changes."""

import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import rows


def digest(*paths):
    """Of files and of all files in folders: names and contents."""
    state = hashlib.sha256()
    for path in paths:
        path = pathlib.Path(path)
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                state.update(f"{file.name}\0{file.stat().st_size}\0".encode())
                with open(file, "rb") as stream:
                    while block := stream.read(1 << 20):
                        state.update(block)
    return state.hexdigest()


class Measurer:
    def __init__(self, inputs, work, chunks=0, threads=0):
        self.inputs, self.work = inputs, pathlib.Path(work)
        self.chunks = ["--chunks", str(chunks)] if chunks else []
        self.threads = ["--threads", str(threads)] if threads else []
        self.logits = self.work / "source.logits"
        (self.work / "results").mkdir(exist_ok=True)
        self.common = [digest(inputs.source), digest(inputs.text), *self.chunks]
        self.mkentrofs = digest(inputs.mkentrofs)
        self.imatrix = digest(inputs.imatrix) if inputs.imatrix else ""
        self.gguf = digest(inputs.gguf) if inputs.gguf else ""

    def fingerprint(self, row):
        """Changes when the row's figures may. The runner is no part of it: it is the measure."""
        parts = [*self.common, row.id, *row.options, self.imatrix if row.imatrix else ""]
        if row.kind == "peer":
            parts += [self.gguf]
        elif row.group != "source":
            parts += [self.mkentrofs]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def known(self, row):
        path = self.work / "results" / f"{row.id}.json"
        if not path.exists() or (row.group == "source" and not self.logits.exists()):
            return None
        result = json.loads(path.read_text())
        return result if result["fingerprint"] == self.fingerprint(row) else None

    def perplexity(self, directory, *more):
        command = [self.inputs.entrorun, "ppl", "-m", directory, "-f", self.inputs.text, "--json", *self.chunks, *self.threads, *more]
        return json.loads(rows.run(command, stdout=subprocess.PIPE).stdout)

    def measure(self, row):
        with tempfile.TemporaryDirectory(prefix="row-", dir=self.work) as folder:
            directory, facts = rows.make(row, self.inputs, pathlib.Path(folder))
            figures = self.perplexity(directory, *(["--save-logits", self.logits] if row.group == "source" else ["--kl", self.logits]))
        result = {"id": row.id, "name": row.name, "group": row.group, "fingerprint": self.fingerprint(row), **facts, **figures}
        return self.keep(self.work / "results" / f"{row.id}.json", result)

    @staticmethod
    def keep(path, result):
        part = path.with_suffix(".part")
        part.write_text(json.dumps(result))
        os.replace(part, path)
        return result

    def llama_cpp(self):
        """The source's perplexity as llama.cpp computes it, over the same windows: a check of the measure itself."""
        path = self.work / "results" / "llama.cpp.json"
        fingerprint = hashlib.sha256("\0".join([*self.common, self.gguf]).encode()).hexdigest()
        if path.exists():
            result = json.loads(path.read_text())
            if result["fingerprint"] == fingerprint:
                return result
        print("measuring the source with llama.cpp", file=sys.stderr, flush=True)
        command = [sys.executable, rows.HERE.parent / "llama_cpp_perplexity.py", self.inputs.gguf, self.inputs.text, "--json", *self.chunks]
        return self.keep(path, {"fingerprint": fingerprint, **json.loads(rows.run(command, stdout=subprocess.PIPE).stdout)})

    def all(self, wanted):
        results = []
        for row in wanted:
            result = self.known(row)
            if result is None:
                print(f"measuring {row.id}", file=sys.stderr, flush=True)
                result = self.measure(row)
            results.append(result)
        return results
