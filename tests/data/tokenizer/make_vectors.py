#!/usr/bin/env python3
"""Writes vectors.json: what the Python package `tokenizers` gives for a list of nasty texts, for the two tokenizers of the tests
(../tiny and ../spm) as they are and with other components put in. Run it again when one of those changes:

    pip install tokenizers==0.23.3 && python3 make_vectors.py
"""
import copy
import json
import pathlib

import tokenizers

HERE = pathlib.Path(__file__).resolve().parent
DATA = HERE.parent

# A text is a string; {"hex": ...}: bytes, mostly not UTF-8; {"repeat": [text, n]}.
TEXTS = [
    "",
    " ",
    "  ",
    "   \n\n  \t x ",
    "a",
    "Once upon a time, there was a little girl named Lily.",
    "Hello world! It's a nice day, isn't it? I'LL say 'S 'T we'RE \u2019s",
    " leading and trailing ",
    "two  spaces   three    four     ",
    "tabs\tand\nnewlines\r\nand\n\n\nmore\r\r",
    "\n",
    "\n\n a\n b\n\n",
    "1234567890 3.14159 1,000,000 \u0661\u0662\u0663 \u00bd\u00b2 \u2167 \u3007",
    "x1y22z333 007abc",
    "caf\u00e9 cafe\u0301 na\u00efve na\u0131ve \ufb01ne \u212b \u00c5 A\u030a",
    "a\u0323\u0307 a\u0307\u0323 q\u0307\u0323 \u1e9b\u0323",
    "\uac00\uac01 \u1100\u1161\u11a8 \ud55c\uad6d\uc5b4",
    "\u4f60\u597d\u4e16\u754c\u3002\u65e5\u672c\u8a9e\u30c6\u30b9\u30c8 \u3053\u3093\u306b\u3061\u306f",
    "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645 \u05e9\u05dc\u05d5\u05dd",
    "\u0939\u093f\u0928\u094d\u0926\u0940 \u0ba4\u0bae\u0bbf\u0bb4\u0bcd \u0e44\u0e17\u0e22",
    "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 \U0001f1e9\U0001f1ea \U0001f44d\U0001f3fd \u2764\ufe0f",
    "\U0001d54f\U0001d550 \U00010348 \U0010ffff",
    "\u00a0nbsp\u00a0 \u2003em \u3000wide \u200bzero \u2028line \u2029para \u0085next \u180emvs \ufeffbom",
    "\u2581 \u2581\u2581word \u2581",
    "\u0000nul \u0001\u001b[0m \u007f",
    "don't can\u2019t 'tis ''quoted'' 'RE 'Ve \u017f'\u017f K's \u212a's",
    "snake_case camelCase __init__ a_1_b -x --y ... !!! ?!",
    "if (x != 0) { return a[i] += b << 2; } // comment\n\tfor (;;)\n",
    "http://example.com/a?b=c&d=%20#e <html> &amp; a@b.c",
    "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
    "<|im_start|><|im_start|> <|im_end|>x<|endoftext|>",
    "<|im_start| <|im_sta <|im_end|",
    "<s>a</s> <s> b </s><unk>c <s",
    "x <l> y<l>  z \n<l>",
    "x<r>  y <r>\n z<r>",
    "<r>   0 <lr>     1 <r>     <l> x",
    "  <lr>  <lr> a <lr>",
    "word sword words word_ word. -word \u00e9word word\u0301 1word",
    "a big dog; abig dog a big  dog",
    "<n> x<n> <N> <<n>>",
    "<0x41><0x0A> <0x4> <0xZZ>",
    "\u00c4\u00d6\u00dc\u00df\u1e9e \u0130\u0131 \u01c5 \u03a3\u03c3\u03c2",
    "\u00ad\u0300\u0301 \u0301start \u20dd\u0488",
    "\u2460 \u24b6 \u24d0 \u2122 \u00a9 \u20ac \u00a3",
    "aAaAbBbB AEIOU aeiou",
    "theTheTHE the-the_the the.the",
    {"hex": "80"},
    {"hex": "61c3"},
    {"hex": "c3a9c328a0a1e28221e228a1f0288cbc"},
    {"hex": "e282ace282f09f98ff00fe"},
    {"hex": "eda080edbfbf20c0afe080aff8888080"},
    {"hex": "f09f9880f09f98f4908080c1bf"},
    {"repeat": ["a", 257]},
    {"repeat": [" ", 130]},
    {"repeat": ["\n", 65]},
    {"repeat": ["the", 85]},
    {"repeat": ["\u2581", 40]},
    {"repeat": ["9", 100]},
    {"repeat": ["\u00e9", 60]},
    {"repeat": ["\U0001f600", 30]},
    {"repeat": ["ab ", 60]},
]

WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
META = "\u2581"


def split(pattern, behavior, invert=False):
    kind = "Regex" if isinstance(pattern, re_text) else "String"
    return {"type": "Split", "pattern": {kind: str(pattern)}, "behavior": behavior, "invert": invert}


class re_text(str):
    """Marks a pattern as a regular expression."""


def sequence(*members):
    return {"type": "Sequence", "pretokenizers": list(members)}


def added(token_id, content, **flags):
    token = {"id": token_id, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    token.update(flags)
    return token


def metaspace(scheme, do_split=True):
    return {"type": "Metaspace", "replacement": META, "prepend_scheme": scheme, "split": do_split}


def template(*single, ids):
    pieces = [{"Sequence": {"id": "A", "type_id": 0}} if name == "$A" else {"SpecialToken": {"id": name, "type_id": 0}} for name in single]
    specials = {name: {"id": name, "ids": [ids[name]], "tokens": [name]} for name in single if name != "$A"}
    return {"type": "TemplateProcessing", "single": pieces, "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}], "special_tokens": specials}


TINY_ADDED = [added(0, "<|endoftext|>"), added(1, "<|im_start|>"), added(2, "<|im_end|>")]
SPM_ADDED = [added(0, "<unk>"), added(1, "<s>"), added(2, "</s>")]
def flagged(first_id):
    """Added tokens with every flag; the library numbers them from the end of the vocabulary, whatever the file says."""
    return [
        added(first_id + 0, "<l>", lstrip=True),
        added(first_id + 1, "<r>", rstrip=True),
        added(first_id + 2, "<lr>", lstrip=True, rstrip=True),
        added(first_id + 3, "word", single_word=True, special=False),
        added(first_id + 4, "<n>", normalized=True, special=False),
        added(first_id + 5, "a big dog", normalized=True, special=False),
        added(first_id + 6, "  ", special=False),
        added(first_id + 7, "<|im_start|><|im_start|>"),
    ]


CHATML = {"<|im_start|>": 1, "<|im_end|>": 2}

# name, base, what replaces members of the file, what replaces members of its model, texts (None: all)
VARIANTS = [
    ("as it is", "tiny", {}, {}),
    ("as it is", "spm", {}, {}),
    ("llama 3", "tiny", {
        "pre_tokenizer": sequence(split(re_text(WORDS + r"\p{N}{1,3}" + TAIL), "Isolated"), BYTES),
        "post_processor": {"type": "Sequence", "processors": [{"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True},
                                                              template("<|im_start|>", "$A", ids=CHATML)]},
    }, {"ignore_merges": True}),
    ("qwen 2", "tiny", {"normalizer": {"type": "NFC"}, "pre_tokenizer": sequence(split(re_text(WORDS + r"\p{N}" + TAIL), "Isolated"), BYTES)}, {}),
    ("prefix space, template", "tiny", {
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
"post_processor": template("<|im_end|>", "$A", "<|im_end|>", "<|im_start|>", ids=CHATML),
    }, {}),
    ("digits contiguous, tekken-like letters", "tiny", {
        "pre_tokenizer": sequence({"type": "Digits", "individual_digits": False}, split(re_text(r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{M}]*[\p{Ll}\p{Lo}\p{M}]+| ?[^\s\p{L}\p{N}]+|\s+"), "Isolated"), BYTES),
    }, {}),
    ("removed", "tiny", {"pre_tokenizer": sequence(split(" ", "Removed"), BYTES)}, {}),
    ("removed, inverted, words", "tiny", {"pre_tokenizer": sequence(split(re_text(r"[\w']+|\h\W"), "Removed", True), BYTES)}, {}),
    ("contiguous", "tiny", {"pre_tokenizer": sequence(split(re_text(r"[aeiou\s]"), "Contiguous"), BYTES)}, {}),
    ("merged with previous", "tiny", {"pre_tokenizer": sequence(split(re_text(r"[\s.a]"), "MergedWithPrevious"), BYTES)}, {}),
    ("merged with next", "tiny", {"pre_tokenizer": sequence(split(re_text(r"[\s.a]"), "MergedWithNext"), BYTES)}, {}),
    ("merged with next, inverted", "tiny", {"pre_tokenizer": sequence(split(re_text(r"[\s.a]"), "MergedWithNext", True), BYTES)}, {}),
    ("empty matches, isolated", "tiny", {"pre_tokenizer": sequence(split(re_text(r"(?=[a-z]\b)|(?<=e)|^"), "Isolated"), BYTES)}, {}),
    ("empty matches, merged", "tiny", {"pre_tokenizer": sequence(split(re_text(r"x*"), "MergedWithNext"), BYTES)}, {}),
    ("flagged added tokens", "tiny", {"added_tokens": TINY_ADDED + flagged(2048)}, {}),
    ("no decoder", "tiny", {"decoder": None}, {}),
    ("decomposed", "tiny", {"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFKD"}, {"type": "Replace", "pattern": {"Regex": r"\p{Mn}+"}, "content": ""}]}}, {}),
    ("compatible, every space replaced", "tiny", {"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " ~ "}]}}, {}),
    ("flagged added tokens", "spm", {"added_tokens": SPM_ADDED + flagged(1000)}, {}),
    ("no byte fallback, fused", "spm", {}, {"byte_fallback": False}),
    ("no byte fallback, not fused", "spm", {}, {"byte_fallback": False, "fuse_unk": False}),
    ("no unknown token", "spm", {}, {"byte_fallback": False, "unk_token": None}),
    ("metaspace always", "spm", {"normalizer": None, "pre_tokenizer": metaspace("always"), "decoder": metaspace("always")}, {}),
    ("metaspace first", "spm", {"normalizer": None, "pre_tokenizer": metaspace("first"), "decoder": metaspace("first")}, {}),
    ("metaspace first, not split", "spm", {"normalizer": None, "pre_tokenizer": metaspace("first", False), "added_tokens": SPM_ADDED + flagged(1000)}, {}),
    ("metaspace never", "spm", {"normalizer": None, "pre_tokenizer": metaspace("never"), "decoder": metaspace("never"),
                                "post_processor": template("<s>", "$A", "</s>", ids={"<s>": 1, "</s>": 2})}, {}),
    ("gemma", "spm", {"normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": META},
                      "pre_tokenizer": split(" ", "MergedWithPrevious"),
                      "decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": META}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}]}}, {}),
]


