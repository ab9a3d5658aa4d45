//! A flow that is performed once, by the engine itself: the setup before the loads, the teardown
//! after them. No load is measured by it; what matters is what it extracts and whether it fails.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;

use super::clock::LoadClock;
use super::flow::{Flow, Source, redactor};
use super::job::Secrets;
use super::journey::{End, Journey, Start, User};
use super::recorder::Recorder;
use super::transport::Transport;
use crate::harness::engine::flag::became_true;
use crate::harness::scenario::{FlowPlan, Plan};

/// What is random in these flows follows from this; the seeds of a plan are those of its loads.
const SEED: u64 = 0;

/// What became of a flow that was performed once.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Performed {
    /// What it extracted, by name, also where it failed later.
    pub extracted: BTreeMap<String, String>,
    /// Why it failed; `None` where every step was in order, or would have been without a stop.
    pub failed: Option<FailedStep>,
    /// Whether it was stopped before its last step.
    pub stopped: bool,
}

/// Why a flow that was performed once failed.
#[derive(Debug, PartialEq, Eq)]
pub struct FailedStep {
    /// The request name; empty where no step was begun.
    pub step: String,
    /// What happened; hostile text without secrets.
    pub message: String,
}

/// Performs a flow of the plan once. `setup` holds what the setup extracted. Each of its steps ends
/// by its timeout; all of it ends at once when `stop` becomes true.
pub async fn once(
    plan: &Plan,
    flow: &FlowPlan,
    target: &str,
    setup: &BTreeMap<String, String>,
    secrets: &Secrets,
    mut stop: watch::Receiver<bool>,
) -> Performed {
    let redactor = redactor(&plan.http, secrets);
    let failed = |message: &str| Performed {
        failed: Some(FailedStep {
            step: String::new(),
            message: redactor.redact(message).into_owned(),
        }),
        ..Performed::default()
    };
    let flow = match Flow::new(Source {
        flow,
        feeds: &plan.feeds,
        target,
        http: &plan.http,
        setup,
        secrets,
        turns: &BTreeMap::new(),
        seed: SEED,
    }) {
        Ok(flow) => flow,
        Err(error) => return failed(&error.to_string()),
    };
    let transport = match Transport::new(&flow.origin, &plan.http, flow.proxy.as_deref()) {
        Ok(transport) => transport,
        Err(error) => return failed(&error.to_string()),
    };
    let (always, redactor) = (0..u64::MAX, redactor.clone());
    let recorder = Recorder::new(&flow.requests, &flow.groups, always, u64::MAX, redactor);
    // The pauses of these flows are never cut short.
    let (_going_on, goes_on) = watch::channel(false);
    let journey = Journey {
        recorder: Arc::new(recorder),
        clock: LoadClock::starting(Instant::now()),
        end_ns: u64::MAX,
        stop: goes_on.clone(),
        cut: goes_on,
        flow,
    };
    let mut user = User::new(&journey.flow, transport.connection(), SEED);
    let start = Start {
        number: 0,
        due_ns: None,
        taken_ns: journey.clock.now_ns(),
    };
    let end = tokio::select! {
        biased;
        end = journey.iterate(&mut user, start) => end,
        () = became_true(&mut stop) => End::Cut,
    };
    let names = journey.flow.extracted.iter().cloned();
    let extracted = names.zip(user.values.extracted);
    Performed {
        extracted: extracted
            .filter_map(|(name, value)| Some((name, value?)))
            .collect(),
        failed: (end == End::Failed).then(|| first_failure(&journey.recorder)),
        stopped: end == End::Cut,
    }
}

