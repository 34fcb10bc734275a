"""Importance matrices as llama-imatrix writes them in the GGUF form: for each tensor the mean square of every input over the tokens of a text."""

import numpy
from gguf import GGUFReader

SUMS, COUNTS = ".in_sum2", ".counts"


def read(path):
    """{tensor's name: F32 values, one a column}. A tensor that saw no token is left out."""
    arrays = {tensor.name: numpy.array(tensor.data, numpy.float32) for tensor in GGUFReader(path).tensors}
    matrix = {}
    for name, sums in arrays.items():
        if not name.endswith(SUMS):
            continue
        tensor = name[: -len(SUMS)]
        count = arrays[tensor + COUNTS].reshape(-1, 1)
        if (count > 0).all():
            matrix[tensor] = (sums.reshape(count.shape[0], -1) / count).reshape(-1)
    return matrix
