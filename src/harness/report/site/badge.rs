//! A flat badge: the scenario, its verdict and its number, for a README.
//!
//! Whoever shows it has other fonts, so its text is given a length that is reckoned here and that the
//! browser keeps to.

use serde::Serialize;

use crate::harness::report::{layout, text};

use super::feed::xml;
use super::frame::named;
use super::session::SessionLine;
use super::standing::Mark;

/// Characters of the scenario, and of the number's name.
const NAME_CHARS: usize = 40;
const FIGURE_CHARS: usize = 24;
/// The font's size in pixels.
const FONT_PX: f64 = 11.0;
/// Room on either side of a text, in pixels.
const PADDING_PX: f64 = 6.0;
/// The shape before the verdict, with the room behind it.
const SHAPE_PX: f64 = 16.0;

#[derive(Debug, Serialize)]
struct Badge {
    label: String,
    message: String,
    mark: Mark,
    /// In pixels.
    width: f64,
    label_width: f64,
    label_length: f64,
    message_at: f64,
    message_length: f64,
    shape_at: f64,
}

/// The badge of a scenario that stands as `line` says, as SVG.
pub fn badge(scenario: &str, line: &SessionLine) -> String {
    let label = xml(&text::shown(&named(scenario), NAME_CHARS));
    let mark = line.standing.mark();
    let mut message = mark.word.to_lowercase();
    if let Some(figure) = &line.figure {
        message.push_str(&format!(
            " · {} {}",
            text::shown(short(&figure.metric), FIGURE_CHARS),
            text::shown(&figure.value, FIGURE_CHARS)
        ));
    }
    let message = xml(&message);
    let (label_length, message_length) = (length(&label), length(&message));
    let label_width = label_length + 2.0 * PADDING_PX;
    let shape_at = label_width + PADDING_PX;
    let badge = Badge {
        width: shape_at + SHAPE_PX + message_length + PADDING_PX,
        label_width,
        label_length,
        message_at: shape_at + SHAPE_PX,
        message_length,
        shape_at,
        label,
        message,
        mark,
    };
    layout::render("site/badge.svg", &layout::context(&badge))
}

/// What a metric is called where there is little room: `p95` of `load.reads.p95`, and of a bench all
/// after its kind, because its dots are its own.
fn short(metric: &str) -> &str {
    match metric.split_once('.') {
        Some(("load" | "process", rest)) => rest.rsplit('.').next().unwrap_or(rest),
        Some((_, rest)) if !rest.is_empty() => rest,
        _ => metric,
    }
}

/// About how wide a text is in a sans-serif font, in whole pixels.
fn length(text: &str) -> f64 {
    let em = |c: char| match c {
        'i' | 'j' | 'l' | 'I' | '.' | ',' | ':' | ';' | '|' | '!' | '\'' | '/' | '(' | ')'
        | '[' | ']' | ' ' | '·' | '\u{202f}' => 0.36,
        'm' | 'w' | 'M' | 'W' | '@' | '%' => 0.92,
        'A'..='Z' => 0.7,
        c if c.is_ascii() => 0.6,
        c => 0.6 * textwrap::core::display_width(c.encode_utf8(&mut [0; 4])) as f64,
    };
    (text.chars().map(em).sum::<f64>() * FONT_PX).ceil()
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{HOSTILE, hostile, is_harmless, session};
    use super::*;

    #[test]
    fn a_badge_says_what_it_shows() {
        let svg = badge("mixed", &session("mixed", 1));
        let said = "mixed: pass · p95 50 ms";
        assert!(svg.contains(&format!("aria-label=\"{said}\"")), "{svg}");
        assert!(svg.contains(&format!("<title>{said}</title>")), "{svg}");
        assert!(
            svg.contains("role=\"img\"") && svg.contains("fill=\"#00795a\""),
            "{svg}"
        );
    }

    #[test]
    fn names_are_text_and_short() {
        let svg = badge(HOSTILE, &hostile());
        is_harmless(&svg);
        assert!(!svg.contains('\u{ffff}'), "{svg}");
        let long = badge(&"m".repeat(10_000), &session("m", 1));
        assert!(long.len() < 3000, "{} bytes", long.len());
    }

    #[test]
    fn a_metric_has_a_short_name() {
        for (metric, expected) in [
            ("load.reads.p95", "p95"),
            ("load.reads.service.p95", "p95"),
            ("process.web.rss_max", "rss_max"),
            ("bench.cache/get.hot", "cache/get.hot"),
            ("probe.hit_ratio", "hit_ratio"),
            ("seconds", "seconds"),
            ("odd.", "odd."),
        ] {
            assert_eq!(short(metric), expected);
        }
    }
}
