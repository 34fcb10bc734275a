"""The figures as Markdown."""

HEADINGS = {
    "source": "",
    "ours": "entrofs, no data",
    "ours-imatrix": "entrofs, with an importance matrix",
    "paper": "entrofs, one step a tensor (EntroLLM)",
    "nominal": "llama.cpp's types at their nominal size",
    "nominal-imatrix": "the same with an importance matrix",
    "file": "the files that llama.cpp writes",
    "file-imatrix": "the same with an importance matrix",
}


def rounded(value, error):
    """As many digits as the error has meaning for: two of its own."""
    digits = 0
    while digits < 9 and error > 0 and error * 10**digits < 9.5:
        digits += 1
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def line(row):
    quantized = f"{row['bits_quantized']:.2f}" if row["bits_quantized"] else ""
    kl, top = "", ""
    if "kl" in row:
        kl = rounded(row["kl"], row["kl_error"])
        top = rounded(100 * row["same_top"], 100 * row["same_top_error"])
    return f"| {row['name']} | {row['bits']:.2f} | {quantized} | {rounded(row['perplexity'], row['perplexity_error'])} | {kl} | {top} |"


def markdown(results, model, text):
    first = results[0]
    lines = [
        f"{model}; {text}: {first['windows']} windows of {first['window']} tokens, {first['scored']} scored ({first['convention']}'s convention); ± is one standard error.",
        "",
        "| | bits a weight, whole model | of quantized tensors | perplexity | KL divergence, nats | same top token, % |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for group, heading in HEADINGS.items():
        members = [row for row in results if row["group"] == group]
        if members and heading:
            lines.append(f"| *{heading}* | | | | | |")
        lines += [line(row) for row in members]
    return "\n".join(lines) + "\n"


def reference_line(source, reference):
    """What the measure itself is worth: the same figure by another program."""
    difference = 100 * (source["perplexity"] / reference["perplexity"] - 1)
    return f"The source's perplexity by llama.cpp over the same {reference['windows']} windows: {reference['perplexity']:.4f}; by entrorun: {source['perplexity']:.4f} ({difference:+.3f} %).\n"


def savings_markdown(saved):
    if not saved:
        return ""
    lines = ["Bits a weight saved at equal KL divergence, whole model (± one standard error, over windows):", "", "| our curve | peer | its bits | its KL | saved |", "|---|---|---:|---:|---:|"]
    for entry in saved:
        mark = " (extrapolated)" if entry["extrapolated"] else ""
        lines.append(f"| {HEADINGS[entry['curve']]} | {entry['peer']}, {HEADINGS[entry['group']]} | {entry['peer_bits']:.2f} | {entry['kl']:.4g} | {entry['bits']:.2f} ± {entry['error']:.2f}{mark} |")
    return "\n".join(lines) + "\n"
