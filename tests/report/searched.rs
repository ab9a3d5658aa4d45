//! What a load has beyond its requests: a search for its capacity, groups, connections, further attempts,
//! workers; and runs that ended before their time.

use plimsoll::harness::gate::{Outcome, Verdict};
use plimsoll::harness::model::{
    Aborted, Arm, CapacitySearch, CapacityTrial, GroupSeries, InvalidReason, LoadMeasurement, Run,
    ShardPart, TrialOutcome, Unit,
};
use plimsoll::harness::report::{html, json, terminal};
use regex::Regex;

use super::support::schemas::{assert_valid, validator};
use super::{PLAIN, found};
use crate::fixture::{self, Example};

const MS: f64 = 1e6;

/// The rates that a search from 100/s to 3200/s tries until it knows a capacity of 500/s within 5 %.
const TRIED: [f64; 10] = [
    100.0, 200.0, 400.0, 800.0, 800.0, 565.7, 565.7, 475.7, 518.7, 518.7,
];

/// Two runs of either arm that searched: the base bears 700/s and the head 500/s.
pub(crate) fn searched() -> Example {
    let arm = |arm, capacity: f64, holds, breaks| -> Vec<Run> {
        (1..=2)
            .map(|pair| {
                let mut run = fixture::run(arm, pair, 1.0, 1.0);
                run.measurement.loads[0].capacity = Some(CapacitySearch {
                    holds: Some(holds),
                    breaks: Some(breaks),
                    trials: TRIED
                        .iter()
                        .map(|rate| trial(rate * capacity / 500.0, capacity))
                        .collect(),
                });
                journey(&mut run.measurement.loads[0]);
                run
            })
            .collect()
    };
    fixture::judged(
        arm(Arm::Base, 700.0, 665.98, 726.18),
        arm(Arm::Head, 500.0, 475.7, 518.7),
        Vec::new(),
    )
}

/// One run, whose search found that.
fn found_in_one(found: CapacitySearch) -> Example {
    let mut example = fixture::single();
    example.head[0].measurement.loads[0].capacity = Some(found);
    example
}

/// A trial of a target that answers later the fuller it is. Up to 200/s there are too few requests for
/// any quantile but the median.
fn trial(rate: f64, capacity: f64) -> CapacityTrial {
    let outcome = match rate <= capacity {
        true => TrialOutcome::Held,
        false => TrialOutcome::Broke,
    };
    let full = rate / capacity;
    let median = 4.0 * MS / (1.02 - full.min(1.0));
    let quantiles: &[(f64, f64)] = match rate <= 200.0 {
        true => &[(0.5, 1.0)],
        false => &[(0.5, 1.0), (0.9, 2.2), (0.95, 2.9), (0.99, 5.0)],
    };
    CapacityTrial {
        rate,
        achieved: (1.0 / full).min(1.0),
        error_rate: (full - 1.0).max(0.0) / 10.0,
        quantiles: quantiles
            .iter()
            .map(|(quantile, times)| (*quantile, (median * times) as u64))
            .collect(),
        outcome,
        reason: match outcome {
            TrialOutcome::Held => String::new(),
            _ => "load.reads.p95 was 580.0 ms, more than 250.0 ms".into(),
        },
    }
}

/// Groups, connections, further attempts and workers.
fn journey(load: &mut LoadMeasurement) {
    let mut checkout = GroupSeries {
        name: "checkout".into(),
        failed: 7,
        ..GroupSeries::default()
    };
    for number in 1..=2000_u64 {
        checkout.duration.record(number * 100_000);
        load.connections.first_byte.record(number * 10_000);
    }
    for number in 1..=20_u64 {
        load.connections.connect.record(number * 50_000);
    }
    load.groups.push(checkout);
    load.requests[0].retries = 1234;
    load.requests[1].redirects = 56;
    load.shards = (0..3).map(|index| ShardPart { index, of: 3 }).collect();
}

/// The texts of the rows of the first table with that caption.
fn table(page: &str, caption: &str) -> Vec<Vec<String>> {
    let caption = regex::escape(caption);
    let of = format!("(?s)<caption>{caption}[^<]*</caption>(.*?)</table>");
    let Some(table) = found(page, &of).into_iter().next() else {
        return Vec::new();
    };
    let tag = Regex::new("<[^>]*>").unwrap();
    let rows = found(table, "(?s)<tr>(.*?)</tr>").into_iter();
    rows.map(|row| {
        let cells = found(row, "(?s)<t[hd][^>]*>(.*?)</t[hd]>").into_iter();
        cells
            .map(|cell| tag.replace_all(cell, "").replace('\u{202f}', " "))
            .collect()
    })
    .collect()
}

fn page(example: &Example) -> String {
    html::render(&example.input())
}

