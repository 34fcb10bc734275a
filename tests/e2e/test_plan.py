"""mkentrofs --plan: what it says of a model agrees with an independent computation and with what builds come to, and nothing is written."""

import json

import numpy as np
import pytest
from mkentrofs_fixtures import BAD_SOURCE, USAGE, bf16, build, by_name, files_below, model, refused, weights  # noqa: F401

GROUP = 128


@pytest.fixture
def plan(run):
    def call(*arguments):
        return json.loads(run("mkentrofs", "--plan", "--quiet", "--report", "json", *arguments, check=True).stdout)

    return call


def entropy(codes):
    counts = np.unique(codes, return_counts=True)[1]
    shares = counts / counts.sum()
    return float(-(shares * np.log2(shares)).sum())


def quantize(w, bits):
    """EntroLLM's rule with an exact scale: the codes and the values that they stand for."""
    w = w.astype(np.float64)
    low, high = min(w.min(), 0), max(w.max(), 0)
    top = 2**bits - 1
    if w.min() >= 0 or w.max() <= 0:
        scale, zero = max(high, -low) / top, (0 if w.min() >= 0 else top)
    else:
        scale = (high - low) / top
        zero = int(np.rint(-low / scale))
    codes = np.clip(np.rint(w / scale) + zero, 0, top).astype(int)
    return codes, (codes - zero) * scale


def pieces(w, granularity):
    if granularity == "tensor":
        return [w.ravel()]
    if granularity == "row":
        return list(w)
    return [row[i : i + GROUP] for row in w for i in range(0, len(row), GROUP)]


@pytest.mark.parametrize("columns", [128, 300])
def test_the_ablation_is_what_numpy_computes(plan, tmp_path, columns):
    w = weights(64, columns, 5) * np.linspace(0.5, 2, 64, dtype=np.float32)[:, None]
    source = model(tmp_path / "m", {"w": ("F32", list(w.shape), w.tobytes())})
    ablation = by_name(plan(source))["w"]["ablation"]
    energy = float((w.astype(np.float64) ** 2).sum())
    for granularity in ("tensor", "row", "group_128"):
        for bits in (8, 4):
            coded = [quantize(piece, bits) for piece in pieces(w, granularity)]
            codes = np.concatenate([codes for codes, _ in coded])
            noise = sum(float(((piece - values) ** 2).sum()) for piece, (_, values) in zip(pieces(w, granularity), coded))
            cell = ablation[granularity][str(bits)]
            # Scales are rounded up so that no weight is clipped: a little coarser.
            assert cell["entropy_bits"] == pytest.approx(entropy(codes), abs=0.03), (granularity, bits)
            assert cell["snr_db"] == pytest.approx(10 * np.log10(energy / noise), abs=0.25), (granularity, bits)
            assert cell["step_bits"] * w.size == pytest.approx((16 + 8) * len(coded))
    for bits in ("8", "4"):
        assert ablation["group_128"][bits]["snr_db"] >= ablation["row"][bits]["snr_db"] > ablation["tensor"][bits]["snr_db"]


def test_one_step_a_tensor_is_what_the_mixed_scheme_builds(plan, build, tmp_path):
    source = model(tmp_path / "m")
    planned = by_name(plan(source))
    for bits in (8, 4):
        for name, tensor in by_name(build(source, "--scheme", "mixed", "--bits", bits, "--scale-bits", 24)).items():
            if tensor["scheme"] == "lossless":
                continue
            cell = planned[name]["ablation"]["tensor"][str(bits)]
            assert cell["snr_db"] == pytest.approx(tensor["snr_db"], abs=1e-6)
            if bits == 8:  # 4-bit codes are stored in pairs, whose entropy is another one
                assert cell["entropy_bits"] == pytest.approx(tensor["entropy_bits"], abs=1e-9)


@pytest.mark.parametrize("bpw", [4.1, 6.6])
def test_a_size_costs_and_loses_what_the_plan_says(plan, build, tiny, bpw):
    report = plan(tiny)
    place = report["bpw"].index(bpw)
    built = by_name(build(tiny, "--bpw", bpw))
    bits = snr = n = 0
    for tensor in report["tensors"]:
        result = built[tensor["name"]]
        assert ("kept_reason" in tensor) == (result["scheme"] == "lossless")
        if "kept_reason" in tensor:
            continue
        assert tensor["bits_per_weight"][place] == pytest.approx(result["bits_per_weight"], rel=0.03), tensor["name"]
        assert tensor["snr_db"][place] == pytest.approx(result["snr_db"], abs=0.5), tensor["name"]
        bits += tensor["bits_per_weight"][place] * result["n_elements"]
        n += result["n_elements"]
    assert bits / n == pytest.approx(bpw, rel=0.01)


