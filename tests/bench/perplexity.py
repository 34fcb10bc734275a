#!/usr/bin/env python3
"""The table of perplexity.sh: runs entrorun ppl on each model beside the first and puts the builder's figures next to its own."""

import argparse
import json
import pathlib
import subprocess
import sys


def measure(options, name):
    command = [options.entrorun, "ppl", "-m", options.work / name, "-f", options.text, "--json", "--convention", options.convention]
    if name != options.models[0]:
        command += ["--kl", options.work / options.models[0]]
    for option, value in (("-c", options.ctx), ("--chunks", options.chunks), ("-t", options.threads)):
        command += [option, str(value)] if value else []
    figures = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    report = json.loads((options.work / f"{name}.report.json").read_text())
    return {
        "model": name,
        "bits_per_weight": 8 * report["image_bytes"] / report["parameters"],
        "image_bytes": report["image_bytes"],
        "snr_db": report["snr_db"] if report["n_quantized"] else None,
        **figures,
    }


def plus_minus(value, error, digits=4):
    """As many digits as the error has meaning for."""
    return f"{value:.{digits}g} ± {error:.2g}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("entrorun", type=pathlib.Path)
    parser.add_argument("work", type=pathlib.Path)
    parser.add_argument("text", type=pathlib.Path)
    parser.add_argument("models", nargs="+", help="the first is what the others are compared with")
    parser.add_argument("--convention", default="llama.cpp")
    parser.add_argument("--ctx", type=int, default=0)
    parser.add_argument("--chunks", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = []
    for name in options.models:
        print(f"measuring {name}", file=sys.stderr)
        rows.append(measure(options, name))
    if options.json:
        print(json.dumps({"text": options.text.name, "rows": rows}, indent=1))
        return
    first = rows[0]
    print(f"{options.text.name}; convention {first['convention']}, {first['windows']} windows of {first['window']} tokens, {first['scored']} scored; ± is one standard error\n")
    print("| model | bits/weight | image, MB | SNR, dB | perplexity | KL divergence, nats | same top token |\n|---|---:|---:|---:|---:|---:|---:|")
    for row in rows:
        snr = "" if row["snr_db"] is None else f"{row['snr_db']:.1f}"
        kl = plus_minus(row["kl"], row["kl_error"]) if "kl" in row else ""
        top = f"{100 * row['same_top']:.1f} ± {100 * row['same_top_error']:.1f} %" if "kl" in row else ""
        print(f"| {row['model']} | {row['bits_per_weight']:.2f} | {row['image_bytes'] / 1e6:.1f} | {snr} | {plus_minus(row['perplexity'], row['perplexity_error'])} | {kl} | {top} |")


if __name__ == "__main__":
    main()
