//! What must hold for steps to be performed, or for a loop to end.

use rand::Rng as _;
use regex::Regex;

use super::check::{CheckError, regex};
use super::feed::Feed;
use super::template::{Compiled, Names, TemplateError, Values};
use crate::harness::scenario::{ConditionPlan, TestPlan};

/// A compiled condition.
#[derive(Debug)]
pub(super) enum Condition {
    /// In this share of all cases.
    Chance(f64),
    /// Where the text stands the test.
    Value { value: Compiled, test: Test },
}

/// What is asked of a text.
#[derive(Debug)]
pub(super) enum Test {
    Is(Compiled),
    IsNot(Compiled),
    Matches(Regex),
    Above(f64),
    Below(f64),
}

/// Why a condition could not be compiled. A plan that was validated has none of these.
#[derive(Debug, thiserror::Error)]
pub enum ConditionError {
    /// A text of it could not be resolved.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// Its regular expression is none.
    #[error(transparent)]
    Regex(#[from] CheckError),
}

impl Condition {
    pub(super) fn new(plan: &ConditionPlan, names: &Names<'_>) -> Result<Self, ConditionError> {
        Ok(match plan {
            ConditionPlan::Chance(share) => Self::Chance(*share),
            ConditionPlan::Value { value, test } => Self::Value {
                value: Compiled::lenient(value, names)?,
                test: match test {
                    TestPlan::Is(other) => Test::Is(Compiled::lenient(other, names)?),
                    TestPlan::IsNot(other) => Test::IsNot(Compiled::lenient(other, names)?),
                    TestPlan::Matches(pattern) => Test::Matches(regex(pattern)?),
                    TestPlan::Above(bound) => Test::Above(*bound),
                    TestPlan::Below(bound) => Test::Below(*bound),
                },
            },
        })
    }

    /// Whether it holds now.
    pub(super) fn holds(&self, values: &mut Values, feeds: &[Feed]) -> bool {
        match self {
            Self::Chance(share) => values.random.random::<f64>() < *share,
            Self::Value { value, test } => {
                let text = lenient(value, values, feeds);
                match test {
                    Test::Is(other) => text == lenient(other, values, feeds),
                    Test::IsNot(other) => text != lenient(other, values, feeds),
                    Test::Matches(regex) => regex.is_match(&text),
                    Test::Above(bound) => number(&text).is_some_and(|number| number > *bound),
                    Test::Below(bound) => number(&text).is_some_and(|number| number < *bound),
                }
            }
        }
    }
}

/// The text of a template that was compiled to have one whatever is missing.
fn lenient(template: &Compiled, values: &mut Values, feeds: &[Feed]) -> String {
    template.filled(values, feeds).unwrap_or_default()
}

/// The number that a text is; infinities and what is none count as none.
fn number(text: &str) -> Option<f64> {
    let number: f64 = text.trim().parse().ok()?;
    number.is_finite().then_some(number)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use std::collections::BTreeMap;

    use super::super::job::Secrets;
    use super::*;
    use crate::harness::scenario::{Part, Template};

    fn condition(plan: &ConditionPlan) -> Condition {
        let names = Names {
            feeds: &[],
            extracted: &["state".into()],
            setup: &BTreeMap::new(),
            secrets: &Secrets::default(),
        };
        Condition::new(plan, &names).unwrap()
    }

    fn values(state: Option<&str>) -> Values {
        let mut values = Values::new(1);
        values.renew(0, &[], 1).unwrap();
        values.extracted[0] = state.map(str::to_owned);
        values
    }

    #[test]
    fn a_text_stands_a_test_or_not() {
        let check = |state: Option<&str>, test: TestPlan, expected: bool| {
            let value = Template {
                parts: vec![Part::Extracted("state".into())],
            };
            let condition = condition(&ConditionPlan::Value {
                value,
                test: test.clone(),
            });
            let found = condition.holds(&mut values(state), &[]);
            assert_eq!(found, expected, "{state:?} {test:?}");
        };
        let is = |text: &str| TestPlan::Is(Template::literal(text));
        let is_not = |text: &str| TestPlan::IsNot(Template::literal(text));
        check(Some("done"), is("done"), true);
        check(Some("Done"), is("done"), false);
        check(Some("done"), is_not("done"), false);
        check(Some("open"), is_not("done"), true);
        // What no step extracted is the empty text.
        check(None, is("done"), false);
        check(None, is(""), true);
        check(None, is_not(""), false);
        check(Some("a17"), TestPlan::Matches(r"^a\d+$".into()), true);
        check(Some("b17"), TestPlan::Matches(r"^a\d+$".into()), false);
        check(Some("3"), TestPlan::Above(2.5), true);
        check(Some("2.5"), TestPlan::Above(2.5), false);
        check(Some(" -3e1 "), TestPlan::Below(2.5), true);
        for text in [None, Some("many"), Some("NaN"), Some("inf"), Some("-inf")] {
            check(text, TestPlan::Above(2.5), false);
            check(text, TestPlan::Below(2.5), false);
        }
    }

    #[test]
    fn two_values_are_compared() {
        let extracted = || Template {
            parts: vec![Part::Extracted("state".into())],
        };
        let condition = condition(&ConditionPlan::Value {
            value: extracted(),
            test: TestPlan::Is(extracted()),
        });
        assert!(condition.holds(&mut values(Some("x")), &[]));
        assert!(condition.holds(&mut values(None), &[]));
    }

    #[test]
    fn chance_has_its_share() {
        let mut values = values(None);
        for share in [0.02, 0.3, 1.0] {
            let condition = condition(&ConditionPlan::Chance(share));
            let held = (0..20_000)
                .filter(|_| condition.holds(&mut values, &[]))
                .count();
            let found = held as f64 / 20_000.0;
            // Five standard errors.
            let tolerance = 5.0 * (share * (1.0 - share) / 20_000.0_f64).sqrt();
            assert!((found - share).abs() <= tolerance, "{found}, not {share}");
        }
    }
}
