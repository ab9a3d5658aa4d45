//! A flow compiled for its users: what can be done once is done before the load starts.

use std::collections::BTreeMap;

use http::uri::PathAndQuery;
use percent_encoding::percent_decode_str;
use url::{Position, Url};

use super::feed::{Feed, FeedError};
use super::job::{Secrets, WorkerJob};
use super::program::{Op, Program, StepError, Surroundings};
use super::template::{Compiled, Names, Place, TemplateError};
use crate::harness::engine::Redactor;
use crate::harness::scenario::{CookieScope, FeedPlan, FlowPlan, HttpPlan, Part, Template};

/// Why a flow could not be compiled. A plan that was validated has almost none of these; a file can
/// have changed, and a variable of the environment can be missing.
#[derive(Debug, thiserror::Error)]
pub enum FlowError {
    /// A feed could not be read.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// A step could not be compiled.
    #[error("step `{step}`: {error}")]
    Step {
        /// The step, by its name or by what it is.
        step: String,
        /// What is wrong.
        error: StepError,
    },
    /// No step sends anything.
    #[error("the flow has no request and no stream; check the scenario again")]
    Idle,
    /// The target is not the URL of a server.
    #[error("the target `{0}` is not an http or https URL")]
    Target(String),
    /// The proxy's address could not be filled.
    #[error("`proxy` in [http]: {0}")]
    Proxy(TemplateError),
}

/// What a flow is compiled from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) flow: &'a FlowPlan,
    /// The feeds of the plan; those that the flow doesn't name are not read.
    pub(super) feeds: &'a BTreeMap<String, FeedPlan>,
    pub(super) target: &'a str,
    pub(super) http: &'a HttpPlan,
    /// What the setup extracted.
    pub(super) setup: &'a BTreeMap<String, String>,
    pub(super) secrets: &'a Secrets,
    /// The place among the loads that draw from a feed, and their number, by feed.
    pub(super) turns: &'a BTreeMap<String, (u32, u32)>,
    pub(super) seed: u64,
}

/// A compiled flow with its feeds.
#[derive(Debug)]
pub(super) struct Flow {
    /// The server that all requests go to.
    pub(super) origin: Url,
    /// The proxy's address, where there is one.
    pub(super) proxy: Option<String>,
    /// What a user goes through.
    pub(super) ops: Vec<Op>,
    /// The request names, each once, in the order of the flow.
    pub(super) requests: Vec<String>,
    /// The names of groups, each once, in the order of the flow.
    pub(super) groups: Vec<String>,
    /// Those that the flow names.
    pub(super) feeds: Vec<Feed>,
    /// The names of the values that the steps extract, in the order of their indices.
    pub(super) extracted: Vec<String>,
    /// How many counters its loops need.
    pub(super) counters: usize,
    /// Whether an iteration draws any value at all.
    pub(super) has_values: bool,
    /// How long cookies are kept; not at all where no request could send them back.
    pub(super) cookies: CookieScope,
}

impl<'a> From<&'a WorkerJob> for Source<'a> {
    fn from(job: &'a WorkerJob) -> Self {
        Self {
            flow: &job.flow,
            feeds: &job.feeds,
            target: &job.target,
            http: &job.http,
            setup: &job.setup,
            secrets: &job.secrets,
            turns: &job.turns,
            seed: job.load.seed,
        }
    }
}

