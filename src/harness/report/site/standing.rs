//! A verdict in one word, with a shape and a colour.

use serde::{Deserialize, Serialize};

use crate::harness::gate::{Outcome, Verdict};
use crate::harness::report::words;

/// What a site says of a session in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// What the gate says.
    Judged(Outcome),
    /// The gate could not have failed it: there is nothing that it is held against.
    NotJudged,
    /// The verdict is for information only.
    Advisory,
}

/// What is drawn where a verdict stands: the word in capitals, and what tells it from others without
/// colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Mark {
    /// The verdict in capitals.
    pub(super) word: &'static str,
    /// The class of the style sheet.
    pub(super) class: &'static str,
    /// The outline of its shape in a box of 16 by 16.
    pub(super) shape: &'static str,
    /// The sign in the shape.
    pub(super) sign: &'static str,
    /// The colour of a badge, on which white text can be read.
    pub(super) colour: &'static str,
}

impl Standing {
    /// That of a verdict. A pass without anything that it was held against is none.
    pub fn of(verdict: &Verdict) -> Self {
        let is_held = !verdict.limits.is_empty() || verdict.metrics.iter().any(|it| it.gating);
        match verdict.verdict {
            _ if verdict.advisory => Self::Advisory,
            Outcome::Pass if !is_held => Self::NotJudged,
            outcome => Self::Judged(outcome),
        }
    }

    /// The first thing to look at comes first.
    pub(super) fn rank(self) -> u8 {
        match self {
            Self::Judged(Outcome::Fail) => 0,
            Self::Judged(Outcome::Invalid) => 1,
            Self::Judged(Outcome::Inconclusive) => 2,
            Self::Judged(Outcome::NoBaseline) => 3,
            Self::Advisory => 4,
            Self::NotJudged => 5,
            Self::Judged(Outcome::Pass) => 6,
        }
    }

    /// How it is drawn.
    pub(super) fn mark(self) -> Mark {
        let (class, shape, sign, colour) = match self {
            Self::Judged(Outcome::Pass) => ("pass", CIRCLE, TICK, GREEN),
            Self::Judged(Outcome::Fail) => ("fail", OCTAGON, CROSS, RED),
            Self::Judged(Outcome::Inconclusive) => ("inconclusive", DIAMOND, DOTS, ORANGE),
            Self::Judged(Outcome::NoBaseline) => ("no-baseline", DIAMOND, DASH, ORANGE),
            Self::Judged(Outcome::Invalid) => ("invalid", TRIANGLE, EXCLAMATION, PURPLE),
            Self::Advisory => ("advisory", SQUARE, LETTER_I, ORANGE),
            Self::NotJudged => ("not-judged", SQUARE, DASH, GREY),
        };
        let word = match self {
            Self::Judged(outcome) => words::outcome(outcome),
            Self::NotJudged => "NOT JUDGED",
            Self::Advisory => "ADVISORY",
        };
        Mark {
            word,
            class,
            shape,
            sign,
            colour,
        }
    }
}

/// Okabe and Ito's colours, dark enough for white text (4.5 : 1).
const GREEN: &str = "#00795a";
const RED: &str = "#b84600";
const ORANGE: &str = "#8a5a00";
const PURPLE: &str = "#9c4f7d";
const GREY: &str = "#566172";

const CIRCLE: &str = "M8 1a7 7 0 1 1 0 14a7 7 0 1 1 0-14z";
const OCTAGON: &str = "M5 1h6l4 4v6l-4 4h-6l-4-4v-6z";
const DIAMOND: &str = "M8 .5l7.5 7.5l-7.5 7.5l-7.5-7.5z";
const TRIANGLE: &str = "M8 .8l7.6 14h-15.2z";
const SQUARE: &str = "M2 2h12v12h-12z";

const TICK: &str = "M4.8 8.2l2.3 2.3l4.1-4.6";
const CROSS: &str = "M5.4 5.4l5.2 5.2M10.6 5.4l-5.2 5.2";
/// No question mark: in a diamond it is what a browser shows for a character that it can't read.
const DOTS: &str = "M5 8v.1M8 8v.1M11 8v.1";
const EXCLAMATION: &str = "M8 6v4M8 12.2v.2";
const DASH: &str = "M5.2 8h5.6";
const LETTER_I: &str = "M8 7.4v3.6M8 4.9v.2";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::gate::VERDICT_FORMAT;

    const ALL: [Standing; 7] = [
        Standing::Judged(Outcome::Pass),
        Standing::Judged(Outcome::NoBaseline),
        Standing::Judged(Outcome::Inconclusive),
        Standing::Judged(Outcome::Fail),
        Standing::Judged(Outcome::Invalid),
        Standing::NotJudged,
        Standing::Advisory,
    ];

    #[test]
    fn each_is_told_from_the_others_without_its_colour() {
        for (at, one) in ALL.iter().enumerate() {
            for other in &ALL[at + 1..] {
                let (one, other) = (one.mark(), other.mark());
                assert_ne!(one.word, other.word);
                assert_ne!((one.shape, one.sign), (other.shape, other.sign));
            }
        }
    }

    #[test]
    fn white_text_on_each_colour_can_be_read() {
        let linear = |hex: &str| {
            let value = f64::from(u8::from_str_radix(hex, 16).unwrap_or_default()) / 255.0;
            match value <= 0.040_45 {
                true => value / 12.92,
                false => ((value + 0.055) / 1.055).powf(2.4),
            }
        };
        for standing in ALL {
            let colour = standing.mark().colour;
            let luminance = 0.2126 * linear(&colour[1..3])
                + 0.7152 * linear(&colour[3..5])
                + 0.0722 * linear(&colour[5..7]);
            // WCAG 2, contrast ratio of text.
            assert!(1.05 / (luminance + 0.05) >= 4.5, "{colour}");
        }
    }

    #[test]
    fn a_pass_of_nothing_is_none() {
        let mut verdict = Verdict {
            schema: VERDICT_FORMAT.into(),
            scenario: "s".into(),
            verdict: Outcome::Pass,
            advisory: false,
            exit_code: 0,
            reasons: Vec::new(),
            warnings: Vec::new(),
            metrics: Vec::new(),
            limits: Vec::new(),
            comparison: None,
            anchors: Vec::new(),
            base_revision: None,
            head_revision: None,
        };
        assert_eq!(Standing::of(&verdict), Standing::NotJudged);
        verdict.verdict = Outcome::Invalid;
        assert_eq!(Standing::of(&verdict), Standing::Judged(Outcome::Invalid));
        verdict.advisory = true;
        assert_eq!(Standing::of(&verdict), Standing::Advisory);
    }
}
