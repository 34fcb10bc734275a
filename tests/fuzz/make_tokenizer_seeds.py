#!/usr/bin/env python3
"""Writes corpus/fuzz_tokenizer: small tokenizers with every component that is known, each with a text (a zero byte between them); and
corpus/fuzz_sentencepiece: small tokenizer.model files, with and without a tokenizer_config.json; and corpus/fuzz_chat: the templates of
tests/data/chat, each with a message."""
import json
import pathlib
import struct

CORPUS = pathlib.Path(__file__).resolve().parent / "corpus"
OUT = CORPUS / "fuzz_tokenizer"
META = "\u2581"
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}


def model(*pieces, merges=(), **options):
    return {"type": "BPE", "vocab": {piece: index for index, piece in enumerate(pieces)}, "merges": list(merges), **options}


def added(token_id, content, **flags):
    return {"id": token_id, "content": content, "special": True, "normalized": False, **flags}


LETTERS = model("a", "b", "c", "ab", "abc", "\u0120", "\u00c3", "\u00a9", "\u0120a", "1", merges=["a b", ["ab", "c"], "\u0120 a"], ignore_merges=True)
FALLBACK = model("<unk>", "<s>", "<0xC3>", "<0xA9>", "<0x0A>", "a", META, META + "a", merges=[META + " a"], unk_token="<unk>", fuse_unk=True, byte_fallback=True)


def split(pattern, behavior, invert=False):
    return {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}


