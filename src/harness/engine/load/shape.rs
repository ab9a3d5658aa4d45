//! The course of a rate or of a number of users over time: straight lines end to end, and sines on
//! top of level ones.
//!
//! In an open model the integral of the rate says when arrivals are due. Where it reaches a number
//! follows from the number alone, so a shard can compute its own arrivals without the others.

use std::f64::consts::{PI, TAU};

use crate::harness::scenario::{Stage, Wave};

const NS_PER_S: f64 = 1e9;
/// So many steps of Newton's method are tried on a wave before its time is halved instead, which always
/// ends. A few do, except near the bottom of a wave that goes down to zero.
const NEWTON_STEPS: u32 = 8;
/// A ramp computed in floating point may end a hair below the whole number that it means.
const HAIR: f64 = 1e-9;

/// A function of time, piece by piece.
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
    /// Only where `from` and `to` are the same, and no larger than them.
    wave: Option<Wave>,
    /// The integral up to the start of the piece, in units of value times seconds.
    area_before: f64,
    /// The integral up to its end.
    area_after: f64,
}

impl Shape {
    /// The stages one after the other until `end_ns`. The wave of the last one goes on until then;
    /// where it has none, its last value holds.
    pub(super) fn new(stages: &[Stage], end_ns: u64) -> Self {
        let mut shape = Self {
            pieces: Vec::with_capacity(stages.len() + 1),
            end_ns,
        };
        let mut at_ns: u64 = 0;
        for stage in stages {
            let stage_end_ns = at_ns.saturating_add(stage.duration_ns);
            shape.push(stage, at_ns, stage_end_ns);
            at_ns = stage_end_ns;
        }
        if at_ns < end_ns {
            match stages.last() {
                // The same wave, not another one that begins where it was broken off.
                Some(last) if last.wave.is_some() => {
                    let start_ns = shape.pieces.pop().map_or(at_ns, |piece| piece.start_ns);
                    shape.push(last, start_ns, end_ns);
                }
                Some(last) => shape.push(&Stage::constant(0, last.to), at_ns, end_ns),
                None => {}
            }
        }
        shape
    }

    fn push(&mut self, stage: &Stage, start_ns: u64, end_ns: u64) {
        let area_before = self.pieces.last().map_or(0.0, |piece| piece.area_after);
        let mut piece = Piece {
            start_ns,
            end_ns,
            from: stage.from,
            to: stage.to,
            wave: stage.wave,
            area_before,
            area_after: area_before,
        };
        piece.area_after += piece.area(piece.length_ns());
        self.pieces.push(piece);
    }

    /// The mean value between two instants in ns.
    pub(super) fn mean(&self, start_ns: u64, end_ns: u64) -> f64 {
        let end_ns = end_ns.min(self.end_ns);
        if start_ns >= end_ns {
            return 0.0;
        }
        (self.area_until(end_ns) - self.area_until(start_ns)) / seconds(end_ns - start_ns)
    }

    /// When the integral reaches `area`, in ns; `None` where it doesn't before the end. Of two areas
    /// that differ by a whole number, the larger is never reached before the other.
    pub(super) fn due_ns(&self, area: f64) -> Option<u64> {
        let after = self
            .pieces
            .partition_point(|piece| piece.area_after <= area);
        let piece = self.pieces.get(after)?;
        let due_ns = piece
            .start_ns
            .saturating_add(piece.time_of(area - piece.area_before));
        (due_ns < self.end_ns).then_some(due_ns)
    }

    /// The first instant from `from_ns` on at which the value is at least `level`, in ns; `None`
    /// where there is none before the end.
    pub(super) fn reaches(&self, level: f64, from_ns: u64) -> Option<u64> {
        let level = level - HAIR;
        self.pieces
            .iter()
            .filter(|piece| piece.end_ns > from_ns)
            .find_map(|piece| {
                let after_ns = piece.reaches(level, from_ns.saturating_sub(piece.start_ns))?;
                Some(piece.start_ns.saturating_add(after_ns))
            })
            .filter(|at_ns| *at_ns < self.end_ns)
    }

    /// How many users there is room for at an instant in ns: none after the end.
    pub(super) fn users_at(&self, at_ns: u64) -> u64 {
        let piece = self.pieces.partition_point(|piece| piece.end_ns <= at_ns);
        let piece = self.pieces.get(piece).filter(|_| at_ns < self.end_ns);
        piece.map_or(0, |piece| {
            (piece.value(at_ns - piece.start_ns) + HAIR) as u64
        })
    }

    fn area_until(&self, at_ns: u64) -> f64 {
        let after = self.pieces.partition_point(|piece| piece.start_ns <= at_ns);
        after.checked_sub(1).map_or(0.0, |index| {
            let piece = &self.pieces[index];
            piece.area_before + piece.area(at_ns.min(piece.end_ns) - piece.start_ns)
        })
    }
}

