"""Perplexity of a GGUF as llama.cpp computes it, to hold `entrorun ppl` against: the same convention (llama-perplexity's: windows of 512 tokens that do not
overlap, the first token of each replaced by BOS where the model adds one, the second half scored), the same text. Runs in the environment that
tests/bench/llama_cpp.sh makes:

    build/llama_cpp/venv/bin/python tests/bench/llama_cpp_perplexity.py MODEL.gguf TEXT [--chunks WINDOWS] [--json]
    build/release/runner/entrorun ppl -m DIR -f TEXT --chunks WINDOWS        # DIR: an image of the same file, --scheme lossless
"""

import argparse
import json

import numpy
from llama_cpp import Llama

WINDOW = 512


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model"), parser.add_argument("text"), parser.add_argument("--chunks", type=int), parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    llama = Llama(options.model, n_ctx=WINDOW, n_batch=WINDOW, logits_all=True, verbose=False)
    adds_bos = llama.metadata.get("tokenizer.ggml.add_bos_token", "false") == "true"
    with open(options.text, "rb") as file:
        tokens = llama.tokenize(file.read(), add_bos=adds_bos, special=True)
    n_windows = len(tokens) // WINDOW
    if options.chunks:
        n_windows = min(n_windows, options.chunks)
    losses = []
    for i in range(n_windows):
        window = tokens[i * WINDOW : (i + 1) * WINDOW]
        if adds_bos:
            window[0] = llama.token_bos()
        llama.reset()
        llama.eval(window)
        for position in range(WINDOW // 2, WINDOW - 1):
            logits = llama.scores[position].astype(numpy.float64)
            largest = logits.max()
            losses.append(largest + numpy.log(numpy.exp(logits - largest).sum()) - logits[window[position + 1]])
    mean = numpy.mean(losses)
    error = numpy.exp(mean) * numpy.std(losses, ddof=1) / len(losses) ** 0.5
    if options.json:
        print(json.dumps({"windows": n_windows, "window": WINDOW, "scored": len(losses), "perplexity": float(numpy.exp(mean)), "perplexity_error": float(error)}))
        return
    print(f"{n_windows} windows of {WINDOW}, {len(losses)} scored: perplexity {numpy.exp(mean):.4f} +- {error:.4f}")


if __name__ == "__main__":
    main()
