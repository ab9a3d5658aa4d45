"""What SciPy, NumPy and statsmodels answer to the questions that harness::stats answers.

    python3 -m venv venv && venv/bin/pip install scipy==1.17.1 numpy==2.4.6 statsmodels==0.15.0
    venv/bin/python tests/data/vectors/make.py

The questions stand in scipy.json (drawn once from a seeded normal generator and rounded to six digits);
this works every answer out anew and writes the file again. A second run changes nothing.
"""

import json
import math
import pathlib
from fractions import Fraction

import numpy as np
from scipy import optimize, special, stats
from statsmodels.stats.proportion import confint_proportions_2indep

FILE = pathlib.Path(__file__).with_name("scipy.json")
POWER = 0.8


def mde(se, alpha, df):
    law = stats.t(df) if math.isfinite(df) else stats.norm
    return (law.ppf(1 - alpha) + law.ppf(POWER)) * se


def t_cdf(x):
    return {"cdf": stats.t.cdf(x["t"], x["df"])}


def t_quantile(x):
    return {"t": stats.t.ppf(x["p"], x["df"])}


def moderated(x):
    d, n = np.array(x["d"]), len(x["d"])
    if x["d0"] == 0:
        above = stats.ttest_1samp(d, 0, alternative="greater")
        below = stats.ttest_1samp(d, 0, alternative="less")
        lower = above.confidence_interval(1 - x["alpha"]).low
        upper = below.confidence_interval(1 - x["alpha"]).high
        p, df, se = above.pvalue, n - 1, stats.sem(d)
    else:
        df = x["d0"] + n - 1
        se = math.sqrt((x["d0"] * x["s0"] ** 2 + (n - 1) * d.var(ddof=1)) / df / n)
        law = stats.t(df, loc=d.mean(), scale=se)
        lower, upper, p = law.ppf(x["alpha"]), law.ppf(1 - x["alpha"]), law.cdf(0)
    return {"effect": d.mean(), "lower": lower, "upper": upper, "p": p, "mde": mde(se, x["alpha"], df)}


def signed_rank(x):
    d, n, alpha = np.array(x["d"]), len(x["d"]), x["alpha"]
    i, j = np.triu_indices(n)
    walsh = np.sort((d[i] + d[j]) / 2)

    def p(shift, alternative):
        method = "exact" if n <= 60 else "asymptotic"
        test = stats.wilcoxon(d - shift, alternative=alternative, method=method, correction=True)
        return test.pvalue

    def first(gives_in):
        """The first Walsh average just above which the test no longer rejects."""
        low, high = 0, len(walsh) - 1
        while low < high:
            middle = (low + high) // 2
            if gives_in((walsh[middle] + walsh[middle + 1]) / 2):
                high = middle
            else:
                low = middle + 1
        return walsh[low]

    lower = first(lambda shift: p(shift, "greater") > alpha)
    upper = first(lambda shift: p(shift, "less") <= alpha)
    se = (upper - lower) / (2 * stats.t.ppf(1 - alpha, n - 1))
    return {
        "effect": np.median(walsh),
        "lower": lower,
        "upper": upper,
        "p": p(0, "greater"),
        "p_less": p(0, "less"),
        "mde": mde(se, alpha, n - 1),
    }


def stored(x):
    base, head = (np.concatenate(x[arm]) for arm in ("base", "head"))
    effect = np.median(np.subtract.outer(head, base))
    if x["tau_sessions"] == 0:
        welch = stats.ttest_ind(head, base, equal_var=False)
        df = welch.df
        se = math.hypot(stats.sem(base), stats.sem(head))
    else:
        terms = [
            (
                sum(np.var(s, ddof=1) * (len(s) - 1) for s in x[arm]) / (runs.size - len(x[arm])) / runs.size,
                runs.size - len(x[arm]),
            )
            for arm, runs in (("base", base), ("head", head))
        ]
        cap = x["tau_sessions"] - 1
        terms.append((x["tau"] ** 2 * (1 / len(x["base"]) + 1 / len(x["head"])), cap))
        variance = sum(c for c, _ in terms)
        df = min(cap, variance**2 / sum(c**2 / k for c, k in terms))
        se = math.sqrt(variance)
    law = stats.t(df, loc=effect, scale=se)
    return {
        "effect": effect,
        "lower": law.ppf(x["alpha"]),
        "upper": law.ppf(1 - x["alpha"]),
        "p": law.cdf(0),
        "df": df,
        "mde": mde(se, x["alpha"], df),
    }