/// Times are counted from the start of the piece.
impl Piece {
    fn length_ns(&self) -> u64 {
        self.end_ns - self.start_ns
    }

    fn value(&self, at_ns: u64) -> f64 {
        let wave = self.wave.map_or(0.0, |wave| {
            wave.amplitude * (TAU * turn(&wave, at_ns)).sin()
        });
        self.line(at_ns) + wave
    }

    fn line(&self, at_ns: u64) -> f64 {
        if self.end_ns == self.start_ns {
            return self.to;
        }
        self.from + (self.to - self.from) * at_ns as f64 / self.length_ns() as f64
    }

    /// The integral up to then. That of a sine from the start of a turn, A·P/2π·(1 − cos), is never
    /// negative; it is written with the half angle, which doesn't cancel.
    fn area(&self, at_ns: u64) -> f64 {
        let line = (self.from + self.line(at_ns)) / 2.0 * seconds(at_ns);
        let wave = self.wave.map_or(0.0, |wave| {
            swell(&wave) * (PI * turn(&wave, at_ns)).sin().powi(2)
        });
        line + wave
    }

    /// Where the integral reaches `area`, in ns; to be asked only where it does.
    fn time_of(&self, area: f64) -> u64 {
        if area <= 0.0 {
            return 0;
        }
        match &self.wave {
            None => (self.time_on_line(area) * NS_PER_S) as u64,
            Some(wave) => self.time_on_wave(wave, area),
        }
    }

    /// In seconds: the root of a·x + (b − a)·x²/(2D) = area, in the form that doesn't cancel where the
    /// slope is small.
    fn time_on_line(&self, area: f64) -> f64 {
        let length_s = seconds(self.length_ns());
        let slope = (self.to - self.from) / length_s;
        let root = (self.from * self.from + 2.0 * slope * area).max(0.0).sqrt();
        (2.0 * area / (self.from + root)).min(length_s)
    }

    /// In ns: the last at which the integral is not larger than `area`, between two bounds that close in
    /// on it. What the wave adds to the line is between nothing and its swell, which gives the first.
    fn time_on_wave(&self, wave: &Wave, area: f64) -> u64 {
        let on_line = |area: f64| (area.max(0.0) / self.from * NS_PER_S) as u64;
        let mut low_ns = on_line(area - swell(wave)).saturating_sub(1);
        let mut high_ns = on_line(area).saturating_add(2).min(self.length_ns());
        let middle = |low_ns: u64, high_ns: u64| low_ns + (high_ns - low_ns) / 2;
        let mut at_ns = middle(low_ns, high_ns.max(low_ns));
        let mut steps = 0;
        while high_ns.saturating_sub(low_ns) > 1 {
            let missing = area - self.area(at_ns);
            if missing >= 0.0 {
                low_ns = at_ns;
            } else {
                high_ns = at_ns;
            }
            if high_ns - low_ns <= 1 {
                break;
            }
            let newton_ns = at_ns as f64 + missing / self.value(at_ns) * NS_PER_S;
            at_ns = match steps < NEWTON_STEPS && newton_ns.is_finite() {
                true => (newton_ns as u64).clamp(low_ns + 1, high_ns - 1),
                false => middle(low_ns, high_ns),
            };
            steps += 1;
        }
        low_ns.min(self.length_ns())
    }

    /// The first time from `from_ns` on at which the value is at least `level`.
    fn reaches(&self, level: f64, from_ns: u64) -> Option<u64> {
        if self.value(from_ns) >= level {
            return Some(from_ns);
        }
        match &self.wave {
            None => (self.to >= level && self.to > self.from).then(|| {
                let rise = (level - self.from) / (self.to - self.from);
                (rise * self.length_ns() as f64).ceil() as u64
            }),
            Some(wave) => {
                // A level above the top has no angle: not a number, which nothing is reached at.
                let angle = ((level - self.from) / wave.amplitude).asin();
                let period_ns = wave.period_ns as f64;
                let rise_ns = ((angle / TAU).rem_euclid(1.0) * period_ns).ceil();
                let turn_start_ns = from_ns - from_ns % wave.period_ns;
                let this_turn = turn_start_ns.saturating_add(rise_ns as u64);
                let at_ns = match this_turn < from_ns {
                    true => this_turn.saturating_add(wave.period_ns),
                    false => this_turn,
                };
                (rise_ns.is_finite() && at_ns < self.length_ns()).then_some(at_ns)
            }
        }
    }
}

/// How much of its turn a wave has done, from 0 to 1. The remainder of whole numbers is exact, however
/// many turns there were.
fn turn(wave: &Wave, at_ns: u64) -> f64 {
    (at_ns % wave.period_ns) as f64 / wave.period_ns as f64
}

