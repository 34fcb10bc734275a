"""Trains the tiny model on the text of text.py and writes model.safetensors (BF16).

Usage: python3 train.py [--minutes N] [--checkpoints FOLDER]. It needs the tokenizer.json of
tokenizer.py; the README beside it says which packages. The learning rate follows the clock:
a busy machine makes fewer steps, but no half-made model.
"""

import argparse
import math
import pathlib
import time

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch.nn import functional

import text
from model import CONFIG, Llama

TINY = pathlib.Path(__file__).parents[1] / "tiny"
BATCH_TOKENS = 4096
CONTEXT, LONG_CONTEXT = 256, CONFIG["max_position_embeddings"]
LONG_SHARE = 0.1  # of the time, its end, uses the long context
STORY_SHARE = 0.85  # of the batch; the rest are passages of the novels
STORY_CHARS = 24_000_000
SEED = 1
N_HELD_OUT = 8  # chapters of the novels
PEAK_RATE, LAST_RATE, N_WARMUP = 4e-3, 4e-5, 100
WEIGHT_DECAY = 0.1
PROMPT = "Once upon a time there was a little"


class Passages:
    """Draws passages from texts, half of them from a text's beginning."""

    def __init__(self, tokenizer, texts):
        encodings = tokenizer.encode_batch_fast(texts)
        tokens, self.starts = [CONFIG["eos_token_id"]], []
        for encoding in encodings:
            self.starts.append(len(tokens))
            tokens += [*encoding.ids, CONFIG["eos_token_id"]]
        self.tokens = torch.tensor(tokens, dtype=torch.int16)
        self.last = len(tokens) - LONG_CONTEXT - 1
        self.starts = torch.tensor([start for start in self.starts if start < self.last])

    def draw(self, n, context, generator):
        """Returns n passages of context + 1 tokens each."""
        places = torch.randint(self.last, (n,), generator=generator)
        chosen = torch.randint(len(self.starts), (n // 2,), generator=generator)
        places[:n // 2] = self.starts[chosen]
        return torch.stack([self.tokens[i:i + context + 1] for i in places.tolist()]).long()


def compute_loss(model, passages):
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(passages[:, :-1])
    return functional.cross_entropy(logits.float().flatten(0, 1), passages[:, 1:].flatten())


@torch.no_grad()
def measure(model, passages, n_batches=6):
    """Returns the loss on held-out passages, always the same ones."""
    generator = torch.Generator().manual_seed(SEED)
    losses = [compute_loss(model, passages.draw(BATCH_TOKENS // CONTEXT, CONTEXT, generator))
              for _ in range(n_batches)]
    return torch.stack(losses).mean().item()


@torch.no_grad()
def sample(model, tokenizer, n_tokens=80):
    """Returns a greedy continuation of PROMPT."""
    tokens = tokenizer.encode(PROMPT).ids
    for _ in range(n_tokens):
        tokens.append(model(torch.tensor([tokens]))[0, -1].argmax().item())
    return tokenizer.decode(tokens, skip_special_tokens=False)


def learning_rate(step, done):
    """Returns the rate when the part `done` of the time is over: warm-up, then a cosine."""
    cosine = (1 + math.cos(math.pi * done)) / 2
    return min((step + 1) / N_WARMUP, 1) * (LAST_RATE + (PEAK_RATE - LAST_RATE) * cosine)


def save(model, path):
    """Writes the weights, rounded to BF16, by the names that transformers knows."""
    weights = {"model." + name: weight.detach().bfloat16().contiguous()
               for name, weight in model.named_parameters()}
    save_file(weights, path, metadata={"format": "pt"})


def report(model, tokenizer, kinds):
    """Prints the loss on each kind of held-out text, and a sample."""
    losses = [f"{kind} {measure(model, kinds[kind]):.4f}" for kind in kinds if "new" in kind]
    print(f"  loss: {', '.join(losses)}\n  {sample(model, tokenizer)!r}", flush=True)


def read_text(tokenizer):
    """Returns the passages by their kind; the new ones are held out from the training."""
    novels = text.read_novels()
    kinds = {
        "stories": text.make_stories(STORY_CHARS, SEED),
        "novels": novels[:-N_HELD_OUT],
        "new stories": text.make_stories(500_000, SEED + 1),
        "new chapters": novels[-N_HELD_OUT:],
    }
    return {kind: Passages(tokenizer, texts) for kind, texts in kinds.items()}


def make_optimizers(model):
    """Returns Muon (Jordan et al. 2024) for the matrices of the layers and AdamW for the rest."""
    layers = [weight for weight in model.layers.parameters() if weight.dim() == 2]
    vectors = [weight for weight in model.parameters() if weight.dim() == 1]
    embeddings = {"params": [model.embed_tokens.weight], "weight_decay": WEIGHT_DECAY}
    return [
        torch.optim.Muon(layers, weight_decay=WEIGHT_DECAY, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW([embeddings, {"params": vectors, "weight_decay": 0.0}],
                          betas=(0.9, 0.95), fused=True),
    ]


def train(model, tokenizer, seconds, checkpoints):
    """Trains for so many seconds; saves to the folder `checkpoints`, if any, now and then."""
    kinds = read_text(tokenizer)
    for kind, passages in kinds.items():
        print(f"{kind}: {len(passages.tokens)} tokens", flush=True)
    generator = torch.Generator().manual_seed(SEED)
    optimizers = make_optimizers(model)
    compiled = torch.compile(model, dynamic=False)
    begun, step, done, mean = time.monotonic(), 0, 0.0, None
    while done < 1:
        for group in [group for optimizer in optimizers for group in optimizer.param_groups]:
            group["lr"] = learning_rate(step, done)
        context = CONTEXT if done < 1 - LONG_SHARE else LONG_CONTEXT
        n_passages = BATCH_TOKENS // context
        n_stories = round(n_passages * STORY_SHARE)
        loss = compute_loss(compiled, torch.cat([
            kinds["stories"].draw(n_stories, context, generator),
            kinds["novels"].draw(n_passages - n_stories, context, generator),
        ]))
        model.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        mean = loss.item() if mean is None else 0.98 * mean + 0.02 * loss.item()
        step, done = step + 1, (time.monotonic() - begun) / seconds
        if step % 50 == 0:
            print(f"step {step} loss {mean:.4f} done {done:.1%}", flush=True)
        if step % 250 == 0:
            report(model, tokenizer, kinds)
            if checkpoints:
                save(model, checkpoints / "model.safetensors")
    print(f"{step} steps of {BATCH_TOKENS} tokens")
    report(model, tokenizer, kinds)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=50)
    parser.add_argument("--checkpoints", type=pathlib.Path, help="keep the newest weights there")
    arguments = parser.parse_args()
    torch.manual_seed(SEED)
    torch.set_num_threads(2)
    model = Llama()
    print(f"{sum(w.numel() for w in model.parameters())} parameters")
    train(model, Tokenizer.from_file(str(TINY / "tokenizer.json")),
          60 * arguments.minutes, arguments.checkpoints)
    save(model, TINY / "model.safetensors")


if __name__ == "__main__":
    main()
