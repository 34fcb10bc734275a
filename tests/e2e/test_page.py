"""The page of mkentrofs --report FILE.html: it parses, refers to nothing outside, escapes what the source brings, and agrees with --report json."""

import html.parser
import json
import re

import numpy as np
import pytest
from mkentrofs_fixtures import RUNTIME, USAGE, bf16, model, refused, weights  # noqa: F401

VOID = {"meta", "br", "link", "img", "input", "hr"}
EVIL = "model.layers.0.<script>alert(1)<\\script>\"' &amp; onload=x.weight"


class Page(html.parser.HTMLParser):
    """Elements as (tag, attributes), the text, and the rows of the tables; unclosed elements are an error."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.elements, self.text, self.rows, self.css = [], [], "", [], ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.elements.append((tag, attributes))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append({"text": "", "value": None})
        if tag == "data" and self.rows and ("td" in self.open or "th" in self.open):
            self.rows[-1][-1]["value"] = float(attributes["value"])

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, (tag, self.open)
        self.open.pop()

    def handle_data(self, data):
        if self.open and self.open[-1] == "style":
            self.css += data
        else:
            self.text += data
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1]["text"] += data


@pytest.fixture
def page(run, tmp_path):
    def call(source, *options):
        path = tmp_path / "report.html"
        done = run("mkentrofs", "--force", "--report", path, "--report", "json", *options, source, tmp_path / "image.entrofs", check=True)
        return Page(path.read_text(encoding="utf-8")), json.loads(done.stdout)

    return call


def tensor_rows(found, report):
    rows = {row[0]["text"]: row for row in found.rows if len(row) == 10 and row[0]["text"] != "tensor"}
    assert rows.keys() == {tensor["name"] for tensor in report["tensors"]}
    return rows


@pytest.mark.parametrize("options", [(), ("--bits", 4), ("--scheme", "mixed"), ("--scheme", "lossless")])
def test_the_page_agrees_with_the_json(page, tiny, options):
    found, report = page(tiny, *options)
    rows = tensor_rows(found, report)
    for tensor in report["tensors"]:
        row = rows[tensor["name"]]
        assert row[3]["value"] == tensor["source_bytes"] and row[4]["value"] == tensor["stored_bytes"]
        assert row[6]["value"] == pytest.approx(tensor["bits_per_weight"], rel=1e-6)
        assert row[9]["value"] == tensor["outliers"]
        assert tensor["dtype"] in row[2]["text"] and (tensor["scheme"] if tensor["scheme"] != "lossless" else "kept") in row[2]["text"]
        if tensor["snr_db"] is not None and tensor["scheme"] != "lossless":
            assert row[8]["value"] == pytest.approx(tensor["snr_db"], abs=1e-5)
    values = {float(attributes["value"]) for tag, attributes in found.elements if tag == "data"}
    assert {report["source_bytes"], report["image_bytes"], report["parameters"]} <= values
    if report["n_quantized"]:
        assert any(value == pytest.approx(report["bits_per_weight"], rel=1e-6) for value in values)
    else:
        assert "What the codes look like" not in found.text


@pytest.mark.parametrize("bits", [8, 4])
def test_the_entropies_of_the_histograms_are_those_of_the_codes(page, extract_codes, tiny, bits):
    found, report = page(tiny, "--bits", bits)
    kinds = {}
    for tensor in report["tensors"]:
        if tensor["scheme"] == "lossless":
            continue
        kind = re.sub(r"(?<=\.)\d+(?=\.)", "*", tensor["name"])
        kinds.setdefault(kind, []).append(extract_codes(tensor["name"], bits, tensor["n_elements"]))
    entropies = sorted(float(a["value"]) for tag, a in found.elements if tag == "data" and a.get("class") == "entropy")
    expected = []
    for codes in kinds.values():
        shares = np.unique(np.concatenate(codes), return_counts=True)[1]
        shares = shares / shares.sum()
        expected.append(float(-(shares * np.log2(shares)).sum()))
    assert entropies == pytest.approx(sorted(expected), abs=1e-5)


@pytest.fixture
def extract_codes(run, tmp_path):
    folder = tmp_path / "extracted"

    def call(name, bits, n):
        if not folder.exists():
            run("entrofsck", "--extract", folder, tmp_path / "image.entrofs", check=True)
        raw = np.frombuffer((folder / "tensors" / name).read_bytes(), np.uint8)
        return raw if bits == 8 else np.stack([raw & 15, raw >> 4], 1).ravel()[:n]

    return call


def test_nothing_comes_from_outside_and_nothing_runs(page, tiny):
    found, _ = page(tiny)
    for tag, attributes in found.elements:
        assert tag not in ("script", "link", "img", "iframe", "object", "embed", "base", "form"), tag
        assert not any(name in ("src", "href", "srcset", "action", "data", "xlink:href") or name.startswith("on") for name in attributes), attributes
        assert "url(" not in attributes.get("style", "")
    assert "url(" not in found.css and "@import" not in found.css and "http" not in found.css
    assert any(attributes.get("content", "").startswith("default-src 'none'") for tag, attributes in found.elements if tag == "meta")


def test_names_are_escaped_wherever_they_are(page, tmp_path):
    folder = tmp_path / "<b>source & co"
    w = ("BF16", [64, 128], bf16(weights()))
    found, report = page(model(folder, {EVIL: w, EVIL.replace("0", "1"): w, "plain.weight": w, "\u202eright": w}))
    assert not [tag for tag, _ in found.elements if tag in ("script", "b") and tag == "script"]
    assert EVIL in tensor_rows(found, report) and "<b>source & co" in found.text
    assert any(EVIL in attributes.get("title", "") for _, attributes in found.elements)


def test_thousands_of_tensors_make_a_page(page, tmp_path):
    w = ("BF16", [64, 64], bf16(weights(64, 64)))
    found, report = page(model(tmp_path / "m", {f"model.layers.{i}.part{j}.weight": w for i in range(500) for j in range(3)}), "--scheme", "mixed")
    assert len(tensor_rows(found, report)) == 1500
    assert "Layer by layer" in found.text


def test_a_source_of_one_small_tensor_makes_a_page(page, tmp_path):
    found, report = page(model(tmp_path / "m", {"norm.weight": ("F32", [128], weights(1, 128).tobytes())}))
    assert len(tensor_rows(found, report)) == 1


def test_the_page_is_the_same_whatever_the_threads(run, tiny, tmp_path):
    for n in (1, 3):
        run("mkentrofs", "--force", "-t", n, "--report", f"html={tmp_path / f'page{n}'}", tiny, tmp_path / "image.entrofs", check=True)
    assert (tmp_path / "page1").read_bytes() == (tmp_path / "page3").read_bytes()


def test_an_existing_page_is_kept_without_force(run, refused, tmp_path):
    source = model(tmp_path / "m")
    path = tmp_path / "page.html"
    path.write_text("mine")
    refused(RUNTIME, "page.html", "--report", path, source, tmp_path / "image.entrofs")
    assert path.read_text() == "mine" and not (tmp_path / "image.entrofs").exists()
    run("mkentrofs", "--force", "--report", path, source, tmp_path / "image.entrofs", check=True)
    assert path.read_text().startswith("<!DOCTYPE html>")
    refused(USAGE, "--report", "--report", "page.htm", source, tmp_path / "other.entrofs")


def test_a_plan_has_a_page_that_agrees_with_its_json(run, tiny, tmp_path):
    path = tmp_path / "plan.html"
    report = json.loads(run("mkentrofs", "--plan", "--report", path, "--report", "json", tiny, check=True).stdout)
    assert [entry.name for entry in tmp_path.iterdir()] == ["plan.html"]
    found = Page(path.read_text(encoding="utf-8"))
    rows = {row[0]["text"]: row for row in found.rows}
    for tensor in report["tensors"]:
        row = rows[tensor["name"]]
        if "kept_reason" in tensor:
            assert tensor["kept_reason"] in row[3]["text"]
            continue
        for i, (bits, snr_db) in enumerate(zip(tensor["bits_per_weight"], tensor["snr_db"])):
            assert row[3 + 2 * i]["value"] == pytest.approx(bits, rel=1e-6)
            assert row[4 + 2 * i]["value"] == pytest.approx(snr_db, abs=1e-5)
    cells = [row for row in found.rows if len(row) == 5 and row[1]["text"] in ("8", "4")]
    assert len(cells) == 6
    for row in cells:
        cell = report["totals"]["ablation"][{"tensor": "tensor", "row": "row", "group of 128": "group_128"}[row[0]["text"]]][row[1]["text"]]
        assert [row[i]["value"] for i in (2, 3, 4)] == pytest.approx([cell["entropy_bits"], cell["step_bits"], cell["snr_db"]], rel=1e-5)
