//! The second look at a file: what names mean, whether everything fits together, and the plan.
//!
//! Every part is built even where something in it is wrong, with a neutral value in its place, so
//! that one mistake doesn't hide those behind it nor cause others. A plan only leaves this module's
//! caller where there was no problem at all.

mod files;
mod syntax;
mod feeds;
mod values;
mod resolve;
mod http;
mod flows;
mod outline;
mod steps;
mod address;
mod policies;
mod bodies;
mod answers;
mod think;
mod blocks;
mod streams;
mod names;
mod extent;
mod phases;
mod shapes;
mod traces;
mod mix;
mod capacity;
mod loads;
mod processes;
mod probes;
mod faults;
mod gates;
mod benches;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};
use url::Url;

use self::feeds::Feed;
use self::files::Files;
use self::flows::Flows;
use self::loads::Load;
use self::processes::Process;
use super::hash;
use super::plan::{DEFAULT_RUNS, GeneratorLimits, Plan, Target};
use super::problem::{Code, Problems};
use super::raw::{self, Text};

const SECOND_NS: u64 = 1_000_000_000;

/// Where a scenario file lies.
pub(crate) struct Place {
    /// The file as the user named it.
    pub(crate) file: PathBuf,
    /// Its folder, absolute.
    pub(crate) folder: PathBuf,
    /// The project's root, absolute.
    pub(crate) root: PathBuf,
}

/// Reports what is wrong with the file and builds one plan a variant, the default one first.
pub(crate) fn validate(
    table: &DeTable<'_>,
    place: &Place,
    problems: &mut Problems<'_>,
) -> (Vec<String>, Vec<Plan>) {
    check_version(table, problems);
    let variants = variants(table, problems);
    let mut files = Files::new(place);
    let feeds = feeds::read(table, &mut files, problems);
    let http = http::read(table, &mut files, problems);
    let Flows {
        flows,
        setup,
        teardown,
    } = flows::read(table, &feeds, &mut files, problems);
    let phases = phases::read(table, &flows, problems);
    let (loads, mix) = loads::read(table, &flows, &phases, &mut files, problems);
    let processes = processes::read(table, &variants, problems);
    let url = url(table, problems);
    let benches = benches::read(table, problems);
    if !declares(table, "load") && !declares(table, "bench") {
        problems.report(
            Code::NothingToDo,
            0..0,
            "the scenario has neither a load nor a bench",
            "nothing to do",
            "add `[load.NAME]` with a flow, or `[[bench]]`",
        );
    }

    let common = Plan {
        name: name(table, place, problems),
        variant: None,
        description: raw::text(table, "description")
            .map(|text| text.text.to_owned())
            .unwrap_or_default(),
        file: place.file.clone(),
        root: place.root.clone(),
        processes: Vec::new(),
        target: None,
        http,
        setup,
        teardown,
        feeds: feeds
            .iter()
            .map(|(name, feed)| (name.clone(), feed.plan.clone()))
            .collect(),
        flows,
        loads: loads.iter().map(|load| load.plan.clone()).collect(),
        mix,
        default_in_flight: loads
            .iter()
            .filter(|load| load.has_default_in_flight)
            .map(|load| load.plan.name.clone())
            .collect(),
        phases: phases.plan,
        probes: BTreeMap::new(),
        faults: Vec::new(),
        gates: Vec::new(),
        benches,
        runs: raw::table(table, "sampling")
            .and_then(|(table, _)| raw::integer_at(table, "runs"))
            .and_then(|runs| u32::try_from(runs).ok())
            .unwrap_or(DEFAULT_RUNS),
        generator: generator(table, problems),
        hash: String::new(),
    };

    let parts = Parts {
        table,
        feeds: &feeds,
        loads: &loads,
        all: &processes,
        url: url.as_ref(),
    };
    let plans = if variants.is_empty() {
        vec![variant_plan(&common, None, &parts, problems)]
    } else {
        variants
            .iter()
            .map(|variant| variant_plan(&common, Some(variant.as_str()), &parts, problems))
            .collect()
    };
    let plans = plans.into_iter().enumerate().map(|(index, mut plan)| {
        // The first variant is the scenario itself: its runs are kept under the bare name.
        plan.variant = (index > 0).then(|| variants[index].clone());
        plan.hash = hash::measured_part(&plan);
        plan
    });
    let plans = plans.collect();
    (variants, plans)
}

