//! The steps of a journey that send something or wait for something.
//!
//! A request is all of its attempts and redirects: one outcome, one response time from its intended
//! start to the end of the last of them, one service time from the first actual send. A redirect that
//! leads away from the target, and one more than the step allows, are failed checks. A further
//! attempt sends the same request from its beginning, unless the step's timeout would come first.

use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use tokio::time::Instant;

use super::check::{Complaint, Head};
use super::expect::Seen;
use super::journey::{Broken, Journey, Pass, User};
use super::program::{ExpectOp, OpenOp, Policy, RequestOp, SendOp};
use super::recorder::Ended;
use super::redirect;
use super::request::Ready;
use super::transport::{Answer, Keep, Request};
use crate::harness::model::ErrorKind;
use crate::harness::scenario::{CookieScope, RetryPlan};

/// The outcome of an exchange, and when it was there.
type Outcome = (Result<(), Complaint>, u64);

/// What all attempts of a request share.
struct Attempts<'a> {
    step: &'a RequestOp,
    policy: &'a Policy,
    deadline: Instant,
}

impl Journey {
    /// Sends a request and looks at its answer.
    pub(super) async fn request(
        &self,
        step: &RequestOp,
        user: &mut User,
        pass: &mut Pass,
    ) -> Result<(), Broken> {
        let ready = step.prepared.ready(&mut user.values, &self.flow.feeds);
        let ready = ready.map_err(|message| self.unfilled(pass, step.name, message))?;
        // Nothing was done since the iteration was taken up where this is the first thing to wait
        // for and there was nothing to fill in.
        let sent_ns = match pass.is_noted || step.is_filled {
            true => self.clock.now_ns(),
            false => pass.began.taken_ns,
        };
        let mut ended = Ended {
            request: step.name,
            intended_ns: self.note_sending(pass, step.name, sent_ns),
            sent_ns,
            ..Ended::default()
        };
        let mut answer = Answer::default();
        let (result, ended_ns) = match &step.policy {
            None => {
                let timeout = step.timeout;
                let body_bytes = length(&ready);
                let sent = self.send(step, user, ready, timeout, &mut answer).await;
                add(&mut ended, body_bytes, &answer);
                sent
            }
            Some(policy) => {
                let attempts = Attempts {
                    step,
                    policy,
                    deadline: Self::deadline(step.timeout),
                };
                self.persist(&attempts, user, ready, &mut answer, &mut ended)
                    .await
            }
        };
        let checked = result.and_then(|()| {
            let body = match step.keep {
                Keep::Nothing => Bytes::new(),
                Keep::Length | Keep::All => answer.take_body().map_err(Complaint::from)?,
            };
            let head = Head {
                status: answer.status.unwrap_or_default(),
                headers: &answer.headers,
                body_bytes: answer.length(&body),
                service_ns: ended_ns.saturating_sub(sent_ns),
            };
            step.checks.apply(&head, &body, &mut user.values)
        });
        ended.ended_ns = ended_ns;
        ended.status = answer.status;
        ended.timings = answer.timings;
        pass.ended_ns = ended_ns;
        if step.is_last && checked.is_ok() {
            self.recorder.ended_last(&ended, pass.began.intended_ns);
            pass.is_over = true;
            return Ok(());
        }
        self.close(ended, checked)
    }

    /// Opens a stream; one that is still open is closed before.
    pub(super) async fn open(
        &self,
        step: &OpenOp,
        user: &mut User,
        pass: &mut Pass,
    ) -> Result<(), Broken> {
        user.close_stream().await;
        let ready = step.prepared.ready(&mut user.values, &self.flow.feeds);
        let mut ready = ready.map_err(|message| self.unfilled(pass, step.name, message))?;
        let sent_ns = self.clock.now_ns();
        let intended_ns = self.note_sending(pass, step.name, sent_ns);
        let path = self.bake(user, &mut ready);
        let mut answer = Answer::default();
        let request = outgoing(ready, step.timeout, Keep::Nothing);
        let opened = user.connection.open(step.kind, request, &mut answer).await;
        let ended_ns = self.clock.now_ns();
        self.keep_cookies(user, path.as_ref(), &answer);
        pass.ended_ns = ended_ns;
        let opened = opened.map(|stream| user.stream = Some((stream, step.name)));
        let ended = Ended {
            request: step.name,
            intended_ns,
            sent_ns,
            ended_ns,
            status: answer.status,
            bytes_received: answer.body_bytes,
            timings: answer.timings,
            ..Ended::default()
        };
        self.close(ended, opened.map_err(Complaint::from))
    }

