//! What a mark stands for. plotters draws each role in a colour of its own that no one sees: it is
//! replaced by a class, to which the style sheet gives a colour and a dash.

use plotters::style::{Color as _, RGBAColor, RGBColor};

/// What a mark of a plot stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Lines of the grid.
    Grid,
    /// Text beside an axis.
    Label,
    /// Text inside a plot that matters.
    Caption,
    /// Warm-up and cool-down.
    Unmeasured,
    /// A fault or another happening.
    Event,
    /// The line of no effect.
    Zero,
    /// What a margin allows.
    Margin,
    /// The median.
    P50,
    /// The 95th percentile.
    P95,
    /// The 99th percentile.
    P99,
    /// The largest value.
    Max,
    /// How many there were, by depth.
    Density,
    /// What can't be seen and tells something.
    Note,
    /// What was asked for.
    Target,
    /// What was achieved, or the head in any other plot.
    Head,
    /// The head's service time.
    HeadService,
    /// The base.
    Base,
    /// The base's service time.
    BaseService,
    /// Failures.
    Failed,
    /// Dropped arrivals.
    Dropped,
    /// The load line: between the highest rate that held and the lowest that did not.
    LoadLine,
    /// The base's load line.
    BaseLoadLine,
    /// An area under the head's curve.
    HeadArea,
    /// An area under the base's curve.
    BaseArea,
    /// An effect that is a regression.
    Worse,
    /// An effect that is an improvement.
    Better,
    /// An effect within its margin.
    Same,
    /// An effect that may be anything.
    Unsure,
}

/// Every role; its place in here is its code.
const ALL: [Role; 28] = [
    Role::Grid,
    Role::Label,
    Role::Caption,
    Role::Unmeasured,
    Role::Event,
    Role::Zero,
    Role::Margin,
    Role::P50,
    Role::P95,
    Role::P99,
    Role::Max,
    Role::Density,
    Role::Note,
    Role::Target,
    Role::Head,
    Role::HeadService,
    Role::Base,
    Role::BaseService,
    Role::Failed,
    Role::Dropped,
    Role::LoadLine,
    Role::BaseLoadLine,
    Role::HeadArea,
    Role::BaseArea,
    Role::Worse,
    Role::Better,
    Role::Same,
    Role::Unsure,
];

impl Role {
    /// The class in the style sheet, without the prefix that tells lines from areas.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Grid => "grid",
            Self::Label => "label",
            Self::Caption => "caption",
            Self::Unmeasured => "unmeasured",
            Self::Event => "event",
            Self::Zero => "zero",
            Self::Margin => "margin",
            Self::P50 => "p50",
            Self::P95 => "p95",
            Self::P99 => "p99",
            Self::Max => "max",
            Self::Density => "density",
            Self::Note => "note",
            Self::Target => "target",
            Self::Head => "head",
            Self::HeadService => "head-service",
            Self::Base => "base",
            Self::BaseService => "base-service",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
            Self::LoadLine => "load-line",
            Self::BaseLoadLine => "base-load-line",
            Self::HeadArea => "head-area",
            Self::BaseArea => "base-area",
            Self::Worse => "worse",
            Self::Better => "better",
            Self::Same => "same",
            Self::Unsure => "unsure",
        }
    }

    /// Whether a line of it is a series of values, and not a mark on them.
    pub(super) fn is_curve(self) -> bool {
        !matches!(
            self,
            Self::Grid | Self::Event | Self::Zero | Self::LoadLine | Self::BaseLoadLine
        )
    }

    /// The colour that stands for the role until [`classed`] has replaced it.
    pub(super) fn code(self) -> RGBAColor {
        let at = ALL
            .iter()
            .position(|role| *role == self)
            .unwrap_or_default();
        RGBColor(CODE.0, CODE.1, at as u8).to_rgba()
    }
}

/// Red and green of every code; blue is the role's place.
const CODE: (u8, u8) = (0xa1, 0x5e);

/// `svg` with classes (`s-…` for lines, `f-…` for areas and text) in place of the codes.
///
/// Only whole attributes are replaced. Text can't imitate one: plotters escapes its quotes.
pub(super) fn classed(svg: &str) -> String {
    let mut classed = svg
        .replace(" opacity=\"1\"", "")
        .replace(" stroke=\"none\"", "");
    for (at, role) in ALL.iter().enumerate() {
        let code = format!("#{:02X}{:02X}{at:02X}", CODE.0, CODE.1);
        for (attribute, prefix) in [("stroke", "s"), ("fill", "f")] {
            classed = classed.replace(
                &format!(" {attribute}=\"{code}\""),
                &format!(" class=\"{prefix}-{}\"", role.class()),
            );
        }
    }
    classed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_has_a_code_of_its_own() {
        for (at, role) in ALL.iter().enumerate() {
            assert_eq!(role.code().rgb(), (CODE.0, CODE.1, at as u8), "{role:?}");
        }
    }
}