/// What the variants of a scenario are made from.
struct Parts<'a> {
    table: &'a DeTable<'a>,
    feeds: &'a BTreeMap<String, Feed>,
    loads: &'a [Load<'a>],
    all: &'a [Process<'a>],
    url: Option<&'a (String, Range<usize>)>,
}

fn variant_plan(
    common: &Plan,
    variant: Option<&str>,
    parts: &Parts<'_>,
    problems: &mut Problems<'_>,
) -> Plan {
    let here: Vec<&Process<'_>> = parts
        .all
        .iter()
        .filter(|process| {
            process.variant.is_none() || process.variant.as_ref().map(|text| text.text) == variant
        })
        .collect();
    let mut plan = common.clone();
    plan.processes = processes::in_order(&here, parts.all, variant, problems);
    plan.target = target(&here, parts, variant, problems);
    plan.probes = probes::read(parts.table, &plan, parts.all, problems);
    plan.faults = faults::read(parts.table, &plan, parts.all, problems);
    capacity::set_hold(parts.table, &mut plan, parts.loads);
    plan.gates = gates::read(parts.table, &plan, parts.all, parts.loads, problems);
    capacity::check_limited(parts.table, &plan, parts.loads, problems);
    capacity::check_rows(&plan, parts.feeds, parts.loads, problems);
    plan
}

/// What the loads are sent to, and complaints where that isn't exactly one thing.
fn target(
    here: &[&Process<'_>],
    parts: &Parts<'_>,
    variant: Option<&str>,
    problems: &mut Problems<'_>,
) -> Option<Target> {
    let mut marked = here
        .iter()
        .filter(|process| process.is_target == Some(true));
    let first = marked.next().copied();
    for other in marked {
        let span = other.name.span.clone();
        let report = problems.report(
            Code::SeveralTargets,
            span,
            "two processes are the target",
            "also a target",
            "the loads of a scenario are sent to one target",
        );
        if let Some(first) = first {
            report.related(first.name.span.clone(), "the first one");
        }
    }
    if let Some((url, span)) = parts.url {
        if let Some(process) = first {
            problems
                .report(
                    Code::SeveralTargets,
                    process.name.span.clone(),
                    "both `url` and a process are the target",
                    "a target as well",
                    "remove `url`, or `target = true` of the process",
                )
                .related(span.clone(), "the other target");
        }
        return Some(Target::Url(url.clone()));
    }
    let only = match here {
        [only] if only.is_target.is_none() => Some(*only),
        _ => None,
    };
    let Some(process) = first.or(only) else {
        if let Some(load) = parts.loads.first()
            && !parts.table.contains_key("url")
        {
            let place = variant.map_or_else(String::new, |name| format!(" in variant `{name}`"));
            problems.report(
                Code::NoTarget,
                load.name.span.clone(),
                format!("nothing says where the loads are sent{place}"),
                format!("where is this sent{place}?"),
                "write `target = true` in one `[[process]]`, or `url = \"http://…\"` at the top",
            );
        }
        return None;
    };
    if !process.has_port && !parts.loads.is_empty() {
        process.report_no_port("is the target", process.name.span.clone(), problems);
    }
    Some(Target::Process(process.name.text.to_owned()))
}

/// Says where the file is of a version that we don't know.
pub(super) fn check_version(table: &DeTable<'_>, problems: &mut Problems<'_>) {
    if let Some(value) = table.get("schema")
        && raw::integer(value.get_ref()).is_some_and(|version| version > 1)
    {
        problems.report(
            Code::SchemaVersion,
            value.span(),
            "this version of the format is unknown",
            "expected 1",
            "a newer Plimsoll may read it; this one reads `schema = 1`",
        );
    }
}

fn name(table: &DeTable<'_>, place: &Place, problems: &mut Problems<'_>) -> String {
    if let Some(name) = raw::text(table, "name") {
        return name.text.to_owned();
    }
    let stem = place.file.file_stem().unwrap_or_default().to_string_lossy();
    if !table.contains_key("name") && !super::structure::is_name(&stem) {
        problems.report(
            Code::BadName,
            0..0,
            "the file's name can't be the scenario's name",
            "no `name` here",
            "add `name = \"…\"` with letters, digits, `_` and `-`",
        );
    }
    stem.into_owned()
}

fn variants(table: &DeTable<'_>, problems: &mut Problems<'_>) -> Vec<String> {
    let names = raw::texts(table, "variants");
    unique("variants", names.iter(), problems);
    names.iter().map(|name| name.text.to_owned()).collect()
}

fn url(table: &DeTable<'_>, problems: &mut Problems<'_>) -> Option<(String, Range<usize>)> {
    let Text { text, span } = raw::text(table, "url")?;
    let parsed = Url::parse(text);
    let wrong = match &parsed {
        Err(error) => Some(error.to_string()),
        Ok(url) if !matches!(url.scheme(), "http" | "https") => {
            Some("only http and https are spoken".to_owned())
        }
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            Some("it holds a user or a password".to_owned())
        }
        Ok(url) if url.query().is_some() || url.fragment().is_some() => {
            Some("it holds a query or a fragment".to_owned())
        }
        Ok(_) => None,
    };
    if let Some(wrong) = wrong {
        problems
            .report(
                Code::BadUrl,
                span.clone(),
                format!("`url` can't be the target: {wrong}"),
                "not a target", "write scheme, host and port: `http://127.0.0.1:8000`; secrets go into headers as `{$env.NAME}`");
    }
    // What was checked is kept: the text may have blanks around it, or a tab in it.
    let url = parsed.as_ref().map_or(text, Url::as_str);
    Some((url.trim_end_matches('/').to_owned(), span))
}

