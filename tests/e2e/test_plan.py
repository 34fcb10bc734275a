"""mkentrofs --plan: what it says of a model, against numpy's own figures, and that it writes nothing."""

import json

import numpy as np
import pytest

from mkentrofs_fixtures import BAD_SOURCE, USAGE, build, files_below, model, refused, weights  # noqa: F401


@pytest.fixture
def plan(run):
    return lambda *arguments: json.loads(run("mkentrofs", "--plan", "--report", "json", *arguments, check=True).stdout)


def mixed(values, bits):
    """EntroLLM's rule for one step over the last axis: codes and errors."""
    low, high = np.minimum(values.min(-1, keepdims=True), 0), np.maximum(values.max(-1, keepdims=True), 0)
    scale = np.where(high > low, (high - low) / (2**bits - 1), 1)
    q = np.rint(values / scale) - np.rint(low / scale)
    return q.astype(np.int64), values - scale * np.rint(values / scale)


def entropy(codes):
    _, counts = np.unique(codes, return_counts=True)
    share = counts / counts.sum()
    return -(share * np.log2(share)).sum()


def test_the_ablation_is_what_numpy_computes(plan, tmp_path):
    w = weights(96, 320, 7).astype(np.float64)
    source = model(tmp_path / "source", {"w": ("F32", [96, 320], w.astype("<f4").tobytes())})
    told = plan(source)["tensors"][0]["ablation"]
    groups = [w[:, first : first + 128] for first in range(0, 320, 128)]
    for bits in (8, 4):
        expected = {
            "tensor": [mixed(w.reshape(1, -1), bits)],
            "row": [mixed(w, bits)],
            "group_128": [mixed(group, bits) for group in groups],
        }
        n_steps = {"tensor": 1, "row": 96, "group_128": 96 * 3}
        for key, parts in expected.items():
            codes = np.concatenate([q.reshape(-1) for q, _ in parts])
            error = sum((e**2).sum() for _, e in parts)
            cell = told[key][str(bits)]
            assert abs(cell["entropy_bits"] - entropy(codes)) < 0.01, (key, bits)
            assert abs(cell["snr_db"] - 10 * np.log10((w**2).sum() / error)) < 0.05, (key, bits)
            assert cell["step_bits"] == pytest.approx(24 * n_steps[key] / w.size)


def test_the_plan_is_kept_by_the_build(plan, build, tiny):
    planned = plan("--bpw", 4.5, tiny)
    assert planned["bpw"] == [4.1, 4.5, 4.9, 5.5, 6.6]
    built = {t["name"]: t for t in build(tiny, "--bpw", 4.5)["tensors"]}
    quantized = [t for t in planned["tensors"] if "kept_reason" not in t]
    assert {t["name"] for t in quantized} == {name for name, t in built.items() if t["scheme"] == "balanced"}
    for tensor in quantized:
        assert tensor["bits_per_weight"][1] == pytest.approx(built[tensor["name"]]["bits_per_weight"], rel=0.03)
        assert tensor["snr_db"][1] == pytest.approx(built[tensor["name"]]["snr_db"], abs=1.5)  # that one is of the weights as they are
    weights_of = [np.prod(t["shape"]) for t in quantized]
    for i, bpw in enumerate(planned["bpw"]):
        assert np.average([t["bits_per_weight"][i] for t in quantized], weights=weights_of) == pytest.approx(bpw, rel=1e-3)


def test_the_table_has_every_tensor_and_fits_a_terminal(run, tiny):
    lines = run("mkentrofs", "--plan", tiny, check=True).stdout.splitlines()
    assert max(map(len, lines)) <= 118
    text = "\n".join(lines)
    assert "model.layers.*.mlp.up_proj.weight" in text and "model.layers.2.mlp.up_proj.weight" in text and "group of 128" in text


def test_a_plan_writes_nothing(run, tmp_path):
    source = model(tmp_path / "source")
    before = files_below(tmp_path)
    run("mkentrofs", "--plan", source, check=True, cwd=tmp_path)
    assert files_below(tmp_path) == before


def test_the_threads_do_not_change_a_plan(plan, tiny):
    assert plan("-t", 1, tiny) == plan("-t", 3, tiny)


def test_a_tensor_without_a_grid_is_said_to_be_kept(plan, tmp_path):
    w = weights(64, 128)
    w[3, 3] = np.inf
    tensors = plan(model(tmp_path / "source", {"w": ("F32", [64, 128], w.tobytes()), "v": ("F32", [64, 128], weights().tobytes())}))["tensors"]
    assert tensors[0]["kept_reason"] == "NaN or infinite" and tensors[0]["ablation"] is None
    assert "kept_reason" not in tensors[1]


def test_bad_plans_are_refused(refused, tmp_path):
    source = model(tmp_path / "source")
    refused(BAD_SOURCE, "nowhere", "--plan", tmp_path / "nowhere")
    refused(USAGE, "writes no image", "--plan", source, tmp_path / "image")
    refused(USAGE, "SOURCE is needed", "--plan")