    /// Sends a message. That is not measured, but where it fails, it is a failed request of its
    /// stream's name. It fails too where the server leaves no room for it for as long as the stream
    /// could take to be opened.
    pub(super) async fn send_message(
        &self,
        step: &SendOp,
        user: &mut User,
        pass: &mut Pass,
    ) -> Result<(), Broken> {
        let text = step.text.filled(&mut user.values, &self.flow.feeds);
        let text = text.map_err(|message| self.unfilled(pass, step.stream, message))?;
        let Some((stream, name)) = &mut user.stream else {
            return Err(self.fault(pass, step.stream, not_open()));
        };
        let began_ns = self.clock.now_ns();
        let sent = stream.send(text).await.map_err(Complaint::from);
        if sent.is_ok() {
            pass.ended_ns = self.clock.now_ns();
            return Ok(());
        }
        let ended = Ended {
            request: *name,
            intended_ns: self.note_sending(pass, *name, began_ns),
            sent_ns: began_ns,
            ended_ns: self.clock.now_ns(),
            ..Ended::default()
        };
        self.close(ended, sent)
    }

    /// Waits for messages.
    pub(super) async fn expect(
        &self,
        step: &ExpectOp,
        user: &mut User,
        pass: &mut Pass,
    ) -> Result<(), Broken> {
        let Some((stream, _)) = &mut user.stream else {
            return Err(self.fault(pass, step.name, not_open()));
        };
        let began_ns = self.clock.now_ns();
        let intended_ns = self.note_sending(pass, step.name, began_ns);
        let mut seen = Seen::default();
        let waited = step.expect.wait(stream, &mut seen).await;
        let ended_ns = self.clock.now_ns();
        pass.ended_ns = ended_ns;
        let taken = waited.and_then(|message| step.expect.take(&message, &mut user.values));
        let ended = Ended {
            request: step.name,
            intended_ns,
            sent_ns: began_ns,
            ended_ns,
            bytes_received: seen.bytes,
            ..Ended::default()
        };
        self.close(ended, taken)
    }

    /// A template could not be filled.
    fn unfilled(&self, pass: &mut Pass, request: usize, message: String) -> Broken {
        self.fault(pass, request, (ErrorKind::Template, message))
    }

    /// Tells the recorder how a request ended.
    fn close(&self, mut ended: Ended, outcome: Result<(), Complaint>) -> Result<(), Broken> {
        ended.failure = outcome.err();
        self.recorder.ended(&ended);
        match &ended.failure {
            None => Ok(()),
            Some((kind, _)) => Err(Broken::Failed {
                timed_out: *kind == ErrorKind::Timeout,
            }),
        }
    }

    /// One exchange.
    async fn send(
        &self,
        step: &RequestOp,
        user: &mut User,
        mut ready: Ready,
        timeout: Duration,
        answer: &mut Answer,
    ) -> Outcome {
        let path = self.bake(user, &mut ready);
        let request = outgoing(ready, timeout, step.keep);
        let result = user.connection.exchange(request, answer).await;
        let ended_ns = self.clock.now_ns();
        self.keep_cookies(user, path.as_ref(), answer);
        (result.map_err(Complaint::from), ended_ns)
    }

