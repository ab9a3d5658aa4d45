#!/usr/bin/env python3
"""The benches of the data layer, several invocations each, as ratios to what stands beside them.

A ratio is made within one invocation, of the medians that criterion found there, and its median over the
invocations is told with the range: what a machine does to all of them at once is in no ratio. Where both sides
say how many elements one iteration is, times are those of an element. Builds the benches first; they start PostgreSQL
and Redis themselves, on free ports. Nothing else should run meanwhile.

    python3 benches/ratios.py                       # all of them, five invocations
    python3 benches/ratios.py --invocations 1 limit # those of one bench

Exits with 1 where a goal is missed. Python 3.11, Linux, no packages."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from peers import HERE, say

# What is a package of its own, with its manifest.
OTHER_PACKAGES = {"two_tiers": HERE / "two_tiers" / "Cargo.toml"}

# By bench: ours, what stands beside it, and the largest ratio that is allowed; a goal that is a rate ("at least
# 0.8 of the rows a second") is its inverse.
PAIRS = {
    "cache": [
        ("cache/get_hot", "cache/get_hot_moka", 1.5),
        ("cache/get_hot", "cache/get_hot_quick_cache", None),
        ("cache/miss_single_flight", "cache/miss_single_flight_moka", None),
        ("cache/invalidate_tag_10k", "cache/invalidate_tag_10k_moka", None),
        ("cache/warm_up", "cache/warm_up_moka", None),
    ],
    "two_tiers": [
        ("first_tier/get", "first_tier/get_multi_tier_cache", 1.0),
        ("first_tier/get_or_load", "first_tier/get_or_load_multi_tier_cache", None),
        ("second_tier/get", "second_tier/get_multi_tier_cache", 1.0),
        # Ours claims the load for all processes in the same step, theirs for its own only.
        ("second_tier/get_or_load", "second_tier/get_or_load_multi_tier_cache", None),
        ("second_tier/get", "second_tier/get_redis", 1.3),
        ("second_tier/get_or_load", "second_tier/get_redis", 1.3),
    ],
    "on_servers": [
        ("l2/get", "l2/get_redis", 1.3),
        ("l2/get_or_load", "l2/get_redis", 1.3),
        ("l2/get_or_load_tagged", "l2/get_redis", 1.3),
        ("l2/miss_single_flight", "l2/miss_single_flight_redis", None),
        ("l2/invalidate_tag_10k", "l2/invalidate_tag_10k_redis", None),
        ("l2/warm_up", "l2/warm_up_redis", None),
        ("pool_postgres/checkout", "pool_postgres/checkout_sqlx", 1.15),
        ("pool_postgres/checkout", "pool_postgres/checkout_deadpool", None),
        ("pool_postgres/contended", "pool_postgres/contended_sqlx", None),
        ("pool_postgres/contended", "pool_postgres/contended_deadpool", None),
        ("pool_postgres/exhausted", "pool_postgres/exhausted_sqlx", None),
        ("pool_postgres/exhausted", "pool_postgres/exhausted_deadpool", None),
        ("bulk_postgres/insert", "bulk_postgres/copy", 1 / 0.8),
        ("bulk_postgres/insert", "bulk_postgres/prepared", None),
        ("bulk_postgres/stream", "bulk_postgres/stream_sqlx", None),
        ("lock/redis", "lock/redis_set_nx", None),
        ("lock/in_process", "lock/in_process_mutex", None),
        ("jobs/postgres", "jobs/postgres_bare", None),
        ("jobs/sqlite", "jobs/sqlite_bare", None),
        ("retry/linear", "retry/linear_bare", None),
        ("retry/exponential", "retry/exponential_bare", None),
        ("retry/fibonacci", "retry/fibonacci_bare", None),
        ("retry/fixed", "retry/fixed_bare", None),
    ],
    "pool": [
        ("pool/checkout", "pool/checkout_sqlx", 1.15),
        ("pool/checkout_contended", "pool/checkout_contended_sqlx", None),
        ("pool/exhausted", "pool/exhausted_sqlx", None),
    ],
    "batch": [
        ("bulk_sqlite/insert", "bulk_sqlite/prepared", None),
        ("bulk_sqlite/stream", "bulk_sqlite/stream_sqlx", None),
    ],
    "limit": [
        ("limit/check", "limit/check_governor", None),
        ("limit/check_new", "limit/check_new_governor", None),
        ("limit/refuse", "limit/refuse_governor", None),
        ("limit/request", "limit/request_governor", None),
    ],
    "live": [
        ("live/fan_out", "live/fan_out_broadcast", None),
        ("live/sockets", "live/sockets_broadcast", None),
    ],
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("benches", nargs="*", metavar="BENCH", help=f"of {', '.join(PAIRS)}; all where none is named")
    parser.add_argument("--invocations", type=int, default=5)
    arguments = parser.parse_args()
    benches = arguments.benches or list(PAIRS)
    if unknown := [name for name in benches if name not in PAIRS]:
        parser.error(f"no such bench: {', '.join(unknown)}; there are {', '.join(PAIRS)}")

    executables = {name: built(name) for name in benches}
    found = {}
    for number in range(1, arguments.invocations + 1):
        for name, executable in executables.items():
            say(f"invocation {number} of {arguments.invocations}: {name}")
            for bench, time_ns in invoked(executable).items():
                found.setdefault(bench, []).append(time_ns)

    print("| ours | beside it | ours | beside it | ratio | goal |")
    print("|---|---|---:|---:|---:|---:|")
    missed = 0
    compared = set()
    for name in benches:
        for ours, peer, goal in PAIRS[name]:
            compared |= {ours, peer}
            ratios = sorted(a / b for a, b in zip(found[ours], found[peer], strict=True))
            ratio = statistics.median(ratios)
            is_missed = goal is not None and ratio > goal
            missed += is_missed
            print(
                f"| {ours} | {peer} | {time(found[ours])} | {time(found[peer])} "
                f"| {ratio:.2f} ({ratios[0]:.2f}–{ratios[-1]:.2f}) "
                f"| {'none' if goal is None else f'{goal:.2f}'}{' MISSED' if is_missed else ''} |"
            )
    for bench in sorted(set(found) - compared):
        print(f"| {bench} | | {time(found[bench])} | | | |")
    sys.exit(1 if missed else 0)


def built(name):
    """The executable of a bench."""
    command = ["cargo", "bench", "--locked", "--no-run", "--message-format=json", "--bench", name]
    if name in OTHER_PACKAGES:
        command += ["--manifest-path", str(OTHER_PACKAGES[name])]
    say(f"building {name}")
    told = subprocess.run(command, cwd=HERE.parent, check=True, stdout=subprocess.PIPE, text=True).stdout
    for line in told.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == name:
            return message["executable"]
    sys.exit(f"cargo built no bench {name}")


def invoked(executable):
    """One invocation: by bench, the median time of an iteration, or of an element, in ns."""
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "CRITERION_HOME": home}
        run = subprocess.run(
            [executable, "--bench"], cwd=HERE.parent, env=environment, capture_output=True, text=True, check=False
        )
        if run.returncode != 0:
            sys.exit(f"{executable} failed:\n{run.stdout[-2000:]}\n{run.stderr[-2000:]}")
        times = {}
        for file in Path(home).glob("**/new/estimates.json"):
            about = json.loads((file.parent / "benchmark.json").read_text())
            median_ns = json.loads(file.read_text())["median"]["point_estimate"]
            times[about["full_id"]] = median_ns / ((about["throughput"] or {}).get("Elements") or 1)
        return times


def time(times_ns):
    """The median of some times, for people."""
    median_ns = statistics.median(times_ns)
    for unit, ns in (("ms", 1e6), ("µs", 1e3), ("ns", 1)):
        if median_ns >= ns:
            return f"{median_ns / ns:.3g} {unit}"
    return f"{median_ns:.3g} ns"


if __name__ == "__main__":
    main()
