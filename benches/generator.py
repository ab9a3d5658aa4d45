#!/usr/bin/env python3
"""What Plimsoll costs beside other load generators: user time a request, memory, punctuality.

    python3 benches/generator.py                 about twelve minutes; prints Markdown
    python3 benches/generator.py --long 600      and whether memory stays flat over ten minutes

The generator has one core for itself; the target has the others. User time is that of all processes of the
generator, from start to end, divided by the requests that were answered. The kernel's time depends on how
the machine wakes its cores, so it is compared separately. Generators take turns, and ratios are made within
a round. What is installed of wrk, oha and hey takes part:

    apt-get install wrk hey; cargo install oha
"""

import argparse
import datetime
import os
import statistics
import sys

import peers
from peers import say

US = 1e6
MIB = 2**20


def main():
    options = arguments()
    program = peers.needs_plimsoll(options.plimsoll)
    kind = peers.target_kind(options.target)
    own, others = peers.cores()
    peers.raise_open_files()
    # This script looks at /proc and must not disturb the generator.
    os.sched_setaffinity(0, others)
    tools = peers.installed([peers.Wrk(), peers.Oha(), peers.Hey()])
    names = ", ".join([peers.revision(program), *(tool.version() for tool in tools)])
    command = " ".join(["benches/generator.py", *sys.argv[1:]])
    print(f"Measured on {datetime.date.today()} with `{command}`: {peers.machine()}; target {peers.target_version(kind)}; {names}.\n")
    with peers.Target(kind, others) as target:
        parts = {
            "closed": lambda: compare_closed(options, program, own, target, tools),
            "open": lambda: compare_open(options, program, own, target, tools),
            "users": lambda: many_users(options, program, own, target),
            "late": lambda: punctuality(options, program, own, others, target),
        }
        for name in options.only or parts:
            parts[name]()
        if options.long:
            long_run(options, program, own, target)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plimsoll", default=peers.PLIMSOLL, help="the program, built with --profile dist")
    parser.add_argument("--target", choices=["nginx", "own"], help="default: nginx where it is installed, else server.rs")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=10, help="length of a run")
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--rate", type=int, default=10_000, help="requests a second of the open model")
    parser.add_argument("--only", nargs="+", choices=["closed", "open", "users", "late"])
    parser.add_argument("--users", type=int, default=5_000, help="of the part `users`")
    parser.add_argument("--long", type=int, default=0, metavar="SECONDS", help="a run to see whether memory stays flat")
    return parser.parse_args()


def compare_closed(options, program, own, target, tools):
    seconds, connections = options.seconds, options.connections
    load = f"closed = {{ users = {connections} }}"
    compared = {tool.name: (tool, tool.closed(target.url, connections, seconds)) for tool in tools}
    print(f"**Closed model**: {connections} connections, {options.rounds} rounds of {seconds} s.\n")
    rounds(options, program, own, target, load, compared)


def compare_open(options, program, own, target, tools):
    seconds, rate, connections = options.seconds, options.rate, options.connections
    # A user whose answer is late does not keep the next arrival from being sent.
    load = f'open = {{ rate = "{rate}/s", max_in_flight = {20 * connections} }}'
    compared = {
        tool.name: (tool, tool.open(target.url, connections, rate, seconds)) for tool in tools if tool.open
    }
    print(f"**Open model**: {rate} requests/s, {options.rounds} rounds of {seconds} s.\n")
    rounds(options, program, own, target, load, compared)


