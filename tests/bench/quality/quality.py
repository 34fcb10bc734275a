"""Quality against bits: measures every row (rows.py), prints the table and the savings, draws the curve. tests/bench/quality/run prepares what it needs."""

import argparse
import json
import pathlib
import signal
import sys

import draw
import measure
import rows
import savings
import table


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("source", "text", "build", "work"):
        parser.add_argument(f"--{name}", type=pathlib.Path, required=True)
    parser.add_argument("--gguf", type=pathlib.Path)
    parser.add_argument("--imatrix", type=pathlib.Path)
    parser.add_argument("--name", default="", help="of the model, for the headings")
    parser.add_argument("--svg", type=pathlib.Path, help="where the curve is drawn (default: curve.svg in --work)")
    parser.add_argument("--chunks", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--bpw", default="", help="points, separated by commas")
    parser.add_argument("--only", default="", help="only the rows whose id contains one of these, separated by commas")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def main():
    # As with SIGINT: what is half done is removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options = parse()
    inputs = rows.Inputs(options.source, options.gguf, options.imatrix, options.text, options.build / "mkentrofs/mkentrofs", options.build / "fs/entrofsck",
                         options.build / "runner/entrorun")
    bpw = [float(point) for point in options.bpw.split(",")] if options.bpw else rows.BPW
    wanted = rows.all_rows(inputs, bpw)
    if options.only:
        wanted = [row for row in wanted if row.group == "source" or any(part in row.id for part in options.only.split(","))]
    measurer = measure.Measurer(inputs, options.work, options.chunks, options.threads)
    results = measurer.all(wanted)
    reference = measurer.llama_cpp() if inputs.gguf else None
    saved = savings.all_savings(results)
    svg = options.svg or options.work / "curve.svg"
    svg.write_text(draw.curve(results, options.name))
    if options.json:
        print(json.dumps({"model": options.name, "text": options.text.name, "llama_cpp": reference, "rows": results, "savings": saved}, indent=1))
        return
    print(table.markdown(results, options.name, options.text.name))
    if reference:
        print(table.reference_line(results[0], reference))
    print(table.savings_markdown(saved))
    print(f"curve: {svg}", file=sys.stderr)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
