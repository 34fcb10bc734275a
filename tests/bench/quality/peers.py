"""llama.cpp's types: a model quantized by llama.cpp itself. Runs in the environment that has llama_cpp.

    peers.py file SOURCE.gguf TARGET.gguf TYPE [IMATRIX]       what llama-quantize writes
    peers.py nominal SOURCE.gguf TARGET.gguf TYPE [IMATRIX]    the same choice of types, none replaced for want of room

Prints a JSON object: bits a weight and the number of weights of each type.

K types are blocks of 256 weights of a row. Where rows are no multiple of that, llama.cpp takes larger types of 32 (Q5_0 for Q4_K, Q8_0 for Q6_K, ...), so that the file of a model
with odd sizes says little about the type in its name. `nominal` is what the type gives where sizes fit: rows go into blocks one behind another, ggml's own routines quantize
them and read them back, and TARGET is their result as F16. Which tensor has which type is llama.cpp's decision, too: it is asked (a dry run) for a file of the same tensors whose rows are
rounded up to 256.
"""

import argparse
import ctypes
import json
import math
import os
import re
import sys
import tempfile

import llama_cpp
import numpy
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFWriter
from gguf.quants import dequantize

import gguf_copy
import importances

BLOCK = 256
TYPES = ("Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q4_K_M", "Q4_K_S", "Q4_0", "Q3_K_L", "Q3_K_M", "Q3_K_S", "Q2_K", "IQ4_XS", "IQ4_NL")


class Log:
    """What llama.cpp says while it works."""

    def __init__(self):
        self.text = ""
        self.callback = llama_cpp.llama_cpp.llama_log_callback(lambda level, text, data: self.append(text))
        llama_cpp.llama_log_set(self.callback, ctypes.c_void_p(0))

    def append(self, text):
        self.text += text.decode(errors="replace")


def importance_array(matrix):
    """llama.cpp's own form: an array that ends with an entry without a name. The arrays must outlive it."""
    entries = (llama_cpp.llama_cpp.llama_model_imatrix_data * (len(matrix) + 1))()
    kept = []
    for entry, (name, values) in zip(entries, matrix.items()):
        values = numpy.ascontiguousarray(values, numpy.float32)
        kept.append(values)
        entry.name, entry.size = name.encode(), values.size
        entry.data = values.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
    return entries, kept


def run_llama_quantize(source, target, kind, matrix, dry=False):
    log = Log()
    llama_cpp.llama_backend_init()
    options = llama_cpp.llama_model_quantize_default_params()
    options.nthread = len(os.sched_getaffinity(0))
    options.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{kind}")
    options.dry_run = dry
    entries, kept = importance_array(matrix)
    if matrix:
        options.imatrix = ctypes.cast(entries, ctypes.POINTER(llama_cpp.llama_cpp.llama_model_imatrix_data))
    if llama_cpp.llama_model_quantize(os.fsencode(source), os.fsencode(target), ctypes.byref(options)) != 0:
        sys.exit(f"llama.cpp cannot make {kind} of {source}:\n{log.text[-2000:]}")
    return log.text


def quantize_file(source, target, kind, matrix):
    part = f"{target}.part"
    run_llama_quantize(source, part, kind, matrix)
    os.replace(part, target)
    return {tensor.name: tensor.tensor_type for tensor in gguf_copy.open_model(target).tensors}


