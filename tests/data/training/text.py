"""The training text of the tiny model: Jane Austen's novels and made-up stories.

The novels (public domain) come from Debian's package r-cran-janeaustenr, which
apt-get downloads; the stories come from stories.py. Tokens are train.py's business.
"""

import pathlib
import random
import re
import subprocess
import tempfile
import zlib

import stories

PACKAGE = "r-cran-janeaustenr=1.0.0-1"
N_NOVELS = 6
HEADING = re.compile(r"^(chapter|volume)\b.{0,20}$", re.IGNORECASE)
# A string in R's serialization: flags and type CHARSXP, then its length (R Internals, 1.8).
R_STRING = re.compile(rb"\x00[\x00-\x0f]\x00\x09(\x00\x00[\x00-\xff]{2})", re.DOTALL)


def unpack_package(folder):
    """Downloads and unpacks the Debian package, and returns its R data base."""
    subprocess.run(["apt-get", "download", "--quiet", PACKAGE], cwd=folder, check=True)
    (package,) = pathlib.Path(folder).glob("*.deb")
    subprocess.run(["dpkg-deb", "--extract", package, folder], check=True)
    (base,) = pathlib.Path(folder).glob("usr/lib/R/**/data/Rdata.rdb")
    return base.read_bytes()


def read_objects(data):
    """Yields the objects of an R data base: each a four-byte length and a zlib stream."""
    while data:
        decoder = zlib.decompressobj()
        yield decoder.decompress(data[4:])
        data = decoder.unused_data


def read_lines(data):
    """Yields the strings of a serialized character vector."""
    for match in R_STRING.finditer(data):
        length = int.from_bytes(match[1], "big")
        yield data[match.end():match.end() + length].decode("utf-8", "replace")


def split_chapters(lines):
    """Yields the chapters of a novel, one line a paragraph, without headings and title page."""
    chapter, paragraph, begun = [], [], False
    for line in [*lines, "", "chapter"]:
        if HEADING.match(line):
            if begun and chapter:
                yield "\n".join(chapter)
            chapter, begun = [], True
        elif line.strip():
            paragraph.append(line.strip())
        elif paragraph:
            chapter.append(re.sub(r"\s+", " ", " ".join(paragraph)).replace("_", ""))
            paragraph = []


def read_novels():
    """Returns the chapters of the six novels, a list of texts."""
    with tempfile.TemporaryDirectory() as folder:
        objects = list(read_objects(unpack_package(folder)))
    if len(objects) != N_NOVELS:
        raise ValueError(f"{PACKAGE} holds {len(objects)} objects, not {N_NOVELS} novels")
    return [chapter for novel in objects for chapter in split_chapters(read_lines(novel))]


def make_stories(n_chars, seed):
    """Returns made-up stories of `n_chars` characters or a little more, a list of texts."""
    chooser, texts, length = random.Random(seed), [], 0
    while length < n_chars:
        texts.append(stories.make_story(chooser))
        length += len(texts[-1])
    return texts
