//! A limit and what was held against it.

use crate::harness::gate::LimitVerdict;
use crate::harness::report::format;

/// What became of a limit.
pub fn limit_outcome(limit: &LimitVerdict) -> &'static str {
    match limit.holds {
        Some(true) => "holds",
        Some(false) => "broken",
        None => "not judged",
    }
}

/// What a limit demands: `at most 500 ms`, or `at most 1 %, implied` where no gate states it.
pub fn demand(limit: &LimitVerdict) -> String {
    let max = limit
        .max
        .map(|max| format!("at most {}", format::limit(&limit.unit, max)));
    let min = limit
        .min
        .map(|min| format!("at least {}", format::limit(&limit.unit, min)));
    let implied = limit.is_implied.then(|| "implied".to_owned());
    [max, min, implied]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(", ")
}

/// The measured value of a limit, told apart from the limit itself.
pub fn against_limit(limit: &LimitVerdict) -> String {
    let bounds: Vec<f64> = limit.max.into_iter().chain(limit.min).collect();
    format::or_dash(limit.value, |value| {
        format::value_against(&limit.unit, value, &bounds)
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{broken, verdict};
    use super::super::headline;
    use super::*;
    use crate::harness::gate::Outcome;
    use crate::harness::model::Unit;

    #[test]
    fn a_limit_tells_both_sides() {
        let mut judged = verdict(Outcome::Fail, vec![broken("a.p95")]);
        judged.limits.push(LimitVerdict {
            metric: "a.p95".into(),
            unit: Unit::Nanoseconds,
            max: Some(200e6),
            min: None,
            is_implied: false,
            value: Some(200_040_000.0),
            low: None,
            high: None,
            n: 1,
            holds: Some(false),
        });
        assert_eq!(
            headline(&judged).replace('\u{202f}', " "),
            "a.p95 is 200.04 ms; it must be at most 200 ms"
        );
    }
}