/// What the recorder was told; the first failure ended it all.
fn first_failure(recorder: &Recorder) -> FailedStep {
    let (measured, _) = recorder.finish();
    let failed = measured.requests.into_iter().find_map(|mut series| {
        let (_, tally) = series.errors.pop_first()?;
        Some(FailedStep {
            step: series.name,
            message: tally.example,
        })
    });
    failed.unwrap_or_else(|| FailedStep {
        step: String::new(),
        message: "BUG: nobody said why".to_owned(),
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use std::time::Duration;

    use super::super::fixture::{Site, answer, header};
    use super::*;
    use crate::harness::scenario::{
        AuthPlan, ExtractSource, Part, RequestPlan, StepPlan, Template, ThinkPlan, parse,
    };

    fn plan() -> Plan {
        let folder = tempfile::tempdir().unwrap();
        let text = "schema = 1\nname = \"s\"\nurl = \"http://127.0.0.1:1\"\n\
                    [[flow.home.step]]\nget = \"/\"\n\
                    [load.home]\nclosed = { users = 1 }\n";
        let scenario = parse(text, &folder.path().join("s.toml")).unwrap();
        scenario.plans.into_iter().next().unwrap()
    }

    fn post(path: &str) -> RequestPlan {
        RequestPlan {
            name: format!("POST {path}"),
            method: "POST".into(),
            ..RequestPlan::get(path)
        }
    }

    fn login(secret: &str) -> RequestPlan {
        let mut plan = post("/login");
        plan.address.auth = Some(AuthPlan::Basic {
            user: Template::literal("ada"),
            password: Template {
                parts: vec![Part::Env(secret.into())],
            },
        });
        let token = ExtractSource::Json("$.token".into());
        plan.extract.insert("token".into(), token.into());
        plan
    }

    async fn perform(site: &Site, steps: Vec<StepPlan>, setup: &[(&str, &str)]) -> Performed {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let setup = setup.iter().map(owned).collect();
        let secrets = Secrets([("PW".to_owned(), "hunter2!".to_owned())].into());
        let (_going_on, stop) = watch::channel(false);
        let flow = FlowPlan::new(steps);
        once(&plan(), &flow, &site.url, &setup, &secrets, stop).await
    }

    #[tokio::test]
    async fn what_was_extracted_before_a_stop_is_known() {
        let site = Site::start(|_, _| answer(200, "", r#"{"token": "t7"}"#)).await;
        let (stop, stopped) = watch::channel(false);
        let stopping = async {
            while site.seen().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            let _ = stop.send(true);
        };
        let pause = StepPlan::Think(ThinkPlan::Constant(60_000_000_000));
        let flow = FlowPlan::new(vec![login("PW").into(), pause, post("/never").into()]);
        let (plan, nothing) = (plan(), BTreeMap::new());
        let secrets = Secrets([("PW".to_owned(), "p".to_owned())].into());
        let performing = once(&plan, &flow, &site.url, &nothing, &secrets, stopped);
        let limit = Duration::from_secs(30);
        let performing = tokio::time::timeout(limit, performing);
        let (performed, ()) = tokio::join!(performing, stopping);
        let expected = Performed {
            extracted: [("token".to_owned(), "t7".to_owned())].into(),
            failed: None,
            stopped: true,
        };
        assert_eq!(performed.unwrap(), expected);
        assert_eq!(site.lines(), ["POST /login"]);
    }

    #[tokio::test]
    async fn a_setup_gives_what_it_extracts() {
        let site = Site::start(|_, _| answer(200, "", r#"{"token": "t7"}"#)).await;
        let found = perform(&site, vec![login("PW").into()], &[]).await;
        let extracted = [("token".to_owned(), "t7".to_owned())].into();
        assert_eq!(
            found,
            Performed {
                extracted,
                ..Performed::default()
            }
        );
        let seen = site.seen();
        assert_eq!(
            header(&seen[0], "authorization"),
            Some("Basic YWRhOmh1bnRlcjIh")
        );
    }

    #[tokio::test]
    async fn a_teardown_knows_what_the_setup_extracted() {
        let site = Site::start(|_, _| answer(200, "", "")).await;
        let mut end = post("/of/");
        end.address.path.parts.push(Part::Setup("token".into()));
        let steps = || vec![end.clone().into()];
        let found = perform(&site, steps(), &[("token", "t/7")]).await;
        assert_eq!(found, Performed::default());
        assert_eq!(site.lines(), ["POST /of/t%2F7"]);
        // A setup that failed extracted nothing: then it is said what is missing.
        let found = perform(&site, steps(), &[]).await;
        let failed = found.failed.unwrap();
        assert_eq!(failed.step, "POST /of/");
        assert!(
            failed.message.contains("`{setup.token}` has no value"),
            "{failed:?}"
        );
    }

    #[tokio::test]
    async fn the_step_that_fails_is_named_without_its_secrets() {
        let site = Site::start(|request, _| match request.starts_with("POST /login ") {
            true => answer(200, "", r#"{"token": "t7"}"#),
            false => {
                let echo = header(request, "authorization").unwrap_or_default();
                answer(200, &format!("x-echo: {echo}\r\n"), "hunter2!")
            }
        })
        .await;
        let mut echoed = login("PW");
        echoed.name = "POST /echo".into();
        echoed.address.path = Template::literal("/echo");
        echoed.extract.clear();
        echoed.check.headers = vec![("x-echo".into(), Some("hunter2!".into()))];
        let steps = vec![login("PW").into(), echoed.into(), post("/never").into()];
        let found = perform(&site, steps, &[]).await;
        assert_eq!(found.extracted["token"], "t7");
        let failed = found.failed.unwrap();
        assert_eq!(failed.step, "POST /echo");
        let expected = "the header x-echo is `Basic YWRh{$env.PW}`, not `{$env.PW}`";
        assert_eq!(failed.message, expected);
        assert_eq!(site.lines(), ["POST /login", "POST /echo"]);
    }

    #[tokio::test]
    async fn what_can_t_begin_names_no_step() {
        let site = Site::start(|_, _| answer(200, "", "")).await;
        let found = perform(&site, vec![login("NONE").into()], &[]).await;
        let failed = found.failed.unwrap();
        assert_eq!(failed.step, "");
        assert!(failed.message.contains("`NONE` is not set"), "{failed:?}");
    }
}
