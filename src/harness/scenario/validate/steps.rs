//! Steps: what each kind of them becomes in the plan.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::address::{self, Head};
use super::answers::{self, Seen};
use super::files::Files;
use super::names::Names;
use super::outline::{Kind, Step};
use super::policies::{Retry, positive, redirects, retry};
use super::values::{self, AtStep, Scope, Sources};
use super::{SECOND_NS, blocks, bodies, think};
use crate::harness::scenario::plan::{
    DEFAULT_TIMEOUT_NS, ExpectPlan, OpenPlan, Part, RequestPlan, StepPlan, StreamKind, Template,
    ThinkPlan,
};
use crate::harness::scenario::problem::{Code, Problems};
use crate::harness::scenario::raw;

/// How long a server may take to accept a stream, or to send a message, where nothing says more.
const STREAM_TIMEOUT_NS: u64 = 10 * SECOND_NS;

/// What a flow says of all its requests.
pub(super) struct Defaults {
    pub(super) head: Head,
    pub(super) timeout_ns: Option<u64>,
    pub(super) redirects: u32,
    pub(super) retry: Option<Retry>,
}

/// What the steps of a flow are made with.
pub(super) struct Context<'a> {
    pub(super) sources: &'a Sources<'a>,
    /// By name, the first step that extracts it.
    pub(super) extracted: &'a BTreeMap<&'a str, usize>,
    pub(super) defaults: &'a Defaults,
    pub(super) files: &'a mut Files,
    pub(super) names: Names,
    /// Where a flow says something for all requests that one of them can't be told yet; said once.
    pub(super) early: BTreeSet<usize>,
}

impl<'a> Context<'a> {
    /// The scope of templates in the step of that number.
    pub(super) fn scope(&self, number: usize) -> Scope<'a> {
        Scope::Step(AtStep {
            sources: self.sources,
            extracted: self.extracted,
            number,
        })
    }

    /// Reports values that the flow, at `span`, names for all requests, but that no step before this
    /// one extracts.
    pub(super) fn check_common(
        &mut self,
        templates: &[&Template],
        span: &Range<usize>,
        step: &Step<'_>,
        problems: &mut Problems<'_>,
    ) {
        for part in templates.iter().flat_map(|template| &template.parts) {
            let Part::Extracted(name) = part else {
                continue;
            };
            let is_known = self
                .extracted
                .get(name.as_str())
                .is_some_and(|first| *first < step.number);
            if !is_known && self.early.insert(span.start) {
                problems
                    .report(
                        Code::UsedBeforeExtracted,
                        span.clone(),
                        format!("`{name}` is sent before it is extracted"),
                        "sent with every request of the flow",
                        "give that step one of its own, `auth = false`, or extract the value in the setup",
                    )
                    .related(step.span.clone(), "with this one too");
            }
        }
    }
}

