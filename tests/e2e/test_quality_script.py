"""The Python parts of tests/bench/quality: an equivalent network is one, and savings, table and curve are what can be worked out by hand."""

import json
import math
import pathlib
import subprocess
import sys
import xml.etree.ElementTree

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Type

from conftest import ROOT
from test_gguf_model import convert

sys.path.insert(0, str(ROOT / "tests" / "bench" / "quality"))
import draw  # noqa: E402
import gguf_copy  # noqa: E402
import importances  # noqa: E402
import measure  # noqa: E402
import permute  # noqa: E402
import rows  # noqa: E402
import savings  # noqa: E402
import table  # noqa: E402

TEXT = ROOT / "tests" / "data" / "perplexity" / "text.txt"


@pytest.fixture(scope="module")
def networks(tiny, tmp_path_factory):
    """Folders of the small model with blocks of Q8_0, and of its equivalent in another order."""
    where = tmp_path_factory.mktemp("networks")
    (where / "before").mkdir()
    convert(tiny, where / "before" / "model.gguf", Type.Q8_0)
    subprocess.run([sys.executable, permute.__file__, where / "before" / "model.gguf", where / "after" / "model.gguf"], check=True)
    return where


def test_a_network_in_another_order_predicts_the_same(run, networks, tmp_path):
    for name in ("before", "after"):
        run("mkentrofs", "--quiet", "--scheme", "lossless", networks / name, tmp_path / "image", "--force", check=True)
        run("entrofsck", "--quiet", "--extract", tmp_path / name, tmp_path / "image", check=True)
    figures = json.loads(run("entrorun", "ppl", "-m", tmp_path / "after", "--kl", tmp_path / "before", "-f", TEXT, "-c", "64", "--chunks", "4", "--json", check=True).stdout)
    # F16 in place of the blocks.
    assert figures["kl"] < 1e-4
    assert figures["perplexity"] == pytest.approx(figures["base_perplexity"], rel=1e-3)


def test_the_order_is_another_and_everything_else_is_kept(networks):
    before, after = (gguf_copy.open_model(networks / name / "model.gguf") for name in ("before", "after"))
    assert not any(gguf_copy.is_quantized(tensor) for tensor in after.tensors)
    assert [(t.name, list(t.shape)) for t in before.tensors] == [(t.name, list(t.shape)) for t in after.tensors]
    for key in before.fields:
        if not key.startswith("GGUF.") and key != "general.file_type":
            assert before.fields[key].contents() == after.fields[key].contents(), key
    for old, new in zip(before.tensors, after.tensors):
        a, b = gguf_copy.values_of(old), gguf_copy.values_of(new)
        assert np.array_equal(np.sort(a.astype(np.float16).reshape(-1)), np.sort(b.astype(np.float16).reshape(-1))), old.name
        if a.ndim > 1:
            # Most columns lie elsewhere.
            assert np.mean(np.abs(a - b).max(axis=0) < 1e-6) < 0.2, old.name


def test_another_seed_is_another_order_and_the_same_seed_the_same(networks):
    reader = gguf_copy.open_model(networks / "before" / "model.gguf")
    orders = [dict(permute.permuted(reader, seed))["output_norm.weight"] for seed in (1, 1, 2)]
    assert np.array_equal(orders[0], orders[1]) and not np.array_equal(orders[0], orders[2])


def result(name, group, bits, windows, **more):
    return {"id": name, "name": name, "group": group, "bits": bits, "bits_quantized": bits, "kl": float(np.mean(windows)), "kl_error": 0.01, "window_kl": list(windows), "perplexity": 16.3,
            "perplexity_error": 0.24, "same_top": 0.9, "same_top_error": 0.002, "windows": len(windows), "window": 512, "scored": 255 * len(windows), "convention": "llama.cpp", **more}


def halving(bits):
    """Windows of different difficulty; each bit more halves the divergence."""
    return np.array([0.5, 1.0, 1.5, 2.0, 5.0]) * 2.0**-bits


CURVE = [result(f"--bpw {bits}", "ours", bits, halving(bits)) for bits in (5, 3, 4, 6.5)]


@pytest.mark.parametrize("bits", [3.0, 3.3, 4.0, 4.9, 6.4, 2.0, 8.0])
def test_bits_at_equal_divergence_are_read_off_a_straight_line(bits):
    points = [row["bits"] for row in CURVE]
    assert savings.bits_at(2.0**-bits, points, [2.0**-point for point in points]) == pytest.approx(bits)


def test_a_saving_has_the_error_of_what_differs_between_windows():
    same_kind = savings.saving(result("Q4_K_M", "nominal", 5.15, halving(4.25)), CURVE)
    assert same_kind["bits"] == pytest.approx(0.9) and same_kind["error"] < 1e-9 and not same_kind["extrapolated"]
    noisy = savings.saving(result("Q4_K_M", "nominal", 5.15, halving(4.25) * [0.5, 1.4, 0.6, 1.6, 1.0]), CURVE)
    assert 0.01 < noisy["error"] < 1
    assert savings.saving(result("Q8_0", "nominal", 8.5, halving(7.5)), CURVE)["extrapolated"]


