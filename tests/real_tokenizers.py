#!/usr/bin/env python3
"""Compares the tokenizers of real models with the Python packages `tokenizers` and `sentencepiece`, id by id.

    pip install tokenizers sentencepiece gguf && python3 tests/real_tokenizers.py FOLDER [MODEL.gguf...]

The vocabularies are those that two Python packages carry, which pip downloads into FOLDER unless they are there: llama-cpp-python's source
(vocabularies of GPT-2, StarCoder, Llama 2, Llama 3, Phi-3, Qwen2, each with texts and the ids that transformers gives) and mistral-common
(tokenizer.model of Mistral 7B v0.1, v0.2, v0.3; tekken.json). GGUF files given besides are compared too. Nothing of it is kept with this project.
Each GGUF vocabulary is written as the tokenizer.json that its model has; that file and the GGUF are then read by `tokenize_texts`, which
ENTRO_BUILD (default build/release) has. ./test.sh does not run this: it downloads 80 MB.
"""
import base64
import json
import pathlib
import subprocess
import sys
import tarfile
import zipfile

import gguf
import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))
import test_tokenizers  # noqa: E402

META = "\u2581"
WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
PLAIN = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
DIGITS = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), PLAIN])
NAMES = ("gpt-2", "starcoder", "refact", "llama-spm", "llama-bpe", "phi-3", "qwen2", "command-r")


def split(pattern):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), BYTES])


SPLITTERS = {"gpt-2": PLAIN, "smollm": DIGITS, "starcoder": DIGITS, "refact": DIGITS, "command-r": DIGITS, "llama-bpe": split(WORDS + r"\p{N}{1,3}" + TAIL), "qwen2": split(WORDS + r"\p{N}" + TAIL)}


def value(reader, name, otherwise=None):
    field = reader.fields.get("tokenizer.ggml." + name)
    return otherwise if field is None else field.contents()


def converted_merges(vocabulary, scores):
    """As transformers' LlamaConverter makes them of a SentencePiece model's scores."""
    merges = []
    for text, score in scores.items():
        splits = [(text[:at], text[at:]) for at in range(1, len(text)) if text[:at] in vocabulary and text[at:] in vocabulary]
        splits.sort(key=lambda pair: (vocabulary[pair[0]], vocabulary[pair[1]]))
        merges += [(score, pair) for pair in splits]
    merges.sort(key=lambda entry: (entry[0], len(entry[1][0]), len(entry[1][1])), reverse=True)
    return [pair for _, pair in merges]


def from_gguf(path):
    """The tokenizer that the GGUF's model has in its tokenizer.json."""
    reader = gguf.GGUFReader(path)
    tokens, types = value(reader, "tokens"), value(reader, "token_type")
    vocabulary = {text: index for index, text in enumerate(tokens)}
    # The markers of Phi-3 take the white space after them: its tokenizer.json says so.
    architecture = reader.fields["general.architecture"].contents()
    keep_space = {"<unk>", "<s>", "<|endoftext|>"} if architecture == "phi3" else set(tokens)
    added = [AddedToken(text, special=kind != 4, normalized=False, rstrip=text not in keep_space) for text, kind in zip(tokens, types) if kind in (2, 3, 4)]
    ends = [value(reader, "bos_token_id"), value(reader, "eos_token_id")]
    added += [AddedToken(tokens[index], special=True, normalized=False) for index in dict.fromkeys(ends) if index is not None and types[index] not in (2, 3, 4)]
    add_bos = value(reader, "add_bos_token")
    if value(reader, "model") == "llama":
        scores = {text: score for text, score, kind in zip(tokens, value(reader, "scores"), types) if kind in (1, 4)}
        tokenizer = Tokenizer(models.BPE(vocabulary, converted_merges(vocabulary, scores), unk_token=tokens[value(reader, "unknown_token_id")], fuse_unk=True, byte_fallback=True))
        spaces = value(reader, "add_space_prefix", True)
        tokenizer.normalizer = normalizers.Sequence(([normalizers.Prepend(META)] if spaces else []) + [normalizers.Replace(" ", META)])
        tokenizer.decoder = decoders.Sequence([decoders.Replace(META, " "), decoders.ByteFallback(), decoders.Fuse()] + ([decoders.Strip(" ", 1, 0)] if spaces else []))
        add_bos = True if add_bos is None else add_bos
    else:
        pre = value(reader, "pre")
        merges = [tuple(merge.split(" ")) for merge in value(reader, "merges")]
        tokenizer = Tokenizer(models.BPE(vocabulary, merges, ignore_merges=pre == "llama-bpe"))
        tokenizer.pre_tokenizer = SPLITTERS[pre]
        tokenizer.decoder = decoders.ByteLevel()
        if pre == "qwen2":
            tokenizer.normalizer = normalizers.NFC()
        add_bos = pre == "llama-bpe" if add_bos is None else add_bos
    tokenizer.add_tokens(added)
    if add_bos:
        token = tokens[ends[0]]
        tokenizer.post_processor = processors.TemplateProcessing(single=f"{token} $A", pair=f"{token} $A $B", special_tokens=[(token, ends[0])])
    return tokenizer


