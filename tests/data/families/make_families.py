#!/usr/bin/env python3
"""Trains one small tokenizer for each family of models, with the normalizers, pre-tokenizers, added tokens, decoders and templates that the
family's own tokenizer.json has, and writes vectors.json: what the Python packages `tokenizers` and `sentencepiece` give with them for the
texts of ../tokenizer/make_vectors.py and a few of chats. Everything comes out the same each time.

    pip install tokenizers==0.23.3 sentencepiece==0.2.1 && python3 make_families.py

The text is stories made up by ../training/stories.py and the nasty texts themselves.
"""
import io
import json
import pathlib
import sys

import sentencepiece
import tokenizers
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "tokenizer"), str(HERE.parent / "training")]
import make_vectors  # noqa: E402
import text as training_text  # noqa: E402

META = "\u2581"
SIZE = 640
NASTY = [make_vectors.to_bytes(item).decode("utf-8", errors="replace") for item in make_vectors.TEXTS]
TEXTS = make_vectors.TEXTS + [
    "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>",
    "<s>[INST] Hi [/INST] there</s> [INST]  x[/INST]",
    "<|user|>\nHi <|end|>\n<|assistant|>\n  x <|end|>  <|system|> y",
    "<bos><start_of_turn>user\n Hi<end_of_turn>\n\n\n\n<start_of_turn>model\n",
    "<think>\n\n</think>  \t\t x <tool_call>{}</tool_call>",
    "</s> x</s>   y\n</s>",
    "HelloWORLD helloWorld iPhone XMLHttpRequest \u01c5x \u02b0a \u00c9T\u00c9 a/b/\n//\r\n12 1234567",
    "    indented\n        more\n\t\ttabs\n                    far",
]
STORIES = training_text.make_stories(400_000, 1) + [text.replace("\0", "") for text in NASTY] * 20
# For the tokenizers that have a byte to fall back to: only what occurs most often becomes a token.
COMMON = sorted(set("".join(STORIES)), key=lambda letter: (-sum(text.count(letter) for text in STORIES), letter))[:100]
COMMON_STORIES = [" " + "".join(letter for letter in text if letter in COMMON) for text in STORIES]

WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
UPPER, LOWER = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}"
TEKKEN = rf"[^\r\n\p{{L}}\p{{N}}]?[{UPPER}]*[{LOWER}]+|[^\r\n\p{{L}}\p{{N}}]?[{UPPER}]+[{LOWER}]*|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def special(text, **flags):
    return tokenizers.AddedToken(text, **{"special": True, "normalized": False, **flags})


def plain(text, **flags):
    return special(text, special=False, **flags)


def bos(token, token_id):
    return processors.TemplateProcessing(single=f"{token} $A", pair=f"{token} $A {token} $B", special_tokens=[(token, token_id)])


