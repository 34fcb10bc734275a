"""Measures contenders in turn, pattern by pattern, and sums the repetitions up in rows."""
import json
import os
import statistics
import subprocess

from .contenders import warm
from .programs import BenchError, say

PATTERNS = ("sequential", "mmap", "populate", "direct", "readers4", "readers4_parts", "random4k")
VIEW_PATTERNS = {"bf16_view": "sequential", "bf16_view_mmap": "mmap", "bf16_view_random4k": "random4k"}


def jobs(data, only):
    """(name, pattern, files) of what is read of one kind of data."""
    tensors, views = data.tensors(), data.views()
    found = [(name, name, tensors) for name in PATTERNS]
    if views:
        found += [(name, pattern, views) for name, pattern in VIEW_PATTERNS.items()]
    return [job for job in found if not only or any(word in job[0] for word in only)]


def measure_once(programs, contender, pattern, files, seed):
    """One reading (of places that `seed` stands for, where they are random): the reader's line, with the daemon's CPU seconds and memory. None: it cannot be read in this way."""
    paths = [os.path.join(contender.path, name) for name in files]
    for path in paths if contender.is_warm else []:
        warm(path)
    contender.forget_peak()
    before = contender.cpu_seconds()
    warmth = ["--warm"] if contender.is_warm else []
    result = subprocess.run([programs["read_pattern"], *warmth, "--seed", str(seed), pattern, *paths], capture_output=True, text=True)
    if result.returncode != 0:
        return result.stderr.strip()
    row = json.loads(result.stdout)
    if row["pages_left"] > 0:
        raise BenchError(f"{contender.name}: {row['pages_left']} pages stay in the page cache")
    row["daemon_cpu_seconds"] = contender.cpu_seconds() - before
    row["rss_mib"], row["anon_mib"] = contender.memory_mib()
    return row


def check_contents(contender, plain, files):
    """What is measured is what was meant to be read: byte for byte."""
    for name in files:
        result = subprocess.run(["cmp", os.path.join(contender.path, name), os.path.join(plain, name)], capture_output=True, text=True)
        if result.returncode != 0:
            raise BenchError(f"{contender.name} gives other bytes than the file: {result.stdout.strip() or result.stderr.strip()}")


def measure(programs, data, contenders, repetitions, only):
    """Readings by (name, contender), contenders alternating, each second round in the opposite order."""
    readings, refused = {}, set()
    for contender in contenders:
        if contender.name in data.images:
            warm(data.images[contender.name])
        if contender.name.startswith("entrofs"):
            check_contents(contender, data.plain, data.tensors() + data.views())
    for repetition in range(repetitions):
        for name, pattern, files in jobs(data, only):
            for contender in contenders if repetition % 2 == 0 else contenders[::-1]:
                if (name, contender.name) in refused or (contender.is_warm and pattern == "direct"):
                    continue
                row = measure_once(programs, contender, pattern, files, repetition)
                if isinstance(row, str):
                    refused.add((name, contender.name))
                    say(f"{data.kind} {name}: {contender.name}: {row}")
                else:
                    readings.setdefault((name, contender.name), []).append(row)
        say(f"{data.kind}: round {repetition + 1} of {repetitions}")
    return readings


def value_of(reading, is_random):
    return reading["p50_us"] if is_random else reading["bytes"] / reading["seconds"] / 1e9


def cpu_seconds_per_gb(found, name):
    return sum(row[name] for row in found) / (sum(row["bytes"] for row in found) / 1e9)


def sum_up(data, readings):
    """One row a (name, contender): medians, spread, and the median of the rounds' ratios to the null server."""
    rows = []
    for (name, contender), found in readings.items():
        is_random = "p50_us" in found[0]
        null = readings.get((name, "null"), [])
        ratios = [value_of(a, is_random) / value_of(b, is_random) for a, b in zip(found, null)]
        best = min if is_random else max
        speeds = [row["bytes"] / row["seconds"] / 1e9 for row in found]
        daemon, reader = (cpu_seconds_per_gb(found, key) for key in ("daemon_cpu_seconds", "cpu_seconds"))
        null_cpu = sum(cpu_seconds_per_gb(null, key) for key in ("daemon_cpu_seconds", "cpu_seconds")) if null else None
        rows.append({
            "name": name,
            "data": data.kind,
            "contender": contender,
            "gbps": round(statistics.median(speeds), 4),
            "gbps_min": round(min(speeds), 4),
            "gbps_max": round(max(speeds), 4),
            "ratio_to_null": round(statistics.median(ratios), 3) if ratios else None,
            "best_ratio_to_null": round(best(value_of(row, is_random) for row in found) / best(value_of(row, is_random) for row in null), 3) if null else None,
            "p50_us": round(statistics.median(row["p50_us"] for row in found), 2) if is_random else None,
            "p99_us": round(statistics.median(row["p99_us"] for row in found), 2) if is_random else None,
            "rss_mib": round(max(row["rss_mib"] for row in found), 1),
            "anon_mib": round(max(row["anon_mib"] for row in found), 1),
            "daemon_cpu_s_per_gb": round(daemon, 3),
            "reader_cpu_s_per_gb": round(reader, 3),
            "cpu_to_null": round((daemon + reader) / null_cpu, 3) if null else None,
            "repetitions": len(found),
        })
    return rows


def table(rows):
    """The rows as lines of text, one block a reading pattern."""
    lines, last = [], None
    for row in sorted(rows, key=lambda row: (row["data"], list(VIEW_PATTERNS).index(row["name"]) + 100 if row["name"] in VIEW_PATTERNS
                                             else PATTERNS.index(row["name"]))):
        if (row["data"], row["name"]) != last:
            last = (row["data"], row["name"])
            lines += ["", f"{row['data']} {row['name']:<20} {'GB/s':>7} {'min':>7} {'max':>7} {'/null':>6} {'best':>6} {'p50 us':>8} {'p99 us':>8}"
                          f" {'RSS':>6} {'anon':>6} {'daemon':>7} {'reader':>7} {'/null':>6}"]
        shown = {name: "-" if value is None else value for name, value in row.items()}
        lines.append(f"   {row['contender']:<20} {row['gbps']:7.3f} {row['gbps_min']:7.3f} {row['gbps_max']:7.3f} {shown['ratio_to_null']:>6} "
                     f"{shown['best_ratio_to_null']:>6} {shown['p50_us']:>8} {shown['p99_us']:>8} {row['rss_mib']:6.0f} {row['anon_mib']:6.0f} "
                     f"{row['daemon_cpu_s_per_gb']:7.2f} {row['reader_cpu_s_per_gb']:7.2f} {shown['cpu_to_null']:>6}")
    return lines