fn generator(table: &DeTable<'_>, problems: &mut Problems<'_>) -> GeneratorLimits {
    let generator = raw::table(table, "generator").map(|(table, _)| table);
    let cpu = generator.and_then(|table| {
        let cpu = raw::share(table, "cpu")?;
        if !(cpu > 0.0 && cpu <= 1.0)
            && let Some(value) = table.get("cpu")
        {
            problems.report(
                Code::OutOfRange,
                value.span(),
                "`cpu` must be above 0 % and at most 100 %",
                "not a share of the cores",
                "write a share such as `\"90%\"`",
            );
        }
        Some(cpu)
    });
    let default = GeneratorLimits::default();
    GeneratorLimits {
        late_ns: generator
            .and_then(|table| raw::duration_ns(table, "late"))
            .unwrap_or(default.late_ns),
        cpu: cpu.unwrap_or(default.cpu),
        workers: generator
            .and_then(|table| raw::integer_at(table, "workers"))
            .and_then(|workers| u32::try_from(workers).ok()),
    }
}

/// Reports every name that has been there before.
fn unique<'a>(
    what: &str,
    names: impl IntoIterator<Item = &'a Text<'a>>,
    problems: &mut Problems<'_>,
) {
    let mut seen: BTreeMap<&str, Range<usize>> = BTreeMap::new();
    for name in names {
        if let Some(first) = seen.get(name.text) {
            problems
                .report(
                    Code::DuplicateName,
                    name.span.clone(),
                    format!("two {what} are named `{}`", name.text),
                    "named a second time",
                    "remove one of them, or give it another name",
                )
                .related(first.clone(), "first here");
        } else {
            seen.insert(name.text, name.span.clone());
        }
    }
}

/// Whether the file says something under `key`, however wrong it may be.
fn declares(table: &DeTable<'_>, key: &str) -> bool {
    table.get(key).is_some_and(|value| match value.get_ref() {
        DeValue::Table(table) => !table.is_empty(),
        DeValue::Array(array) => !array.is_empty(),
        _ => true,
    })
}

/// Whether a relative path stays below the folder that it is relative to.
fn stays_below(path: &Path) -> bool {
    use std::path::Component;
    let mut depth = 0_i32;
    path.components().all(|component| {
        match component {
            Component::Normal(_) => depth += 1,
            Component::ParentDir => depth -= 1,
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return false,
        }
        depth >= 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_may_not_climb_out() {
        let check = |path: &str, expected: bool| {
            assert_eq!(stays_below(Path::new(path)), expected, "{path}");
        };
        check("a/b", true);
        check("a/../b", true);
        check("./a", true);
        check("", true);
        check("..", false);
        check("a/../../b", false);
        check("/etc", false);
    }
}