def between_sessions(x):
    sessions = x["sessions"]
    sizes = np.array([len(s) for s in sessions])
    n, k = sizes.sum(), len(sizes)
    within = sum(np.var(s, ddof=1) * (len(s) - 1) for s in sessions) / (n - k)
    n0 = (n - (sizes**2).sum() / n) / (k - 1)
    return {"tau": math.sqrt(max(0, within * (stats.f_oneway(*sessions).statistic - 1) / n0))}


def benjamini_hochberg(x):
    return {"adjusted": stats.false_discovery_control(x["p"], method="bh").tolist()}


def newcombe(x):
    chi2 = df = 0
    for arm in (x["base"], x["head"]):
        table = np.array([(k, n - k) for k, n in arm])
        if (table.sum(0) > 0).all():
            test = stats.chi2_contingency(table, correction=False)
            chi2, df = chi2 + test.statistic, df + test.dof
    scale = max(1, chi2 / df) if df else 1
    (kb, nb), (kh, nh) = (np.sum(x[arm], axis=0) / scale for arm in ("base", "head"))

    def bounds(alpha):
        return confint_proportions_2indep(kh, nh, kb, nb, compare="diff", method="newcomb", alpha=2 * alpha)

    lower, upper = bounds(x["alpha"])
    effect = kh / nh - kb / nb
    side = 0 if effect > 0 else 1
    # The level at which the bound just reaches zero.
    level = 0.5 if effect == 0 else math.exp(
        optimize.brentq(lambda log: bounds(math.exp(log))[side], math.log(1e-80), math.log(0.4999), xtol=1e-14)
    )
    z = stats.norm.ppf(1 - x["alpha"])
    return {
        "effect": effect,
        "lower": lower,
        "upper": upper,
        "p": level if effect >= 0 else 1 - level,
        "dispersion": scale,
        "mde": mde((upper - lower) / (2 * z), x["alpha"], math.inf),
    }


def clopper_pearson(x):
    test = stats.binomtest(x["k"], x["n"], alternative="two-sided")
    interval = test.proportion_ci(1 - 2 * x["alpha"], method="exact")
    return {"lower": interval.low, "upper": interval.high}


def moments(x):
    return {"mean": np.mean(x["values"]), "variance": np.var(x["values"], ddof=1)}


def prior_sd(x):
    half = [(len(g) - 1) / 2 for g in x["groups"]]
    logs = [math.log(np.var(g, ddof=1)) - special.digamma(h) + math.log(h) for g, h in zip(x["groups"], half)]
    return {"s0": math.exp(np.mean(logs) / 2)}


def pairs_needed(x):
    """In exact fractions, so that no rounding decides; with z(.95) + z(.8) = 2.49 as VERDICTS.md rounds it."""
    z = Fraction("2.49")
    assert round(Fraction(stats.norm.ppf(0.95) + stats.norm.ppf(POWER)), 2) == z
    sd, sessions, delta = (Fraction(str(x[key])) for key in ("sd", "se_sessions", "delta"))
    left = delta**2 - (z * sessions) ** 2
    return {"pairs": max(2, math.ceil((z * sd) ** 2 / left)) if left > 0 else None}


def rule_of_three(x):
    """Hanley and Lippman-Hand's 3/n next to what it rounds: the exact bound lies just below."""
    exact = stats.binomtest(0, x["n"]).proportion_ci(0.90, method="exact").high
    bound = min(1, 3 / x["n"])
    assert 0.9 * bound < exact <= bound or x["n"] < 30
    return {"bound": bound}


NEW = {
    "moments": [{"values": v} for v in ([1.5, 2.25], [1e9 + 4, 1e9 + 7, 1e9 + 13, 1e9 + 16], [-0.03, 0.0, 0.01, 0.5, 0.02])],
    "pairs_needed": [
        {"sd": sd, "se_sessions": se, "delta": delta}
        for delta in (0.05, 0.04879, 0.1)
        for sd in (0.0, 0.01, 0.035, 0.05, 0.123)
        for se in (0.0, 0.007, 0.015, 0.03, 0.05)
    ],
    "rule_of_three": [{"n": n} for n in (1, 3, 10, 59, 299, 1_000_000)],
}


def plain(value):
    return value.item() if isinstance(value, np.generic) else value


def main():
    vectors = json.loads(FILE.read_text())
    for name, questions in NEW.items():
        vectors.setdefault(name, questions)
    lists = []
    for name, questions in vectors.items():
        answers = [x | {key: plain(value) for key, value in globals()[name](x).items()} for x in questions]
        lists.append(f'"{name}": [\n  ' + ",\n  ".join(json.dumps(x) for x in answers) + "\n]")
    FILE.write_text("{\n" + ",\n".join(lists) + "\n}\n")


if __name__ == "__main__":
    main()
