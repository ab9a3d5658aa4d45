//! Waivers: reviewed exceptions to the margins of scenarios, in one file of the repository.
//!
//! They are policy, as the margins are: in a pull request they are read from the base revision, or a
//! change could excuse itself. What a waiver does is the gate's business.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use jiff::civil::Date;
use toml::de::DeTable;

use super::catalogue;
use super::file::{Rejection, Remedies, parse_as, read_as};
use super::keys;
use super::plan::Plan;
use super::problem::{Code, Problem, Problems};
use super::raw::{self, Text};
use super::structure::is_name;
use super::validate::check_version;

/// Where the waivers of a project are, below its root: beside the baselines, which are reviewed by
/// the same people.
pub const WAIVERS_FILE: &str = "baselines/waivers.toml";

/// The largest change that can be waived.
const MAX_ALLOWED: f64 = 1.0;

const REMEDIES: Remedies = Remedies {
    unreadable: "make it readable, or remove it where nothing is waived",
    too_large: "waivers are few: remove those that have expired",
};

/// A regression that is allowed for a time.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiver {
    /// The scenario's id: `name` or `name@variant`.
    pub scenario: String,
    /// The metric's path. A `*` stands for any text.
    pub metric: String,
    /// The largest change that it allows, as a fraction: .08 for 8 %.
    pub allow: f64,
    /// Why.
    pub reason: String,
    /// The last day on which it holds, in UTC.
    pub expires: Date,
}

impl Waiver {
    /// Whether the plan has a margin that it could be an exception to.
    pub fn concerns(&self, plan: &Plan) -> bool {
        let margins = || plan.gates.iter().filter(|gate| gate.regress.is_some());
        let overlaps = |gate: &str| {
            catalogue::matches(gate, &self.metric) || catalogue::matches(&self.metric, gate)
        };
        let both = |path: &str| {
            catalogue::matches(&self.metric, path)
                && margins().any(|gate| catalogue::matches(&gate.metric, path))
        };
        self.scenario == plan.id()
            && (margins().any(|gate| overlaps(&gate.metric))
                || catalogue::all(plan).iter().any(|spec| both(&spec.path())))
    }
}

/// The file of waivers of the project at `root`.
pub fn path(root: &Path) -> PathBuf {
    root.join(WAIVERS_FILE)
}

/// The waivers of the project at `root`, in the order of their file; none where there is no file.
///
/// # Errors
/// Every problem of the file at once; one that can't be read is one as well.
pub fn load(root: &Path) -> Result<Vec<Waiver>, Rejection> {
    let file = path(root);
    if matches!(file.try_exists(), Ok(false)) {
        return Ok(Vec::new());
    }
    read_as(&file, &REMEDIES, parse)
}

/// Validates the text of a file of waivers.
///
/// # Errors
/// Every problem of the text, in its order; at least one.
pub fn parse(text: &str) -> Result<Vec<Waiver>, Vec<Problem>> {
    parse_as(&keys::WAIVERS, text, |table, problems| {
        check_version(table, problems);
        let tables = raw::tables(table, "waiver");
        check_unique(&tables, problems);
        let waivers = tables.iter();
        waivers
            .filter_map(|(table, _)| waiver(table, problems))
            .collect()
    })
}

/// A waiver, where every key of it is there.
fn waiver(table: &DeTable<'_>, problems: &mut Problems<'_>) -> Option<Waiver> {
    let scenario = raw::text(table, "scenario");
    let metric = raw::text(table, "metric");
    let reason = raw::text(table, "reason");
    if let Some(scenario) = &scenario {
        check_id(scenario, problems);
    }
    for (key, text) in [("metric", &metric), ("reason", &reason)] {
        if let Some(text) = text.as_ref().filter(|text| text.text.trim().is_empty()) {
            problems.report(
                Code::OutOfRange,
                text.span.clone(),
                format!("`{key}` says nothing"),
                "empty",
                format!("write what the {key} is"),
            );
        }
    }
    let allow = raw::share(table, "allow");
    if let (Some(share), Some(value)) = (allow, table.get("allow"))
        && !(share > 0.0 && share <= MAX_ALLOWED)
    {
        problems.report(
            Code::OutOfRange,
            value.span(),
            "`allow` must be above 0 % and at most 100 %",
            "not a change that a waiver can allow",
            "write `\"8%\"` or `0.08`; what more than doubles is no exception, but a new baseline",
        );
    }
    Some(Waiver {
        scenario: scenario?.text.to_owned(),
        metric: metric?.text.to_owned(),
        allow: allow?,
        reason: reason?.text.to_owned(),
        expires: raw::date(table.get("expires")?)?,
    })
}

fn check_id(id: &Text<'_>, problems: &mut Problems<'_>) {
    let (name, variant) = id.text.split_once('@').unwrap_or((id.text, "first"));
    if !is_name(name) || !is_name(variant) {
        problems.report(
            Code::BadName,
            id.span.clone(),
            format!("`{}` can't be a scenario's id", id.text),
            "not an id",
            "write one scenario's id, as `plimsoll list` shows it: `NAME` or `NAME@VARIANT`",
        );
    }
}

