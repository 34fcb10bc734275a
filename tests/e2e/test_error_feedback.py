"""Error feedback, seen by numpy alone: with the directions of a layer's inputs its outputs lose less, at the same size, and codes are those of the formula."""

import numpy as np
import pytest

import independent
from mkentrofs_fixtures import bf16, build, by_name, extract, matrix, model, write_imatrix  # noqa: F401

HIDDEN, INNER, DIRECTIONS = 192, 257, 8
LAYER = "model.layers.0."
# Each with the matrix's entry that has the directions of its inputs.
MATRICES = {
    LAYER + "self_attn.q_proj.weight": ("attn_q", (256, HIDDEN)),
    LAYER + "self_attn.k_proj.weight": ("attn_q", (128, HIDDEN)),
    LAYER + "self_attn.v_proj.weight": ("attn_q", (128, HIDDEN)),
    LAYER + "self_attn.o_proj.weight": ("attn_output", (HIDDEN, 256)),
    LAYER + "mlp.gate_proj.weight": ("ffn_gate", (INNER, HIDDEN)),
    LAYER + "mlp.up_proj.weight": ("ffn_gate", (INNER, HIDDEN)),
    LAYER + "mlp.down_proj.weight": ("ffn_down", (HIDDEN, INNER)),
}
ENTRIES = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"]
OWNERS = {"attn_k": "attn_q", "attn_v": "attn_q", "ffn_up": "ffn_gate"}


def rounded(values):
    """As BF16 holds them."""
    return np.frombuffer(bf16(values), "<u2").astype(np.uint32).__lshift__(16).view(np.float32).reshape(values.shape)


def inputs():
    """Of each entry: mean squares [columns] and directions [DIRECTIONS, columns]."""
    widths = {"attn_output": 256, "ffn_down": INNER}
    found = {}
    for name in ENTRIES:
        random = np.random.default_rng(ENTRIES.index(OWNERS.get(name, name)))
        n = widths.get(name, HIDDEN)
        v = rounded(random.standard_normal((DIRECTIONS, n)) * np.exp(random.standard_normal(n)))
        found[name] = ((v**2).sum(0) + np.exp(random.standard_normal(n))).astype(np.float32), v
    return found


def matrix_file(path, known, with_directions):
    means = {f"blk.0.{name}.weight": known[name][0] for name in ENTRIES}
    directions = {f"blk.0.{name}.weight": known[name][1] for name in ENTRIES if name not in OWNERS}
    return write_imatrix(path, means, directions=directions if with_directions else {})


def source(folder, matrices):
    return model(folder, {name: ("F32", list(w.shape), w.tobytes()) for name, w in matrices.items()})


def rest(mean, v):
    """What the directions do not explain, damped: codec/error_feedback.h."""
    mean = mean.astype(np.float64)
    return np.maximum(mean - (v.astype(np.float64) ** 2).sum(0), 1e-3 * mean) + 0.01 * mean.mean()


def loss(error, mean, v):
    return ((error @ v.astype(np.float64).T) ** 2).sum() + (error**2 * rest(mean, v)).sum()


def values_and_codes(root, tensor):
    """Every weight as the image has it, and the codes less the zero point."""
    raw = np.fromfile(root / tensor["file"], np.uint8)
    if tensor["bits"] == 4:
        raw = np.stack([raw & 15, raw >> 4], 1).reshape(-1)[: np.prod(tensor["shape"])]
    codes = raw.reshape(tensor["shape"]).astype(np.int64) - tensor["zero_point"]
    values = codes * steps_of(root, tensor)
    if tensor["outliers"]:
        for element, value in np.fromfile(root / tensor["outliers"], [("element", "<u8"), ("value", "<f4")]):
            values.reshape(-1)[element] = value
    return values, codes


