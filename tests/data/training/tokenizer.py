"""Trains the tiny model's tokenizer, and the one of Llama's kind in ../spm for the tests.

Both are byte-pair encodings of the text of text.py: byte-level here, as SmolLM2 has it,
and with byte fall-back there, as Llama 2 has it. Usage: python3 tokenizer.py
"""

import json
import pathlib

from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

import text

DATA = pathlib.Path(__file__).parents[1]
STORY_CHARS = 4_000_000
SEED = 1


def train_byte_level(texts):
    """Returns a byte-level tokenizer like SmolLM2's, of 2048 tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=2048,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    ))
    return tokenizer


def train_byte_fallback(texts):
    """Returns a tokenizer like Llama 2's, of about 1000 tokens."""
    special = ["<unk>", "<s>", "</s>"]
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    spaces = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    trained = Tokenizer(models.BPE())
    trained.normalizer = spaces
    # Words are kept apart for the training only: the merges of spaces come of "▁" alone.
    trained.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    trained.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=1000, special_tokens=special + bytes_, show_progress=False))
    model = json.loads(trained.to_str())["model"]
    merges = [tuple(merge) for merge in model["merges"]]

    tokenizer = Tokenizer(models.BPE(
        model["vocab"], merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = spaces
    tokenizer.decoder = decoders.Sequence([
        decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
        decoders.Strip(" ", 1, 0),
    ])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    tokenizer.add_special_tokens(special)
    return tokenizer


def main():
    texts = text.read_novels() + text.make_stories(STORY_CHARS, SEED)
    train_byte_level(texts).save(str(DATA / "tiny" / "tokenizer.json"))
    (DATA / "spm").mkdir(exist_ok=True)
    train_byte_fallback(texts).save(str(DATA / "spm" / "tokenizer.json"))


if __name__ == "__main__":
    main()
