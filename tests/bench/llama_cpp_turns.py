"""The runner beside llama.cpp, in turns; llama_cpp.sh prepares everything and starts this.

Both sides are processes that stay, with their models loaded. A round is: ours, theirs, theirs, ours; of one prompt of 512 tokens (pp512, logits of the last one) or 64 tokens
generated one by one (tg64, without sampling). A round's ratio is their time over ours, so more than 1 means that ours is faster; a row shows the best speeds and the median of
the rounds' ratios with their quartiles. On a machine that does other things, look at the ratio. Ours multiplies in full precision (F32 or 24-bit fixed point); theirs rounds the
inputs of quantized products to 8 bits.

    llama_cpp_turns.py quantize SOURCE.gguf TARGET.gguf Q8_0|Q4_0
    llama_cpp_turns.py compare BENCH_FORWARD WORK [--threads N] [--rounds N] [--json]
    llama_cpp_turns.py serve MODEL.gguf THREADS          what compare starts
"""

import argparse
import ctypes
import json
import os
import statistics
import subprocess
import sys
import time

PAIRS = [("u8", "Q8_0"), ("u4", "Q4_0")]
TESTS = [("pp512", "prompt", 512), ("tg64", "generate", 64)]


def quantize(source, target, kind):
    import llama_cpp

    llama_cpp.llama_backend_init()
    options = llama_cpp.llama_model_quantize_default_params()
    options.allow_requantize = True
    options.pure = True
    options.nthread = os.cpu_count()
    options.ftype = {"Q8_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0, "Q4_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0}[kind]
    part = target + ".part"
    if llama_cpp.llama_model_quantize(source.encode(), part.encode(), ctypes.byref(options)) != 0:
        sys.exit(f"llama.cpp cannot quantize {source}")
    os.rename(part, target)


def serve(path, n_threads):
    import llama_cpp

    quiet = llama_cpp.llama_cpp.llama_log_callback(lambda level, text, data: None)
    llama_cpp.llama_log_set(quiet, ctypes.c_void_p(0))
    llama_cpp.llama_backend_init()
    options = llama_cpp.llama_model_default_params()
    options.n_gpu_layers = 0
    model = llama_cpp.llama_model_load_from_file(path.encode(), options)
    options = llama_cpp.llama_context_default_params()
    options.n_ctx, options.n_batch, options.n_ubatch = 1024, 512, 512
    options.n_threads = options.n_threads_batch = n_threads
    context = llama_cpp.llama_init_from_model(model, options)
    n_vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
    tokens = [i * 40503 % n_vocabulary for i in range(1024)]

    def decode(some):
        array = (llama_cpp.llama_token * len(some))(*some)
        if llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(array, len(some))) != 0:
            sys.exit("llama_decode failed")

    print(llama_cpp.llama_print_system_info().decode().strip(), flush=True)
    for line in sys.stdin:
        what, count = line.split()
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
        start = time.perf_counter()
        if what == "prompt":
            decode(tokens[: int(count)])
        else:
            for token in tokens[: int(count)]:
                decode([token])
        llama_cpp.llama_synchronize(context)
        print(f"{time.perf_counter() - start:.6f}", flush=True)


class Contender:
    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.description = self.process.stdout.readline().strip()
        if not self.description:
            sys.exit(f"{command[0]} does not start")

    def seconds(self, what, count):
        self.process.stdin.write(f"{what} {count}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit(f"{self.process.args[0]} ended with {self.process.wait()}")
        return float(answer)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def compare(arguments):
    processor = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "unknown")
    rows = []
    for ours_name, theirs_name in PAIRS:
        ours = Contender([arguments.bench_forward, f"{arguments.work}/{ours_name}", str(arguments.threads)])
        theirs = Contender([sys.executable, __file__, "serve", f"{arguments.work}/{theirs_name}.gguf", str(arguments.threads)])
        for test, what, count in TESTS:
            ours.seconds(what, count), theirs.seconds(what, count)  # warm up
            ratios, best = [], [float("inf")] * 2
            for _ in range(arguments.rounds):
                times = [(side, side.seconds(what, count)) for side in (ours, theirs, theirs, ours)]
                mine, other = ([t for side, t in times if side is which] for which in (ours, theirs))
                ratios.append(sum(other) / sum(mine))
                best = [min(best[0], *mine), min(best[1], *other)]
            quartiles = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
            rows.append({"ours": ours_name, "theirs": theirs_name, "test": test, "threads": arguments.threads, "rounds": arguments.rounds, "ours_tokens_per_s": count / best[0],
                         "theirs_tokens_per_s": count / best[1], "ratio": statistics.median(ratios), "ratio_quartiles": [quartiles[0], quartiles[2]],
                         "kernels": ours.description, "llama_cpp": theirs.description, "processor": processor})
        ours.close()
        theirs.close()
    if arguments.json:
        print(json.dumps(rows, indent=1))
        return
    print(f"{processor}, {arguments.threads} threads, {arguments.rounds} rounds; ours: {rows[0]['kernels']}; llama.cpp: {rows[0]['llama_cpp']}")
    print("| ours | llama.cpp | test | ours, tokens/s | llama.cpp, tokens/s | ratio (quartiles) |\n|---|---|---|---:|---:|---:|")
    for row in rows:
        low, high = row["ratio_quartiles"]
        print(f"| {row['ours']} | {row['theirs']} | {row['test']} | {row['ours_tokens_per_s']:.1f} | {row['theirs_tokens_per_s']:.1f} | {row['ratio']:.2f} ({low:.2f} to {high:.2f}) |")


def main():
    parser = argparse.ArgumentParser(description="The runner beside llama.cpp, in turns.")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("quantize")
    command.add_argument("source"), command.add_argument("target"), command.add_argument("type", choices=["Q8_0", "Q4_0"])
    command = commands.add_parser("serve")
    command.add_argument("model"), command.add_argument("threads", type=int)
    command = commands.add_parser("compare")
    command.add_argument("bench_forward"), command.add_argument("work")
    command.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    command.add_argument("--rounds", type=int, default=9)
    command.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.command == "quantize":
        quantize(arguments.source, arguments.target, arguments.type)
    elif arguments.command == "serve":
        serve(arguments.model, arguments.threads)
    else:
        compare(arguments)


if __name__ == "__main__":
    main()