def byte_level(pattern, added, normalizer=None, ignore_merges=False, template=None):
    """As the models that split by an expression and merge bytes have it; the added tokens come last."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(STORIES, trainers.BpeTrainer(
        vocab_size=SIZE, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    tokenizer.add_tokens(added)
    post = processors.ByteLevel(trim_offsets=False)
    if template is not None:
        post = processors.Sequence([post, bos(template, tokenizer.token_to_id(template))])
    tokenizer.post_processor = post
    return tokenizer


def byte_fallback(first, added, normalizer, pre_tokenizer, strip, template, runs=()):
    """As the models that come from SentencePiece have it; `first` are the first tokens, <unk> among them, and `runs` are user-defined runs of
    one character, made by the merges that come first."""
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    trained = Tokenizer(models.BPE())
    trained.normalizer = normalizers.Replace(" ", META)
    # Words are kept apart for the training only.
    trained.pre_tokenizer = pre_tokenizers.Split(META, "merged_with_next")
    trained.train_from_iterator(COMMON_STORIES, trainers.BpeTrainer(vocab_size=SIZE, special_tokens=first + bytes_, show_progress=False))
    model = json.loads(trained.to_str())["model"]
    vocabulary = model["vocab"]
    for run in runs:
        vocabulary.setdefault(run, len(vocabulary))
    merges = [(run[:at], run[at:]) for run in runs for at in range(1, len(run))]
    merges.sort(key=lambda pair: (len(pair[0]), len(pair[1])), reverse=True)
    merges += [tuple(merge) for merge in model["merges"] if "".join(merge) not in runs]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    if pre_tokenizer is not None:
        tokenizer.pre_tokenizer = pre_tokenizer
    members = [decoders.Replace(META, " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence(members + ([decoders.Strip(" ", 1, 0)] if strip else []))
    tokenizer.add_tokens(added)
    tokenizer.post_processor = bos(template, tokenizer.token_to_id(template))
    return tokenizer


LLAMA_SPACES = normalizers.Sequence([normalizers.Prepend(META), normalizers.Replace(" ", META)])
LLAMA_FIRST = [special("<unk>"), special("<s>"), special("</s>")]
RUNS = ("\n", "\n\n", "\n\n\n", META * 2, META * 3, META * 4)
CHATML = [special("<|endoftext|>"), special("<|im_start|>"), special("<|im_end|>")]


def families():
    yield "llama3", byte_level(WORDS + r"\p{N}{1,3}" + TAIL, [special(text) for text in (
        "<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")], ignore_merges=True, template="<|begin_of_text|>")
    yield "qwen2", byte_level(WORDS + r"\p{N}" + TAIL, CHATML, normalizers.NFC())
    yield "qwen3", byte_level(WORDS + r"\p{N}" + TAIL, CHATML + [plain(text) for text in ("<tool_call>", "</tool_call>", "<think>", "</think>")], normalizers.NFC())
    yield "tekken", byte_level(TEKKEN, [special(text) for text in ("<unk>", "<s>", "</s>", "[INST]", "[/INST]")], ignore_merges=True, template="<s>")
    yield "tinyllama", byte_fallback(["<unk>", "<s>", "</s>"], LLAMA_FIRST, LLAMA_SPACES, None, True, "<s>")
    yield "mistral", byte_fallback(["<unk>", "<s>", "</s>", "[INST]", "[/INST]"], LLAMA_FIRST + [special("[INST]"), special("[/INST]")], None,
                                   pre_tokenizers.Metaspace(META, "first", False), True, "<s>")
    yield "phi3", byte_fallback(["<unk>", "<s>", "</s>"], [special("<unk>"), special("<s>"), plain("</s>", rstrip=True), special("<|endoftext|>")] + [
        special(text, rstrip=True) for text in ("<|assistant|>", "<|system|>", "<|end|>", "<|user|>")], LLAMA_SPACES, None, True, "<s>")
    yield "gemma", byte_fallback(["<pad>", "<eos>", "<bos>", "<unk>"], [special(text) for text in ("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>")] + [
        plain(text) for text in ("\t", "<table>") + RUNS], normalizers.Replace(" ", META), pre_tokenizers.Split(" ", "merged_with_previous"), False, "<bos>", RUNS)


def train_sentencepiece(name, **options):
    out = io.BytesIO()
    lines = [line for text in STORIES for line in text.split("\n") if line]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=out, model_type="bpe", vocab_size=SIZE, byte_fallback=True, character_coverage=0.9995,
        normalization_rule_name="identity", remove_extra_whitespaces=False, split_digits=True, num_threads=1, self_test_sample_size=0, minloglevel=2, **options)
    (HERE / f"{name}.model").write_bytes(out.getvalue())


def convert(name, added=(), legacy=True):
    """A tokenizer.model as transformers' LlamaConverter converts it: the merges in the order of the scores of what they make."""
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(HERE / f"{name}.model"))
    vocabulary = {pieces.id_to_piece(index): index for index in range(len(pieces))}
    merges = []
    for text, index in vocabulary.items():
        splits = [(text[:at], text[at:]) for at in range(1, len(text)) if text[:at] in vocabulary and text[at:] in vocabulary]
        splits.sort(key=lambda pair: (vocabulary[pair[0]], vocabulary[pair[1]]))
        merges += [(pieces.get_score(index), pair) for pair in splits]
    merges.sort(key=lambda entry: (entry[0], len(entry[1][0]), len(entry[1][1])), reverse=True)
    has_prefix = pieces.encode("a") != pieces.encode(" a") and pieces.id_to_piece(pieces.encode("a"))[0].startswith(META)
    tokenizer = Tokenizer(models.BPE(vocabulary, [pair for _, pair in merges], unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    members = [decoders.Replace(META, " "), decoders.ByteFallback(), decoders.Fuse()]
    if not has_prefix:
        tokenizer.normalizer = normalizers.Replace(" ", META)
    elif legacy:
        tokenizer.normalizer = LLAMA_SPACES
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(META, "first", False)
    tokenizer.decoder = decoders.Sequence(members + ([decoders.Strip(" ", 1, 0)] if has_prefix else []))
    first = [special(pieces.id_to_piece(index)) for index in range(len(pieces)) if pieces.is_control(index) or pieces.is_unknown(index)]
    # What the trainer made user-defined is told apart from bytes and ordinary pieces by its score only.
    proto_types = piece_types((HERE / f"{name}.model").read_bytes())
    user_defined = [plain(pieces.id_to_piece(index)) for index, kind in enumerate(proto_types) if kind == 4]
    tokenizer.add_tokens(first + user_defined + list(added))
    token = pieces.id_to_piece(pieces.bos_id())
    tokenizer.post_processor = bos(token, pieces.bos_id())
    return pieces, tokenizer


def fields(data):
    """The fields of a protocol-buffer message: number and value."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        tag = varint()
        size = {0: None, 1: 8, 5: 4}.get(tag & 7, -1)
        if size is None:
            yield tag >> 3, varint()
            continue
        if size < 0:
            size = varint()
        yield tag >> 3, data[at:at + size]
        at += size


def piece_types(data):
    return [dict(fields(value)).get(3, 1) for number, value in fields(data) if number == 1]


def results_of(tokenizer, pieces=None):
    literal = Tokenizer.from_str(tokenizer.to_str())
    literal.encode_special_tokens = True
    results = []
    for index, item in enumerate(TEXTS):
        text = make_vectors.to_bytes(item).decode("utf-8", errors="replace")
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        around = tokenizer.encode(text).ids
        # Control pieces are no part of a text to SentencePiece; to the converted tokenizer they may be made by merges.
        plain_ids = pieces.encode(text) if pieces is not None else literal.encode(text, add_special_tokens=False).ids
        decoded = tokenizer.decode(ids)
        with_special = tokenizer.decode(ids, skip_special_tokens=False)
        result = {"text": index, "ids": ids}
        if decoded.encode() != make_vectors.to_bytes(item):
            result["decoded"] = decoded
        if around != ids:
            result["template"] = around
        if plain_ids != ids:
            result["plain"] = plain_ids
        if with_special != decoded:
            result["decoded_special"] = with_special
        results.append(result)
    return results


def variant(name, base, results, **more):
    head = {"name": name, "base": f"families/{base}", "base_size": (HERE / base).stat().st_size, "patch": {}, "model_patch": {}, **more}
    return json.dumps(head)[:-1] + ', "results": [\n' + ",\n".join(json.dumps(result, separators=(",", ":")) for result in results) + "]}"


def main():
    variants = []
    for name, tokenizer in families():
        (HERE / f"{name}.json").write_text(json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False, separators=(",", ":")) + "\n")
        variants.append(variant(name, f"{name}.json", results_of(tokenizer)))
    train_sentencepiece("llama")
    train_sentencepiece("gemma", add_dummy_prefix=False, bos_id=2, eos_id=1, unk_id=3, pad_id=0, bos_piece="<bos>", eos_piece="<eos>",
                        user_defined_symbols=["<start_of_turn>", "<end_of_turn>", "<table>"], allow_whitespace_only_pieces=True)
    for name in ("llama", "gemma"):
        pieces, tokenizer = convert(name)
        variants.append(variant(f"{name}, tokenizer.model", f"{name}.model", results_of(tokenizer, pieces)))
    turns = [special("<|user|>", rstrip=True), special("<|end|>", rstrip=True), special("<|assistant|>", rstrip=True), plain("word", single_word=True)]
    config = {"add_bos_token": True, "legacy": False, "added_tokens_decoder": {
        str(SIZE + index): {"content": token.content, "lstrip": token.lstrip, "rstrip": token.rstrip, "single_word": token.single_word, "normalized": token.normalized, "special": token.special}
        for index, token in enumerate(turns)}}
    _, tokenizer = convert("llama", turns, legacy=False)
    results = results_of(tokenizer)
    variants.append(variant("llama, tokenizer.model with tokenizer_config.json", "llama.model", results, config=config))
    made_with = f"tokenizers {tokenizers.__version__}, sentencepiece {sentencepiece.__version__}"
    (HERE / "vectors.json").write_text('{"made_with": ' + json.dumps(made_with) + ',\n"texts": ' + json.dumps(TEXTS) + ',\n"variants": [\n' + ",\n".join(variants) + "]}\n")


if __name__ == "__main__":
    main()
