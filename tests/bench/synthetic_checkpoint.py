#!/usr/bin/env python3
"""Makes a checkpoint with the shapes of a known model and weights drawn at random, for speed without the download.

    tests/bench/synthetic_checkpoint.py SHAPE DIR [--layers N] [--seed N]

SHAPE is one of those below. DIR becomes a Hugging Face folder: config.json, tokenizer.json, BF16 safetensors of at most 2 GB with an index. Weights are normal with a share of
outliers, like those of trained models (so their codes have some 5.5 bits at 8 and 1.5 at 4), scaled so that a forward pass stays finite. Needs numpy; memory is a few chunks,
whatever the model's size. --layers makes it smaller. The tokenizer is a valid byte-level one whose words are synthetic; texts come out as noise.
"""

import argparse
import json
import pathlib
import sys

import numpy as np

COMMON = {"hidden_act": "silu", "torch_dtype": "bfloat16", "bos_token_id": 1, "eos_token_id": 2, "attention_bias": False, "mlp_bias": False}
SHAPES = {
    "smollm2-135m": ("LlamaForCausalLM", {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3,
        "vocab_size": 49152, "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "rope_theta": 100000.0, "tie_word_embeddings": True}),
    "smollm-1.7b": ("LlamaForCausalLM", {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 24, "num_attention_heads": 32, "num_key_value_heads": 32,
        "vocab_size": 49152, "max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": True}),
    "phi-3-mini": ("Phi3ForCausalLM", {"hidden_size": 3072, "intermediate_size": 8192, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32,
        "vocab_size": 32064, "max_position_embeddings": 4096, "original_max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "rope_scaling": None,
        "sliding_window": 2047, "tie_word_embeddings": False}),
    "mistral-7b": ("MistralForCausalLM", {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
        "vocab_size": 32000, "max_position_embeddings": 32768, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "sliding_window": 4096, "tie_word_embeddings": False}),
}
MODEL_TYPES = {"LlamaForCausalLM": "llama", "Phi3ForCausalLM": "phi3", "MistralForCausalLM": "mistral"}
SHARD_BYTES = 2 << 30
CHUNK = 4 << 20  # weights


def tensors(architecture, config):
    """Names and shapes, in the order in which they are written."""
    hidden, inner, vocabulary = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    head = hidden // config["num_attention_heads"]
    kv = config["num_key_value_heads"] * head
    yield "model.embed_tokens.weight", (vocabulary, hidden)
    for i in range(config["num_hidden_layers"]):
        layer = f"model.layers.{i}."
        yield layer + "input_layernorm.weight", (hidden,)
        if architecture == "Phi3ForCausalLM":
            yield layer + "self_attn.qkv_proj.weight", (hidden + 2 * kv, hidden)
        else:
            yield layer + "self_attn.q_proj.weight", (hidden, hidden)
            yield layer + "self_attn.k_proj.weight", (kv, hidden)
            yield layer + "self_attn.v_proj.weight", (kv, hidden)
        yield layer + "self_attn.o_proj.weight", (hidden, hidden)
        yield layer + "post_attention_layernorm.weight", (hidden,)
        if architecture == "Phi3ForCausalLM":
            yield layer + "mlp.gate_up_proj.weight", (2 * inner, hidden)
        else:
            yield layer + "mlp.gate_proj.weight", (inner, hidden)
            yield layer + "mlp.up_proj.weight", (inner, hidden)
        yield layer + "mlp.down_proj.weight", (hidden, inner)
    yield "model.norm.weight", (hidden,)
    if not config["tie_word_embeddings"]:
        yield "lm_head.weight", (vocabulary, hidden)


def to_bf16(values):
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def write_tensor(out, random, shape, pool):
    """Norms are ones. Others: cut from a pool of normal numbers at random places, which is much faster than drawing each, with one outlier in 2000, up to 13 times as far out."""
    count = int(np.prod(shape))
    if len(shape) == 1:
        out.write(to_bf16(np.ones(count, np.float32)).tobytes())
        return
    deviation = np.float32(shape[1] ** -0.5)
    for done in range(0, count, CHUNK):
        n = min(CHUNK, count - done)
        start = int(random.integers(0, pool.size - n + 1))
        values = pool[start : start + n] * deviation
        where = random.integers(0, n, max(1, n // 2000))
        values[where] = deviation * random.uniform(4, 13, where.size).astype(np.float32) * random.choice(np.float32([-1, 1]), where.size)
        out.write(to_bf16(values).tobytes())


def shards(architecture, config):
    """Lists of tensors that fit one file."""
    shard, size = [], 0
    for name, shape in tensors(architecture, config):
        n_bytes = 2 * int(np.prod(shape))
        if shard and size + n_bytes > SHARD_BYTES:
            yield shard
            shard, size = [], 0
        shard.append((name, shape, n_bytes))
        size += n_bytes
    yield shard


def write_weights(folder, architecture, config, random):
    pool = random.standard_normal(4 * CHUNK, np.float32)
    files = list(shards(architecture, config))
    weight_map, total = {}, 0
    for i, shard in enumerate(files):
        name = "model.safetensors" if len(files) == 1 else f"model-{i + 1:05}-of-{len(files):05}.safetensors"
        header, offset = {}, 0
        for tensor, shape, n_bytes in shard:
            header[tensor] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [offset, offset + n_bytes]}
            weight_map[tensor] = name
            offset += n_bytes
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        with open(folder / name, "wb") as out:
            out.write(len(text).to_bytes(8, "little") + text)
            for tensor, shape, _ in shard:
                write_tensor(out, random, shape, pool)
        total += offset
        print(f"{name}: {offset / 1e9:.2f} GB", file=sys.stderr)
    if len(files) > 1:
        (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {"total_size": total}, "weight_map": weight_map}))
    return total


def byte_letters():
    """The letters that byte-level tokenizers write bytes with (GPT-2's table)."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in plain]
    return [chr(b) for b in plain] + [chr(256 + i) for i in range(len(others))]


def write_tokenizer(folder, n_tokens):
    special = ["<unk>", "<s>", "</s>"]
    letters = byte_letters()
    words, merges = special + letters, []
    # Pairs of letters, each a token with its merge, as many as there is room for.
    pairs = [(a, b) for a in letters for b in letters]
    for a, b in pairs[: max(0, n_tokens - len(words))]:
        words.append(a + b)
        merges.append(f"{a} {b}")
    assert len(words) == n_tokens, "a larger vocabulary needs longer words"
    added = [{"id": i, "content": text, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True} for i, text in enumerate(special)]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None, "pre_tokenizer": level, "post_processor": None, "decoder": level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
                  "vocab": {word: i for i, word in enumerate(words)}, "merges": merges},
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("dir", type=pathlib.Path)
    parser.add_argument("--layers", type=int)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    architecture, shape = SHAPES[options.shape]
    config = {"architectures": [architecture], "model_type": MODEL_TYPES[architecture], **COMMON, **shape}
    if options.layers:
        config["num_hidden_layers"] = options.layers
    options.dir.mkdir(parents=True)
    (options.dir / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    write_tokenizer(options.dir, config["vocab_size"])
    total = write_weights(options.dir, architecture, config, np.random.default_rng(options.seed))
    print(f"{options.dir}: {options.shape}, {total / 2e9:.2f} billion weights", file=sys.stderr)


if __name__ == "__main__":
    main()
