//! Flows, the setup and the teardown: what all their requests have in common, and their steps.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use toml::de::DeTable;

use super::feeds::Feed;
use super::files::Files;
use super::names::Names;
use super::outline::{self, Kind, Step};
use super::policies::{positive, redirects, retry};
use super::steps::{self, Context, Defaults};
use super::values::{AtStep, Role, Scope, Sources};
use super::{address, declares, streams};
use crate::harness::scenario::plan::{CookieScope, FlowPlan};
use crate::harness::scenario::problem::{Code, Problems};
use crate::harness::scenario::raw;

/// Everything of a scenario that consists of steps.
pub(super) struct Flows {
    pub(super) flows: BTreeMap<String, FlowPlan>,
    pub(super) setup: Option<FlowPlan>,
    pub(super) teardown: Option<FlowPlan>,
}

pub(super) fn read(
    table: &DeTable<'_>,
    feeds: &BTreeMap<String, Feed>,
    files: &mut Files,
    problems: &mut Problems<'_>,
) -> Flows {
    for key in ["setup", "teardown"] {
        if let Some((key, _)) = table.get_key_value(key)
            && !declares(table, "load")
        {
            problems.report(
                Code::MissingKey,
                key.span(),
                format!(
                    "`{}` goes with a load, and the scenario has none",
                    key.get_ref()
                ),
                "around which load?",
                "add `[load.NAME]` with a flow, or remove this",
            );
        }
    }
    let setup = raw::table(table, "setup").map(|found| Outline::read(found, problems));
    let setup_values: BTreeSet<String> = setup
        .iter()
        .flat_map(|setup| outline::extracted(&setup.steps).into_keys())
        .map(str::to_owned)
        .collect();
    let sources = |role| Sources {
        feeds,
        setup: &setup_values,
        role,
    };
    let flows = raw::named_tables(table, "flow");
    Flows {
        setup: setup.map(|setup| flow(&setup, &sources(Role::Setup), files, problems)),
        flows: flows
            .into_iter()
            .map(|(name, table)| {
                let outline = Outline::read((table, name.span), problems);
                let flow = flow(&outline, &sources(Role::Load), files, problems);
                (name.text.to_owned(), flow)
            })
            .collect(),
        teardown: raw::table(table, "teardown").map(|found| {
            let outline = Outline::read(found, problems);
            flow(&outline, &sources(Role::Teardown), files, problems)
        }),
    }
}

/// A flow as the file has it.
struct Outline<'a> {
    table: &'a DeTable<'a>,
    span: Range<usize>,
    steps: Vec<Step<'a>>,
}

impl<'a> Outline<'a> {
    fn read((table, span): (&'a DeTable<'_>, Range<usize>), problems: &mut Problems<'_>) -> Self {
        Self {
            table,
            span,
            steps: outline::read(table, problems),
        }
    }
}

fn flow(
    outline: &Outline<'_>,
    sources: &Sources<'_>,
    files: &mut Files,
    problems: &mut Problems<'_>,
) -> FlowPlan {
    let extracted = outline::extracted(&outline.steps);
    let defaults = defaults(outline.table, sources, &extracted, problems);
    let mut cx = Context {
        sources,
        extracted: &extracted,
        defaults: &defaults,
        files,
        names: Names::default(),
        early: BTreeSet::new(),
    };
    let steps = steps::build(&outline.steps, &mut cx, problems);
    cx.names.check(problems);
    streams::check(&outline.steps, problems);
    check_sends_something(outline, problems);
    FlowPlan {
        steps,
        cookies: match raw::text(outline.table, "cookies").map(|cookies| cookies.text) {
            Some("user") => CookieScope::User,
            Some("none") => CookieScope::None,
            _ => CookieScope::Iteration,
        },
    }
}

fn defaults(
    table: &DeTable<'_>,
    sources: &Sources<'_>,
    extracted: &BTreeMap<&str, usize>,
    problems: &mut Problems<'_>,
) -> Defaults {
    // Each step is asked by itself whether it comes behind the one that extracts a value.
    let mut scope = Scope::Step(AtStep {
        sources,
        extracted,
        number: usize::MAX,
    });
    Defaults {
        head: address::head(table, &mut scope, problems),
        timeout_ns: positive(table, "timeout", problems),
        redirects: redirects(table).unwrap_or(0),
        retry: retry(table, problems),
    }
}

/// Reports a flow of nothing but pauses.
fn check_sends_something(outline: &Outline<'_>, problems: &mut Problems<'_>) {
    let mut sends = false;
    outline::visit(&outline.steps, &mut |step| {
        sends |= matches!(step.kind, None | Some(Kind::Request(_) | Kind::Open(_)));
    });
    if !sends && !outline.steps.is_empty() {
        problems.report(
            Code::MissingKey,
            outline.span.clone(),
            "no step sends anything",
            "neither a request nor a stream",
            "add a step with `get = \"/…\"`",
        );
    }
}