def to_bytes(text):
    if isinstance(text, str):
        return text.encode()
    if "hex" in text:
        return bytes.fromhex(text["hex"])
    return (text["repeat"][0] * text["repeat"][1]).encode()


def vectors(base, patch, model_patch):
    file = copy.deepcopy(base)
    file.update(patch)
    file["model"].update(model_patch)
    ordinary = tokenizers.Tokenizer.from_str(json.dumps(file))
    literal = tokenizers.Tokenizer.from_str(json.dumps(file))
    literal.encode_special_tokens = True
    results = []
    for index, item in enumerate(TEXTS):
        text = to_bytes(item).decode("utf-8", errors="replace")
        ids = ordinary.encode(text, add_special_tokens=False).ids
        result = {"text": index, "ids": ids}
        decoded = ordinary.decode(ids)
        around = ordinary.encode(text).ids
        plain = literal.encode(text, add_special_tokens=False).ids
        with_special = ordinary.decode(ids, skip_special_tokens=False)
        # What equals the text, or the first ids, or the first decoded, is left out.
        if decoded.encode() != to_bytes(item):
            result["decoded"] = decoded
        if around != ids:
            result["template"] = around
        if plain != ids:
            result["plain"] = plain
        if with_special != decoded:
            result["decoded_special"] = with_special
        results.append(result)
    return results


def main():
    out = {"made_with": "tokenizers " + tokenizers.__version__, "texts": TEXTS, "variants": []}
    for name, base_name, patch, model_patch in VARIANTS:
        base = json.loads((DATA / base_name / "tokenizer.json").read_text())
        results = vectors(base, patch, model_patch)
        out["variants"].append({"name": base_name + ", " + name, "base": base_name + "/tokenizer.json", "base_size": (DATA / base_name / "tokenizer.json").stat().st_size, "patch": patch, "model_patch": model_patch, "results": results})
    lines = ['{"made_with": ' + json.dumps(out["made_with"]) + ',\n"texts": ' + json.dumps(out["texts"]) + ',\n"variants": [']
    for index, variant in enumerate(out["variants"]):
        head = {key: value for key, value in variant.items() if key != "results"}
        lines.append((",\n" if index else "") + json.dumps(head)[:-1] + ', "results": [\n')
        lines.append(",\n".join(json.dumps(result, separators=(",", ":")) for result in variant["results"]) + "]}")
    (HERE / "vectors.json").write_text("".join(lines) + "]}\n")


if __name__ == "__main__":
    main()
