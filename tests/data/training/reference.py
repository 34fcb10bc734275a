"""Writes reference.json: what transformers makes of the tiny model, for the runner's tests.

Float32 arithmetic over the BF16 weights; greedy, and on past an end of text. Only its
remaking needs torch and transformers. Usage: python3 reference.py
"""

import json
import pathlib

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

HERE = pathlib.Path(__file__).parent
TINY = HERE.parent / "tiny"
PROMPTS = [
    "Once upon a time there was a little girl named Lily.",
    "The capital of France is",
    '"Where is my ball?" asked Tom.',
]
N_TOKENS = 32


@torch.no_grad()
def generate(model, tokens):
    """Returns the logits after the prompt, the greedy tokens, and their smallest lead."""
    tokens, first, lead = list(tokens), None, float("inf")
    n_prompt = len(tokens)
    for _ in range(N_TOKENS):
        logits = model(torch.tensor([tokens])).logits[0, -1]
        best = logits.topk(2)
        first = logits if first is None else first
        lead = min(lead, (best.values[0] - best.values[1]).item())
        tokens.append(best.indices[0].item())
    return first, tokens[n_prompt:], lead


def main():
    tokenizer = Tokenizer.from_file(str(TINY / "tokenizer.json"))
    model = AutoModelForCausalLM.from_pretrained(TINY, dtype=torch.float32)
    reference = {"prompts": []}
    for prompt in PROMPTS:
        tokens = tokenizer.encode(prompt).ids
        first, greedy, lead = generate(model, tokens)
        reference["prompts"].append({
            "text": prompt, "tokens": tokens, "greedy": greedy,
            "greedy_text": tokenizer.decode(greedy, skip_special_tokens=False),
            # How far the chosen token was ahead at least: less than this is no difference.
            "smallest_lead": float(f"{lead:.3g}"),
        })
        reference.setdefault("first_logits", [float(f"{x:.6g}") for x in first.tolist()])
    (HERE / "reference.json").write_text(json.dumps(reference, indent=1) + "\n")


if __name__ == "__main__":
    main()
