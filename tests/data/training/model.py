"""The tiny model: a plain Llama in torch with the names of transformers' LlamaForCausalLM.

For training alone: no cache, no masks but the causal one. train.py trains it.
"""

import json
import pathlib

import torch
from torch import nn
from torch.nn import functional

CONFIG = json.loads((pathlib.Path(__file__).parents[1] / "tiny" / "config.json").read_text())
HIDDEN = CONFIG["hidden_size"]
N_HEADS = CONFIG["num_attention_heads"]
N_KV_HEADS = CONFIG["num_key_value_heads"]
HEAD = CONFIG["head_dim"]


def linear(n_in, n_out):
    return nn.Linear(n_in, n_out, bias=False)


def norm():
    return nn.RMSNorm(HIDDEN, eps=CONFIG["rms_norm_eps"])


def make_rotation(n_positions):
    """Returns cosines and sines, each n_positions x HEAD (RoPE, Su et al. 2021)."""
    frequencies = CONFIG["rope_theta"] ** (-torch.arange(0, HEAD, 2) / HEAD)
    angles = torch.outer(torch.arange(n_positions), frequencies).repeat(1, 2)
    return angles.cos(), angles.sin()


def rotate(x, rotation):
    """Rotates the halves of each head of x (batch, head, position, HEAD)."""
    cosines, sines = rotation
    first, second = x.chunk(2, dim=-1)
    return x * cosines + torch.cat((-second, first), dim=-1) * sines


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.q_proj = linear(HIDDEN, N_HEADS * HEAD)
        self.k_proj = linear(HIDDEN, N_KV_HEADS * HEAD)
        self.v_proj = linear(HIDDEN, N_KV_HEADS * HEAD)
        self.o_proj = linear(N_HEADS * HEAD, HIDDEN)

    def forward(self, x, rotation):
        def heads(y):
            return y.unflatten(-1, (-1, HEAD)).transpose(1, 2)

        q = rotate(heads(self.q_proj(x)), rotation)
        k = rotate(heads(self.k_proj(x)), rotation).repeat_interleave(N_HEADS // N_KV_HEADS, 1)
        v = heads(self.v_proj(x)).repeat_interleave(N_HEADS // N_KV_HEADS, 1)
        # Written out, as torch.compile makes it faster than torch's own attention on a CPU.
        later = torch.full((x.shape[1], x.shape[1]), -torch.inf, dtype=v.dtype).triu(1)
        scores = q.to(v.dtype) @ k.to(v.dtype).transpose(-1, -2) * HEAD**-0.5 + later
        y = scores.softmax(-1, dtype=torch.float32).to(v.dtype) @ v
        return self.o_proj(y.transpose(1, 2).flatten(-2))


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate_proj = linear(HIDDEN, CONFIG["intermediate_size"])
        self.up_proj = linear(HIDDEN, CONFIG["intermediate_size"])
        self.down_proj = linear(CONFIG["intermediate_size"], HIDDEN)

    def forward(self, x):
        return self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.input_layernorm, self.post_attention_layernorm = norm(), norm()
        self.self_attn, self.mlp = Attention(), Mlp()

    def forward(self, x, rotation):
        x = x + self.self_attn(self.input_layernorm(x), rotation)
        return x + self.mlp(self.post_attention_layernorm(x))


class Llama(nn.Module):
    """Tokens (batch, position) to logits (batch, position, vocabulary)."""

    def __init__(self):
        super().__init__()
        self.embed_tokens = nn.Embedding(CONFIG["vocab_size"], HIDDEN)
        self.layers = nn.ModuleList(Layer() for _ in range(CONFIG["num_hidden_layers"]))
        self.norm = norm()
        self.rotation = make_rotation(CONFIG["max_position_embeddings"])
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                # What is added to the residual stream begins smaller (GPT-2).
                inner = name.endswith(("o_proj.weight", "down_proj.weight"))
                n_sums = 2 * CONFIG["num_hidden_layers"] if inner else 1
                nn.init.normal_(weight, std=CONFIG["initializer_range"] / n_sums**0.5)

    def forward(self, tokens):
        rotation = [table[:tokens.shape[1]] for table in self.rotation]
        x = self.embed_tokens(tokens)
        for layer in self.layers:
            x = layer(x, rotation)
        return functional.linear(self.norm(x), self.embed_tokens.weight)
