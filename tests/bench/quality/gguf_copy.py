"""A GGUF written anew with the metadata of another and tensors of the caller's. What the tensors are is the caller's business."""

import os

import numpy
from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter
from gguf.quants import dequantize

# What the writer sets itself.
OWN_KEYS = {"general.architecture", "general.alignment", "general.file_type", "general.quantization_version"}
PLAIN = (GGMLQuantizationType.F32, GGMLQuantizationType.F16, GGMLQuantizationType.BF16)


def is_quantized(tensor):
    return tensor.tensor_type not in PLAIN


def values_of(tensor):
    """A tensor of a GGUFReader as F32, outermost dimension first."""
    return dequantize(tensor.data, tensor.tensor_type).astype(numpy.float32).reshape([int(n) for n in reversed(tensor.shape)])


def metadata(reader, key, default=None):
    field = reader.get_field(key)
    return default if field is None else field.contents()


def copy_metadata(reader, writer):
    for field in reader.fields.values():
        if field.name in OWN_KEYS or field.name.startswith("GGUF."):
            continue
        kind = field.types[0]
        inner = field.types[-1] if kind == GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), kind, inner)


def write(path, reader, tensors, matrix_type=GGMLQuantizationType.F16):
    """Writes `path` from (name, F32 array) pairs: matrices as matrix_type (F16 or F32), all else as F32. Appears when it is complete."""
    part = f"{path}.part"
    writer = GGUFWriter(part, metadata(reader, "general.architecture"), use_temp_file=True)
    copy_metadata(reader, writer)
    writer.add_file_type(1 if matrix_type == GGMLQuantizationType.F16 else 0)
    for name, values in tensors:
        narrow = values.ndim > 1 and matrix_type == GGMLQuantizationType.F16
        writer.add_tensor(name, numpy.ascontiguousarray(values, numpy.float16 if narrow else numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    os.replace(part, path)


def open_model(path):
    return GGUFReader(path)
