//! The course of a rate or of a number of users over time: straight lines end to end.
//!
//! In an open model arrivals are even: arrival k (from 0) is due when the integral of the rate
//! reaches k. That needs no state, so a shard can compute its own arrivals without the others.

use crate::harness::scenario::Stage;

const NS_PER_S: f64 = 1e9;

/// A piecewise linear function of time.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pieces: Vec<Piece>,
    end_ns: u64,
}

#[derive(Debug, Clone, Copy)]
struct Piece {
    start_ns: u64,
    end_ns: u64,
    from: f64,
    to: f64,
    /// The integral up to the start of the piece, in units of value times seconds.
    area_before: f64,
}

impl Shape {
    /// The stages one after the other until `end_ns`; the value at the end of the last one holds
    /// until then.
    pub(super) fn new(stages: &[Stage], end_ns: u64) -> Self {
        let mut pieces = Vec::with_capacity(stages.len() + 1);
        let mut at_ns: u64 = 0;
        let mut area_before = 0.0;
        let mut push = |start_ns: u64, end_ns: u64, from: f64, to: f64| {
            let piece = Piece {
                start_ns,
                end_ns,
                from,
                to,
                area_before,
            };
            area_before += piece.area(piece.length_s());
            pieces.push(piece);
        };
        for stage in stages {
            let stage_end_ns = at_ns.saturating_add(stage.duration_ns);
            push(at_ns, stage_end_ns, stage.from, stage.to);
            at_ns = stage_end_ns;
        }
        if at_ns < end_ns {
            let last = stages.last().map_or(0.0, |stage| stage.to);
            push(at_ns, end_ns, last, last);
        }
        Self { pieces, end_ns }
    }

    /// The mean value between two instants in ns.
    pub(super) fn mean(&self, start_ns: u64, end_ns: u64) -> f64 {
        let end_ns = end_ns.min(self.end_ns);
        if start_ns >= end_ns {
            return 0.0;
        }
        (self.area_until(end_ns) - self.area_until(start_ns)) / seconds(end_ns - start_ns)
    }

    /// When the integral reaches `arrivals`, in ns; `None` where it doesn't before the end.
    pub(super) fn due_ns(&self, arrivals: u64) -> Option<u64> {
        let wanted = arrivals as f64;
        let after = self
            .pieces
            .partition_point(|piece| piece.area_before + piece.area(piece.length_s()) <= wanted);
        let piece = self.pieces.get(after)?;
        let after_ns = (piece.time_of(wanted - piece.area_before) * NS_PER_S) as u64;
        let due_ns = piece.start_ns.saturating_add(after_ns);
        (due_ns < self.end_ns).then_some(due_ns)
    }

    /// The first instant from `from_ns` on at which the value is at least `level`, in ns; `None`
    /// where there is none before the end.
    pub(super) fn reaches(&self, level: f64, from_ns: u64) -> Option<u64> {
        // A ramp computed in floating point may end a hair below the whole number that it means.
        let level = level - 1e-9;
        self.pieces
            .iter()
            .filter(|piece| piece.end_ns > from_ns)
            .find_map(|piece| {
                let from_ns = from_ns.max(piece.start_ns);
                if piece.value(seconds(from_ns - piece.start_ns)) >= level {
                    return Some(from_ns);
                }
                let rise = (level - piece.from) / (piece.to - piece.from);
                (piece.to >= level && piece.to > piece.from).then(|| {
                    let after_ns = (rise * (piece.end_ns - piece.start_ns) as f64).ceil() as u64;
                    piece.start_ns.saturating_add(after_ns)
                })
            })
            .filter(|at_ns| *at_ns < self.end_ns)
    }

    fn area_until(&self, at_ns: u64) -> f64 {
        let after = self.pieces.partition_point(|piece| piece.start_ns <= at_ns);
        after.checked_sub(1).map_or(0.0, |index| {
            let piece = &self.pieces[index];
            let inside_ns = at_ns.min(piece.end_ns) - piece.start_ns;
            piece.area_before + piece.area(seconds(inside_ns))
        })
    }
}

impl Piece {
    fn length_s(&self) -> f64 {
        seconds(self.end_ns - self.start_ns)
    }

    fn value(&self, at_s: f64) -> f64 {
        if self.end_ns == self.start_ns {
            return self.to;
        }
        self.from + (self.to - self.from) * at_s / self.length_s()
    }