/// Makes the plans of steps.
pub(super) fn build(
    steps: &[Step<'_>],
    cx: &mut Context<'_>,
    problems: &mut Problems<'_>,
) -> Vec<StepPlan> {
    steps.iter().map(|step| plan(step, cx, problems)).collect()
}

fn plan(step: &Step<'_>, cx: &mut Context<'_>, problems: &mut Problems<'_>) -> StepPlan {
    match step.kind {
        None => request(step, "get", cx, problems).into(),
        Some(Kind::Request(method)) => request(step, method, cx, problems).into(),
        Some(Kind::Open(kind)) => StepPlan::Open(Box::new(open(step, kind, cx, problems))),
        Some(Kind::Expect) => StepPlan::Expect(Box::new(expect(step, cx, problems))),
        Some(Kind::Send) => {
            let text = raw::text(step.table, "send");
            let text =
                text.map(|text| values::template(&text, &mut cx.scope(step.number), problems));
            StepPlan::Send(text.unwrap_or_else(|| Template::literal("")))
        }
        Some(Kind::Close) => {
            if raw::bool_at(step.table, "close") == Some(false)
                && let Some(value) = step.table.get("close")
            {
                problems.report(
                    Code::OutOfRange,
                    value.span(),
                    "a step that closes nothing does nothing",
                    "expected `true`",
                    "write `close = true`, or remove the step",
                );
            }
            StepPlan::Close
        }
        Some(Kind::Group) => blocks::group(step, cx, problems),
        Some(Kind::Repeat) => blocks::repeat(step, cx, problems),
        Some(Kind::If) => blocks::if_else(step, cx, problems),
        Some(Kind::Choice) => blocks::choice(step, cx, problems),
        Some(Kind::Think) => {
            let think = think::read(step.table, cx.files, problems);
            StepPlan::Think(think.unwrap_or(ThinkPlan::Constant(0)))
        }
    }
}

fn request(
    step: &Step<'_>,
    method_key: &str,
    cx: &mut Context<'_>,
    problems: &mut Problems<'_>,
) -> RequestPlan {
    let path = raw::text(step.table, method_key);
    let method = method_key.to_uppercase();
    let written = path.as_ref().map_or("", |path| path.text);
    let name = cx.names.request(
        raw::text(step.table, "name"),
        format!("{method} {written}"),
        &step.span,
        problems,
    );
    let timeout_ns = timeout(step, DEFAULT_TIMEOUT_NS, cx, problems);
    let retry = retry(step.table, problems).or_else(|| cx.defaults.retry.clone());
    if let Some(retry) = &retry {
        retry.check(timeout_ns, step, problems);
    }
    let seen = if method == "HEAD" {
        Seen::HeadOfAnswer
    } else {
        Seen::Answer
    };
    let check = answers::check(step.table, seen, problems);
    let extract = answers::extract(step.table, seen, problems);
    answers::check_seen_size(step.table, &check, &extract, problems);
    RequestPlan {
        name,
        address: address::read(step, path.as_ref(), cx, problems),
        body: bodies::read(step, &method, cx, problems),
        method,
        timeout_ns,
        redirects: redirects(step.table).unwrap_or(cx.defaults.redirects),
        retry: retry.map(|retry| retry.plan),
        check,
        extract,
        think: think::read(step.table, cx.files, problems),
    }
}

fn open(
    step: &Step<'_>,
    kind: StreamKind,
    cx: &mut Context<'_>,
    problems: &mut Problems<'_>,
) -> OpenPlan {
    let key = match kind {
        StreamKind::WebSocket => "websocket",
        StreamKind::Events => "events",
    };
    let path = raw::text(step.table, key);
    let written = path.as_ref().map_or("", |path| path.text);
    OpenPlan {
        name: cx.names.request(
            raw::text(step.table, "name"),
            format!("{key} {written}"),
            &step.span,
            problems,
        ),
        kind,
        address: address::read(step, path.as_ref(), cx, problems),
        timeout_ns: timeout(step, STREAM_TIMEOUT_NS, cx, problems),
    }
}

fn expect(step: &Step<'_>, cx: &mut Context<'_>, problems: &mut Problems<'_>) -> ExpectPlan {
    let default = cx.names.next_expected();
    let named = raw::text(step.table, "name");
    let mut expect = ExpectPlan {
        name: cx.names.request(named, default, &step.span, problems),
        event: None,
        contains: None,
        matches: None,
        json: Vec::new(),
        count: 1,
        extract: answers::extract(step.table, Seen::Message, problems),
        timeout_ns: timeout(step, STREAM_TIMEOUT_NS, cx, problems),
    };
    if let Some((table, _)) = raw::table(step.table, "expect") {
        answers::expect(table, &mut expect, problems);
    }
    expect
}

fn timeout(step: &Step<'_>, default_ns: u64, cx: &Context<'_>, problems: &mut Problems<'_>) -> u64 {
    positive(step.table, "timeout", problems)
        .or(cx.defaults.timeout_ns)
        .unwrap_or(default_ns)
}