def test_only_what_was_measured_is_compared():
    results = [*CURVE, result("Q4_K_M", "nominal", 5.15, halving(4.25)), result("Q4_K_M", "file", 6.17, halving(5.0)), result("--bpw 4", "ours-imatrix", 4, halving(5))]
    found = savings.all_savings(results)
    assert [(entry["curve"], entry["group"], entry["peer"]) for entry in found] == [("ours", "nominal", "Q4_K_M"), ("ours", "file", "Q4_K_M")]
    assert "| 5.15 |" in table.savings_markdown(found) and "0.90 ± 0.00" in table.savings_markdown(found)


def test_figures_have_as_many_digits_as_their_errors():
    assert table.rounded(0.0152403, 0.0000796) == "0.015240 ± 0.000080"
    assert table.rounded(16.7168, 0.243) == "16.72 ± 0.24"
    assert table.rounded(314923.4, 12000.0) == "314923 ± 12000"
    source = {key: value for key, value in result("source", "source", 13.36, [1.0]).items() if "kl" not in key}
    lines = table.markdown([{**source, "bits_quantized": None}, *CURVE], "a model", "a text").splitlines()
    assert "a model; a text: 1 windows of 512 tokens" in lines[0]
    assert sum(line.count("|") == 7 for line in lines) == len(lines) - 2


def test_the_curve_is_an_svg_with_every_row(tmp_path):
    peers = [result(name, group, bits, halving(bits - 0.9)) for group in ("nominal", "nominal-imatrix", "file") for name, bits in (("Q4_K_M", 5.15), ("Q6_K", 6.57))]
    paper = [result("u8", "paper", 5.5, halving(5)), result("u4", "paper", 1.5, np.full(5, 9.6))]
    picture = draw.curve([*CURVE, *peers, *paper], "a <model>")
    root = xml.etree.ElementTree.fromstring(picture)
    words = [element.text for element in root.iter() if element.tag.endswith("text")]
    for word in ("Q4_K_M", "Q6_K", "Quality against size: a <model>", "0.90 bit less"):
        assert word in words, word
    assert words.count("Q4_K_M") == words.count("Q6_K") == 2  # with a matrix too
    assert any("off the chart: u4" in word for word in words)
    width, height = float(root.get("width")), float(root.get("height"))
    circles = [element for element in root if element.tag.endswith("circle")]
    assert len(circles) == len(CURVE)
    for element in circles:
        assert 0 <= float(element.get("cx")) <= width and 0 <= float(element.get("cy")) <= height and math.isfinite(float(element.get("cy")))


def test_importances_are_means_over_the_tokens_that_a_tensor_saw(tmp_path):
    path = pathlib.Path(tmp_path / "imatrix.gguf")
    writer = gguf.GGUFWriter(path, "imatrix")
    for name, sums, counts in (("a.weight", [[2.0, 4.0]], [[2.0]]), ("experts.weight", [[2.0, 4.0], [9.0, 3.0]], [[1.0], [3.0]]), ("unseen.weight", [[0.0, 0.0]], [[0.0]])):
        writer.add_tensor(name + ".in_sum2", np.array(sums, np.float32))
        writer.add_tensor(name + ".counts", np.array(counts, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    matrix = importances.read(path)
    assert sorted(matrix) == ["a.weight", "experts.weight"]
    assert matrix["a.weight"].tolist() == [1, 2] and matrix["experts.weight"].tolist() == [2, 4, 3, 1]


def test_rows_are_measured_once_and_again_when_what_they_are_made_of_changes(program, tiny, tmp_path):
    (tmp_path / "text.txt").write_text(TEXT.read_text() * 3)
    # A copy, so that it can become another.
    builder = tmp_path / "mkentrofs"
    builder.write_bytes(pathlib.Path(program("mkentrofs")).read_bytes())
    builder.chmod(0o755)
    inputs = rows.Inputs(tiny, None, None, tmp_path / "text.txt", builder, program("entrofsck"), program("entrorun"))
    wanted = [row for row in rows.all_rows(inputs) if row.id in ("source", "u8")]
    assert [row.id for row in wanted] == ["source", "u8"]
    work = tmp_path / "work"
    work.mkdir()
    measurer = measure.Measurer(inputs, work, chunks=2)
    assert [measurer.known(row) for row in wanted] == [None, None]
    source, u8 = measurer.all(wanted)
    assert "kl" not in source and source["windows"] == 2
    assert 0 < u8["kl"] < 1 and 0.5 < u8["same_top"] <= 1 and len(u8["window_kl"]) == 2
    assert 3 < u8["bits_quantized"] < u8["bits"] < source["bits"] <= 16.5
    assert sorted(path.name for path in work.iterdir()) == ["results", "source.logits"]
    assert [measurer.known(row) for row in wanted] == [source, u8]
    assert [measure.Measurer(inputs, work, chunks=3).known(row) for row in wanted] == [None, None]
    builder.write_bytes(builder.read_bytes() + b"x")
    again = measure.Measurer(inputs, work, chunks=2)
    assert [again.known(row) for row in wanted] == [source, None]
    measurer.logits.unlink()
    assert measurer.known(wanted[0]) is None


def test_what_cannot_be_built_leaves_nothing(program, tiny, tmp_path):
    (tmp_path / "text.txt").write_text("short")
    inputs = rows.Inputs(tiny, None, None, tmp_path / "text.txt", program("mkentrofs"), program("entrofsck"), program("entrorun"))
    (tmp_path / "work").mkdir()
    with pytest.raises(subprocess.CalledProcessError):
        measure.Measurer(inputs, tmp_path / "work").all(rows.all_rows(inputs)[:1])
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["results"]
    assert not list((tmp_path / "work" / "results").iterdir())
