"""Ids and texts against the Python package `tokenizers`, on more texts than the committed vectors have: random ones of every alphabet, random
mixtures of what tokenizers treat specially, and long ones that no pre-tokenizer splits."""

import json
import random
import subprocess

import pytest
import tokenizers
from conftest import BUILD, ROOT

DATA = ROOT / "tests" / "data"
FILES = [DATA / "tiny" / "tokenizer.json", DATA / "spm" / "tokenizer.json", *sorted(
    path for path in (DATA / "families").glob("*.json") if path.name != "vectors.json")]
MIXED = ["a", "B", "the", "The", " ", "  ", "\n", "\r\n", "\t", "1", "23", "4567", "\u00b2", "'s", "'LL", "\u2019", ".", "...", "/", "_", "-", "\u00e9", "e\u0301", "\u0323", "\u00a0",
         "\u3000", "\u4f60\u597d", "\u3042", "\ud55c", "\u1112\u1161", "\u05e9", "\u0645", "\u0939\u093f", "\u0e17\u0e22", "\U0001f600", "\U0001f44d\U0001f3fd", "\u200d", "\ufe0f", "\u2581", "\u212b", "\ufb01",
         "\u01c5", "\u02b0", "\u0000", "\u0007", "\u001b", "\ufeff", "\ufffd", "\u2028", "\u0085", "<s>", "</s>", "<unk>", "<|im_start|>", "<|im_end|>", "<|end|>", "<|user|>", "[INST]", "<bos>",
         "<start_of_turn>", "<|eot_id|>", "<think>", "<0x0A>", "<0x", "\u0120", "\u010a"]


def make_texts():
    random_ = random.Random(1)
    texts = ["".join(random_.choices(MIXED, k=random_.randrange(1, 40))) for _ in range(400)]
    for _ in range(400):
        limit = random_.choice([0x250, 0x3000, 0x11000, 0x20000])
        points = (random_.randrange(limit) for _ in range(random_.randrange(1, 40)))
        texts.append("".join(chr(point) for point in points if not 0xD800 <= point < 0xE000))
    readme = (ROOT / "README.md").read_text()
    texts += [readme, "".join(random_.choices("etaoin shrdlu", k=100_000)), "".join(random_.choices("etaoinshrdlu", k=100_000)), "".join(random_.choices(MIXED, k=20_000))]
    return texts


def ours(path, texts):
    program = BUILD / "tests" / "unit" / "tokenize_texts"
    done = subprocess.run([program, path], input="".join(json.dumps(text) + "\n" for text in texts), capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def texts():
    return make_texts()


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_ids_and_texts_are_those_of_the_package(path, texts):
    reference = tokenizers.Tokenizer.from_file(str(path))
    literal = tokenizers.Tokenizer.from_file(str(path))
    literal.encode_special_tokens = True
    results = ours(path, texts)
    assert len(results) == len(texts)
    for text, result in zip(texts, results):
        ids = reference.encode(text, add_special_tokens=False).ids
        assert result["ids"] == ids, repr(text[:200])
        assert result["template"] == reference.encode(text).ids, repr(text[:200])
        assert result["plain"] == literal.encode(text, add_special_tokens=False).ids, repr(text[:200])
        assert result["decoded"] == reference.decode(ids), repr(text[:200])
