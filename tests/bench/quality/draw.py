"""The curve as SVG: divergence from the source on a logarithmic axis against bits a weight of the whole model."""

import html
import math

import savings

WIDTH, HEIGHT = 880, 560
LEFT, RIGHT, TOP, BOTTOM = 84, 28, 78, 66
INK, FAINT, GRID, PAPER = "#1f2430", "#6b7280", "#e6e8ec", "#ffffff"
OURS, OURS_IMATRIX, PEER, ONE_STEP = "#0f766e", "#2563eb", "#c2410c", "#7c3aed"
ARROWS = ("Q4_K_M", "Q5_K_M", "Q6_K")


class Axes:
    def __init__(self, results):
        shown = [row for row in results if "kl" in row and row["kl"] < 2.5]
        low, high = min(row["kl"] for row in shown), max(row["kl"] for row in shown)
        self.bottom, self.top = math.log10(low) - 0.15, math.log10(high) + 0.12
        self.left, self.right = math.floor(min(row["bits"] for row in shown) - 0.2), max(row["bits"] for row in shown) + 0.5

    def x(self, bits):
        return LEFT + (bits - self.left) / (self.right - self.left) * (WIDTH - LEFT - RIGHT)

    def y(self, divergence):
        return TOP + (self.top - math.log10(divergence)) / (self.top - self.bottom) * (HEIGHT - TOP - BOTTOM)

    def holds(self, row):
        return "kl" in row and self.bottom <= math.log10(row["kl"]) <= self.top


def text(x, y, words, size=13, color=INK, anchor="start", more=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{color}" text-anchor="{anchor}" {more}>{html.escape(words)}</text>'


def line(x1, y1, x2, y2, color, width=1.0, more=""):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}" stroke-width="{width}" {more}/>'


def decades(axes):
    for exponent in range(math.floor(axes.bottom), math.ceil(axes.top) + 1):
        for factor in (1, 2, 5):
            value = factor * 10.0**exponent
            if axes.bottom <= math.log10(value) <= axes.top:
                yield value, factor == 1


def frame(axes):
    parts = []
    for value, strong in decades(axes):
        y = axes.y(value)
        parts.append(line(LEFT, y, WIDTH - RIGHT, y, GRID, 1.4 if strong else 0.8))
        parts.append(text(LEFT - 10, y + 4, f"{value:g}", 12, INK if strong else FAINT, "end"))
    for bits in range(math.ceil(axes.left), math.floor(axes.right) + 1):
        x = axes.x(bits)
        parts.append(line(x, TOP, x, HEIGHT - BOTTOM, GRID, 0.8))
        parts.append(text(x, HEIGHT - BOTTOM + 20, str(bits), 12, INK, "middle"))
    parts.append(line(LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT, HEIGHT - BOTTOM, INK, 1.2))
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 22, "bits a weight, whole model, everything stored", 13, INK, "middle"))
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(text(22, middle, "KL divergence from the source, nats (lower is better)", 13, INK, "middle", f'transform="rotate(-90 22 {middle:.0f})"'))
    return parts


def whisker(axes, row, color):
    """One standard error up and down, where it can be seen."""
    low, high = axes.y(max(row["kl"] - row["kl_error"], 1e-9)), axes.y(row["kl"] + row["kl_error"])
    x = axes.x(row["bits"])
    return [line(x, low, x, high, color, 1.4)] if low - high > 9 else []


