//! A search for the capacity of a load: the curve with the load line, and the trials.

use serde::Serialize;

use crate::harness::model::{CapacitySearch, CapacityTrial, Run, TrialOutcome, Unit};
use crate::harness::report::format::{self, rate, value};
use crate::harness::report::input::ReportInput;
use crate::harness::report::load::{self, LoadSummary};
use crate::harness::report::plots::{
    MAX_TRIALS, Role, base_quantile, drawn_quantiles, latency_by_rate, quantile_of,
};
use crate::harness::report::words;

use super::table::{Cell, Figure, Key, Shape, Table, judged, key, num, prose, shaped};

/// What one run's search found.
#[derive(Debug, Serialize)]
pub(super) struct Search {
    /// `None` where no trial has a latency.
    figure: Option<Figure>,
    /// `None` where nothing was tried.
    trials: Option<Table>,
    /// Of what all else about the load is, in a sentence.
    rest: String,
}

impl Search {
    /// That of the run whose curves are shown; `None` where it did not search.
    pub(super) fn new(
        load: &LoadSummary,
        shown: &Run,
        base: &[LoadSummary],
        input: &ReportInput<'_>,
    ) -> Option<Self> {
        let search = load.searches.iter().find(|search| search.run == shown.id)?;
        let number = input.head.iter().position(|run| run.id == shown.id);
        let of_run = match number {
            Some(at) if input.head.len() > 1 => format!(" of head run {}", at + 1),
            _ => String::new(),
        };
        let base = base.iter().find(|base| base.name == load.name);
        let base = base.and_then(|base| typical(&base.searches));
        Some(Self {
            figure: figure(search, base, &of_run),
            trials: (!search.found.trials.is_empty()).then(|| trials(&search.found, &of_run)),
            rest: words::rest_of_search(&load.searches).unwrap_or_default(),
        })
    }
}

/// Of the searches of some runs that with the median capacity.
fn typical(searches: &[load::Search]) -> Option<&CapacitySearch> {
    let mut found: Vec<&CapacitySearch> = searches.iter().map(|search| &search.found).collect();
    let holds = |search: &CapacitySearch| search.holds.unwrap_or(0.0);
    found.sort_by(|a, b| holds(a).total_cmp(&holds(b)));
    let middle = found.len().checked_sub(1)? / 2;
    Some(found[middle])
}

fn figure(search: &load::Search, base: Option<&CapacitySearch>, of_run: &str) -> Option<Figure> {
    let found = &search.found;
    let drawn = drawn_quantiles(found);
    let is_silent = |trial: &CapacityTrial| {
        let mut quantiles = drawn.iter();
        quantiles.all(|(quantile, _)| quantile_of(trial, *quantile).is_none())
    };
    let silent = match found.trials.iter().any(is_silent) {
        true => " At the bottom: trials with too few requests in order for any of them.",
        false => "",
    };
    Some(Figure {
        title: "Response time by offered rate".to_owned(),
        note: format!(
            "Both axes are logarithmic. Each point is a trial{of_run}; where a rate was tried again, the curves go through the median.{silent}"
        ),
        alt: alt(search),
        svg: latency_by_rate(found, base)?,
        keys: keys(found, base),
    })
}

/// What stands on the plot.
fn keys(found: &CapacitySearch, base: Option<&CapacitySearch>) -> Vec<Key> {
    let mut keys: Vec<Key> = drawn_quantiles(found)
        .into_iter()
        .map(|(_, role)| key(role, role.class()))
        .collect();
    let outcomes = [
        (TrialOutcome::Held, Shape::Dot, "limits held"),
        (TrialOutcome::Broke, Shape::Cross, "a limit was broken"),
        (
            TrialOutcome::NotOffered,
            Shape::Ring,
            "the generator gave in",
        ),
    ];
    for (outcome, shape, label) in outcomes {
        if found.trials.iter().any(|trial| trial.outcome == outcome) {
            keys.push(shaped(shape, Role::Label, label));
        }
    }
    if found.holds.is_some() && found.breaks.is_some() {
        keys.push(shaped(Shape::Band, Role::LoadLine, "load line"));
    }
    if let Some((base, (_, role))) = base.and_then(|base| Some((base, base_quantile(base)?))) {
        keys.push(key(Role::Base, format!("base {}", role.class())));
        if base.holds.is_some() && base.breaks.is_some() {
            keys.push(shaped(Shape::Band, Role::BaseLoadLine, "base load line"));
        }
    }
    keys
}

fn alt(search: &load::Search) -> String {
    let found = &search.found;
    let tried = found.trials.iter().map(|trial| trial.rate);
    let (low, high) = (tried.clone().reduce(f64::min), tried.reduce(f64::max));
    let range = match (low, high) {
        (Some(low), Some(high)) if low < high => {
            format!(" between {} and {}", rate(low), rate(high))
        }
        (Some(only), _) => format!(" at {}", rate(only)),
        _ => String::new(),
    };
    let at_holds = found.holds.and_then(|holds| {
        let mut trials = found.trials.iter();
        let trial =
            trials.find(|trial| trial.rate == holds && trial.outcome == TrialOutcome::Held)?;
        let quantiles: Vec<String> = drawn_quantiles(found)
            .into_iter()
            .filter_map(|(quantile, role)| {
                let ns = quantile_of(trial, quantile)?;
                Some(format!("{} {}", role.class(), format::duration_ns(ns)))
            })
            .collect();
        (!quantiles.is_empty()).then(|| format!(" At {}: {}.", rate(holds), quantiles.join(", ")))
    });
    format!(
        "{}{range}. {}{}",
        format::counted(found.trials.len() as u64, "trial"),
        words::capacity(std::slice::from_ref(search)).unwrap_or_default(),
        at_holds.unwrap_or_default()
    )
}

fn trials(found: &CapacitySearch, of_run: &str) -> Table {
    let quantiles = drawn_quantiles(found);
    let mut heads = vec!["Offered", "Achieved", "Errors"];
    heads.extend(quantiles.iter().map(|(_, role)| role.class()));
    heads.extend(["Outcome", "Why"]);
    let mut table = Table::new(format!("Trials{of_run}, by rate"), &heads);
    let mut trials: Vec<&CapacityTrial> = found.trials.iter().collect();
    trials.sort_by(|a, b| a.rate.total_cmp(&b.rate));
    table.note = "Achieved: the completed share of what was offered. A dash: too few requests for that percentile."
        .to_owned();
    let more = trials.len().saturating_sub(MAX_TRIALS);
    if more > 0 {
        table.note = format!("{} {more} more are in the JSON report.", table.note);
    }
    let shown = trials.into_iter().take(MAX_TRIALS);
    table.rows = shown.map(|trial| trial_row(trial, &quantiles)).collect();
    table
}

fn trial_row(trial: &CapacityTrial, quantiles: &[(f64, Role)]) -> Vec<Cell> {
    let mut row = vec![
        num(rate(trial.rate)),
        num(value(&Unit::Ratio, trial.achieved)),
        num(value(&Unit::Ratio, trial.error_rate)),
    ];
    row.extend(quantiles.iter().map(|(quantile, _)| {
        let latency = quantile_of(trial, *quantile);
        num(format::or_dash(latency, format::duration_ns))
    }));
    let class = match trial.outcome {
        TrialOutcome::Held => "good",
        TrialOutcome::Broke => "bad",
        TrialOutcome::NotOffered => "unsure",
    };
    row.push(judged(words::trial_outcome(trial.outcome), class));
    row.push(prose(&words::capitalised(&trial.reason)));
    row
}
