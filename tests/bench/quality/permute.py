"""An equivalent network whose dimensions are in another order, as F16.

A model whose weights were blocks of GGUF already is no fair source for a comparison: a type with the same blocks finds the old lattice again and loses nothing. So the dimensions
of the residual stream, those of each feed-forward layer and those of each head's values are put into a random order (the same one for the same seed); every tensor that writes or
reads them follows, and the network computes what it did. Queries and keys keep their order within a head: position rotates them in pairs.

    permute.py SOURCE.gguf TARGET.gguf [SEED]

Leaves a TARGET that is newer than SOURCE as it is. A SOURCE without quantized weights is no such case: it keeps its order and types.
"""

import os
import re
import shutil
import sys

import numpy

import gguf_copy

SEED = 20260605

# Which dimensions the rows and the columns of a tensor are: of the residual stream, of the layer's feed-forward, of its values by head, of its attention's result by head, or
# ones that stay.
LAYER_TENSORS = {
    "attn_norm.weight": ("residual",),
    "ffn_norm.weight": ("residual",),
    "attn_q.weight": ("stay", "residual"),
    "attn_k.weight": ("stay", "residual"),
    "attn_q.bias": ("stay",),
    "attn_k.bias": ("stay",),
    "attn_v.weight": ("values", "residual"),
    "attn_v.bias": ("values",),
    "attn_output.weight": ("residual", "heads"),
    "attn_output.bias": ("residual",),
    "ffn_gate.weight": ("inner", "residual"),
    "ffn_up.weight": ("inner", "residual"),
    "ffn_down.weight": ("residual", "inner"),
}
MODEL_TENSORS = {
    "token_embd.weight": ("stay", "residual"),
    "output.weight": ("stay", "residual"),
    "output_norm.weight": ("residual",),
    "rope_freqs.weight": ("stay",),
}
ARCHITECTURES = ("llama", "qwen2")


def orders_of_layer(generator, n_inner, n_heads, n_groups, head):
    """New orders for one layer: entry i says which old dimension comes to place i."""
    by_group = [generator.permutation(head) for _ in range(n_groups)]
    values = numpy.concatenate([group * head + order for group, order in enumerate(by_group)])
    heads = numpy.concatenate([h * head + by_group[h * n_groups // n_heads] for h in range(n_heads)])
    return {"inner": generator.permutation(n_inner), "values": values, "heads": heads}


def apply(values, kinds, orders):
    for axis, kind in enumerate(kinds):
        if kind != "stay":
            values = numpy.take(values, orders[kind], axis=axis)
    return values


def permuted(reader, seed=SEED):
    """Yields (name, values) of the network in its new order."""
    architecture = gguf_copy.metadata(reader, "general.architecture")
    if architecture not in ARCHITECTURES:
        sys.exit(f"permute.py knows the networks of {', '.join(ARCHITECTURES)}, not {architecture}: give a source whose weights are F16, BF16 or F32")

    def number(key, default=None):
        return int(gguf_copy.metadata(reader, f"{architecture}.{key}", default))

    n_residual, n_inner = number("embedding_length"), number("feed_forward_length")
    n_heads = number("attention.head_count")
    n_groups = number("attention.head_count_kv", n_heads)
    head = number("attention.value_length", n_residual // n_heads)
    generator = numpy.random.default_rng(seed)
    residual = generator.permutation(n_residual)
    layers = [orders_of_layer(generator, n_inner, n_heads, n_groups, head) for _ in range(number("block_count"))]
    for tensor in reader.tensors:
        match = re.fullmatch(r"blk\.(\d+)\.(.+)", tensor.name)
        kinds = LAYER_TENSORS.get(match[2]) if match else MODEL_TENSORS.get(tensor.name)
        if kinds is None:
            sys.exit(f"permute.py does not know what the dimensions of {tensor.name} are")
        orders = {"residual": residual, **(layers[int(match[1])] if match else {})}
        yield tensor.name, apply(gguf_copy.values_of(tensor), kinds, orders)


def main():
    source, target = sys.argv[1:3]
    if os.path.exists(target) and os.path.getmtime(target) > os.path.getmtime(source):
        return
    os.makedirs(os.path.dirname(os.path.abspath(target)), exist_ok=True)
    reader = gguf_copy.open_model(source)
    if any(gguf_copy.is_quantized(tensor) for tensor in reader.tensors):
        gguf_copy.write(target, reader, permuted(reader, int(sys.argv[3]) if len(sys.argv) > 3 else SEED))
    else:
        shutil.copyfile(source, f"{target}.part")
        os.replace(f"{target}.part", target)


if __name__ == "__main__":
    main()
