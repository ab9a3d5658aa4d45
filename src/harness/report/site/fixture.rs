//! Sessions for the tests of this module.

use jiff::Timestamp;

use super::session::{Figure, SessionLine};
use super::standing::Standing;
use crate::harness::gate::Outcome;

/// What nobody should call anything.
pub(super) const HOSTILE: &str =
    "</title><script>alert(1)</script>\" onload='x' ]]>&\u{1b}[31m\u{202e}\u{ffff}\0🚀";

/// A session, so many hours after another.
pub(super) fn session(scenario: &str, hours: i64) -> SessionLine {
    SessionLine {
        page: format!("sessions/00/s~{hours}.html"),
        scenario: scenario.to_owned(),
        session: format!("night {hours}"),
        at: Timestamp::from_second(1_790_000_000 + hours * 3600).unwrap_or_default(),
        runs: 5,
        revision: Some("1a2b3c4".to_owned()),
        is_proposal: false,
        standing: Standing::Judged(Outcome::Pass),
        headline: "The limit holds".to_owned(),
        figure: Some(Figure {
            metric: "load.reads.p95".to_owned(),
            value: "50 ms".to_owned(),
        }),
    }
}

/// One of which every text is hostile.
pub(super) fn hostile() -> SessionLine {
    SessionLine {
        session: HOSTILE.to_owned(),
        revision: Some(HOSTILE.to_owned()),
        headline: HOSTILE.to_owned(),
        figure: Some(Figure {
            metric: HOSTILE.to_owned(),
            value: HOSTILE.to_owned(),
        }),
        ..session(HOSTILE, 1)
    }
}

/// That nothing of [`HOSTILE`] is more than text.
pub(super) fn is_harmless(page: &str) {
    for forbidden in [
        "<script",
        "\" onload",
        "' onload",
        "\u{1b}",
        "\u{202e}",
        "\0",
    ] {
        assert!(!page.contains(forbidden), "{forbidden:?} in {page}");
    }
    assert!(page.contains("🚀"), "the name is not shown: {page}");
}
