"""Perplexity and divergence of the tiny model, computed with NumPy alone: what the runner's are compared with.

A plain Llama in float64, token by token of the paper, no code of ours; the tokenizer is the Python package tokenizers. Run as a program it
writes expected.json from text.txt; text.txt is six stories of ../training/stories.py.
"""

import json
import pathlib

import numpy as np

HERE = pathlib.Path(__file__).parent
TINY = HERE.parent / "tiny"
WINDOW = 64


def read_safetensors(path):
    """BF16 and F32 tensors of a file as float64, by name."""
    data = pathlib.Path(path).read_bytes()
    size = int.from_bytes(data[:8], "little")
    tensors = {}
    for name, entry in json.loads(data[8 : 8 + size]).items():
        if name == "__metadata__":
            continue
        begin, end = (8 + size + offset for offset in entry["data_offsets"])
        if entry["dtype"] == "BF16":
            values = (np.frombuffer(data[begin:end], "<u2").astype(np.uint32) << 16).view(np.float32)
        else:
            assert entry["dtype"] == "F32"
            values = np.frombuffer(data[begin:end], "<f4")
        tensors[name] = values.reshape(entry["shape"]).astype(np.float64)
    return tensors


def norm(x, weight, epsilon):
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + epsilon) * weight


def rotate(x, theta):
    """Rotary positions of x [position, head, HEAD], halves (Su et al., arXiv 2104.09864)."""
    half = x.shape[-1] // 2
    angles = np.outer(np.arange(x.shape[0]), theta ** (-np.arange(half) / half))[:, None, :]
    first, second = x[..., :half], x[..., half:]
    return np.concatenate((first * np.cos(angles) - second * np.sin(angles), second * np.cos(angles) + first * np.sin(angles)), axis=-1)


def attend(x, layer, config):
    n, size = x.shape[0], config["head_dim"]
    q = rotate((x @ layer("self_attn.q_proj.weight").T).reshape(n, -1, size), config["rope_theta"])
    k = rotate((x @ layer("self_attn.k_proj.weight").T).reshape(n, -1, size), config["rope_theta"])
    v = (x @ layer("self_attn.v_proj.weight").T).reshape(n, -1, size)
    shared = q.shape[1] // k.shape[1]
    scores = np.einsum("iha,jha->hij", q, np.repeat(k, shared, axis=1)) / np.sqrt(size)
    scores += np.triu(np.full((n, n), -np.inf), 1)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    y = np.einsum("hij,jha->iha", weights, np.repeat(v, shared, axis=1)).reshape(n, -1)
    return y @ layer("self_attn.o_proj.weight").T


def log_probabilities(tensors, config, tokens):
    """ln p of every token of the vocabulary behind each of the tokens."""
    x = tensors["model.embed_tokens.weight"][tokens]
    for i in range(config["num_hidden_layers"]):
        layer = lambda name, i=i: tensors[f"model.layers.{i}.{name}"]  # noqa: E731
        x = x + attend(norm(x, layer("input_layernorm.weight"), config["rms_norm_eps"]), layer, config)
        h = norm(x, layer("post_attention_layernorm.weight"), config["rms_norm_eps"])
        gate = h @ layer("mlp.gate_proj.weight").T
        x = x + (gate / (1 + np.exp(-gate)) * (h @ layer("mlp.up_proj.weight").T)) @ layer("mlp.down_proj.weight").T
    logits = norm(x, tensors["model.norm.weight"], config["rms_norm_eps"]) @ tensors["model.embed_tokens.weight"].T
    logits -= logits.max(axis=-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def mean(values):
    return {"mean": float(np.mean(values)), "error": float(np.std(values) / np.sqrt(len(values) - 1))}


def measure(model, tokens, window, convention, base=None):
    """model and base give log probabilities of tokens; both conventions of perplexity.h, for a model without BOS."""
    losses, divergences, same = [], [], []
    first = window // 2 if convention == "llama.cpp" else 0
    for start in range(0, len(tokens) - window + 1, window):
        piece = np.array(tokens[start : start + window])
        rows = model(piece)[first:-1]
        losses.extend(-rows[np.arange(len(rows)), piece[first + 1 :]])
        if base is not None:
            others = base(piece)[first:-1]
            divergences.extend((np.exp(others) * (others - rows)).sum(axis=-1))
            same.extend(others.argmax(axis=-1) == rows.argmax(axis=-1))
    result = {"scored": len(losses), "loss": mean(losses), "perplexity": float(np.exp(np.mean(losses)))}
    if base is not None:
        result |= {"kl": mean(divergences), "same_top": mean(np.array(same, np.float64))}
    return result


def main():
    from tokenizers import Tokenizer

    config = json.loads((TINY / "config.json").read_text())
    tensors = read_safetensors(TINY / "model.safetensors")
    tokens = Tokenizer.from_file(str(TINY / "tokenizer.json")).encode((HERE / "text.txt").read_text()).ids
    expected = {"window": WINDOW, "tokens": len(tokens)}
    for convention in ("llama.cpp", "gptq"):
        expected[convention] = measure(lambda piece: log_probabilities(tensors, config, piece), tokens, WINDOW, convention)
    (HERE / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