impl Flow {
    /// Compiles a flow and reads the files that it names.
    pub(super) fn new<'a>(source: impl Into<Source<'a>>) -> Result<Self, FlowError> {
        let source = source.into();
        let plan = source.flow;
        let origin = Url::parse(source.target)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| FlowError::Target(source.target.to_owned()))?;
        let feeds = plan
            .feed_names()
            .into_iter()
            .filter_map(|name| Some((name, source.feeds.get(name)?)))
            .map(|(name, plan)| {
                let turn = source.turns.get(name).copied().unwrap_or((0, 1));
                Feed::read(name, plan, source.seed, turn)
            })
            .collect::<Result<Vec<_>, FeedError>>()?;
        let requests = each_once(plan.request_names());
        let groups = each_once(plan.group_names());
        if requests.is_empty() {
            return Err(FlowError::Idle);
        }
        let program = Program::new(
            &plan.steps,
            &Surroundings {
                origin: &origin,
                feeds: &feeds,
                setup: source.setup,
                secrets: source.secrets,
                requests: &requests,
                groups: &groups,
            },
        )?;
        let cookies = match plan.cookies {
            CookieScope::Iteration if !program.may_send_twice() => CookieScope::None,
            scope => scope,
        };
        Ok(Self {
            origin,
            proxy: proxy(source.http, source.secrets)?,
            ops: program.ops,
            requests,
            groups,
            has_values: program.has_values || !feeds.is_empty(),
            feeds,
            extracted: program.extracted,
            counters: program.counters,
            cookies,
        })
    }

    /// The URL of a path on the target, for what only a URL can tell.
    pub(super) fn url(&self, path: &PathAndQuery) -> Url {
        let server = &self.origin[..Position::BeforePath];
        // A path of a request is always part of a URL; if it weren't, the server stands for it.
        Url::parse(&format!("{server}{path}")).unwrap_or_else(|_| self.origin.clone())
    }
}

/// The address of a plan's proxy, where it has one.
///
/// A value that stands for a user or for a password beside a `:` is percent-encoded, whatever it is. Any
/// other may be all of the address or several parts of it, so it stands as it is.
pub(crate) fn proxy(http: &HttpPlan, secrets: &Secrets) -> Result<Option<String>, FlowError> {
    let Some(template) = &http.proxy else {
        return Ok(None);
    };
    let names = Names {
        feeds: &[],
        extracted: &[],
        setup: &BTreeMap::new(),
        secrets,
    };
    let mut address = String::new();
    let credentials = credentials(template);
    for (index, part) in template.parts.iter().enumerate() {
        let place = match index < credentials {
            true => Place::Url,
            false => Place::Plain,
        };
        let parts = vec![part.clone()];
        let compiled = Compiled::new(&Template { parts }, place, &names);
        address += compiled
            .map_err(FlowError::Proxy)?
            .literal()
            .unwrap_or_default();
    }
    Ok(Some(address))
}

/// How many parts of a proxy's address are a user and a password, each for itself.
fn credentials(proxy: &Template) -> usize {
    let mut text = String::new();
    for (index, part) in proxy.parts.iter().enumerate() {
        if let Part::Text(part) = part {
            text += part;
        }
        if let Some((before, _)) = text.split_once('@') {
            let pair = before.split_once("//").map_or(before, |(_, pair)| pair);
            return if pair.contains(':') { index } else { 0 };
        }
    }
    0
}

/// Redacts the secrets, and the user and the password in the address of a proxy that is one of them.
pub(super) fn redactor(http: &HttpPlan, secrets: &Secrets) -> Redactor {
    let mut known: Vec<(&str, String)> = secrets
        .0
        .iter()
        .map(|(name, value)| (name.as_str(), value.clone()))
        .collect();
    let mut parts = http.proxy.iter().flat_map(|proxy| &proxy.parts);
    let variable = parts.find_map(|part| match part {
        Part::Env(name) => Some(name.as_str()),
        _ => None,
    });
    // What the scenario says itself is no secret.
    let written = http.proxy.as_ref().map(literal_credentials);
    let written = written.unwrap_or_default();
    let address = proxy(http, secrets).ok().flatten();
    let address = address.and_then(|address| Url::parse(&address).ok());
    if let (Some(name), Some(address)) = (variable, address) {
        let pair = [Some(address.username()), address.password()];
        // Fewer letters than these stand in many a text by chance.
        let pair = pair.into_iter().flatten();
        for text in pair.filter(|text| text.len() >= 4 && !written.contains(*text)) {
            let decoded = percent_decode_str(text).decode_utf8_lossy();
            known.push((name, decoded.into_owned()));
        }
    }
    Redactor::of(known.iter().map(|(name, value)| (*name, value.as_str())))
}

/// What the scenario itself says of the user and the password in a proxy's address.
fn literal_credentials(proxy: &Template) -> String {
    let texts = proxy.parts.iter().filter_map(|part| match part {
        Part::Text(text) => Some(text.as_str()),
        _ => None,
    });
    let text: String = texts.collect();
    let before = text.split_once('@').map_or("", |(before, _)| before);
    let pair = before.split_once("//").map_or(before, |(_, pair)| pair);
    pair.to_owned()
}

