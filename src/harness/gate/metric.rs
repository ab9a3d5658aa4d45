//! Compared metrics against their margins.

use std::collections::BTreeMap;

use super::policy::{DEFAULT_MARGIN, Policy};
use super::verdict::{MetricOutcome, MetricVerdict};
use crate::harness::compare::{
    Adjusted, Comparison, Design, Effect, Estimate, MetricComparison, adjust,
};
use crate::harness::model::median;

/// The verdict on every compared metric: those that the scenario names first, then by name.
pub(super) fn metrics(policy: &Policy, comparison: &Comparison) -> Vec<MetricVerdict> {
    let gating: Vec<(&str, &Effect)> = comparison
        .metrics
        .iter()
        .filter(|metric| policy.margin(&metric.name).is_some() && !is_advisory(comparison, metric))
        .filter_map(|metric| Some((metric.name.as_str(), metric.effect()?)))
        .collect();
    let effects: Vec<&Effect> = gating.iter().map(|(_, effect)| *effect).collect();
    // Only what can decide the gate is adjusted for; all else is shown as it stands.
    let names = gating.iter().map(|(name, _)| *name);
    let adjusted: BTreeMap<&str, Adjusted> = names.zip(adjust(&effects)).collect();
    let mut verdicts: Vec<MetricVerdict> = comparison
        .metrics
        .iter()
        .map(|metric| {
            let adjusted = adjusted.get(metric.name.as_str()).copied();
            judge(policy, comparison, metric, adjusted)
        })
        .collect();
    verdicts.sort_by(|a, b| {
        let named = |verdict: &MetricVerdict| verdict.gating || verdict.advisory;
        named(b).cmp(&named(a)).then_with(|| a.name.cmp(&b.name))
    });
    verdicts
}

/// Measured at different times, with nothing known about what lies between sessions.
fn is_advisory(comparison: &Comparison, metric: &MetricComparison) -> bool {
    comparison.design == Design::Stored
        && metric.effect().is_some_and(|effect| effect.tau.is_none())
}

fn judge(
    policy: &Policy,
    comparison: &Comparison,
    metric: &MetricComparison,
    adjusted: Option<Adjusted>,
) -> MetricVerdict {
    let margin = policy.margin(&metric.name);
    let delta = margin.unwrap_or(DEFAULT_MARGIN).ln_1p();
    let advisory = is_advisory(comparison, metric);
    let effect = metric.effect();
    let rule = |effect, p| outcome(effect, p, delta, comparison.alpha, policy.beyond_margin);
    let alone = |effect: &Effect| Adjusted {
        worse: effect.p,
        better: effect.p_improved,
    };
    let outcome = effect.map_or(MetricOutcome::NotMeasurable, |effect| {
        rule(effect, adjusted.unwrap_or_else(|| alone(effect)))
    });
    let fraction = |part: fn(&Effect) -> f64| effect.map(|e| Effect::as_fraction(part(e)));
    MetricVerdict {
        name: metric.name.clone(),
        verdict: outcome,
        gating: margin.is_some() && !advisory,
        advisory: margin.is_some() && advisory,
        unit: metric.unit.clone(),
        better: metric.better,
        is_difference: metric.is_difference,
        base: median(&metric.base),
        head: median(&metric.head),
        margin,
        effect: fraction(|effect| effect.theta),
        lower: fraction(|effect| effect.lower),
        upper: fraction(|effect| effect.upper),
        p: effect.map(|effect| effect.p),
        mde: effect.map(|effect| effect.mde),
        pairs_needed: effect.and_then(|effect| effect.pairs_needed(delta)),
        n_base: u32::try_from(metric.base.len()).unwrap_or(u32::MAX),
        n_head: u32::try_from(metric.head.len()).unwrap_or(u32::MAX),
        note: match (&metric.estimate, adjusted) {
            (Estimate::Known(effect), Some(adjusted))
                if outcome == MetricOutcome::Inconclusive
                    && rule(effect, alone(effect)) == MetricOutcome::Regressed =>
            {
                Some(format!(
                    "worse if it were judged alone (p = {:.3}), but where so many metrics gate one of them looks \
                     so by chance: adjusted p = {:.3}, more than {:.3}",
                    effect.p, adjusted.worse, comparison.alpha
                ))
            }
            (Estimate::Known(_), _) => None,
            (Estimate::Unknown { reason, remedy }, _) => Some(format!("{reason}: {remedy}")),
        },
        waiver: None,
    }
}

/// The rule; see the module.
fn outcome(effect: &Effect, p: Adjusted, delta: f64, alpha: f64, beyond: bool) -> MetricOutcome {
    let Effect {
        theta,
        lower,
        upper,
        ..
    } = *effect;
    let proof = if beyond { delta } else { 0.0 };
    if lower > proof && theta >= delta && p.worse <= alpha {
        MetricOutcome::Regressed
    } else if upper < -proof && theta <= -delta && p.better <= alpha {
        MetricOutcome::Improved
    } else if -delta < lower && upper < delta {
        MetricOutcome::Unchanged
    } else {
        MetricOutcome::Inconclusive
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effect(theta: f64, half_width: f64) -> Effect {
        Effect {
            theta,
            lower: theta - half_width,
            upper: theta + half_width,
            p: if theta > half_width { 0.01 } else { 0.5 },
            p_improved: if theta < -half_width { 0.01 } else { 0.5 },
            se: half_width / 2.0,
            sd: half_width,
            se_sessions: 0.0,
            df: Some(4.0),
            mde: half_width,
            tau: None,
            method: String::new(),
        }
    }

    #[test]
    fn the_rule() {
        use MetricOutcome::*;
        let check = |theta, half_width, beyond, expected| {
            let effect = effect(theta, half_width);
            let p = Adjusted {
                worse: effect.p,
                better: effect.p_improved,
            };
            let found = outcome(&effect, p, 0.05, 0.05, beyond);
            assert_eq!(
                found, expected,
                "theta {theta} ± {half_width}, beyond {beyond}"
            );
        };
        check(0.06, 0.02, false, Regressed);
        check(0.05, 0.02, false, Regressed); // exactly the margin counts
        check(0.049, 0.02, false, Inconclusive); // surely worse, not by the margin
        check(0.06, 0.06, false, Inconclusive); // the bound touches zero
        check(0.02, 0.02, false, Unchanged);
        check(0.0, 0.05, false, Inconclusive); // a bound on the margin
        check(0.0, 0.3, false, Inconclusive);
        check(-0.06, 0.02, false, Improved);
        check(-0.06, 0.07, false, Inconclusive);
        check(0.06, 0.02, true, Inconclusive); // L = .04 is not beyond δ
        check(0.08, 0.02, true, Regressed);
        check(-0.08, 0.02, true, Improved);
    }

    #[test]
    fn too_many_looks_at_once_are_inconclusive() {
        let p = Adjusted {
            worse: 0.06,
            better: 1.0,
        };
        let found = outcome(&effect(0.06, 0.02), p, 0.05, 0.05, false);
        assert_eq!(found, MetricOutcome::Inconclusive);
    }
}
