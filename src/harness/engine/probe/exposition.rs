//! Reads the Prometheus text format and OpenMetrics, as far as probes need it: the values of named
//! samples.
//!
//! The reader is our own because the crates at hand lose samples: a label value such as
//! `/clients/{id}` or `a,b` ends the label set for them, and routes in braces are what web
//! frameworks expose. Format: <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use std::borrow::Cow;

use crate::harness::scenario::{Selector, quoted};

/// What a selector finds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// The sum over all samples that it matches; a finite number.
    pub value: f64,
    /// Whether the metric says of itself that it is a gauge, and may fall.
    pub is_gauge: bool,
}

/// What each selector finds; `None` where it matches no sample, or where the sum is no finite number.
/// Whatever is neither a sample nor tells a gauge is passed over.
pub(super) fn select(text: &str, selectors: &[Selector]) -> Vec<Option<Sample>> {
    let mut sums = vec![None; selectors.len()];
    let mut gauges = vec![false; selectors.len()];
    for line in text.lines() {
        if line.trim_end() == "# EOF" {
            break;
        }
        if let Some(gauge) = told_gauge(line) {
            for (selector, is_gauge) in selectors.iter().zip(&mut gauges) {
                *is_gauge |= selector.metric == gauge;
            }
            continue;
        }
        let Some((name, rest)) = split_name(line) else {
            continue;
        };
        if !selectors.iter().any(|selector| selector.metric == name) {
            continue;
        }
        let Some((labels, value)) = labels_and_value(rest) else {
            continue;
        };
        for (selector, sum) in selectors.iter().zip(&mut sums) {
            if selector.metric == name && holds(&labels, selector) {
                *sum = Some(sum.unwrap_or(0.0) + value);
            }
        }
    }
    sums.into_iter()
        .zip(gauges)
        .map(|(sum, is_gauge)| {
            let value = sum.filter(|value: &f64| value.is_finite())?;
            Some(Sample { value, is_gauge })
        })
        .collect()
}

/// The metric that the line says is a gauge.
fn told_gauge(line: &str) -> Option<&str> {
    let mut words = line.strip_prefix('#')?.split_whitespace();
    if words.next()? != "TYPE" {
        return None;
    }
    let metric = words.next()?;
    (words.next()? == "gauge").then_some(metric)
}