def steps_of(root, tensor):
    rows, columns = tensor["shape"]
    row = np.fromfile(root / tensor["row_scale"], np.float16).astype(np.float64) if tensor["row_scale"] else np.ones(rows)
    column = np.fromfile(root / tensor["column_scale"], np.float16).astype(np.float64) if tensor["column_scale"] else np.ones(columns)
    return tensor["scale"] * row[:, None] * column


@pytest.mark.parametrize("bpw", [3, 4.1, 6])
def test_outputs_lose_less_at_the_same_size(build, extract, tmp_path, bpw):
    matrices = {name: matrix(*shape, seed) for seed, (name, (_, shape)) in enumerate(MATRICES.items())}
    folder, known, losses, sizes = source(tmp_path / "source", matrices), inputs(), [], []
    for with_directions in (False, True):
        report = build(folder, "--bpw", bpw, "--imatrix", matrix_file(tmp_path / "m.gguf", known, with_directions))
        assert {t["error_feedback"] for t in report["tensors"]} == {with_directions}
        sizes.append(report["bits_per_weight"])
        root = extract()
        tensors = {t["name"]: t for t in independent.tensors(root)}
        losses.append({name: loss(matrices[name] - values_and_codes(root, tensors[name])[0], *known[entry]) for name, (entry, _) in MATRICES.items()})
        assert all(independent.check_view(root, t) == 0 for t in tensors.values())
    assert abs(sizes[1] / sizes[0] - 1) < 0.01
    for name in MATRICES:
        assert losses[1][name] < 0.75 * losses[0][name], name


@pytest.mark.parametrize("bpw", [3, 5])
def test_codes_are_those_of_the_formula_in_every_part_of_a_large_tensor(build, extract, tmp_path, bpw):
    name, (entry, _) = LAYER + "mlp.down_proj.weight", MATRICES[LAYER + "mlp.down_proj.weight"]
    weights = matrix(9001, INNER, 5)  # several parts are coded at once, which begin within rows
    known = inputs()
    build(source(tmp_path / "source", {name: weights}), "--bpw", bpw, "--imatrix", matrix_file(tmp_path / "m.gguf", known, True))
    root = extract()
    (tensor,) = [t for t in independent.tensors(root) if t["scheme"] == "balanced"]
    values, codes = values_and_codes(root, tensor)
    outside = np.abs(values - weights) == 0
    mean, v = known[entry]
    d, v = rest(mean, v), v.astype(np.float64)
    behind = np.eye(DIRECTIONS)  # the inverse of I + the sum over the columns behind of v v^T / d
    gains = np.empty((INNER, DIRECTIONS))
    for j in reversed(range(INNER)):
        p = behind @ v[:, j]
        gains[j] = p / (d[j] + v[:, j] @ p)
        behind -= np.outer(p, gains[j])
    steps, sums, same = steps_of(root, tensor), np.zeros((len(weights), DIRECTIONS)), 0
    for j in range(INNER):
        expected = np.rint((weights[:, j] - sums @ gains[j]) / steps[:, j])
        same += np.count_nonzero((expected == codes[:, j]) | outside[:, j])
        sums += np.outer(values[:, j] - weights[:, j], v[:, j])
    assert same / codes.size > 0.9999  # but for ties and the last bits of floats
    assert np.count_nonzero(np.rint(weights / steps) == codes) / codes.size < 0.95  # it is not plain rounding


def test_the_threads_do_not_change_a_byte(build, tmp_path):
    matrices = {name: matrix(*shape, seed) for seed, (name, (_, shape)) in enumerate(MATRICES.items())}
    matrices[LAYER + "mlp.down_proj.weight"] = matrix(9001, INNER, 5)
    folder, path = source(tmp_path / "source", matrices), matrix_file(tmp_path / "m.gguf", inputs(), True)
    images = []
    for threads in (1, 3):
        build(folder, "--imatrix", path, "--threads", threads, image=tmp_path / "image")
        images.append((tmp_path / "image").read_bytes())
    assert images[0] == images[1]
