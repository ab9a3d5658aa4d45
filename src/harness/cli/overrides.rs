//! What a call changes of the scenarios that it measures, as it is typed and as it is told.

use crate::harness::report::text;
use crate::harness::scenario::{Overrides, Plan, Wanted, duration_ns, not_measurable, rate_per_s};

use super::args::OverrideArgs;
use super::failure::Failure;
use super::output::Output;

/// Reads what was typed.
pub(super) fn parse(args: &OverrideArgs) -> Result<Overrides, Failure> {
    let wrong = |option: &str, typed: &str, expected: &str| {
        Failure::usage(
            format!("{option} {}: {expected}", text::one_line(typed)),
            format!("write it as in: {option} {}", example(option)),
        )
    };
    let duration = args
        .duration
        .as_deref()
        .map(|typed| duration_ns(typed).map_err(|expected| wrong("--duration", typed, expected)));
    let rates = args.rate.iter().map(|typed| {
        let (load, value) = parted(typed);
        let value = rate_per_s(value).map_err(|expected| wrong("--rate", typed, expected))?;
        Ok(Wanted { load, value })
    });
    let users = args.users.iter().map(|typed| {
        let (load, value) = parted(typed);
        let value = value.trim().parse();
        let value = value.map_err(|_| wrong("--users", typed, "a number of users is whole"))?;
        Ok(Wanted { load, value })
    });
    Ok(Overrides {
        measure_ns: duration.transpose()?,
        rates: rates.collect::<Result<_, Failure>>()?,
        users: users.collect::<Result<_, Failure>>()?,
    })
}

/// Changes a plan, and says what of it can't be judged then: a short look at how it goes is worth
/// having. Gives a sentence and the failure where it can't be changed so.
pub(super) fn apply(
    overrides: &Overrides,
    plan: &mut Plan,
    output: &Output,
) -> Result<(), (String, Failure)> {
    overrides.apply(plan).map_err(|error| {
        let what = format!("{}: {error}", plan.id());
        let failure = Failure::usage(what.clone(), error.remedy());
        (what, failure)
    })?;
    for told in not_measurable(plan) {
        output.warn(&format!("warning: {}: {told}", plan.id()));
    }
    Ok(())
}

/// What the reader of a verdict should know of the changes.
pub(super) fn note(args: &OverrideArgs) -> Option<String> {
    let options: Vec<String> = args
        .options()
        .map(|(name, value)| format!("{name} {}", text::one_line(value)))
        .collect();
    (!options.is_empty()).then(|| {
        format!(
            "measured with {} in the place of what the scenario says: comparable with what was measured with the same \
             options, and with nothing else, baselines included",
            options.join(" ")
        )
    })
}

/// A load's name and the rest; no load has a name with `=` in it.
fn parted(typed: &str) -> (Option<String>, &str) {
    match typed.split_once('=') {
        Some((load, value)) => (Some(load.trim().to_owned()), value),
        None => (None, typed),
    }
}

fn example(option: &str) -> &'static str {
    match option {
        "--duration" => "10s",
        "--rate" => "200/s, or for one of several loads LOAD=200/s",
        _ => "20, or for one of several loads LOAD=20",
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    fn args(duration: Option<&str>, rate: &[&str], users: &[&str]) -> OverrideArgs {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        OverrideArgs {
            duration: duration.map(str::to_owned),
            rate: owned(rate),
            users: owned(users),
        }
    }

    #[test]
    fn what_was_typed_is_read_and_told() {
        let typed = args(Some("1m30s"), &["200/s", "reads=30/min"], &["users=20"]);
        let overrides = parse(&typed).unwrap();
        assert_eq!(overrides.measure_ns, Some(90_000_000_000));
        let wanted = |load: Option<&str>, value| Wanted {
            load: load.map(str::to_owned),
            value,
        };
        assert_eq!(
            overrides.rates,
            [wanted(None, 200.0), wanted(Some("reads"), 0.5)]
        );
        assert_eq!(overrides.users[0].load.as_deref(), Some("users"));
        assert_eq!(overrides.users[0].value, 20);
        let note = note(&typed).unwrap();
        let options =
            "measured with --duration 1m30s --rate 200/s --rate reads=30/min --users users=20 in";
        assert!(note.starts_with(options), "{note}");
        assert_eq!(super::note(&args(None, &[], &[])), None);
        assert!(parse(&args(None, &[], &[])).unwrap().is_empty());
    }

    #[test]
    fn what_cannot_be_read_is_wrong_usage_with_a_remedy() {
        let check = |typed: &OverrideArgs, expected: &str| match parse(typed) {
            Err(Failure::Usage(what, remedy)) => {
                assert!(what.starts_with(expected), "{what}");
                assert!(remedy.contains("write it as in"), "{remedy}");
            }
            other => panic!("{other:?}"),
        };
        check(&args(Some("10"), &[], &[]), "--duration 10: a duration is");
        check(
            &args(None, &["reads=200"], &[]),
            "--rate reads=200: a rate is",
        );
        check(&args(None, &[], &["1.5"]), "--users 1.5: a number");
        check(&args(None, &[], &["a=-1"]), "--users a=-1: a number");
        check(&args(None, &["\u{1b}[31m"], &[]), "--rate : a rate is");
    }
}