def curve_of(axes, rows, color):
    rows = sorted((row for row in rows if axes.holds(row)), key=lambda row: row["bits"])
    points = " ".join(f"{axes.x(row['bits']):.1f},{axes.y(row['kl']):.1f}" for row in rows)
    parts = [f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2.6" stroke-linejoin="round"/>'] if len(rows) > 1 else []
    for row in rows:
        parts += whisker(axes, row, color)
        parts.append(f'<circle cx="{axes.x(row["bits"]):.1f}" cy="{axes.y(row["kl"]):.1f}" r="4.6" fill="{color}" stroke="{PAPER}" stroke-width="1.4"/>')
    return parts


def peer(axes, row, hollow):
    x, y = axes.x(row["bits"]), axes.y(row["kl"])
    fill = PAPER if hollow else PEER
    parts = whisker(axes, row, PEER)
    parts.append(f'<rect x="{x - 4.6:.1f}" y="{y - 4.6:.1f}" width="9.2" height="9.2" fill="{fill}" stroke="{PEER}" stroke-width="1.8"/>')
    parts.append(text(x + 9, y + (4 if hollow else -5), row["name"], 11 if hollow else 12, PEER))
    return parts


def real_file(axes, row):
    x, y = axes.x(row["bits"]), axes.y(row["kl"])
    more = 'stroke-linecap="round" opacity="0.45"'
    return [line(x - 4, y - 4, x + 4, y + 4, PEER, 1.8, more), line(x - 4, y + 4, x + 4, y - 4, PEER, 1.8, more)]


def arrow(axes, row, curve):
    """From a peer to the curve at the same height, with what lies between."""
    saved = savings.saving(row, curve)
    if saved["extrapolated"] or saved["bits"] <= 0:
        return []
    y, right, left = axes.y(row["kl"]), axes.x(row["bits"]) - 9, axes.x(row["bits"] - saved["bits"]) + 9
    if right - left < 40:
        return []
    return [
        line(left, y, right, y, INK, 1.1, 'stroke-dasharray="3 3"'),
        f'<path d="M{left:.1f} {y:.1f} l8 -4 v8 z" fill="{INK}"/>',
        text((left + right) / 2 + 4, y + 14, f"{saved['bits']:.2f} bit less", 12, INK, "middle"),
    ]


def one_step(axes, rows):
    parts = []
    outside = [row for row in rows if not axes.holds(row)]
    for row in rows:
        if row in outside:
            continue
        x, y = axes.x(row["bits"]), axes.y(row["kl"])
        parts.append(f'<path d="M{x:.1f} {y - 6:.1f} l6 6 l-6 6 l-6 -6 z" fill="{ONE_STEP}"/>')
        parts.append(text(x + 10, y - 5, f"{row['name']}, one step a tensor", 12, ONE_STEP))
    words = "; ".join(f"{row['name']} with one step a tensor: {row['bits']:.2f} bits, KL {row['kl']:.1f}" for row in outside)
    if words:
        parts.append(text(LEFT, HEIGHT - 6, f"off the chart: {words}", 11, ONE_STEP))
    return parts


def legend(groups):
    entries = []
    if "ours" in groups:
        entries.append((f'<circle cx="6" cy="-4" r="4.6" fill="{OURS}"/>', "entrofs --bpw, no data", 172))
    if "ours-imatrix" in groups:
        entries.append((f'<circle cx="6" cy="-4" r="4.6" fill="{OURS_IMATRIX}"/>', "with an importance matrix", 186))
    if "nominal" in groups:
        entries.append((f'<rect x="1.4" y="-8.6" width="9.2" height="9.2" fill="{PEER}"/>', "llama.cpp, nominal size (hollow: with a matrix)", 300))
    if "file" in groups:
        cross = line(2, -8, 10, 0, PEER, 1.8, 'opacity="0.45"') + line(2, 0, 10, -8, PEER, 1.8, 'opacity="0.45"')
        entries.append((cross, "llama.cpp's file", 110))
    parts, x = [], LEFT
    for mark, words, width in entries:
        parts.append(f'<g transform="translate({x} 58)">{mark}{text(17, 0, words, 12)}</g>')
        x += width
    return parts


def curve(results, model):
    """The SVG. Rows without a divergence (the source) are not drawn."""
    axes = Axes(results)
    by_group = {}
    for row in results:
        by_group.setdefault(row["group"], []).append(row)
    ours, ours_imatrix = by_group.get("ours", []), by_group.get("ours-imatrix", [])
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" font-family="Inter, Helvetica, Arial, sans-serif">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="10" fill="{PAPER}"/>',
        text(LEFT, 32, "Quality against size" + (f": {model}" if model else ""), 19, INK, more='font-weight="600"'),
        *legend(by_group),
        *frame(axes),
    ]
    for row in by_group.get("nominal", []):
        if row["name"] in ARROWS and axes.holds(row) and len(ours) > 1:
            parts += arrow(axes, row, ours)
    for row in by_group.get("file", []) + by_group.get("file-imatrix", []):
        parts += real_file(axes, row) if axes.holds(row) else []
    parts += curve_of(axes, ours_imatrix, OURS_IMATRIX) + curve_of(axes, ours, OURS)
    for group, hollow in (("nominal", False), ("nominal-imatrix", True)):
        for row in by_group.get(group, []):
            parts += peer(axes, row, hollow) if axes.holds(row) else []
    parts += one_step(axes, by_group.get("paper", []))
    return "\n".join(parts) + "\n</svg>\n"
