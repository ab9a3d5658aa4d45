"""How often the gate's rule is red, worked out without the gate: power.json.

    venv/bin/python tests/data/vectors/power.py        (make.py says how to make venv)

One metric with a margin of 5 %, delta = ln 1.05; spread and effect are in units of delta, the spread being
the standard deviation of the difference of one pair. Below ten pairs the mean and the variance of normal
differences are independent, so that the probabilities are integrals over the variance, good to 1e-8.
`clear` is the probability of L > 0 alone, from the noncentral t distribution: "red" can't be likelier. From
ten pairs on, and for the planned looks, they are shares among so many `gates` that NumPy simulated.
"""

import json
import math
import pathlib

import numpy as np
from scipy import integrate, stats

FILE = pathlib.Path(__file__).with_name("power.json")
ALPHA, LOOKS = 0.05, 3
EFFECTS = (0, 0.5, 1, 1.5, 2)
SPREADS = (0.5, 1, 2)
PRIOR_DF = 4


def exact(n, prior_df, spread, effect, alpha=ALPHA):
    df, se = n - 1 + prior_df, spread / math.sqrt(n)
    t = stats.t.ppf(1 - alpha, df)
    chi2, phi = stats.chi2(n - 1), stats.norm.cdf

    def red(width):
        return phi((effect - max(1, width)) / se)

    def unchanged(width):
        return max(0, phi((1 - width - effect) / se) - phi((width - 1 - effect) / se))

    def over_variance(share):
        def at(x):
            return share(t * se * math.sqrt((prior_df + x) / df)) * chi2.pdf(x)

        # Where the width of the bounds reaches the margin both have a kink.
        kink = df * (1 / (t * se)) ** 2 - prior_df
        ends = [0, *([kink] if 0 < kink < 200 else []), 200]
        return sum(integrate.quad(at, *part, epsabs=1e-10, limit=500)[0] for part in zip(ends, ends[1:]))

    # Only the plain t is a noncentral t; a prior of the true variance is no chi-square.
    clear = None if prior_df else stats.nct.sf(t, df, effect / se) if effect else alpha
    return {
        "pairs": n, "prior_df": prior_df, "spread": spread, "effect": effect,
        "red": over_variance(red), "unchanged": over_variance(unchanged), "clear": clear,
    }  # fmt: skip


def bounds(d, alpha):
    """Effect and bounds by the rule of VERDICTS.md, for rows of differences."""
    n = d.shape[1]
    if n < 10:
        mean, half = d.mean(1), stats.t.ppf(1 - alpha, n - 1) * d.std(1, ddof=1) / math.sqrt(n)
        return mean, mean - half, mean + half
    i, j = np.triu_indices(n)
    walsh = np.sort((d[:, i] + d[:, j]) / 2, axis=1)
    law = np.ones(1)
    for rank in range(1, n + 1):
        law = (np.pad(law, (0, rank)) + np.pad(law, (rank, 0))) / 2
    c = np.searchsorted(np.cumsum(law), alpha, side="right") - 1
    return np.median(walsh, axis=1), walsh[:, c], walsh[:, -1 - c]


def verdicts(d, alpha):
    theta, lower, upper = bounds(d, alpha)
    red = (lower > 0) & (theta >= 1)
    return red, red | (upper < 0) & (theta <= -1) | (lower > -1) & (upper < 1), (lower > -1) & (upper < 1) & ~red


def simulated(rng, n, spread, effect, gates=200_000):
    red, _, unchanged = np.mean(
        [[v.mean() for v in verdicts(effect + spread * rng.standard_normal((gates // 20, n)), ALPHA)] for _ in range(20)], axis=0
    )
    return {"pairs": n, "spread": spread, "effect": effect, "gates": gates, "red": red, "unchanged": unchanged}


def looked(rng, looks, spread, effect, gates=100_000):
    red = pairs = 0
    for _ in range(10):
        d = effect + spread * rng.standard_normal((gates // 10, looks[-1]))
        for n in looks:
            pairs += len(d) * (n - (looks[looks.index(n) - 1] if n != looks[0] else 0))
            found, known, _ = verdicts(d[:, :n], ALPHA / LOOKS)
            red += found.sum()
            d = d[~known]
    return {"looks": looks, "spread": spread, "effect": effect, "gates": gates, "red": red / gates, "pairs": pairs / gates}


def main():
    rng = np.random.default_rng(1)
    parts = {
        "exact": [exact(*x) for x in [(n, d0, s, e) for n, d0 in ((5, 0), (5, PRIOR_DF)) for s in SPREADS for e in EFFECTS]],
        "simulated": [simulated(rng, 10, s, e) for s in SPREADS for e in EFFECTS],
        "looks": [looked(rng, [5, 10, 20], s, e) for s in SPREADS for e in EFFECTS],
    }
    text = ",\n".join(f'"{name}": [\n  ' + ",\n  ".join(json.dumps(x, default=float) for x in part) + "\n]" for name, part in parts.items())
    FILE.write_text("{\n" + text + "\n}\n")


if __name__ == "__main__":
    main()
