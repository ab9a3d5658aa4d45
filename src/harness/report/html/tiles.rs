//! The few numbers that matter, in large letters.

use serde::Serialize;

use crate::harness::model::median;
use crate::harness::report::format::{self, rate};
use crate::harness::report::load::{LoadSummary, Search};
use crate::harness::report::text;

/// Loads with a tile each; more are in their section.
const MAX_TILED_LOADS: usize = 3;

/// A number in large letters.
#[derive(Debug, Serialize)]
pub(super) struct Tile {
    label: String,
    value: String,
    note: String,
    /// Whether it is something to look at.
    alarming: bool,
}

/// Those of the first loads.
pub(super) fn tiles(loads: &[LoadSummary]) -> Vec<Tile> {
    let shown = loads.iter().take(MAX_TILED_LOADS);
    shown
        .flat_map(|load| match load.searches.as_slice() {
            [] => load_tiles(load),
            searches => vec![capacity_tile(load, searches)],
        })
        .collect()
}

/// A load that searched for its capacity has no other number: the rest depends on the rates that it tried.
fn capacity_tile(load: &LoadSummary, searches: &[Search]) -> Tile {
    let holds: Vec<f64> = searches.iter().filter_map(|it| it.found.holds).collect();
    let is_cut_short = searches.iter().any(|search| search.is_cut_short);
    let note = match (searches, holds.as_slice()) {
        _ if is_cut_short => "the search was cut short".to_owned(),
        (_, []) => "no rate held".to_owned(),
        ([only], _) => match only.found.breaks {
            Some(breaks) => format!("no more at {}", rate(breaks)),
            None => "and maybe more".to_owned(),
        },
        (_, held) => {
            let none = match searches.len() - held.len() {
                0 => String::new(),
                none => format!("; none in {none}"),
            };
            let runs = format::counted(held.len() as u64, "run");
            format!("median of {runs}{none}")
        }
    };
    Tile {
        label: format!("{}: capacity", text::shown(&load.name, 24)),
        value: format::or_dash(median(&holds), rate),
        note,
        alarming: is_cut_short || holds.len() < searches.len(),
    }
}

fn load_tiles(load: &LoadSummary) -> Vec<Tile> {
    let mut tiles = Vec::new();
    let name = text::shown(&load.name, 24);
    let (failed, requests) = load.failed_of();
    if let (Some(p95), Some(p50)) = (
        load.response.quantile_ns(0.95),
        load.response.quantile_ns(0.5),
    ) {
        tiles.push(Tile {
            label: format!("{name}: p95"),
            value: format::duration_ns(p95),
            note: format!("median {}", format::duration_ns(p50)),
            alarming: false,
        });
    }
    tiles.push(Tile {
        label: format!("{name}: rate"),
        value: rate(load.per_second(load.counts.completed)),
        note: match load.counts.dropped {
            0 => format!("{} iterations", format::count(load.counts.completed)),
            dropped => format!("{} dropped", format::share(dropped, load.counts.offered)),
        },
        alarming: load.counts.dropped > 0,
    });
    tiles.push(Tile {
        label: format!("{name}: errors"),
        value: format::share(failed, requests),
        note: format!(
            "{} of {}",
            format::count(failed),
            format::counted(requests, "request")
        ),
        alarming: failed > 0,
    });
    tiles
}
