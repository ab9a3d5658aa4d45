#!/usr/bin/env python3
"""The scenarios of the reference service, in each of their variants, and what they hold: the figures that
the service promises, measured.

    cargo build --release
    python3 benches/figures.py                  # half an hour; prints Markdown
    python3 benches/figures.py mixed-workload

The variants of query-mix that are named `before` have neither cache nor indexes and are red on purpose: they say
what both are worth. Exits with 1 where another one does not pass. Servers are started by the scenarios, on free
ports of the loopback. Nothing else should run meanwhile. Python 3.11, Linux, PostgreSQL, Redis; no packages."""

import argparse
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import peers
from peers import say

ROOT = peers.HERE.parent
PLIMSOLL = ROOT / "target" / "release" / "plimsoll"
# By scenario, the figure of FEATURES that it is.
FIGURES = {
    "clients-api": "F2",
    "query-mix": "F5",
    "read-heavy": "F6",
    "batch-million": "F7",
    "mixed-workload": "F8",
    "redis-outage": "F9",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("scenarios", nargs="*", choices=[[], *FIGURES], metavar="scenario")
    scenarios = parser.parse_args().scenarios or list(FIGURES)
    if not PLIMSOLL.is_file():
        sys.exit(f"no {PLIMSOLL}; build it: cargo build --release")
    print(peers.on_servers(PLIMSOLL))
    print()
    print("| figure | scenario | metric | measured | must be | |")
    print("|---|---|---|---:|---:|---|", flush=True)
    failed = 0
    for scenario in scenarios:
        file = ROOT / "scenarios" / f"{scenario}.toml"
        for variant in tomllib.loads(file.read_text()).get("variants", [None]):
            verdict = judged(file, variant)
            failed += verdict["exit_code"] != 0 and "before" not in (variant or "")
            name = scenario if variant is None else f"{scenario}@{variant}"
            for limit in verdict["limits"]:
                show(FIGURES[scenario], name, limit)
            if not verdict["limits"]:
                print(f"| {FIGURES[scenario]} | {name} | {verdict['verdict']} | | | {verdict['reasons']} |", flush=True)
    sys.exit(1 if failed else 0)


def judged(file, variant):
    """The verdict on one run."""
    command = [PLIMSOLL, "run", file, "--format", "json", "--quiet"]
    if variant is not None:
        command += ["--variant", variant]
    say(" ".join(str(part) for part in command))
    answer = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False).stdout
    return json.loads(answer)


def show(figure, scenario, limit):
    """A row of the table."""
    least, most, value = limit.get("min"), limit.get("max"), limit.get("value")
    demands = [("at least", least)] * (least is not None) + [("at most", most)] * (most is not None)
    demand = ", ".join(f"{word} {told(value, limit['unit'])}" for word, value in demands)
    shown = "none" if value is None else told(value, limit["unit"])
    outcome = {True: "holds", False: "**broken**", None: "not measured"}[limit.get("holds")]
    print(f"| {figure} | {scenario} | `{limit['metric']}` | {shown} | {demand} | {outcome} |", flush=True)


def told(value, unit):
    """A value in its unit."""
    match unit:
        case "nanoseconds":
            return f"{value / 1e6:.3g} ms"
        case "bytes":
            return f"{value / 1e6:.4g} MB"
        case "ratio":
            return f"{100 * value:.4g} %"
        case "per_second":
            return f"{value:,.0f}/s"
        case _:
            return f"{value:.4g}"


if __name__ == "__main__":
    main()