def test_the_size_that_is_asked_for_is_planned_too(plan, tmp_path):
    assert plan("--bpw", "5.1", model(tmp_path / "m", {"w": ("F32", [256, 256], weights(256, 256).tobytes())}))["bpw"] == [4.1, 4.9, 5.1, 5.5, 6.6]


def test_the_plan_does_not_depend_on_threads_and_writes_nothing(run, tiny, tmp_path):
    one, three = (run("mkentrofs", "--plan", "-t", n, "--report", "json", tiny, check=True, cwd=tmp_path).stdout for n in (1, 3))
    assert one == three and files_below(tmp_path) == []


def test_the_table_is_readable_at_100_columns_and_names_no_control_characters(run, tmp_path):
    w = ("BF16", [64, 128], bf16(weights()))
    names = ["model.layers.%d.a_module_with_a_long_name.another_projection.weight" % i for i in range(3)] + ["evil\x1b[31m.weight"]
    source = model(tmp_path / "m", {name: w for name in names})
    table = run("mkentrofs", "--plan", "--bpw", "5", source, check=True).stdout
    assert max(map(len, table.splitlines())) <= 100
    assert "\x1b" not in table and "layers.*." not in table.split("tensor ")[-1]
    assert "another_projection.weight" in table and "group of 128" in table


def test_a_source_with_nothing_to_quantize_has_a_plan(run, tmp_path):
    source = model(tmp_path / "m", {"norm.weight": ("F32", [128], weights(1, 128).tobytes())})
    done = run("mkentrofs", "--plan", source, check=True)
    assert "1 more tensor is kept" in done.stdout or "kept" in done.stdout


def test_a_bad_source_and_an_image_beside_a_plan_are_refused(refused, tmp_path):
    (tmp_path / "empty").mkdir()
    refused(BAD_SOURCE, "weights", "--plan", tmp_path / "empty")
    source = model(tmp_path / "m")
    (source / "model.safetensors").write_bytes(b"\xff" * 100)
    refused(BAD_SOURCE, "model.safetensors", "--plan", source)
    done = refused(USAGE, "--plan", "--plan", model(tmp_path / "n"), tmp_path / "image")
    assert not (tmp_path / "image").exists(), done


def test_the_totals_are_those_of_the_tensors(plan, tiny):
    report = plan(tiny)
    tensors = [tensor for tensor in report["tensors"] if "kept_reason" not in tensor]
    sizes = np.array([np.prod(tensor["shape"]) for tensor in tensors], float)
    totals = report["totals"]
    assert totals["n_quantized"] == len(tensors) and totals["quantized_parameters"] == sizes.sum()
    for i, bpw in enumerate(report["bpw"]):
        bits = sum(size * tensor["bits_per_weight"][i] for size, tensor in zip(sizes, tensors)) / sizes.sum()
        assert totals["bits_per_weight"][i] == pytest.approx(bits) == pytest.approx(bpw, rel=0.01)
        assert min(t["snr_db"][i] for t in tensors) <= totals["snr_db"][i] <= max(t["snr_db"][i] for t in tensors)
    for granularity, by_bits in totals["ablation"].items():
        for bits, cell in by_bits.items():
            for key in ("entropy_bits", "step_bits"):
                assert cell[key] == pytest.approx(sum(size * t["ablation"][granularity][bits][key] for size, t in zip(sizes, tensors)) / sizes.sum())


def test_a_head_that_is_the_embedding_again_is_counted_once(plan, build, tmp_path):
    embedding, linear = weights(512, 256, 1), weights(256, 256, 2)
    stored = {"model.embed_tokens.weight": embedding, "lm_head.weight": embedding, "model.layers.0.self_attn.q_proj.weight": linear}
    source = model(tmp_path / "m", {name: ("F32", list(w.shape), w.tobytes()) for name, w in stored.items()})
    planned = plan("--bpw", 5, source)
    assert planned["totals"]["quantized_parameters"] == embedding.size + linear.size
    tensors = by_name(planned)
    copies = [name for name in ("model.embed_tokens.weight", "lm_head.weight") if "copy" in (tensors[name].get("kept_reason") or "")]
    assert len(copies) == 1
    at_5 = planned["totals"]["bits_per_weight"][planned["bpw"].index(5)]
    assert abs(at_5 / build(source, "--bpw", 5)["bits_per_weight"] - 1) < 0.02
