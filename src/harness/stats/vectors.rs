//! Held to an independent implementation: every vector of `tests/data/vectors/scipy.json` to 1e-9
//! (relative for numbers above one). `make.py` beside it works the answers out, and
//! `tests/data/README.md` says how.

use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vectors {
    t_cdf: Vec<TCdf>,
    t_quantile: Vec<TQuantile>,
    moderated: Vec<Moderated>,
    signed_rank: Vec<SignedRank>,
    stored: Vec<Stored>,
    between_sessions: Vec<Sessions>,
    benjamini_hochberg: Vec<Adjusted>,
    newcombe: Vec<Newcombe>,
    clopper_pearson: Vec<ClopperPearson>,
    moments: Vec<Moments>,
    prior_sd: Vec<PriorSd>,
    pairs_needed: Vec<PairsNeeded>,
    rule_of_three: Vec<RuleOfThree>,
}

#[derive(Deserialize)]
struct TCdf {
    t: f64,
    df: f64,
    cdf: f64,
}

#[derive(Deserialize)]
struct TQuantile {
    p: f64,
    df: f64,
    t: f64,
}

#[derive(Deserialize)]
struct Moderated {
    d: Vec<f64>,
    s0: f64,
    d0: f64,
    alpha: f64,
    effect: f64,
    lower: f64,
    upper: f64,
    p: f64,
    mde: f64,
}

#[derive(Deserialize)]
struct SignedRank {
    d: Vec<f64>,
    alpha: f64,
    effect: f64,
    lower: f64,
    upper: f64,
    p: f64,
    p_less: f64,
    mde: f64,
}

#[derive(Deserialize)]
struct Stored {
    base: Vec<Vec<f64>>,
    head: Vec<Vec<f64>>,
    tau: f64,
    tau_sessions: usize,
    alpha: f64,
    effect: f64,
    lower: f64,
    upper: f64,
    p: f64,
    df: f64,
    mde: f64,
}

#[derive(Deserialize)]
struct Sessions {
    sessions: Vec<Vec<f64>>,
    tau: f64,
}

#[derive(Deserialize)]
struct Adjusted {
    p: Vec<f64>,
    adjusted: Vec<f64>,
}

#[derive(Deserialize)]
struct Newcombe {
    base: Vec<(u64, u64)>,
    head: Vec<(u64, u64)>,
    alpha: f64,
    effect: f64,
    lower: f64,
    upper: f64,
    p: f64,
    dispersion: f64,
    mde: f64,
}

#[derive(Deserialize)]
struct ClopperPearson {
    k: u64,
    n: u64,
    alpha: f64,
    lower: f64,
    upper: f64,
}

#[derive(Deserialize)]
struct Moments {
    values: Vec<f64>,
    mean: f64,
    variance: f64,
}

#[derive(Deserialize)]
struct PairsNeeded {
    sd: f64,
    se_sessions: f64,
    delta: f64,
    pairs: Option<u64>,
}

#[derive(Deserialize)]
struct RuleOfThree {
    n: u64,
    bound: f64,
}

#[derive(Deserialize)]
struct PriorSd {
    groups: Vec<Vec<f64>>,
    s0: f64,
}