    /// Attempts until one is not to be tried again.
    async fn persist(
        &self,
        attempts: &Attempts<'_>,
        user: &mut User,
        ready: Ready,
        answer: &mut Answer,
        ended: &mut Ended,
    ) -> Outcome {
        loop {
            let attempt = ready.clone();
            let followed = self.follow(attempts, user, attempt, answer, ended);
            let (result, ended_ns) = followed.await;
            let again_at = attempts
                .policy
                .retry
                .as_ref()
                .filter(|retry| ended.retries < u64::from(retry.times))
                .filter(|retry| is_tried_again(retry, &result, answer.status))
                .map(|retry| Self::deadline(Duration::from_nanos(retry.wait_ns)))
                .filter(|again_at| *again_at < attempts.deadline);
            let Some(again_at) = again_at else {
                return (result, ended_ns);
            };
            if self.pause_until(again_at).await.is_err() {
                return (result, ended_ns);
            }
            self.recorder.exchanged(ended.intended_ns, &answer.timings);
            *answer = Answer::default();
            ended.retries += 1;
        }
    }

    /// One attempt, along the redirects that it meets.
    async fn follow(
        &self,
        attempts: &Attempts<'_>,
        user: &mut User,
        mut ready: Ready,
        answer: &mut Answer,
        ended: &mut Ended,
    ) -> Outcome {
        let Attempts {
            step,
            policy,
            deadline,
        } = *attempts;
        let mut followed = 0;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let sent = ready.clone();
            let (result, ended_ns) = self.send(step, user, sent, left, answer).await;
            add(ended, length(&ready), answer);
            if let Err((kind, message)) = result {
                let message = match kind {
                    ErrorKind::Timeout => format!("not done within {:?}", step.timeout),
                    _ => message,
                };
                return (Err((kind, message)), ended_ns);
            }
            if policy.redirects == 0 {
                return (Ok(()), ended_ns);
            }
            let status = answer.status.unwrap_or_default();
            let url = self.flow.url(&ready.path);
            let next = redirect::next(&ready, &url, status, &answer.headers);
            let next = next.and_then(|next| match next {
                Some(_) if followed == policy.redirects => Err(format!(
                    "the answer redirects once more than {} times",
                    policy.redirects
                )),
                next => Ok(next),
            });
            match next {
                Ok(None) => return (Ok(()), ended_ns),
                Err(message) => return (Err((ErrorKind::Check, message)), ended_ns),
                Ok(Some(next)) => ready = next,
            }
            self.recorder.exchanged(ended.intended_ns, &answer.timings);
            *answer = Answer::default();
            ended.redirects += 1;
            followed += 1;
        }
    }

    /// Adds the user's cookies to a request. Returns its path where those of its answer are kept.
    fn bake(&self, user: &User, ready: &mut Ready) -> Option<PathAndQuery> {
        if self.flow.cookies == CookieScope::None {
            return None;
        }
        if !user.jar.is_empty() {
            let url = self.flow.url(&ready.path);
            user.jar.add_to(&mut ready.headers, &url);
        }
        Some(ready.path.clone())
    }

    fn keep_cookies(&self, user: &mut User, path: Option<&PathAndQuery>, answer: &Answer) {
        if let Some(path) = path
            && answer.headers.sets_cookies()
        {
            user.jar.take(&answer.headers, &self.flow.url(path));
        }
    }
}

fn outgoing(ready: Ready, timeout: Duration, keep: Keep) -> Request {
    Request {
        method: ready.method,
        path: ready.path,
        headers: ready.headers,
        body: ready.body,
        timeout,
        keep,
    }
}

/// Adds what went over the wire. Of a request without an answer nobody knows how much was sent, if
/// anything.
fn add(ended: &mut Ended, body_bytes: u64, answer: &Answer) {
    ended.bytes_sent += answer.status.map_or(0, |_| body_bytes);
    ended.bytes_received += answer.body_bytes;
}

fn length(ready: &Ready) -> u64 {
    ready.body.as_ref().map_or(0, |body| body.len() as u64)
}

fn is_tried_again(retry: &RetryPlan, result: &Result<(), Complaint>, status: Option<u16>) -> bool {
    match result {
        Ok(()) => {
            let is_in =
                |&(low, high): &(u16, u16)| status.is_some_and(|it| (low..=high).contains(&it));
            retry.status.iter().any(is_in)
        }
        Err((kind, _)) => {
            retry.on_connection_failure && matches!(kind, ErrorKind::Connect | ErrorKind::Closed)
        }
    }
}

fn not_open() -> Complaint {
    let message = "no stream is open: the step that opens it was not performed".to_owned();
    (ErrorKind::Template, message)
}