/// The largest integral of a wave, reached in the middle of each turn.
fn swell(wave: &Wave) -> f64 {
    wave.amplitude * seconds(wave.period_ns) / PI
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / NS_PER_S
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const S: u64 = 1_000_000_000;

    fn shape(stages: &[(u64, f64, f64)], end_s: u64) -> Shape {
        let stages: Vec<_> = stages
            .iter()
            .map(|&(seconds, from, to)| Stage::line(seconds * S, from, to))
            .collect();
        Shape::new(&stages, end_s * S)
    }

    /// When even arrival `number` is due.
    fn due(shape: &Shape, number: u64) -> Option<u64> {
        shape.due_ns(number as f64)
    }

    /// A level with a sine on top, for so long.
    fn wave(seconds: u64, level: f64, amplitude: f64, period_ns: u64) -> Stage {
        Stage {
            wave: Some(Wave {
                amplitude,
                period_ns,
            }),
            ..Stage::constant(seconds * S, level)
        }
    }

    #[test]
    fn a_constant_rate_is_even() {
        let shape = shape(&[(10, 2000.0, 2000.0)], 10);
        assert_eq!(due(&shape, 0), Some(0));
        assert_eq!(due(&shape, 1), Some(500_000));
        assert_eq!(due(&shape, 19_999), Some(9_999_500_000));
        assert_eq!(due(&shape, 20_000), None);
    }

    #[test]
    fn a_ramp_has_as_many_arrivals_as_its_area() {
        // From 0 to 100/s in 10 s: 500 arrivals; then 100/s for 5 s: 500 more.
        let shape = shape(&[(10, 0.0, 100.0)], 15);
        let due: Vec<_> = (0..).map_while(|k| due(&shape, k)).collect();
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
        let due: Vec<_> = (0..).map_while(|k| due(&shape, k)).collect();
        assert_eq!(due.len(), 200);
        assert!(due.is_sorted());
        assert!(due[99] < 4 * S && due[101] > 7 * S);
    }

    #[test]
    fn stages_beyond_the_end_are_cut() {
        let shape = shape(&[(10, 10.0, 10.0)], 2);
        assert_eq!((0..).map_while(|k| due(&shape, k)).count(), 20);
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
    fn there_is_room_for_whole_users() {
        let shape = shape(&[(10, 0.0, 10.0), (5, 10.0, 10.0)], 15);
        let check = |at_ns: u64, expected: u64| assert_eq!(shape.users_at(at_ns), expected);
        check(0, 0);
        check(S - 1_000, 0);
        // As `reaches` has it.
        check(shape.reaches(1.0, 0).unwrap(), 1);
        check(9 * S + S / 2, 9);
        check(12 * S, 10);
        check(15 * S, 0);
    }

    #[test]
    fn lengths_beyond_all_time_do_not_overflow() {
        let stage = |from, to| Stage::line(u64::MAX, from, to);
        let shape = Shape::new(&[stage(0.0, 5.0), stage(5.0, 5.0)], u64::MAX);
        assert_eq!(due(&shape, 0), Some(0));
        assert_eq!(shape.reaches(6.0, 0), None);
        assert!(shape.reaches(2.5, 0).is_some());
        assert!(shape.mean(0, u64::MAX) > 2.0);
        assert_eq!(due(&shape, u64::MAX), None);
    }

    #[test]
    fn ten_hours_lose_no_arrival() {
        let shape = shape(&[(36_000, 10_000.0, 10_000.0)], 36_000);
        let last = 36_000 * 10_000 - 1;
        assert!(due(&shape, last).unwrap().abs_diff(36_000 * S - 100_000) < 100);
        assert_eq!(due(&shape, last + 1), None);
    }

    #[test]
    fn a_wave_has_as_many_arrivals_as_its_level_and_they_gather_at_its_top() {
        let shape = Shape::new(&[wave(20, 100.0, 100.0, 10 * S)], 20 * S);
        let due: Vec<_> = (0..).map_while(|k| due(&shape, k)).collect();
        assert_eq!(due.len(), 2000);
        assert!(due.is_sorted());
        // A quarter of a turn: 100/s · (2.5 s + 10 s / 2π) = 409.15.
        assert_eq!(due.partition_point(|at_ns| *at_ns < 5 * S / 2), 410);
        assert_eq!(due.partition_point(|at_ns| *at_ns < 10 * S), 1000);
        assert!((shape.mean(0, 5 * S) - 100.0 * (1.0 + 2.0 / PI)).abs() < 1e-9);
        assert!((shape.mean(5 * S, 10 * S) - 100.0 * (1.0 - 2.0 / PI)).abs() < 1e-9);
    }

    #[test]
    fn the_wave_of_the_last_stage_goes_on_where_it_is() {
        let long = Shape::new(&[wave(40, 50.0, 30.0, 7 * S)], 40 * S);
        let short = Shape::new(&[wave(10, 50.0, 30.0, 7 * S)], 40 * S);
        for number in 0..2000 {
            assert_eq!(due(&short, number), due(&long, number), "{number}");
        }
        // One that is followed by another stage does not.
        let stages = [wave(10, 50.0, 30.0, 7 * S), Stage::constant(S, 5.0)];
        let followed = Shape::new(&stages, 40 * S);
        assert!((followed.mean(10 * S, 40 * S) - 5.0).abs() < 1e-9);
    }

    #[test]
    fn a_wave_of_users_reaches_a_level_once_a_turn() {
        let shape = Shape::new(&[wave(100, 10.0, 5.0, 12 * S)], 100 * S);
        // 10 + 5·sin reaches 12.5 at a twelfth of a turn and leaves it at five twelfths.
        let check = |level: f64, from_ns: u64, expected_ns: u64| {
            let found = shape.reaches(level, from_ns);
            // At the top a hair of the level is a long time.
            let near_ns = if level == 15.0 { 50_000 } else { 10 };
            assert!(
                found.unwrap().abs_diff(expected_ns) <= near_ns,
                "{level}: {found:?}"
            );
        };
        check(12.5, 0, S);
        check(12.5, 3 * S, 3 * S);
        check(12.5, 6 * S, 13 * S);
        check(15.0, 4 * S, 15 * S);
        // While the sine is negative.
        check(7.5, 8 * S, 11 * S);
        assert_eq!(shape.reaches(5.0, 9 * S), Some(9 * S));
        assert_eq!(shape.reaches(15.1, 0), None);
        assert_eq!(shape.reaches(15.0, 100 * S - S / 2), None);
    }

    /// Lines and waves of up to a few seconds, one after the other.
    fn stages() -> impl Strategy<Value = Vec<Stage>> {
        let rate = || prop_oneof![Just(0.0), 0.0..2.0f64, 0.0..5e3f64];
        let line = (0..4 * S, rate(), rate())
            .prop_map(|(duration_ns, from, to)| Stage::line(duration_ns, from, to));
        let wave = (0..4 * S, rate(), 0.0..=1.0f64, S / 1000..9 * S).prop_map(
            |(duration_ns, level, share, period_ns)| Stage {
                wave: Some(Wave {
                    amplitude: level * share,
                    period_ns,
                }),
                ..Stage::constant(duration_ns, level)
            },
        );
        proptest::collection::vec(prop_oneof![line, wave], 1..5)
    }

    proptest! {
        #[test]
        fn arrivals_are_in_order_and_where_the_integral_reaches_them(stages in stages(), end_s in 0..16u64) {
            let shape = Shape::new(&stages, end_s * S);
            let all = shape.area_until(end_s * S);
            let due: Vec<u64> = (0..).map_while(|number| due(&shape, number)).collect();
            prop_assert!(due.is_sorted());
            // The first is due at once, so that an integral of 2.5 has three.
            prop_assert!((due.len() as f64 - all).abs() <= 1.0 + 1e-6, "{} of {all}", due.len());
            for (number, due_ns) in due.iter().enumerate() {
                let number = number as f64;
                prop_assert!(shape.area_until(*due_ns) <= number + 1e-6, "{number} at {due_ns}");
                prop_assert!(shape.area_until(due_ns + 2) >= number - 1e-6, "{number} at {due_ns}");
            }
        }

        #[test]
        fn a_level_is_reached_where_it_is_said_to_be(
            stages in stages(), from_ns in 0..16 * S, level in 0.0..5e3f64,
        ) {
            let shape = Shape::new(&stages, 16 * S);
            let value = |at_ns: u64| {
                let inside = |piece: &&Piece| (piece.start_ns..piece.end_ns).contains(&at_ns);
                let piece = shape.pieces.iter().find(inside);
                piece.map_or(0.0, |piece| piece.value(at_ns - piece.start_ns))
            };
            let found = shape.reaches(level, from_ns);
            if let Some(at_ns) = found {
                prop_assert!(at_ns >= from_ns);
                // A step of time, at most: the steepest of these changes by 30 in a microsecond.
                let is_close = (at_ns..at_ns + 3).any(|at_ns| value(at_ns) >= level - 0.1);
                prop_assert!(is_close, "{} at {at_ns}", value(at_ns));
            }
            for at_ns in (from_ns..found.unwrap_or(16 * S)).step_by(S as usize / 50) {
                prop_assert!(value(at_ns) < level, "{at_ns} is earlier than {found:?}");
            }
        }
    }
}
