//! The names under which the requests and groups of a flow are counted.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::harness::scenario::problem::{Code, Problems};
use crate::harness::scenario::raw::Text;

/// Request names stand in metric paths and reports.
const MAX_NAME: usize = 200;
/// A worker keeps histograms for each name of its flow, about 1.5 MB of them in a busy second.
const MAX_NAMES: usize = 200;

/// Every name of a flow with its place, in the order of the file.
#[derive(Default)]
pub(super) struct Names {
    requests: Vec<(String, Range<usize>)>,
    groups: Vec<(String, Range<usize>)>,
    expected: usize,
}

impl Names {
    /// Notes the request name of the step at `span`: `named`, or else `default`.
    pub(super) fn request(
        &mut self,
        named: Option<Text<'_>>,
        default: String,
        span: &Range<usize>,
        problems: &mut Problems<'_>,
    ) -> String {
        let (name, span) = match named {
            Some(named) => (named.text.to_owned(), named.span),
            None => (default, span.clone()),
        };
        if name.trim().is_empty() || name.len() > MAX_NAME || name.contains(char::is_control) {
            problems.report(
                Code::BadName,
                span.clone(),
                "this can't be a request's name in metrics",
                "empty, too long or with control characters",
                format!("give the step a `name` of at most {MAX_NAME} bytes"),
            );
        }
        self.requests.push((name.clone(), span));
        name
    }

    /// The name of a step that waits for messages, where it has none of its own: its number among
    /// the steps of the flow that do.
    pub(super) fn next_expected(&mut self) -> String {
        self.expected += 1;
        format!("expect {}", self.expected)
    }

    /// Notes the name of a group.
    pub(super) fn group(&mut self, name: &Text<'_>) {
        self.groups.push((name.text.to_owned(), name.span.clone()));
    }

    /// Reports names that make ambiguous metrics, and too many of them.
    pub(super) fn check(&self, problems: &mut Problems<'_>) {
        let known: BTreeSet<&str> = self.requests.iter().map(|(name, _)| &**name).collect();
        for (name, span) in &self.requests {
            // `load.L.request.NAME.service.p95` would name two metrics.
            if let Some(prefix) = name.strip_suffix(".service")
                && known.contains(prefix)
            {
                problems.report(
                    Code::DuplicateName,
                    span.clone(),
                    format!("`{name}` and `{prefix}` make ambiguous metric names"),
                    "ambiguous beside the other",
                    "give one of the two steps another `name`",
                );
            }
        }
        let mut names = BTreeSet::new();
        let of_groups = self.groups.iter().map(|named| (true, named));
        let of_requests = self.requests.iter().map(|named| (false, named));
        let beyond = of_groups.chain(of_requests).find(|(is_group, (name, _))| {
            names.insert((*is_group, name.as_str()));
            names.len() > MAX_NAMES
        });
        if let Some((_, (_, span))) = beyond {
            problems.report(
                Code::OutOfRange,
                span.clone(),
                format!("the flow has more than {MAX_NAMES} names of requests and groups"),
                "one too many",
                "give steps that belong together one `name`: they are counted together",
            );
        }
    }
}
