"""Perplexity of a GGUF as llama.cpp computes it, to hold `entrorun ppl` against: the same convention (llama-perplexity's: windows of 512 tokens that do not
overlap, the first token of each replaced by BOS where the model adds one, the second half scored), the same text. Runs in the environment that
tests/bench/llama_cpp.sh makes:

    build/llama_cpp/venv/bin/python tests/bench/llama_cpp_perplexity.py MODEL.gguf TEXT [WINDOWS]
    build/release/runner/entrorun ppl -m DIR -f TEXT --chunks WINDOWS        # DIR: an image of the same file, --scheme lossless
"""
import sys

import numpy
from llama_cpp import Llama

WINDOW = 512


def main():
    model, text = sys.argv[1:3]
    llama = Llama(model, n_ctx=WINDOW, n_batch=WINDOW, logits_all=True, verbose=False)
    adds_bos = llama.metadata.get("tokenizer.ggml.add_bos_token", "false") == "true"
    with open(text, "rb") as file:
        tokens = llama.tokenize(file.read(), add_bos=adds_bos, special=True)
    n_windows = len(tokens) // WINDOW
    if len(sys.argv) > 3:
        n_windows = min(n_windows, int(sys.argv[3]))
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
    print(f"{n_windows} windows of {WINDOW}, {len(losses)} scored: perplexity {numpy.exp(mean):.4f} +- {error:.4f}")


if __name__ == "__main__":
    main()
