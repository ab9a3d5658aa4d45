//! The load line on an axis of rates, which is logarithmic: between the highest rate that held and the lowest
//! that did not.

use crate::harness::model::CapacitySearch;
use crate::harness::report::format::rate;

use super::axis::{self, Axis};
use super::role::Role;
use super::scene::{Mark, Side};

/// The interval of the capacity, or the one end that is known.
pub(super) fn load_line(search: &CapacitySearch, y: &Axis, role: Role) -> Vec<Mark> {
    let ends = ends(search).into_iter().flatten();
    let ends: Vec<f64> = ends.map(f64::log10).collect();
    let mut marks = Vec::new();
    if let [holds, breaks] = ends[..] {
        marks.push(Mark::Band {
            corners: [(holds, y.from), (breaks, y.to)],
            role,
        });
    }
    marks.extend(ends.into_iter().map(|x| Mark::Line {
        points: vec![(x, y.from), (x, y.to)],
        role,
    }));
    marks
}

/// What the load line is, beside it at the height `y`, on the side that has room.
pub(super) fn label(search: &CapacitySearch, x: &Axis, y: f64) -> Option<Mark> {
    let (left, right, text) = match ends(search) {
        [Some(holds), Some(breaks)] => (
            holds,
            breaks,
            format!("load line: {} to {}", rate(holds), rate(breaks)),
        ),
        [Some(holds), None] => (holds, holds, format!("held at {}", rate(holds))),
        [None, Some(breaks)] => (breaks, breaks, format!("broke at {}", rate(breaks))),
        [None, None] => return None,
    };
    let span = x.to - x.from;
    let is_right = left.log10() - x.from < span / 2.0;
    let (at, side) = match is_right {
        true => (right.log10() + 0.008 * span, Side::Right),
        false => (left.log10() - 0.008 * span, Side::Left),
    };
    Some(Mark::Text {
        at: (at, y),
        text,
        role: Role::Caption,
        side,
    })
}

/// The ends of the load line that can be drawn.
fn ends(search: &CapacitySearch) -> [Option<f64>; 2] {
    [search.holds, search.breaks].map(|end| end.filter(|rate| axis::RATES.contains(rate)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::model::Unit;

    #[test]
    fn it_is_what_is_known_of_it() {
        let x = axis::log_rate(100.0, 900.0);
        let y = axis::log(&Unit::Nanoseconds, 1e6, 1e9);
        let check = |holds, breaks, drawn: (usize, usize), expected: Option<(&str, Side)>| {
            let search = CapacitySearch {
                holds,
                breaks,
                trials: Vec::new(),
            };
            let marks = load_line(&search, &y, Role::LoadLine);
            let lines = marks
                .iter()
                .filter(|mark| matches!(mark, Mark::Line { .. }));
            let bands = marks
                .iter()
                .filter(|mark| matches!(mark, Mark::Band { .. }));
            assert_eq!((lines.count(), bands.count()), drawn, "{marks:?}");
            let label = label(&search, &x, 7.0);
            let said = match &label {
                Some(Mark::Text { text, side, .. }) => Some((text.as_str(), *side)),
                _ => None,
            };
            assert_eq!(said, expected);
        };
        let right = |text| Some((text, Side::Right));
        let left = |text| Some((text, Side::Left));
        let both = "load line: 200/s to 210/s";
        check(Some(200.0), Some(210.0), (2, 1), right(both));
        let both = "load line: 800/s to 880/s";
        check(Some(800.0), Some(880.0), (2, 1), left(both));
        check(Some(900.0), None, (1, 0), left("held at 900/s"));
        check(None, Some(100.0), (1, 0), right("broke at 100/s"));
        check(None, None, (0, 0), None);
        check(Some(f64::NAN), Some(f64::MAX), (0, 0), None);
    }
}
