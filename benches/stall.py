#!/usr/bin/env python3
"""The same open load through Plimsoll, wrk2 and oha on a server that stands still now and then, beside what
arithmetic says.

    python3 benches/stall.py                     about two minutes; prints Markdown
    python3 benches/stall.py --also-uncorrected  oha without its correction, too

A server that stands still for L of every E seconds makes the share L/E of evenly spread arrivals wait, the
first of them L and the last nothing. So the quantile q of all latencies, where it is above 1 - L/E, is
L·(q - (1 - L/E)) / (L/E).

    cargo install oha
    git clone https://github.com/giltene/wrk2 && make -C wrk2 && cp wrk2/wrk /usr/local/bin/wrk2
"""

import argparse
import datetime
import os
import time

import peers
from peers import say

QUANTILES = [0.5, 0.9, 0.95, 0.99, 0.999]


def main():
    options = arguments()
    program = peers.needs_plimsoll(options.plimsoll)
    own, others = peers.cores()
    peers.raise_open_files()
    os.sched_setaffinity(0, others)
    rate, seconds, connections = options.rate, options.seconds, options.connections
    stall_ms, every_ms = options.stall, options.every
    if seconds * 1000 % every_ms:
        raise SystemExit("--seconds must be a multiple of --every, or the stalls would have another share")
    # In a stall as many arrivals wait as arrive.
    waiting = rate * stall_ms // 1000
    load = f'open = {{ rate = "{rate}/s", max_in_flight = {waiting * 3 // 2} }}'
    columns = {}
    kind = peers.target_kind(options.target)
    with peers.Target(kind, others, stall_ms, every_ms) as target:
        say("plimsoll")
        measured = peers.plimsoll(program, own, target.url, load, seconds, warmup_s=every_ms / 1000)
        for reason in measured.invalid:
            say(f"plimsoll calls this run invalid: {reason}")
        columns["plimsoll"] = [measured.quantile_ms(quantile) for quantile in QUANTILES]
        tools = peers.installed([peers.Wrk2(), peers.Oha()])
        asked = [(tool.name, tool, tool.open(target.url, connections, rate, seconds)) for tool in tools]
        if options.also_uncorrected:
            uncorrected = [tool for tool in tools if tool.name == "oha"]
            asked += [("oha -q", oha, oha.open(target.url, connections, rate, seconds, False)) for oha in uncorrected]
        for name, tool, command in asked:
            say(name)
            columns[name] = quantiles(tool, command, own, target, options)
    names = ", ".join([peers.revision(program), *(tool.version() for tool in tools)])
    print(f"Measured on {datetime.date.today()} with `benches/stall.py`: {peers.machine()}; target {peers.target_version(kind)}; {names}.\n")
    print(
        f"{rate} requests/s on a server that stands still for {stall_ms} ms every {every_ms / 1000:g} s; "
        f"{seconds} s; others have {connections} connections. In ms, with the difference to the truth.\n"
    )
    print_table(columns, stall_ms, stall_ms / every_ms)


def arguments():
    parser = argparse.ArgumentParser(description=" ".join(__doc__.split("\n\n")[0].split()))
    parser.add_argument("--plimsoll", default=peers.PLIMSOLL, help="the program, built with --profile dist")
    parser.add_argument("--target", choices=["nginx", "own"], help="nginx where it is installed, else our own server")
    parser.add_argument("--rate", type=int, default=2000, help="requests a second")
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--stall", type=int, default=500, metavar="MS")
    parser.add_argument("--every", type=int, default=5000, metavar="MS")
    parser.add_argument("--connections", type=int, default=100, help="of wrk2 and oha")
    parser.add_argument("--also-uncorrected", action="store_true", help="oha without its correction, too")
    return parser.parse_args()


def quantiles(tool, command, own, target, options):
    """What a generator says. It begins, and so ends, in the middle between two stalls: what it cuts off at its
    end would be missing."""
    every_s = options.every / 1000
    into_s = (time.monotonic() - target.started_at) % every_s
    time.sleep((1.5 * every_s - into_s) % every_s)
    cost = peers.run(command, own)
    if cost.code:
        raise SystemExit(f"{' '.join(map(str, command))} ended with {cost.code}:\n{cost.stderr}")
    return [tool.quantile_ms(cost.stdout, quantile) for quantile in QUANTILES]


def true_ms(quantile, stall_ms, share):
    """What arithmetic says; None where nobody waits."""
    beyond = quantile - (1 - share)
    return stall_ms * beyond / share if beyond > 1e-9 else None


def print_table(columns, stall_ms, share):
    print("| quantile | truth | " + " | ".join(columns) + " |")
    print("|---|---:|" + "---:|" * len(columns))
    for row, quantile in enumerate(QUANTILES):
        truth = true_ms(quantile, stall_ms, share)
        cells = [f"p{quantile * 100:.10g}", "no wait" if truth is None else f"{truth:.0f}"]
        for values in columns.values():
            value = values[row]
            error = "" if truth is None else f" ({value / truth - 1:+.1%})"
            cells.append(f"{value:.1f}{error}")
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
