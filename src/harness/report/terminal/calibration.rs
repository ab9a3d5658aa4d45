//! A calibration on a terminal.

use crate::harness::model::path;
use crate::harness::report::calibration::{CalibratedMetric, CalibrationReport, STATED_PAIRS};
use crate::harness::report::format;
use crate::harness::report::text;
use crate::harness::report::words;

use super::sheet::{Cell, GAP, Sheet, TerminalStyle, Tone, plain, toned};

/// The calibration as text that ends with a line break, with ANSI colours if the style asks for them.
pub fn render_calibration(report: &CalibrationReport, style: TerminalStyle) -> String {
    let mut sheet = Sheet::new(style);
    let name = text::shown(&report.scenario, 60);
    sheet.badge("CALIBRATED", Tone::Good, &name);
    sheet.paragraph("", "", &format!("{}.", report.headline()), Tone::Strong);
    noise(report, &mut sheet);
    margins(report, &mut sheet);
    alarms(report, &mut sheet);
    notes(report, &mut sheet);
    sheet.gap();
    let file = format!(
        "Stored in {}; review and commit it",
        text::shown(&report.file, 200)
    );
    sheet.paragraph("", "", &file, Tone::Plain);
    sheet.finish()
}

fn noise(report: &CalibrationReport, sheet: &mut Sheet) {
    sheet.heading("Noise, and the minimal detectable effect (MDE) in it");
    if report.metrics.is_empty() {
        let text = "No metric has a margin (`regress`), so nothing can be a regression.";
        sheet.paragraph(GAP, GAP, text, Tone::Caution);
    } else {
        let rows: Vec<Vec<Cell>> = report.metrics.iter().map(noise_row).collect();
        let heads = [
            "metric",
            "s₀",
            "τ",
            "MDE paired",
            "MDE stored",
            "margin",
            "pairs needed",
        ];
        sheet.table(&heads, &rows);
        let gate = report.gate;
        let text = format!(
            "s₀ and τ as fractions of the value. Paired: {}, as gate --against runs them. Stored: {} against a baseline of {} in {}.",
            format::counted(gate.pairs as u64, "pair"),
            format::counted(gate.head_runs as u64, "run"),
            format::counted(gate.base_runs as u64, "run"),
            format::counted(gate.base_sessions as u64, "session"),
        );
        sheet.paragraph(GAP, GAP, &text, Tone::Dim);
    }
    if report.other_metrics > 0 {
        let text = format!(
            "{} without a margin stored as well",
            format::counted(report.other_metrics, "metric")
        );
        sheet.paragraph(GAP, GAP, &text, Tone::Dim);
    }
    for metric in &report.metrics {
        if let Some(advice) = &metric.advice {
            let name = text::shown(&metric.name, 80);
            sheet.paragraph("  ! ", "    ", &format!("{name}: {advice}"), Tone::Caution);
        }
    }
}

fn noise_row(metric: &CalibratedMetric) -> Vec<Cell> {
    let share = |value| format::or_dash(value, format::margin);
    // An error rate has no ratio; its margin is a difference.
    let margin = match path::error_rate_of(&metric.name) {
        Some(_) => format::unsigned_points(metric.margin),
        None => format::margin(metric.margin),
    };
    let holds = metric.mde_paired.is_some_and(|mde| mde <= metric.margin);
    vec![
        plain(text::shown(&metric.name, 80)),
        plain(share(metric.s0)),
        plain(share(metric.tau)),
        toned(
            share(metric.mde_paired),
            match holds {
                true => Tone::Good,
                false => Tone::Caution,
            },
        ),
        plain(share(metric.mde_stored)),
        plain(margin),
        plain(format::or_dash(metric.pairs_needed, |pairs| {
            format::count(pairs as u64)
        })),
    ]
}

fn margins(report: &CalibrationReport, sheet: &mut Sheet) {
    let rows: Vec<Vec<Cell>> = report
        .metrics
        .iter()
        .filter(|metric| !metric.holds.is_empty())
        .map(|metric| {
            let mut row = vec![plain(text::shown(&metric.name, 80))];
            row.extend(
                metric
                    .holds
                    .iter()
                    .map(|held| plain(format::margin(held.margin))),
            );
            // A narrow table puts its last column beside the name, where no number belongs.
            row.push(plain(""));
            row
        })
        .collect();
    if rows.is_empty() {
        return;
    }
    sheet.heading("The smallest margins that this machine holds");
    let heads: Vec<String> = STATED_PAIRS
        .iter()
        .map(|pairs| format::counted(*pairs as u64, "pair"))
        .collect();
    let heads: Vec<&str> = std::iter::once("metric")
        .chain(heads.iter().map(String::as_str))
        .chain([""])
        .collect();
    sheet.table(&heads, &rows);
}

fn alarms(report: &CalibrationReport, sheet: &mut Sheet) {
    sheet.heading("False alarms of the whole gate");
    let alarms = &report.false_alarms;
    let (text, open) = alarms.spoken();
    let tone = match alarms.red {
        0 => Tone::Plain,
        _ => Tone::Caution,
    };
    sheet.paragraph(GAP, GAP, &format!("{text}."), tone);
    for more in [open, alarms.relabelled_spoken()].into_iter().flatten() {
        sheet.paragraph(GAP, GAP, &format!("{more}."), Tone::Dim);
    }
    for (count, what) in [
        (alarms.inconclusive, "inconclusive"),
        (
            alarms.limits_broken,
            "failed by a limit, which is no false alarm of a margin",
        ),
    ] {
        if count > 0 {
            let text = format!("{} of {} {what}.", count, alarms.blocks);
            sheet.paragraph(GAP, GAP, &text, Tone::Plain);
        }
    }
}

fn notes(report: &CalibrationReport, sheet: &mut Sheet) {
    if report.notes.is_empty() {
        return;
    }
    sheet.heading("Good to know");
    for note in &report.notes {
        sheet.paragraph("  · ", "    ", &words::capitalised(note), Tone::Plain);
    }
}
