"""The small model as a GGUF, made by the reference package as llama.cpp's converter does: the same weights and tokens in other clothes."""

import hashlib
import json
import re

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Type

import independent
from conftest import needs_fuse

PROMPTS = ("Once upon a time, in a small village,", "One night, there was a terrible storm.", "The capital of France is")
LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
OTHERS = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
NORMAL, CONTROL = 1, 3  # token types


def gguf_name(name):
    if name in OTHERS:
        return OTHERS[name]
    _, _, layer, part = name.split(".", 3)
    return f"blk.{layer}.{LAYER[part.removesuffix('.weight')]}.weight"


def source_tensors(folder):
    """{name: F32 array} of a safetensors file in BF16."""
    raw = (folder / "model.safetensors").read_bytes()
    header_bytes = int.from_bytes(raw[:8], "little")
    found = {}
    for name, entry in json.loads(raw[8 : 8 + header_bytes]).items():
        if name != "__metadata__":
            assert entry["dtype"] == "BF16"
            begin, end = (8 + header_bytes + offset for offset in entry["data_offsets"])
            found[name] = independent.bf16_to_f32(np.frombuffer(raw[begin:end], "<u2")).reshape(entry["shape"])
    return found


def interleaved(w, n_heads):
    """Rows of q and k in the order that llama.cpp's RoPE wants: pairs side by side instead of halves."""
    return w.reshape(n_heads, 2, w.shape[0] // n_heads // 2, -1).swapaxes(1, 2).reshape(w.shape)


def add_tokenizer(writer, folder):
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    special = {token["id"] for token in tokenizer["added_tokens"]}
    vocabulary = sorted(tokenizer["model"]["vocab"].items(), key=lambda item: item[1])
    assert [number for _, number in vocabulary] == list(range(len(vocabulary)))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list([token for token, _ in vocabulary])
    writer.add_token_types([CONTROL if number in special else NORMAL for _, number in vocabulary])
    writer.add_token_merges([" ".join(pair) for pair in tokenizer["model"]["merges"]])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    writer.add_add_bos_token(False)


def convert(folder, path, matrix_type):
    config = json.loads((folder / "config.json").read_text())
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_file_type({Type.F32: 0, Type.F16: 1, Type.Q4_1: 3, Type.Q8_0: 7}[matrix_type])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_vocab_size(config["vocab_size"])
    add_tokenizer(writer, folder)
    for name, w in source_tensors(folder).items():
        if name.endswith("q_proj.weight"):
            w = interleaved(w, config["num_attention_heads"])
        elif name.endswith("k_proj.weight"):
            w = interleaved(w, config["num_key_value_heads"])
        kind = matrix_type if w.ndim == 2 else Type.F32
        writer.add_tensor(gguf_name(name), gguf.quants.quantize(np.ascontiguousarray(w), kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(scope="module")
def as_gguf(tiny, tmp_path_factory):
    """as_gguf(type) is the folder of the model as a .gguf with matrices of that type."""
    made = {}

    def call(matrix_type):
        if matrix_type not in made:
            made[matrix_type] = tmp_path_factory.mktemp(matrix_type.name)
            convert(tiny, made[matrix_type] / "tiny.gguf", matrix_type)
        return made[matrix_type]

    return call


@pytest.fixture
def mounted(run, mount, tmp_path):
    """mounted(source, *options) builds an image of the source and mounts it."""

    def call(source, *options):
        image = tmp_path / f"{len(list(tmp_path.iterdir()))}.entrofs"
        run("mkentrofs", *options, source, image, check=True)
        return mount(image)

    return call


def texts(run, root, n_tokens=32):
    return [
        run("entrorun", "run", "-m", root, "--no-chat", "--temp", 0, "-n", n_tokens, "-p", prompt, check=True).stdout
        for prompt in PROMPTS
    ]


def share_of_whole_words(text, folder):
    """How many of a text's words are tokens of their own: nearly all of common English, hardly any of what a broken model writes."""
    tokens = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    words = re.findall(r"[A-Za-z]+", text)
    return sum(f"Ġ{word}" in tokens or word in tokens for word in words) / max(len(words), 1)


def check_alike(told, expected, folder):
    """Texts of weights that differ a little: they may part ways at any word, but both are English and know the same fact."""
    assert all(len(text.split()) > 8 and share_of_whole_words(text, folder) > 0.5 for text in told), told
    assert told[-1].split()[0] == expected[-1].split()[0], (told, expected)


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@needs_fuse
@pytest.mark.parametrize("matrix_type", [Type.F32, Type.F16, Type.Q8_0, Type.Q4_1])
def test_a_lossless_gguf_is_the_same_on_the_mount_and_writes_like_the_safetensors(run, mounted, as_gguf, tiny, matrix_type):
    source = as_gguf(matrix_type)
    root = mounted(source, "--scheme", "lossless")
    assert digest(root / "tiny.gguf") == digest(source / "tiny.gguf")
    info = run("entrorun", "info", "-m", root, check=True).stdout
    assert ("bytes (on a GPU: F16)\n" in info) == (matrix_type in (Type.Q8_0, Type.Q4_1)), info
    told, expected = texts(run, root), texts(run, mounted(tiny, "--scheme", "lossless"))
    assert all(len(text.split()) > 8 for text in expected), expected
    if matrix_type == Type.F32:
        assert told == expected
    else:
        check_alike(told, expected, tiny)


@needs_fuse
@pytest.mark.parametrize("matrix_type", [Type.F32, Type.Q8_0])
def test_a_quantized_gguf_has_the_codes_of_the_safetensors_and_writes_like_it(run, mounted, as_gguf, tiny, matrix_type):
    root, reference = mounted(as_gguf(matrix_type)), mounted(tiny)
    told, expected = texts(run, root), texts(run, reference)
    tensors = {tensor["name"]: tensor for tensor in independent.tensors(root)}
    assert sum(tensor["bits"] == 8 for tensor in tensors.values()) > 40
    for tensor in tensors.values():
        assert independent.check_view(root, tensor) == 0, tensor["name"]
    if matrix_type != Type.F32:
        check_alike(told, expected, tiny)
        return
    # The same weights on the same grid.
    heads = {"attn_q": 8, "attn_k": 2}
    for source in independent.tensors(reference):
        tensor = tensors[gguf_name(source["name"])]
        assert (tensor["scheme"], tensor["scale"], tensor["zero_point"]) == (source["scheme"], source["scale"], source["zero_point"])
        if source["bits"] == 8:
            rows = independent.codes(reference, source).reshape(source["shape"])
            part = tensor["name"].split(".")[-2]
            rows = interleaved(rows, heads[part]) if part in heads else rows
            assert (independent.codes(root, tensor) == rows.reshape(-1)).all(), tensor["name"]
    assert told == expected