SEEDS = {
    "minimal": ({"model": LETTERS}, "abcab"),
    "byte_level": ({"model": LETTERS, "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True, "use_regex": True}, "decoder": {"type": "ByteLevel"}}, "abc a\u00e9 1b"),
    "digits": ({"model": LETTERS, "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, BYTES]}}, "a11 b1"),
    "isolated": ({"model": LETTERS, "pre_tokenizer": split({"Regex": r"(?i:'s)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|\s+(?!\S)|[\s\w]\b"}, "Isolated")}, "abc's 111a\n b"),
    "removed": ({"model": LETTERS, "pre_tokenizer": split({"String": " "}, "Removed")}, "a b  c"),
    "merged": ({"model": LETTERS, "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split({"Regex": "x*"}, "MergedWithNext"), split({"Regex": "[b-c]"}, "MergedWithPrevious", True), split({"Regex": "a"}, "Contiguous")]}}, "axxbaab"),
    "forms": ({"model": LETTERS, "normalizer": {"type": "Sequence", "normalizers": [{"type": kind} for kind in ("NFC", "NFD", "NFKC", "NFKD")] + [{"type": "Replace", "pattern": {"Regex": r"\p{M}"}, "content": "bc"}]}}, "e\u0301\ufb01a\u0323\u0307"),
    "prepend": ({"model": FALLBACK, "added_tokens": [added(1, "<s>")],
                 "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": META}, {"type": "Replace", "pattern": {"String": " "}, "content": META}]},
                 "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}], "special_tokens": {"<s>": {"ids": [1]}}},
                 "decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": META}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}}, "a\u00e9<s> \u4e00\na"),
    "metaspace": ({"model": FALLBACK, "pre_tokenizer": {"type": "Metaspace", "replacement": META, "prepend_scheme": "first", "split": True},
                   "decoder": {"type": "Metaspace", "replacement": META, "prepend_scheme": "first"}}, "a a  xa"),
    "flags": ({"model": LETTERS, "normalizer": {"type": "Prepend", "prepend": "a"},
               "added_tokens": [added(20, "<l>", lstrip=True), added(21, "<r>", rstrip=True), added(22, "b", single_word=True, special=False) | {"id": 1}, added(23, "<n>", normalized=True), added(24, "<l><l>")]}, " <l> <r> b ab a<n><l><l>"),
    "broken_text": ({"model": FALLBACK, "decoder": {"type": "ByteFallback"}}, b"a\xc3(\xf0\x9f\x98\xed\xa0\x80\xff"),
    "slow_regex": ({"model": LETTERS, "pre_tokenizer": split({"Regex": "(?:a+)+c"}, "Isolated")}, "a" * 40 + "bc"),
    "unknown_component": ({"model": LETTERS, "decoder": {"type": "WordPiece"}}, ""),
    "bad_merge": ({"model": model("a", merges=["a b"])}, ""),
    "high_id": ({"model": {"type": "BPE", "vocab": {"a": 4000000}, "merges": []}}, ""),
    "nested": ('{"model":' + json.dumps(LETTERS) + ',"normalizer":' + '{"type":"Sequence","normalizers":[' * 20 + "]}" * 20 + "}", ""),
}


def part(field, data):
    assert len(data) < 128
    return bytes([field << 3 | 2, len(data)]) + data


def piece(text, score, kind):
    return part(1, part(1, text.encode()) + b"\x15" + struct.pack("<f", score) + bytes([3 << 3, kind]))


PIECES = piece("<unk>", 0, 2) + piece("<s>", 0, 3) + piece("</s>", 0, 3) + b"".join(
    piece(text, -index, 1) for index, text in enumerate((META, "a", "b", "ab", META + "ab", "<", "s>", "abb")))
BYTE_PIECES = piece("<0xC3>", 0, 6) + piece("<0xA9>", 0, 6)
BPE, KEEP_SPACES, NO_PREFIX = part(2, b"\x18\x02"), part(3, b"\x20\x00"), part(3, b"\x18\x00\x20\x00")
CONFIG = {"add_bos_token": True, "add_eos_token": True, "legacy": False, "added_tokens_decoder": {
    "1": {"content": "<s>", "special": True}, "12": {"content": "<|end|>", "special": True, "rstrip": True, "lstrip": True},
    "14": {"content": "x", "single_word": True, "normalized": True}}}
MODEL_SEEDS = {
    "llama": (PIECES + BYTE_PIECES + BPE + KEEP_SPACES, None),
    "no_bytes": (PIECES + BPE + KEEP_SPACES, None),
    "gemma": (PIECES + piece("\n", 0, 4) + BYTE_PIECES + BPE + NO_PREFIX, None),
    "config": (PIECES + BPE + KEEP_SPACES, CONFIG),
    "legacy": (PIECES + BPE + KEEP_SPACES, {"legacy": True, "add_bos_token": False}),
    "unigram": (PIECES, None),
    "charsmap": (PIECES + BPE + part(3, b"\x12\x03abc"), None),
    "damaged": (PIECES + BPE + b"\x0a\x7fabc", None),
    "bad_config": (PIECES + BPE + KEEP_SPACES, {"added_tokens_decoder": {"1": {"content": "<t>"}}}),
}


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    for name, (file, text) in SEEDS.items():
        file = file if isinstance(file, str) else json.dumps(file, ensure_ascii=False)
        text = text if isinstance(text, bytes) else text.encode()
        (OUT / name).write_bytes(file.encode() + b"\0" + text)
    (CORPUS / "fuzz_sentencepiece").mkdir(exist_ok=True)
    for name, (file, config) in MODEL_SEEDS.items():
        text = json.dumps(config).encode() if config is not None else b""
        (CORPUS / "fuzz_sentencepiece" / name).write_bytes(file + text + struct.pack("<H", len(text)))
    (CORPUS / "fuzz_chat").mkdir(exist_ok=True)
    for index, entry in enumerate(json.loads((CORPUS.parents[1] / "data" / "chat" / "vectors.json").read_text())):
        (CORPUS / "fuzz_chat" / f"{index:02}-{entry['format']}").write_bytes(entry["template"].encode() + b"\0 \xc2\xa0Hi <think>x</think>\n\n {bos}\xe3\x80\x80\n\x80 ")


if __name__ == "__main__":
    main()