def from_tekken(path, n_tokens=131072, n_special=1000):
    """The tokenizer of Mistral Nemo: tekken.json has the bytes of each token in the order in which they were made."""
    file = json.loads(path.read_text())
    letters = {byte: letter for byte, letter in zip(sorted(range(256), key=lambda byte: not (33 <= byte <= 126 or 161 <= byte <= 172 or 174 <= byte)), map(chr, [
        *range(33, 127), *range(161, 173), *range(174, 256), *range(256, 324)]))}
    ranks = {base64.b64decode(token["token_bytes"]): token["rank"] for token in file["vocab"][:n_tokens - n_special]}
    merges = []
    for token, rank in ranks.items():
        pairs = [(token[:at], token[at:]) for at in range(1, len(token)) if token[:at] in ranks and token[at:] in ranks]
        merges += [(rank, ranks[left], ranks[right], left, right) for left, right in pairs]
    merges.sort()

    def text(token):
        return "".join(letters[byte] for byte in token)

    vocabulary = {text(token): rank + n_special for token, rank in ranks.items()}
    special = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]"] + [f"<SPECIAL_{index}>" for index in range(5, n_special)]
    vocabulary.update({token: index for index, token in enumerate(special)})
    tokenizer = Tokenizer(models.BPE(vocabulary, [(text(left), text(right)) for *_, left, right in merges], ignore_merges=True))
    tokenizer.pre_tokenizer = split(file["config"]["pattern"])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(special)
    return tokenizer


def check(name, results, texts, expected):
    """`expected`: for each member of a result the function that computes it."""
    n_wrong = 0
    for text, result in zip(texts, results):
        for member, compute in expected.items():
            if result[member] != compute(text):
                n_wrong += 1
                if n_wrong <= 3:
                    mine, theirs = result[member], compute(text)
                    at = next((index for index, pair in enumerate(zip(mine, theirs)) if pair[0] != pair[1]), min(len(mine), len(theirs)))
                    print(f"  {name}: {member} of {text[:200]!r} from {at}: {mine[at:at + 16]}, not {theirs[at:at + 16]}")
    print(f"{'ok   ' if n_wrong == 0 and len(results) == len(texts) else 'WRONG'} {name}: {len(results)} texts, {n_wrong} wrong")
    return n_wrong == 0 and len(results) == len(texts)


def check_tokenizer(name, tokenizer, path, texts):
    literal = Tokenizer.from_str(tokenizer.to_str())
    literal.encode_special_tokens = True
    return check(name, test_tokenizers.ours(path, texts), texts, {
        "ids": lambda text: tokenizer.encode(text, add_special_tokens=False).ids,
        "template": lambda text: tokenizer.encode(text).ids,
        "plain": lambda text: literal.encode(text, add_special_tokens=False).ids,
        "decoded": lambda text: tokenizer.decode(tokenizer.encode(text, add_special_tokens=False).ids),
    })


def fetch(folder, package, *options):
    if not any(folder.glob(package.replace("-", "?") + "-*")):
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), *options, package], check=True)
    return next(folder.glob(package.replace("-", "?") + "-*"))


def unpack(folder):
    archive = fetch(folder, "llama-cpp-python", "--no-binary", "llama-cpp-python")
    with tarfile.open(archive) as file:
        for member in file:
            if "/models/ggml-vocab-" in member.name and member.isfile():
                (folder / pathlib.Path(member.name).name).write_bytes(file.extractfile(member).read())
    with zipfile.ZipFile(fetch(folder, "mistral-common")) as file:
        for name in file.namelist():
            if "/data/" in name and (".model.v" in name or "tekken" in name):
                path = pathlib.Path(name).name
                (folder / (path + ".model" if ".model.v" in path else path)).write_bytes(file.read(name))


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    folder = pathlib.Path(sys.argv[1]).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    unpack(folder)
    texts = test_tokenizers.make_texts()
    good = []
    for name in NAMES:
        path = folder / f"ggml-vocab-{name}.gguf"
        listed = path.with_name(path.name + ".inp").read_bytes().decode().split("\n__ggml_vocab_test__\n")
        ids = [[int(word) for word in line.split()] for line in path.with_name(path.name + ".out").read_text().split("\n")]
        known = dict(zip(listed, ids))
        good.append(check(f"{name}, GGUF, listed ids", test_tokenizers.ours(path, listed), listed, {"ids": known.get}))
    for path in [*(folder / f"ggml-vocab-{name}.gguf" for name in NAMES), *map(pathlib.Path, sys.argv[2:])]:
        tokenizer = from_gguf(path)
        tokenizer.save(str(folder / (path.stem + ".tokenizer.json")))
        good.append(check_tokenizer(f"{path.stem}, tokenizer.json", tokenizer, folder / (path.stem + ".tokenizer.json"), texts))
        good.append(check_tokenizer(f"{path.stem}, GGUF", tokenizer, path, texts))
    for path in sorted(folder.glob("*.model")):
        pieces = sentencepiece.SentencePieceProcessor(model_file=str(path))
        good.append(check(path.name, test_tokenizers.ours(path, texts), texts, {"plain": pieces.encode}))
    path = folder / "tekken.tokenizer.json"
    tokenizer = from_tekken(folder / "tekken_240718.json")
    tokenizer.save(str(path))
    good.append(check_tokenizer("tekken, tokenizer.json", tokenizer, path, texts))
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