#[test]
fn a_search_is_a_curve_and_a_table_in_the_order_of_rates() {
    let page = page(&searched()).replace('\u{202f}', " ");
    let drawing = Regex::new(r#"(?s)Response time by offered rate\. ([^"]*)">(<svg.*?</svg>)"#);
    let drawing = drawing.unwrap().captures(&page).unwrap();
    // At 519/s it answers the 500/s that it can, 0.4 % of them with errors.
    let alt = "10 trials between 100/s and 800/s. The limits held at 476/s, and no more at 519/s. \
               The most that was completed at any rate was 498/s; the capacity is 95.5 % of that. \
               At 476/s: p50 ";
    assert!(drawing[1].starts_with(alt), "{}", &drawing[1]);
    for class in [
        "s-p50",
        "s-p95",
        "s-p99",
        "s-load-line",
        "f-load-line",
        "s-base",
        "f-base-load-line",
    ] {
        let class = format!("class=\"{class}\"");
        assert!(drawing[2].contains(&class), "no {class}");
    }
    assert!(page.contains("All other numbers of this load are of one trial of each run"));
    let trials = table(&page, "Trials of head run");
    let rates: Vec<&str> = trials.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(
        rates,
        [
            "Offered", "100/s", "200/s", "400/s", "476/s", "519/s", "519/s", "566/s", "566/s",
            "800/s", "800/s"
        ]
    );
    assert_eq!(
        trials[1][1..],
        ["100 %", "0 %", "4.88 ms", "–", "–", "held", ""]
    );
    assert_eq!(trials[10][1], "62.5 %");
    assert_eq!(
        trials[10][6..],
        ["broke", "load.reads.p95 was 580.0 ms, more than 250.0 ms"]
    );
}

#[test]
fn whatever_a_search_found_is_a_page() {
    let trials = |outcomes: &[(f64, TrialOutcome)]| -> Vec<CapacityTrial> {
        let outcomes = outcomes.iter();
        outcomes
            .map(|(rate, outcome)| CapacityTrial {
                outcome: *outcome,
                reason: "it <b>was</b> so".into(),
                ..trial(*rate, 500.0)
            })
            .collect()
    };
    let check = |holds, breaks, tried: &[(f64, TrialOutcome)], tile: &str, said: &str| {
        let example = found_in_one(CapacitySearch {
            holds,
            breaks,
            trials: trials(tried),
        });
        let page = page(&example).replace('\u{202f}', " ");
        assert!(page.contains(said), "no {said}");
        let shown = found(&page, "reads: capacity</span>(.*?)</li>");
        let tag = Regex::new("<[^>]*>").unwrap();
        assert_eq!(tag.replace_all(shown[0], ""), tile);
        let rows = table(&page, "Trials, by rate");
        assert_eq!(rows.len().saturating_sub(1), tried.len());
        assert_eq!(
            page.contains("Response time by offered rate"),
            !tried.is_empty()
        );
        assert!(page.contains("&lt;b&gt;was") || tried.is_empty());
    };
    use TrialOutcome::{Broke, Held, NotOffered};
    check(
        None,
        Some(600.0),
        &[(600.0, Broke), (600.0, Broke)],
        "–no rate held",
        "The limits held not even at 600/s.",
    );
    check(
        Some(400.0),
        None,
        &[(200.0, Held), (400.0, Held)],
        "400/sand maybe more",
        "The limits held at 400/s, the highest rate that was to be tried.",
    );
    check(
        Some(100.0),
        None,
        &[(100.0, Held)],
        "100/sand maybe more",
        "The limits held at 100/s, the highest rate that was to be tried.",
    );
    check(
        Some(100.0),
        None,
        &[(100.0, Held), (200.0, NotOffered), (200.0, NotOffered)],
        "100/sand maybe more",
        "the generator could not offer 200/s, so nothing is known beyond.",
    );
    check(
        None,
        None,
        &[(100.0, NotOffered)],
        "–no rate held",
        "The generator could not even offer 100/s",
    );
    check(
        None,
        None,
        &[],
        "–no rate held",
        "The search found nothing.",
    );
}

#[test]
fn a_search_that_was_cut_short_says_so() {
    let mut example = found_in_one(CapacitySearch {
        holds: Some(200.0),
        breaks: None,
        trials: vec![trial(100.0, 500.0), trial(200.0, 500.0)],
    });
    example.head[0].partial = true;
    example.head[0].invalid = vec![InvalidReason::ProcessExited {
        process: "web".into(),
        status: "signal 9".into(),
        at_ns: 1,
        output: String::new(),
    }];
    let said = "The search ended before its time; until then the limits held at 200/s.";
    let page = page(&example);
    assert!(page.contains(said) && page.contains("the search was cut short"));
    let text = terminal::render(&example.input(), PLAIN);
    let words: Vec<&str> = text.split_whitespace().collect();
    assert!(words.join(" ").contains(said), "{text}");
}

#[test]
fn groups_connections_and_further_attempts_are_shown_where_there_are_any() {
    let without = page(&fixture::single());
    for absent in [
        "Groups:",
        "Connections, in",
        "Retries",
        "Redirects",
        "Trials",
    ] {
        assert!(!without.contains(absent), "{absent}");
    }
    let page = page(&searched());
    // Of two runs together.
    let groups = table(&page, "Groups:");
    assert_eq!(groups.len(), 2);
    assert_eq!(groups[1][..3], ["checkout", "4,014", "14"]);
    assert_eq!(groups[1][6], "200 ms");
    let connections = table(&page, "Connections, in");
    let names: Vec<&str> = connections.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(names, ["What", "Connecting", "First byte"]);
    // Beyond the 95th of forty lie two, beyond the 99th none.
    assert_eq!(connections[1][1], "40");
    assert_eq!(connections[1][4..], ["–", "1.00 ms"]);
    let requests = table(&page, "Requests:");
    assert_eq!(requests[0][3..5], ["Retries", "Redirects"]);
    assert_eq!(requests[1][3..5], ["2,468", "0"]);
    assert_eq!(requests[2][3..5], ["0", "112"]);
}

#[test]
fn the_generator_says_how_many_workers_there_were() {
    let mut example = searched();
    let workers = |example: &Example| {
        let rows = table(&page(example), "Whether the generator kept up");
        [rows[1][1].clone(), rows[2][1].clone()]
    };
    assert_eq!(workers(&example), ["3", "1"]);
    example.head[0].measurement.loads[0].shards.pop();
    assert_eq!(workers(&example)[0], "2 … 3, 66.7 % of the load");
}

#[test]
fn a_run_that_a_limit_ended_says_so_first() {
    let mut example = fixture::single();
    example.head[0].partial = true;
    example.head[0].aborted = Some(Aborted {
        metric: "load.reads.error_rate".into(),
        unit: Unit::Ratio,
        value: 0.4,
        limit: 0.1,
        at_ns: 30_000_000_000,
    });
    let example = fixture::judged(Vec::new(), example.head, Vec::new());
    assert_eq!(example.verdict.verdict, Outcome::Fail);
    let said = "load.reads.error_rate was 40 % 30 s into the run, and head run 1 was ended there";
    let until = "A limit ended the run: the numbers are of what was measured until then.";
    let page = page(&example).replace('\u{202f}', " ");
    assert!(page.contains(&format!("<p class=\"headline\">{said}")));
    assert!(
        page.contains(until) && page.contains("ended by a limit"),
        "no mark"
    );
    assert!(page.contains("A limit ended the run; nothing else is judged."));
    let text = terminal::render(&example.input(), PLAIN).replace('\u{202f}', " ");
    let words: Vec<&str> = text.split_whitespace().collect();
    let text = words.join(" ");
    assert!(
        text.starts_with(&format!("[FAIL] mixed-workload {said}")),
        "{text}"
    );
    assert!(text.contains(until), "{text}");
    let whole = html::render(&fixture::single().input());
    assert!(!whole.contains("until then"));

    // What makes the run invalid besides is why nothing is judged.
    let mut head = example.head.clone();
    head[0].invalid = vec![InvalidReason::NothingMeasured {
        load: "reads".into(),
    }];
    let example = fixture::judged(Vec::new(), head, Vec::new());
    assert_eq!(example.verdict.verdict, Outcome::Invalid);
    let page = html::render(&example.input());
    assert!(page.contains("The run must not be judged, and so nothing is."));
    assert!(!page.contains("A limit ended the run; nothing else"));
}

#[test]
fn the_terminal_tells_of_journeys_briefly() {
    let text = terminal::render(&searched().input(), PLAIN);
    let loads = text.split("\nLoad, ").nth(1).unwrap();
    let loads = loads.split("\nBenches").next().unwrap();
    insta::assert_snapshot!("terminal_searched", loads);
}

#[test]
fn the_json_has_all_of_it() {
    let example = searched();
    let report = json::Report::new(&example.input());
    let document = serde_json::to_value(&report).unwrap();
    assert_valid(&validator("report"), &document);
    let load = &document["loads"][0];
    assert_eq!(load["searches"].as_array().unwrap().len(), 2);
    assert_eq!(load["searches"][0]["run"], example.head[0].id.to_string());
    assert_eq!(load["searches"][0]["found"]["breaks"], 518.7);
    assert_eq!(load["searches"][0]["is_cut_short"], false);
    assert_eq!(load["groups"][0]["failed"], 14);
    assert_eq!(load["groups"][0]["duration"]["count"], 4000);
    assert_eq!(load["connections"]["connect"]["count"], 40);
    assert_eq!(load["connections"]["dns"]["count"], 0);
    assert_eq!(load["requests"][0]["retries"], 2468);
    assert_eq!(load["requests"][1]["redirects"], 112);
    assert_eq!(load["workers"], 3);
    assert_eq!(document["loads"][1]["workers"], 1);
    let verdict: Verdict = serde_json::from_value(document["verdict"].clone()).unwrap();
    assert_eq!(verdict, example.verdict);
}