fn each_once<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut once: Vec<String> = Vec::new();
    for name in names {
        if !once.iter().any(|known| known == name) {
            once.push(name.to_owned());
        }
    }
    once
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::harness::scenario::{
        BranchPlan, ConditionPlan, ExtractSource, RequestPlan, RetryPlan, StepPlan, ThinkPlan,
        TimesPlan,
    };

    fn flow(change: impl FnOnce(&mut WorkerJob)) -> Result<Flow, FlowError> {
        let mut job = fixture::job("http://127.0.0.1:8080/base");
        change(&mut job);
        Flow::new(&job)
    }

    fn of_steps(steps: Vec<StepPlan>) -> Flow {
        flow(|job| job.flow.steps = steps).unwrap()
    }

    fn get(path: &str) -> StepPlan {
        RequestPlan::get(path).into()
    }

    fn chance(then: Vec<StepPlan>, otherwise: Vec<StepPlan>) -> StepPlan {
        StepPlan::If {
            condition: ConditionPlan::Chance(0.5),
            then,
            otherwise,
        }
    }

    /// The ops in short, with the places that they lead to.
    fn shown(flow: &Flow) -> Vec<String> {
        let op = |op: &Op| match op {
            Op::Request(op) => flow.requests[op.name].clone(),
            Op::Open(op) => format!("open {}", op.name),
            Op::Send(_) => "send".into(),
            Op::Expect(op) => format!("expect {}", op.name),
            Op::Close => "close".into(),
            Op::Pause(_) => "pause".into(),
            Op::GroupBegin(group) => format!("begin {}", flow.groups[*group]),
            Op::GroupEnd => "end".into(),
            Op::RepeatBegin { .. } => "repeat".into(),
            Op::RepeatEnd { back, .. } => format!("back to {back}"),
            Op::JumpUnless { to, .. } => format!("else to {to}"),
            Op::Jump(to) => format!("to {to}"),
            Op::Choose { to, .. } => format!("one of {to:?}"),
        };
        flow.ops.iter().map(op).collect()
    }

    #[test]
    fn nested_steps_become_a_list_with_jumps() {
        let branch = |weight, steps| BranchPlan { weight, steps };
        let flow = of_steps(vec![
            StepPlan::Group {
                name: "g".into(),
                steps: vec![
                    get("/a"),
                    StepPlan::Repeat {
                        times: TimesPlan { min: 2, max: 2 },
                        until: None,
                        steps: vec![chance(vec![get("/b")], vec![get("/c")])],
                    },
                ],
            },
            chance(vec![get("/a")], vec![]),
            StepPlan::Choose(vec![branch(1.0, vec![get("/d")]), branch(2.0, vec![])]),
            get("/e"),
        ]);
        let expected = [
            "begin g",
            "GET /a",
            "repeat",
            "else to 6",
            "GET /b",
            "to 7",
            "GET /c",
            "back to 3",
            "end",
            "else to 11",
            "GET /a",
            "one of [12, 14]",
            "GET /d",
            "to 15",
            "to 15",
            "GET /e",
        ];
        assert_eq!(shown(&flow), expected);
        assert_eq!(
            flow.requests,
            ["GET /a", "GET /b", "GET /c", "GET /d", "GET /e"]
        );
        assert_eq!(flow.counters, 1);
    }

    #[test]
    fn the_last_request_is_known_where_only_pauses_follow() {
        let check = |steps: Vec<StepPlan>, expected: &[bool]| {
            let flow = of_steps(steps);
            let found = flow.ops.iter().filter_map(|op| match op {
                Op::Request(request) => Some(request.is_last),
                _ => None,
            });
            assert_eq!(found.collect::<Vec<_>>(), expected, "{:?}", shown(&flow));
        };
        let pause = || StepPlan::Think(ThinkPlan::Constant(1));
        check(vec![get("/a")], &[true]);
        check(vec![get("/a"), get("/b"), pause(), pause()], &[false, true]);
        check(
            vec![get("/a"), chance(vec![get("/b")], vec![])],
            &[false, true],
        );
        check(
            vec![chance(vec![get("/a")], vec![get("/b")])],
            &[false, true],
        );
        let group = StepPlan::Group {
            name: "g".into(),
            steps: vec![get("/a")],
        };
        check(vec![group], &[false]);
        let repeat = StepPlan::Repeat {
            times: TimesPlan { min: 1, max: 1 },
            until: None,
            steps: vec![get("/a")],
        };
        check(vec![repeat], &[false]);
    }

    #[test]
    fn values_are_drawn_where_something_follows_from_them() {
        let check = |steps: Vec<StepPlan>, expected: bool| {
            let flow = of_steps(steps);
            assert_eq!(flow.has_values, expected, "{:?}", shown(&flow));
        };
        let with = |change: fn(&mut RequestPlan)| {
            let mut plan = RequestPlan::get("/");
            change(&mut plan);
            vec![plan.into()]
        };
        check(vec![get("/")], false);
        check(
            with(|plan| plan.think = Some(ThinkPlan::Constant(1))),
            false,
        );
        check(
            with(|plan| {
                plan.think = Some(ThinkPlan::Uniform {
                    min_ns: 1,
                    max_ns: 2,
                });
            }),
            true,
        );
        check(with(|plan| plan.address.path.parts.push(Part::Uuid)), true);
        check(
            with(|plan| {
                let source = ExtractSource::Header("x".into());
                plan.extract.insert("x".into(), source.into());
            }),
            true,
        );
        check(vec![get("/"), chance(vec![], vec![])], true);
        let repeat = |max| StepPlan::Repeat {
            times: TimesPlan { min: 1, max },
            until: None,
            steps: vec![get("/")],
        };
        check(vec![repeat(1)], false);
        check(vec![repeat(2)], true);
    }

    #[test]
    fn cookies_are_kept_where_they_could_be_sent_back() {
        let check = |scope: CookieScope, steps: Vec<StepPlan>, expected: CookieScope| {
            let flow = flow(|job| {
                job.flow.cookies = scope;
                job.flow.steps = steps;
            });
            assert_eq!(flow.unwrap().cookies, expected);
        };
        let retried = || {
            let mut plan = RequestPlan::get("/");
            plan.retry = Some(RetryPlan {
                times: 1,
                status: vec![],
                on_connection_failure: true,
                wait_ns: 0,
            });
            plan.into()
        };
        check(CookieScope::Iteration, vec![get("/")], CookieScope::None);
        check(
            CookieScope::Iteration,
            vec![retried()],
            CookieScope::Iteration,
        );
        let two = || vec![get("/"), get("/")];
        check(CookieScope::Iteration, two(), CookieScope::Iteration);
        check(CookieScope::None, two(), CookieScope::None);
        check(CookieScope::User, vec![get("/")], CookieScope::User);
    }

    #[test]
    fn a_loop_that_waits_in_vain_blames_its_last_request() {
        let until = Some(ConditionPlan::Value {
            value: Template {
                parts: vec![Part::Extracted("state".into())],
            },
            test: crate::harness::scenario::TestPlan::Is(Template::literal("done")),
        });
        let mut state = RequestPlan::get("/state");
        let source = ExtractSource::Json("$.state".into());
        state.extract.insert("state".into(), source.into());
        let flow = of_steps(vec![
            get("/a"),
            StepPlan::Repeat {
                times: TimesPlan { min: 3, max: 3 },
                until,
                steps: vec![get("/b"), state.into()],
            },
            get("/c"),
        ]);
        let blamed = flow.ops.iter().find_map(|op| match op {
            Op::RepeatEnd { until, .. } => until.as_ref().map(|until| until.blamed),
            _ => None,
        });
        assert_eq!(flow.requests[blamed.unwrap()], "GET /state");
    }

    #[test]
    fn a_proxy_is_filled_as_its_values_are_meant() {
        let env = |name: &str| Part::Env(name.into());
        let text = |text: &str| Part::Text(text.into());
        let secrets = Secrets(
            [
                ("U", "a/b"),
                ("P", "p#1%41"),
                ("PAIR", "u:hunter2"),
                ("ALL", "http://u:p%23assword@h:1"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        );
        let check = |parts: Vec<Part>, expected: &str| {
            let http = HttpPlan {
                proxy: Some(Template { parts }),
                ..HttpPlan::default()
            };
            let found = proxy(&http, &secrets).unwrap();
            assert_eq!(found.as_deref(), Some(expected));
            redactor(&http, &secrets)
        };
        check(vec![text("http://h:1")], "http://h:1");
        let pair = vec![text("http://"), env("U"), text(":"), env("P"), text("@h:1")];
        check(pair, "http://a%2Fb:p%231%2541@h:1");
        check(
            vec![text("http://u:"), env("P"), text("@h:1")],
            "http://u:p%231%2541@h:1",
        );
        check(
            vec![text("http://"), env("PAIR"), text("@h:1")],
            "http://u:hunter2@h:1",
        );
        let literal = check(
            vec![text("http://squid:"), env("P"), text("@h:1")],
            "http://squid:p%231%2541@h:1",
        );
        assert_eq!(literal.redact("squid p#1%41"), "squid {$env.P}");
        let named_as_its_host = check(
            vec![text("http://"), env("PAIR"), text("@hunter2:1")],
            "http://u:hunter2@hunter2:1",
        );
        assert_eq!(named_as_its_host.redact("hunter2"), "{$env.PAIR}");
        // The password in an address is a secret by itself, also where a header holds it.
        let redactor = check(vec![env("ALL")], "http://u:p%23assword@h:1");
        let said = "p#assword dTpwI2Fzc3dvcmQ="; // printf 'u:p#assword' | base64
        let redacted = redactor.redact(said).into_owned();
        assert!(redacted.starts_with("{$env.ALL} "), "{redacted}");
        assert!(redacted.ends_with("{$env.ALL}"), "{redacted}");
    }

    #[test]
    fn what_can_t_be_compiled_names_its_step() {
        let check = |change: &dyn Fn(&mut WorkerJob), expected: &str| {
            let error = flow(change).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(&|job| job.target = "ftp://a/".into(), "ftp://a/");
        check(&|job| job.flow.steps = vec![StepPlan::Close], "no request");
        check(
            &|job| job.flow.steps = vec![get("x")],
            "step `GET x`: `x` is not a path",
        );
        check(
            &|job| {
                let send = Template {
                    parts: vec![Part::Extracted("none".into())],
                };
                job.flow.steps.push(StepPlan::Send(send));
            },
            "step `send`: no earlier step extracts `none`",
        );
        check(
            &|job| {
                let branch = BranchPlan {
                    weight: 0.0,
                    steps: vec![],
                };
                job.flow.steps.push(StepPlan::Choose(vec![branch]));
            },
            "step `choice`",
        );
        let proxy = Template {
            parts: vec![Part::Env("PROXY".into())],
        };
        check(
            &|job| job.http.proxy = Some(proxy.clone()),
            "`PROXY` is not set",
        );
        let found = flow(|job| {
            job.http.proxy = Some(proxy.clone());
            let value = "http://u:p@127.0.0.1:3128".to_owned();
            job.secrets.0.insert("PROXY".into(), value);
        });
        assert_eq!(
            found.unwrap().proxy.as_deref(),
            Some("http://u:p@127.0.0.1:3128")
        );
        let env = |name: &str| Part::Env(name.into());
        let text = |text: &str| Part::Text(text.into());
        let found = flow(|job| {
            let parts = vec![
                text("http://u:"),
                env("PASSWORD"),
                text("@"),
                env("HOST"),
                text(":3128"),
            ];
            job.http.proxy = Some(Template { parts });
            let secrets = [("PASSWORD", "a/b#c?%41@:"), ("HOST", "[::1]")];
            job.secrets
                .0
                .extend(secrets.map(|(name, value)| (name.into(), value.into())));
        });
        let proxy = found.unwrap().proxy.unwrap();
        let url = Url::parse(&proxy).unwrap();
        assert_eq!((url.host_str(), url.port()), (Some("[::1]"), Some(3128)));
        let password = url.password().unwrap();
        let password = percent_encoding::percent_decode_str(password).decode_utf8();
        assert_eq!(password.unwrap(), "a/b#c?%41@:");
    }
}