def round_up(n):
    return -(-n // BLOCK) * BLOCK


def write_hollow(path, reader):
    """A file of the same tensors with rows rounded up, all holes."""
    writer = GGUFWriter(path, gguf_copy.metadata(reader, "general.architecture"))
    gguf_copy.copy_metadata(reader, writer)
    for tensor in reader.tensors:
        shape = [int(n) for n in reversed(tensor.shape)]
        if len(shape) > 1:
            shape[-1] = round_up(shape[-1])
        kind = numpy.float16 if len(shape) > 1 else numpy.float32
        writer.add_tensor_info(tensor.name, shape, numpy.dtype(kind), math.prod(shape) * numpy.dtype(kind).itemsize)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    size = sum(-(-math.prod([round_up(int(t.shape[0])), *map(int, t.shape[1:])]) * 4 // 32) * 32 for t in reader.tensors)
    os.truncate(path, os.path.getsize(path) + size + 4096)


def mixture(source, reader, kind):
    """The type of each tensor that llama.cpp quantizes, where all sizes fit."""
    with tempfile.TemporaryDirectory(dir=os.path.dirname(os.path.abspath(source))) as folder:
        write_hollow(f"{folder}/hollow.gguf", reader)
        log = run_llama_quantize(f"{folder}/hollow.gguf", f"{folder}/none.gguf", kind, {}, dry=True)
    found = {}
    for line in log.splitlines():
        match = re.match(r"\[ *\d+/ *\d+\] +(\S+) .*-> .*\((\w+)\)", line)
        if match:
            found[match[1]] = GGMLQuantizationType[match[2].upper()]
    if not found:
        sys.exit(f"llama.cpp's log names no types:\n{log[-4000:]}")
    return found


def quantize_rows(values, kind, weights):
    """Through ggml and back; blocks run across the ends of rows where rows are no multiple of them."""
    library = quantize_rows.library
    block, block_bytes = GGML_QUANT_SIZES[kind]
    n_rows, n_columns = math.prod(values.shape[:-1]), values.shape[-1]
    together = math.lcm(n_columns, block) // n_columns
    if n_rows % together:
        together = n_rows
    width = together * n_columns
    if width % block:
        sys.exit(f"a tensor of {values.shape} is no whole number of blocks of {block}")
    source = numpy.ascontiguousarray(values, numpy.float32).reshape(-1)
    target = numpy.empty(source.size // block * block_bytes, numpy.uint8)
    pointer = None
    if weights is not None:
        weights = numpy.tile(numpy.ascontiguousarray(weights, numpy.float32), together)
        pointer = weights.ctypes.data_as(ctypes.c_void_p)
    library.ggml_quantize_chunk(int(kind), source.ctypes.data_as(ctypes.c_void_p), target.ctypes.data_as(ctypes.c_void_p), 0, source.size // width, width, pointer)
    return dequantize(target.reshape(-1, block_bytes), kind).reshape(values.shape)


def load_ggml():
    library = ctypes.CDLL(os.path.join(os.path.dirname(llama_cpp.__file__), "lib", "libggml-base.so"))
    library.ggml_quantize_chunk.restype = ctypes.c_size_t
    library.ggml_quantize_chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p]
    quantize_rows.library = library


def quantize_nominal(source, target, kind, matrix):
    reader = gguf_copy.open_model(source)
    types = mixture(source, reader, kind)
    load_ggml()

    def tensors():
        for tensor in reader.tensors:
            values = gguf_copy.values_of(tensor)
            if tensor.name in types:
                values = quantize_rows(values, types[tensor.name], matrix.get(tensor.name))
            yield tensor.name, values

    gguf_copy.write(target, reader, tensors())
    return {tensor.name: types.get(tensor.name, GGMLQuantizationType.F32) for tensor in reader.tensors}


def figures(source, types):
    """Bits a weight by the types' sizes; all weights, and those of quantized tensors."""
    bits, weights, by_type = {}, {}, {}
    for tensor in gguf_copy.open_model(source).tensors:
        kind = types[tensor.name]
        block, block_bytes = GGML_QUANT_SIZES[kind]
        n = math.prod(int(d) for d in tensor.shape)
        for group in ("all", "quantized") if kind not in gguf_copy.PLAIN else ("all",):
            bits[group] = bits.get(group, 0) + 8 * block_bytes * n / block
            weights[group] = weights.get(group, 0) + n
        by_type[kind.name] = by_type.get(kind.name, 0) + n
    return {"bits": bits["all"] / weights["all"], "bits_quantized": bits["quantized"] / weights["quantized"], "weights_by_type": by_type}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("how", choices=["file", "nominal"])
    parser.add_argument("source"), parser.add_argument("target"), parser.add_argument("type", choices=TYPES), parser.add_argument("imatrix", nargs="?")
    options = parser.parse_args()
    matrix = importances.read(options.imatrix) if options.imatrix else {}
    quantize = quantize_file if options.how == "file" else quantize_nominal
    types = quantize(options.source, options.target, options.type, matrix)
    print(json.dumps(figures(options.source, types)))


if __name__ == "__main__":
    main()