/// Two waivers of one metric would leave open which of them holds.
fn check_unique(tables: &[(&DeTable<'_>, Range<usize>)], problems: &mut Problems<'_>) {
    let mut seen: BTreeMap<(&str, &str), Range<usize>> = BTreeMap::new();
    for (table, _) in tables {
        let (Some(scenario), Some(metric)) =
            (raw::text(table, "scenario"), raw::text(table, "metric"))
        else {
            continue;
        };
        match seen.get(&(scenario.text, metric.text)) {
            Some(first) => {
                problems
                    .report(
                        Code::DuplicateName,
                        metric.span,
                        format!(
                            "two waivers are on `{}` of `{}`",
                            metric.text, scenario.text
                        ),
                        "waived a second time",
                        "remove one of them",
                    )
                    .related(first.clone(), "first here");
            }
            None => {
                seen.insert((scenario.text, metric.text), metric.span);
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;
    use jiff::civil::date;

    const GOOD: &str = r#"
        [[waiver]]
        scenario = "mixed-workload"
        metric = "load.reads.p95"
        allow = "8%"
        reason = "the new index costs this until the old one is dropped"
        expires = 2026-12-31
    "#;

    #[test]
    fn a_waiver_is_read() {
        let expected = Waiver {
            scenario: "mixed-workload".into(),
            metric: "load.reads.p95".into(),
            allow: 0.08,
            reason: "the new index costs this until the old one is dropped".into(),
            expires: date(2026, 12, 31),
        };
        for text in [GOOD, &format!("schema = 1\n{GOOD}")] {
            assert_eq!(parse(text).unwrap(), std::slice::from_ref(&expected));
        }
        assert_eq!(parse("# nothing is waived\n").unwrap(), []);
    }

    /// The codes and lines of what is wrong with the good file after one replacement.
    fn check(old: &str, new: &str, expected: &[(Code, usize)]) {
        assert!(GOOD.contains(old), "{old}");
        let problems = parse(&GOOD.replacen(old, new, 1)).unwrap_err();
        let found: Vec<_> = problems.iter().map(|one| (one.code, one.line)).collect();
        assert_eq!(found, expected, "{new}: {problems:#?}");
    }

    #[test]
    fn each_mistake_is_told_at_its_place() {
        check(
            "allow",
            "allows",
            &[(Code::MissingKey, 2), (Code::UnknownKey, 5)],
        );
        check("\"8%\"", "\"8 percent\"", &[(Code::WrongUnit, 5)]);
        check("\"8%\"", "\"0%\"", &[(Code::OutOfRange, 5)]);
        check("\"8%\"", "8", &[(Code::WrongUnit, 5)]);
        check("\"8%\"", "true", &[(Code::WrongType, 5)]);
        check("2026-12-31", "\"2026-12-31\"", &[(Code::WrongType, 7)]);
        check(
            "2026-12-31",
            "2026-12-31T12:00:00Z",
            &[(Code::WrongType, 7)],
        );
        check("mixed-workload", "mixed workload", &[(Code::BadName, 3)]);
        check("mixed-workload", "mixed@", &[(Code::BadName, 3)]);
        check("mixed-workload", "*", &[(Code::BadName, 3)]);
        check("load.reads.p95", "", &[(Code::OutOfRange, 4)]);
        check(
            "the new index costs this until the old one is dropped",
            " ",
            &[(Code::OutOfRange, 6)],
        );
        check("reason", "#reason", &[(Code::MissingKey, 2)]);
        check("expires", "#expires", &[(Code::MissingKey, 2)]);
        check(
            "[[waiver]]",
            "schema = 2\n[[waiver]]",
            &[(Code::SchemaVersion, 2)],
        );
    }

    #[test]
    fn a_day_that_the_calendar_lacks_is_refused() {
        for wrong in ["2026-02-30", "2026-13-01", "2026-00-10"] {
            let problems = parse(&GOOD.replace("2026-12-31", wrong)).unwrap_err();
            assert!(
                problems.iter().all(|problem| problem.line == 7),
                "{wrong}: {problems:#?}"
            );
        }
    }

    #[test]
    fn one_metric_is_waived_once() {
        let problems = parse(&format!("{GOOD}{GOOD}")).unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:#?}");
        assert_eq!(problems[0].code, Code::DuplicateName);
        assert!(problems[0].related.is_some());
        let other = GOOD.replace("mixed-workload", "mixed-workload@servers");
        assert_eq!(parse(&format!("{GOOD}{other}")).unwrap().len(), 2);
    }

    #[test]
    fn no_file_is_no_waiver_and_a_bad_one_is_said() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(load(root.path()).unwrap(), []);
        let file = path(root.path());
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, GOOD).unwrap();
        assert_eq!(load(root.path()).unwrap().len(), 1);
        std::fs::write(&file, [0xff, 0xfe]).unwrap();
        let rejection = load(root.path()).unwrap_err();
        assert_eq!(rejection.file, file);
        assert_eq!(rejection.problems[0].code, Code::NotText);
    }

    #[test]
    fn a_waiver_concerns_a_margin() {
        let text = "schema = 1\nname = \"s\"\nurl = \"http://127.0.0.1:1\"\n\
                    [[flow.f.step]]\nget = \"/\"\n[load.a]\nclosed = { users = 1 }\n\
                    [[gate]]\nmetric = \"load.*.p95\"\nregress = \"5%\"\n\
                    [[gate]]\nmetric = \"load.a.p50\"\nmax = \"5s\"\n";
        let scenario = super::super::parse(text, Path::new("s.toml")).unwrap();
        let check = |id: &str, metric: &str, expected: bool| {
            let waiver = Waiver {
                scenario: id.into(),
                metric: metric.into(),
                allow: 0.05,
                reason: "r".into(),
                expires: date(2026, 1, 1),
            };
            assert_eq!(waiver.concerns(&scenario.plans[0]), expected, "{metric}");
        };
        check("s", "load.a.p95", true);
        check("s", "load.a.*", true);
        check("s", "*", true);
        check("s", "load.a.p50", false); // a limit only, and limits are not waived
        check("s", "load.a.p59", false);
        check("t", "load.a.p95", false);
    }
}