    /// The integral over the first `at_s` seconds.
    fn area(&self, at_s: f64) -> f64 {
        (self.from + self.value(at_s)) / 2.0 * at_s
    }

    /// Where the integral reaches `area`, in seconds: the root of a·x + (b − a)·x²/(2D) = area, in
    /// the form that doesn't cancel where the slope is small.
    fn time_of(&self, area: f64) -> f64 {
        if area <= 0.0 {
            return 0.0;
        }
        let slope = (self.to - self.from) / self.length_s();
        let root = (self.from * self.from + 2.0 * slope * area).max(0.0).sqrt();
        (2.0 * area / (self.from + root)).min(self.length_s())
    }
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / NS_PER_S
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn shape(stages: &[(u64, f64, f64)], end_s: u64) -> Shape {
        let stages: Vec<_> = stages
            .iter()
            .map(|&(seconds, from, to)| Stage::line(seconds * S, from, to))
            .collect();
        Shape::new(&stages, end_s * S)
    }

    #[test]
    fn a_constant_rate_is_even() {
        let shape = shape(&[(10, 2000.0, 2000.0)], 10);
        assert_eq!(shape.due_ns(0), Some(0));
        assert_eq!(shape.due_ns(1), Some(500_000));
        assert_eq!(shape.due_ns(19_999), Some(9_999_500_000));
        assert_eq!(shape.due_ns(20_000), None);
    }

    #[test]
    fn a_ramp_has_as_many_arrivals_as_its_area() {
        // From 0 to 100/s in 10 s: 500 arrivals; then 100/s for 5 s: 500 more.
        let shape = shape(&[(10, 0.0, 100.0)], 15);
        let due: Vec<_> = (0..).map_while(|k| shape.due_ns(k)).collect();
        assert_eq!(due.len(), 1000);
        assert!(due.is_sorted());
        // 100/s·t²/20 s = 125 at t = 5 s.
        assert!(due[125].abs_diff(5 * S) <= 1, "{}", due[125]);
        assert!((shape.mean(0, 10 * S) - 50.0).abs() < 1e-9);
        assert!((shape.mean(10 * S, 20 * S) - 100.0).abs() < 1e-9);
    }

    #[test]
    fn a_falling_ramp_and_a_pause_keep_the_order() {
        let shape = shape(&[(4, 50.0, 0.0), (3, 0.0, 0.0), (4, 0.0, 50.0)], 11);
        let due: Vec<_> = (0..).map_while(|k| shape.due_ns(k)).collect();
        assert_eq!(due.len(), 200);
        assert!(due.is_sorted());
        assert!(due[99] < 4 * S && due[101] > 7 * S);
    }

    #[test]
    fn stages_beyond_the_end_are_cut() {
        let shape = shape(&[(10, 10.0, 10.0)], 2);
        assert_eq!((0..).map_while(|k| shape.due_ns(k)).count(), 20);
        assert_eq!(shape.reaches(10.0, 3 * S), None);
    }

    #[test]
    fn a_user_starts_when_the_ramp_reaches_it() {
        let shape = shape(&[(10, 0.0, 10.0), (5, 10.0, 10.0), (10, 10.0, 0.0)], 25);
        assert!(shape.reaches(1.0, 0).unwrap().abs_diff(S) <= 10);
        assert!(shape.reaches(10.0, 0).unwrap().abs_diff(10 * S) <= 10);
        assert_eq!(shape.reaches(3.0, 4 * S), Some(4 * S));
        assert_eq!(shape.reaches(5.0, 21 * S), None);
    }

    #[test]
    fn lengths_beyond_all_time_do_not_overflow() {
        let stage = |from, to| Stage::line(u64::MAX, from, to);
        let shape = Shape::new(&[stage(0.0, 5.0), stage(5.0, 5.0)], u64::MAX);
        assert_eq!(shape.due_ns(0), Some(0));
        assert_eq!(shape.reaches(6.0, 0), None);
        assert!(shape.reaches(2.5, 0).is_some());
        assert!(shape.mean(0, u64::MAX) > 2.0);
        assert_eq!(shape.due_ns(u64::MAX), None);
    }

    #[test]
    fn ten_hours_lose_no_arrival() {
        let shape = shape(&[(36_000, 10_000.0, 10_000.0)], 36_000);
        let last = 36_000 * 10_000 - 1;
        assert!(shape.due_ns(last).unwrap().abs_diff(36_000 * S - 100_000) < 100);
        assert_eq!(shape.due_ns(last + 1), None);
    }
}