fn holds(labels: &[(&str, Cow<'_, str>)], selector: &Selector) -> bool {
    selector.labels.iter().all(|(name, value)| {
        labels
            .iter()
            .any(|(other_name, other_value)| name == other_name && value == other_value)
    })
}

/// The name of the sample in the line; a comment or an empty line has none.
fn split_name(line: &str) -> Option<(&str, &str)> {
    let line = line.trim_start();
    let end = line
        .find(|character: char| !(character.is_ascii_alphanumeric() || "_:".contains(character)))
        .unwrap_or(line.len());
    (end > 0).then(|| line.split_at(end))
}

type Labels<'line> = Vec<(&'line str, Cow<'line, str>)>;

/// What follows the name: labels in braces where there are any, and the value. A time stamp and an
/// exemplar may follow; they say nothing that a probe needs.
fn labels_and_value(rest: &str) -> Option<(Labels<'_>, f64)> {
    let rest = rest.trim_start();
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(inside) => labels(inside)?,
        None => (Vec::new(), rest),
    };
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some((labels, value))
}

/// The labels up to the closing brace, and what follows it.
fn labels(mut rest: &str) -> Option<(Labels<'_>, &str)> {
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        let (name, after) = rest.split_once('=')?;
        let (value, after) = quoted(after.trim_start())?;
        labels.push((name.trim(), value));
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn selector(metric: &str, labels: &[(&str, &str)]) -> Selector {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Selector {
            metric: metric.to_owned(),
            labels: labels.iter().map(owned).collect(),
        }
    }

    fn check(text: &str, metric: &str, labels: &[(&str, &str)], expected: Option<f64>) {
        let found = select(text, &[selector(metric, labels)]);
        let values: Vec<Option<f64>> = found
            .iter()
            .map(|sample| sample.map(|sample| sample.value))
            .collect();
        assert_eq!(values, [expected], "{text}");
    }

    #[test]
    fn a_gauge_is_one_that_says_so() {
        let check = |type_lines: &str, expected: bool| {
            let text = format!("{type_lines}\nrss_bytes 7\n# EOF\n# TYPE rss_bytes gauge\n");
            let found = select(&text, &[selector("rss_bytes", &[])]);
            let sample = Sample {
                value: 7.0,
                is_gauge: expected,
            };
            assert_eq!(found, [Some(sample)], "{text}");
        };
        check(
            "# HELP rss_bytes TYPE rss_bytes gauge\n# TYPE rss_bytes gauge",
            true,
        );
        check("#\tTYPE  rss_bytes\tgauge ", true);
        check("", false);
        check("# TYPE rss_bytes counter", false);
        check("# TYPE rss_bytes", false);
        check("# TYPE rss gauge\n# TYPE rss_bytes untyped", false);
        check("# HELP rss_bytes gauge", false);
        check("TYPE rss_bytes gauge", false);
    }

    #[test]
    fn samples_are_found_by_name_and_labels() {
        check("hits_total 3\n", "hits_total", &[], Some(3.0));
        check("  hits_total\t3 1700000000\n", "hits_total", &[], Some(3.0));
        check("hits_total 3\n", "hits", &[], None);
        check(
            "# TYPE hits counter\nhits_total 3\n# EOF\n",
            "hits_total",
            &[],
            Some(3.0),
        );
        check("a:b:rate5m 1e3", "a:b:rate5m", &[], Some(1000.0));
        check(
            "hits{tier=\"l1\"} 1\nhits{tier=\"l2\"} 2\n",
            "hits",
            &[],
            Some(3.0),
        );
        check(
            "hits{tier=\"l1\"} 1\nhits{tier=\"l2\"} 2\n",
            "hits",
            &[("tier", "l2")],
            Some(2.0),
        );
        check("hits{tier=\"l1\"} 1\n", "hits", &[("tier", "l3")], None);
        check("hits{} 1\n", "hits", &[], Some(1.0));
        check(
            "h{ a = \"1\" , b=\"2\", } 4",
            "h",
            &[("a", "1"), ("b", "2")],
            Some(4.0),
        );
    }

    #[test]
    fn label_values_may_hold_what_ends_a_label_set() {
        let route = "requests{route=\"/clients/{id}\",method=\"GET\"} 5\n";
        check(
            route,
            "requests",
            &[("route", "/clients/{id}"), ("method", "GET")],
            Some(5.0),
        );
        check("r{a=\"x,y=z\"} 5\n", "r", &[("a", "x,y=z")], Some(5.0));
        check(
            r#"r{a="say \"hi\" \\ \n."} 5"#,
            "r",
            &[("a", "say \"hi\" \\ \n.")],
            Some(5.0),
        );
        check(
            r#"r{a="ends in \\"} 5"#,
            "r",
            &[("a", "ends in \\")],
            Some(5.0),
        );
    }

    #[test]
    fn open_metrics_are_read_to_their_end_and_no_further() {
        let exemplar = "latency_bucket{le=\"0.1\"} 8 # {trace_id=\"ab\"} 0.067\n";
        check(exemplar, "latency_bucket", &[("le", "0.1")], Some(8.0));
        check("up 1\n# EOF\nup 1\n", "up", &[], Some(1.0));
    }

    #[test]
    fn what_is_no_sample_is_passed_over() {
        for line in [
            "up",
            "up ",
            "up x",
            "up{",
            "up{a",
            "up{a=",
            "up{a=\"",
            "up{a=\"\\",
            "up{a=\"b\"",
            "up{a=b} 1",
            "up NaN",
            "up +Inf",
            "up{a=\"b\"}",
            "{} 1",
            "ü 1",
            "up{=} 1",
            "up 1_000",
        ] {
            check(line, "up", &[], None);
            check(
                &format!("{line}\nup 2\n"),
                "up",
                &[],
                match line {
                    // A sum with a value that is no number is none either.
                    "up NaN" | "up +Inf" => None,
                    _ => Some(2.0),
                },
            );
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(up|[{}\"=,\\\\ \n#]|\\PC|1){0,60}") {
            select(&text, &[selector("up", &[("a", "b")])]);
        }

        #[test]
        fn any_label_value_comes_back(value in "\\PC{0,20}", number in -1e9..1e9_f64) {
            let escaped = value.replace('\\', r"\\").replace('"', "\\\"");
            let text = format!("up{{x=\"{escaped}\",y=\"1\"}} {number:?}\n");
            let sample = Sample { value: number, is_gauge: false };
            prop_assert_eq!(select(&text, &[selector("up", &[("x", &value), ("y", "1")])]), [Some(sample)]);
        }
    }
}
