"""What the rule says of tests/data/nightly-pairs.csv, without the gate: the counts that
tests/verdicts/nightly.rs pins. `venv/bin/python tests/data/vectors/nightly.py` prints them; make.py says how to
make venv.
"""

import csv
import pathlib

import numpy as np
from scipy import special, stats

FILE = pathlib.Path(__file__).parents[1] / "nightly-pairs.csv"
DELTA, ALPHA, PRIOR_DF = np.log(1.05), 0.05, 4


def blocks():
    with FILE.open() as file:
        rows = list(csv.reader(file))[1:]
    base, head = (np.log([[float(x) for x in row[2:]] for row in rows if row[1] == arm]) for arm in ("base", "head"))
    count = len(base) // 5
    return (head - base)[: 5 * count].reshape(count, 5, 7)


def gate(d, s0=None, adjusted=True):
    """Red, whether the minimal detectable effect is within the margin, and unchanged, a block and metric."""
    n = d.shape[1]
    d0 = 0 if s0 is None else PRIOR_DF
    df = d0 + n - 1
    theta = d.mean(1)
    se = np.sqrt((d0 * (0 if s0 is None else s0**2) + (n - 1) * d.var(1, ddof=1)) / df / n)
    t, power = stats.t.ppf(1 - ALPHA, df), stats.t.ppf(0.8, df)
    p = stats.t.sf(theta / se, df)
    if adjusted:
        p = np.array([stats.false_discovery_control(row, method="bh") for row in p])
    return (theta - t * se > 0) & (theta >= DELTA) & (p <= ALPHA), np.expm1((t + power) * se) <= 0.05, (
        abs(theta) + t * se < DELTA
    )


def smyth(history):
    """Prior::from_history: the mean of ln s², its bias taken out."""
    half = (history.shape[1] - 1) / 2
    return np.exp((np.log(history.var(1, ddof=1)) - special.digamma(half) + np.log(half)).mean(0) / 2)


def pooled(history):
    """The mean of s²."""
    return np.sqrt(history.var(1, ddof=1).mean(0))


def report(what, d, s0=None):
    red, powered, same = gate(d, s0)
    slow, _, slow_same = gate(d + np.log(1.1), s0)
    plain, *_ = gate(d + np.log(1.1), s0, adjusted=False)
    alone = []
    for metric in range(7):
        one = d.copy()
        one[:, :, metric] += np.log(1.1)
        alone.append(int(gate(one, s0)[0][:, metric].sum()))
    print(f"{what}: {len(d)} blocks, of {7 * len(d)} metrics {powered.sum()} powered")
    print("  same build:            red", red.sum(0), "blocks", red.any(1).sum(), "powered", (red & powered).sum(), "unchanged", same.sum())
    print(f"  all seven +10 %:       red {slow.sum(0)} = {slow.mean():.2%}, powered {(slow & powered).sum()}, unchanged {slow_same.sum()}")
    print(f"  the same, unadjusted:  red {plain.sum(0)} = {plain.mean():.2%}")
    print(f"  one alone +10 %:       red {np.array(alone)} = {sum(alone) / 7 / len(d):.2%}")


def main():
    d = blocks()
    half = len(d) // 2
    report("no history", d)
    report("history of 20 blocks", d[20:], np.array([smyth(d[i - 20 : i]) for i in range(20, len(d))]))
    report("first half, no history", d[:half])
    report("second half, no history", d[half:])
    report("second half, history of the first", d[half:], smyth(d[:half])[None, :])
    report("second half, history of the first, pooled", d[half:], pooled(d[:half])[None, :])


if __name__ == "__main__":
    main()
