"""Writes references.json: what transformers makes of a tiny model of each architecture, for the runner's tests.

Nothing but the configs, the names and shapes of the tensors, the tokens and some of the logits is kept: the weights
come out of weights.py again. Float32 arithmetic over weights that BF16 holds exactly. Only the remaking needs torch and
transformers:

    pip install torch==2.15.0 transformers==5.24.0 numpy==2.4.6
    python3 make_references.py
"""

import json
import pathlib

import numpy
import torch
import transformers

from weights import hash_name, weight

HERE = pathlib.Path(__file__).parent
N_VOCABULARY = 61
N_TOKENS = 150  # more than one batch of the runner, and longer than all windows
# Before, at and behind the ends of windows and of the first batch; the last.
POSITIONS = [0, 7, 15, 16, 40, 127, 128, 149]

SHARED = {"vocab_size": N_VOCABULARY, "max_position_embeddings": 256, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}


def llama3_rope():
    return {
        "rope_type": "llama3",
        "rope_theta": 500000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    }


def theta(value):
    return {"rope_type": "default", "rope_theta": value}


# Each with something that the others lack. Widths are odd where an architecture allows it: rows of 4-bit codes
# then begin in the middle of a byte.
MODELS = {
    "llama, tied, grouped": (
        transformers.LlamaConfig,
        dict(hidden_size=48, intermediate_size=51, num_hidden_layers=2, num_attention_heads=6, num_key_value_heads=2,
             rms_norm_eps=1e-5, tie_word_embeddings=True, rope_parameters=theta(100000.0)),
    ),
    "llama, own head, ungrouped": (
        transformers.LlamaConfig,
        dict(hidden_size=45, intermediate_size=64, num_hidden_layers=2, num_attention_heads=3, head_dim=16,
             rms_norm_eps=1e-6, tie_word_embeddings=False, rope_parameters=theta(10000.0)),
    ),
    "llama, llama3 scaling": (
        transformers.LlamaConfig,
        dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
             rms_norm_eps=1e-5, tie_word_embeddings=False, rope_parameters=llama3_rope()),
    ),
    "llama, linear scaling": (
        transformers.LlamaConfig,
        dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
             rms_norm_eps=1e-5, tie_word_embeddings=True,
             rope_parameters={"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}),
    ),
    "mistral": (
        transformers.MistralConfig,
        dict(hidden_size=45, intermediate_size=51, num_hidden_layers=2, num_attention_heads=6, num_key_value_heads=2,
             head_dim=8, rms_norm_eps=1e-5, sliding_window=16, tie_word_embeddings=False,
             rope_parameters=theta(10000.0)),
    ),
    "mistral without a window": (
        transformers.MistralConfig,
        dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
             rms_norm_eps=1e-5, sliding_window=None, tie_word_embeddings=False, rope_parameters=theta(1000000.0)),
    ),
    "phi3": (
        transformers.Phi3Config,
        dict(hidden_size=192, intermediate_size=51, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2,
             rms_norm_eps=1e-5, sliding_window=15, tie_word_embeddings=False, rope_parameters=theta(10000.0)),
    ),
    "qwen2, tied": (
        transformers.Qwen2Config,
        dict(hidden_size=48, intermediate_size=51, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
             rms_norm_eps=1e-6, tie_word_embeddings=True, rope_parameters=theta(1000000.0)),
    ),
    "qwen2, own head, upper layers with a window": (
        transformers.Qwen2Config,
        dict(hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=2, num_key_value_heads=2,
             rms_norm_eps=1e-6, tie_word_embeddings=False, use_sliding_window=True, sliding_window=24,
             max_window_layers=1, rope_parameters=theta(1000000.0)),
    ),
    "qwen3": (
        transformers.Qwen3Config,
        dict(hidden_size=45, intermediate_size=51, num_hidden_layers=2, num_attention_heads=3, num_key_value_heads=1,
             head_dim=32, rms_norm_eps=1e-6, tie_word_embeddings=True, rope_parameters=theta(1000000.0)),
    ),
    "gemma3": (
        transformers.Gemma3TextConfig,
        dict(hidden_size=40, intermediate_size=51, num_hidden_layers=7, num_attention_heads=4, num_key_value_heads=1,
             head_dim=16, rms_norm_eps=1e-6, tie_word_embeddings=True, sliding_window=16, query_pre_attn_scalar=24,
             rope_parameters={
                 "full_attention": {"rope_type": "linear", "rope_theta": 1000000.0, "factor": 8.0},
                 "sliding_attention": theta(10000.0),
             }),
    ),
}


def old_spelling(config):
    """The same config as transformers 4 wrote it."""
    config = dict(config)
    rope = config.pop("rope_parameters")
    config.pop("layer_types", None)
    config["torch_dtype"] = config.pop("dtype", "bfloat16")
    if "full_attention" in rope:
        sliding, rope = rope["sliding_attention"], dict(rope["full_attention"])
        config["rope_local_base_freq"] = sliding["rope_theta"]
        config["sliding_window_pattern"] = 6
    rope = dict(rope)
    config["rope_theta"] = rope.pop("rope_theta")
    rope.pop("partial_rotary_factor", None)
    config["rope_scaling"] = None if rope["rope_type"] == "default" else rope
    return config


@torch.no_grad()
def refer(name, config_class, options):
    config = config_class(**SHARED, **options)
    config.architectures = [config_class.__name__.replace("TextConfig", "Config").replace("Config", "ForCausalLM")]
    config._attn_implementation = "eager"
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    assert type(model).__name__ == config.architectures[0]
    adds_one = config.model_type.startswith("gemma")
    tensors = []
    for key, tensor in model.state_dict().items():
        if key == "lm_head.weight" and config.tie_word_embeddings:
            continue
        tensors.append({"name": key, "shape": list(tensor.shape)})
        tensor.copy_(torch.from_numpy(weight(key, tuple(tensor.shape), adds_one)))
    tokens = [1] + [int(token) for token in (hash_name(name) >> 8) % N_VOCABULARY + 7 * numpy.arange(N_TOKENS - 1) ** 2]
    tokens = [token % N_VOCABULARY for token in tokens]
    logits = model(torch.tensor([tokens])).logits[0]
    saved = json.loads(config.to_json_string(use_diff=False))
    saved = {key: value for key, value in saved.items() if not key.startswith("_") and not key.endswith("id2label") and key != "label2id"}
    print(f"{name}: logits from {logits.min():.2f} to {logits.max():.2f}, {sum(t.numel() for t in model.parameters())} weights")
    return {
        "name": name,
        "config": saved,
        "config_of_transformers_4": old_spelling(saved),
        "tensors": tensors,
        "tokens": tokens,
        "positions": POSITIONS,
        "logits": [[float(f"{value:.7g}") for value in logits[i].tolist()] for i in POSITIONS],
    }


def main():
    references = [refer(name, *model) for name, model in MODELS.items()]
    with open(HERE / "references.json", "w", encoding="utf-8") as file:
        file.write("[\n")
        file.write(",\n".join(json.dumps(reference, separators=(",", ":")) for reference in references))
        file.write("\n]\n")


if __name__ == "__main__":
    main()
