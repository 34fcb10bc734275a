"""Bits saved at equal divergence: how many bits a weight our curve needs for the divergence that a peer has, and how sure that is.

Between two points of the curve the logarithm of the divergence is taken as linear in bits. All rows are measured on the same windows of the same text, so that errors come from drawing
windows anew (Efron's bootstrap): what is hard about a text is hard for both sides and cancels."""

import numpy

RESAMPLES = 2000
SEED = 1
# (our curve, peers)
PAIRS = (("ours", "nominal"), ("ours-imatrix", "nominal-imatrix"), ("ours", "nominal-imatrix"), ("ours-imatrix", "nominal"), ("ours", "file"), ("ours-imatrix", "file-imatrix"), ("ours", "paper"))


def bits_at(divergence, curve_bits, curve_divergences):
    """Bits at which the curve has this divergence; past its ends the last two points go on. Points may come in any order; at least two."""
    order = numpy.argsort(curve_bits)
    bits, logs = numpy.asarray(curve_bits, float)[order], numpy.log(numpy.asarray(curve_divergences, float)[order])
    wanted = numpy.log(divergence)
    # The first piece whose far end is no worse than what is wanted.
    i = next((i for i in range(1, len(bits)) if logs[i] <= wanted), len(bits) - 1)
    return bits[i - 1] + (wanted - logs[i - 1]) * (bits[i] - bits[i - 1]) / (logs[i] - logs[i - 1])


def is_inside(divergence, curve_divergences):
    return min(curve_divergences) <= divergence <= max(curve_divergences)


def saving(peer, curve):
    """Of a result against a curve of results: bits, standard error, and whether the curve reaches so far."""
    bits = [point["bits"] for point in curve]
    windows = numpy.array([row["window_kl"] for row in [peer, *curve]])
    means = windows.mean(axis=1)
    generator = numpy.random.default_rng(SEED)
    drawn = []
    for _ in range(RESAMPLES):
        again = windows[:, generator.integers(0, windows.shape[1], windows.shape[1])].mean(axis=1)
        drawn.append(peer["bits"] - bits_at(again[0], bits, again[1:]))
    return {
        "bits": float(peer["bits"] - bits_at(means[0], bits, means[1:])),
        "error": float(numpy.std(drawn, ddof=1)),
        "extrapolated": not is_inside(means[0], means[1:]),
    }


def all_savings(results):
    """For each pair of groups that was measured: one entry a peer, but for those worse than all of the curve."""
    found = []
    for ours, peers in PAIRS:
        curve = [row for row in results if row["group"] == ours]
        if len(curve) < 2:
            continue
        for peer in results:
            if peer["group"] == peers and peer["kl"] <= max(point["kl"] for point in curve):
                found.append({"curve": ours, "group": peers, "peer": peer["name"], "peer_bits": peer["bits"], "kl": peer["kl"], **saving(peer, curve)})
    return found