def rounds(options, program, own, target, load, compared):
    """Lets all generators take turns, the first of a round another one each time, and prints a table."""
    names = ["plimsoll", *compared]
    costs = {name: [] for name in names}
    workers = []
    for number in range(options.rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            say(f"round {number + 1} of {options.rounds}: {name}")
            if name == "plimsoll":
                measured = peers.plimsoll(program, own, target.url, load, options.seconds)
                tell_invalid(measured)
                cost, requests = measured.cost, measured.requests()
                workers.append(cost.worker.user_s / requests)
                seconds = options.seconds + 1
            else:
                tool, command = compared[name]
                cost = peers.run(command, own)
                requests = tool.requests(cost.stdout)
                seconds = options.seconds
            costs[name].append((requests, cost, requests / seconds))
    user_us = {name: [cost.user_s / requests * US for requests, cost, _ in runs] for name, runs in costs.items()}
    user_us["plimsoll, its worker alone"] = [user_s * US for user_s in workers]
    costs["plimsoll, its worker alone"] = costs["plimsoll"]
    names = ["plimsoll", "plimsoll, its worker alone", *compared]
    reference = next((name for name in ("oha", "wrk", "hey") if name in compared), None)
    heads = ["", "requests/s", "user µs a request", "with the kernel's", "largest process"]
    print_row(heads + ([f"user, {reference} = 1", f"with the kernel's, {reference} = 1"] if reference else []))
    print_row(["---", *["---:"] * (len(heads) - 1 + 2 * bool(reference))])
    total_us, rows = {}, []
    for name in names:
        runs = costs[name]
        is_worker = name.endswith("alone")
        total_us[name] = [
            ((cost.worker.user_s + cost.worker.system_s) if is_worker else (cost.user_s + cost.system_s)) / requests * US
            for requests, cost, _ in runs
        ]
        peak = [(cost.worker.peak_bytes if is_worker else cost.peak_bytes) / MIB for _, cost, _ in runs]
        row = [
            name,
            f"{statistics.median(rate for *_, rate in runs):,.0f}",
            middle(user_us[name], ".2f"),
            middle(total_us[name], ".1f"),
            f"{max(peak):.0f} MiB",
        ]
        rows.append(row)
    for name, row in zip(names, rows):
        if reference:
            for of in user_us, total_us:
                row.append(middle([own / other for own, other in zip(of[name], of[reference])], ".2f"))
        print_row(row)
    print()


def many_users(options, program, own, target):
    """Users who mostly wait: what they cost is memory. They come over two seconds, because no kernel accepts
    thousands of connections at once."""
    users = options.users
    load = f'closed = {{ stages = [{{ for = "2s", from = 0, to = {users} }}, {{ for = "1s", users = {users} }}] }}'
    say(f"{users} users")
    measured = peers.plimsoll(
        program, own, target.url, load, 10, warmup_s=3, step='think = { min = "1s", max = "3s" }', counts_files=True
    )
    tell_invalid(measured)
    worker = measured.cost.worker
    failed = sum(window["counts"]["failed"] for window in measured.load["windows"])
    print(
        f"**{users:,} users**, each with a connection of its own, {measured.requests() / 13:,.0f} requests/s: "
        f"{worker.peak_bytes / MIB:.0f} MiB at most; {worker.before_load_s * 1e3:.0f} ms of processor time from the "
        f"worker's start until its load began; {worker.most_files:,} open files at most; {failed} failed.\n"
    )


def punctuality(options, program, own, others, target):
    rate = 20_000
    say(f"{rate} requests/s")
    of_machine = peers.lateness_of_the_machine(own, others, options.seconds)
    load = f'open = {{ rate = "{rate}/s", max_in_flight = 1000 }}'
    measured = peers.plimsoll(program, own, target.url, load, options.seconds)
    tell_invalid(measured)
    counts = measured.load["counts"]
    late = peers.Histogram(measured.load["generator"]["ticket_lateness"])

    def told(quantile_ns):
        return ", ".join(f"p{q * 100:.10g} {quantile_ns(q) / 1e3:,.0f} µs" for q in (0.5, 0.9, 0.99, 0.999, 1.0))

    print(
        f"**Punctuality** at {rate:,} requests/s for {options.seconds} s: tickets were late by {told(late.quantile_ns)}; of "
        f"{counts['offered']:,} arrivals {counts['dropped']:,} were dropped and {counts['completed']:,} completed. A program "
        f"that does nothing but look at the clock, on the same core and for as long, is late by {told(of_machine)}.\n"
    )


def long_run(options, program, own, target):
    rate, seconds = options.rate, options.long
    say(f"{rate} requests/s for {seconds} s")
    load = f'open = {{ rate = "{rate}/s", max_in_flight = {20 * options.connections} }}'
    measured = peers.plimsoll(program, own, target.url, load, seconds)
    tell_invalid(measured)
    samples = measured.load["generator"]["samples"]
    print(f"**A long run**: {measured.requests():,} requests at {rate:,}/s in {seconds} s.\n")
    parts = 5
    print_row(["of its time", *(f"{100 * part // parts}–{100 * (part + 1) // parts} %" for part in range(parts))])
    print_row(["---", *["---:"] * parts])
    end = samples[-1]["at_ns"] + 1
    most = [
        max(sample["rss_bytes"] for sample in samples if sample["at_ns"] * parts // end == part) for part in range(parts)
    ]
    print_row(["resident memory at most", *(f"{rss_bytes / MIB:.1f} MiB" for rss_bytes in most)])
    print()


def tell_invalid(measured):
    # A closed load takes the core that it is given, which is what is measured here.
    for reason in measured.invalid:
        if reason["kind"] != "generator_saturated":
            say(f"plimsoll calls this run invalid: {reason}")


def middle(values, form):
    """The median and the range."""
    return f"{statistics.median(values):{form}} ({min(values):{form}}–{max(values):{form}})"


def print_row(cells):
    print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