#[test]
fn agrees_with_scipy() -> Result<(), serde_json::Error> {
    let text = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/data/vectors/scipy.json"
    ));
    let v: Vectors = serde_json::from_str(text)?;
    for x in &v.t_cdf {
        check("t cdf", t_cdf(x.t, x.df), x.cdf);
    }
    for x in &v.t_quantile {
        check("t quantile", t_quantile(x.p, x.df), x.t);
    }
    for x in &v.moderated {
        let prior = (x.d0 > 0.0).then_some(Prior { s0: x.s0, d0: x.d0 });
        let e = moderated_t(&x.d, prior, x.alpha);
        check_estimate("moderated t", e, [x.effect, x.lower, x.upper, x.p]);
        check_mde("moderated t", e, x.alpha, x.mde);
    }
    for x in &v.signed_rank {
        let e = hodges_lehmann(&x.d, x.alpha);
        check_estimate("signed rank", e, [x.effect, x.lower, x.upper, x.p]);
        check_mde("signed rank", e, x.alpha, x.mde);
        check(
            "signed rank p_better",
            e.map_or(f64::NAN, |e| e.p_better),
            x.p_less,
        );
    }
    for x in &v.stored {
        let between = Between {
            tau: x.tau,
            sessions: x.tau_sessions,
        };
        let e = stored(
            &x.base,
            &x.head,
            (x.tau_sessions > 0).then_some(between),
            x.alpha,
        );
        check_estimate("stored", e, [x.effect, x.lower, x.upper, x.p]);
        check_mde("stored", e, x.alpha, x.mde);
        check("stored df", e.map_or(f64::NAN, |e| e.df), x.df);
    }
    for x in &v.between_sessions {
        check(
            "tau",
            between_sessions(&x.sessions).map_or(f64::NAN, |b| b.tau),
            x.tau,
        );
    }
    for x in &v.benjamini_hochberg {
        for (got, expected) in benjamini_hochberg(&x.p).into_iter().zip(&x.adjusted) {
            check("benjamini-hochberg", got, *expected);
        }
    }
    for x in &v.newcombe {
        let runs = |arm: &[(u64, u64)]| -> Vec<Trials> {
            arm.iter()
                .map(|&(errors, requests)| Trials { errors, requests })
                .collect()
        };
        let (base, head) = (runs(&x.base), runs(&x.head));
        check("dispersion", dispersion(&base, &head), x.dispersion);
        let e = newcombe(&base, &head, x.alpha);
        check_estimate("newcombe", e, [x.effect, x.lower, x.upper, x.p]);
        check_mde("newcombe", e, x.alpha, x.mde);
    }
    for x in &v.clopper_pearson {
        check(
            "clopper-pearson lower",
            clopper_pearson_lower(x.k, x.n, x.alpha),
            x.lower,
        );
        check(
            "clopper-pearson upper",
            clopper_pearson_upper(x.k, x.n, x.alpha),
            x.upper,
        );
    }
    for x in &v.prior_sd {
        let prior = Prior::from_history(x.groups.iter().map(Vec::as_slice));
        check("prior s0", prior.map_or(f64::NAN, |p| p.s0), x.s0);
    }
    for x in &v.moments {
        check("mean", mean(&x.values).unwrap_or(f64::NAN), x.mean);
        check(
            "variance",
            variance(&x.values).unwrap_or(f64::NAN),
            x.variance,
        );
    }
    for x in &v.pairs_needed {
        let (sd, sessions, delta) = (x.sd, x.se_sessions, x.delta);
        let needed = pairs_needed(sd, sessions, delta);
        assert_eq!(
            needed, x.pairs,
            "sd {sd}, {sessions} between sessions, delta {delta}"
        );
    }
    for x in &v.rule_of_three {
        check("rule of three", rule_of_three(x.n), x.bound);
    }
    Ok(())
}

fn check_mde(what: &str, got: Option<Estimate>, alpha: f64, expected: f64) {
    check(
        &format!("{what} mde"),
        got.map_or(f64::NAN, |e| e.mde(alpha)),
        expected,
    );
}

fn check_estimate(what: &str, got: Option<Estimate>, expected: [f64; 4]) {
    let got = got.map_or([f64::NAN; 4], |e| [e.effect, e.lower, e.upper, e.p_worse]);
    for (name, (got, expected)) in ["effect", "lower", "upper", "p"]
        .iter()
        .zip(got.into_iter().zip(expected))
    {
        check(&format!("{what} {name}"), got, expected);
    }
}

fn check(what: &str, got: f64, expected: f64) {
    let close = (got - expected).abs() <= 1e-9 * expected.abs().max(1.0);
    assert!(close, "{what}: {got} where SciPy has {expected}");
}
