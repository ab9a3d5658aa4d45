//! Messages of a stream that a user waits for.

use std::time::Duration;

use http::header::HeaderMap;
use regex::Regex;

use super::check::{CheckError, Complaint, JsonChecks, regex};
use super::content::Content;
use super::extract::Extract;
use super::template::Values;
use super::transport::{Message, Stream};
use crate::harness::model::ErrorKind;
use crate::harness::scenario::{ExpectPlan, ExtractPlan};

/// A compiled expectation.
#[derive(Debug)]
pub(super) struct Expect {
    event: Option<String>,
    contains: Option<String>,
    matches: Option<Regex>,
    json: JsonChecks,
    count: u32,
    extract: Vec<Extract>,
    timeout: Duration,
}

/// What came while a user waited.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Messages, those included that were not expected.
    messages: u64,
    /// Those that were.
    expected: u32,
    /// The length of all texts.
    pub(super) bytes: u64,
}

impl Expect {
    /// Compiles it, and its extractions by the index of the value that each sets.
    pub(super) fn new<'a>(
        plan: &ExpectPlan,
        extract: impl Iterator<Item = (usize, &'a ExtractPlan)>,
    ) -> Result<Self, CheckError> {
        let extract = extract.map(|(index, plan)| Extract::new(index, plan));
        Ok(Self {
            event: plan.event.clone(),
            contains: plan.contains.clone(),
            matches: plan.matches.as_deref().map(regex).transpose()?,
            json: JsonChecks::new(&plan.json)?,
            count: plan.count.max(1),
            extract: extract.collect::<Result<_, _>>()?,
            timeout: Duration::from_nanos(plan.timeout_ns),
        })
    }

    /// Whether a value is extracted by chance.
    pub(super) fn is_random(&self) -> bool {
        self.extract.iter().any(Extract::is_random)
    }

    /// Waits for the last of the messages. `seen` holds what came even where it did not.
    pub(super) async fn wait(
        &self,
        stream: &mut Stream,
        seen: &mut Seen,
    ) -> Result<Message, Complaint> {
        let waited = tokio::time::timeout(self.timeout, async {
            loop {
                let next = stream.next().await.map_err(Complaint::from)?;
                let Some(message) = next else {
                    return Err((ErrorKind::Closed, "the server closed the stream".to_owned()));
                };
                if self.note(&message, seen) {
                    return Ok(message);
                }
            }
        });
        let waited = waited.await.unwrap_or_else(|_| {
            let message = format!("not there within {:?}", self.timeout);
            Err((ErrorKind::Timeout, message))
        });
        waited.map_err(|(kind, message)| {
            let Seen {
                messages, expected, ..
            } = seen;
            let wanted = self.count;
            let message =
                format!("{message} ({messages} messages came, {expected} of {wanted} as expected)");
            (kind, message)
        })
    }

    /// Takes the values of the last message.
    pub(super) fn take(&self, message: &Message, values: &mut Values) -> Result<(), Complaint> {
        let content = Content::new(message.text.as_bytes());
        for extract in &self.extract {
            extract
                .apply(&HeaderMap::new(), &content, values)
                .map_err(|message| (ErrorKind::Extract, message))?;
        }
        Ok(())
    }

    /// Counts a message; whether it is the last that was waited for.
    fn note(&self, message: &Message, seen: &mut Seen) -> bool {
        seen.messages += 1;
        seen.bytes += message.text.len() as u64;
        if !self.is_met_by(message) {
            return false;
        }
        seen.expected += 1;
        seen.expected >= self.count
    }

    fn is_met_by(&self, message: &Message) -> bool {
        let text = message.text.as_str();
        let is_named = |event: &String| message.event.as_ref() == Some(event);
        self.event.as_ref().is_none_or(is_named)
            && self
                .contains
                .as_ref()
                .is_none_or(|part| text.contains(part))
            && self
                .matches
                .as_ref()
                .is_none_or(|regex| regex.is_match(text))
            && self.json.find_fault(&Content::new(text.as_bytes())).is_ok()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::harness::scenario::ExtractSource;

    fn plan() -> ExpectPlan {
        ExpectPlan {
            name: "expect 1".into(),
            event: None,
            contains: None,
            matches: None,
            json: Vec::new(),
            count: 1,
            extract: BTreeMap::new(),
            timeout_ns: 1_000_000_000,
        }
    }

    fn expect(change: impl FnOnce(&mut ExpectPlan)) -> Expect {
        let mut plan = plan();
        change(&mut plan);
        Expect::new(&plan, plan.extract.values().enumerate()).unwrap()
    }

    fn message(event: Option<&str>, text: &str) -> Message {
        Message {
            event: event.map(str::to_owned),
            text: text.to_owned(),
        }
    }

    #[test]
    fn a_message_is_expected_where_everything_that_is_asked_of_it_holds() {
        let tick = message(Some("tick"), r#"{"type": "tick", "n": 7}"#);
        let check = |change: &dyn Fn(&mut ExpectPlan), expected: bool| {
            let expect = expect(change);
            assert_eq!(expect.is_met_by(&tick), expected, "{expect:?}");
        };
        check(&|_| (), true);
        check(&|plan| plan.event = Some("tick".into()), true);
        check(&|plan| plan.event = Some("tock".into()), false);
        check(&|plan| plan.contains = Some("\"n\"".into()), true);
        check(&|plan| plan.contains = Some("\"m\"".into()), false);
        check(&|plan| plan.matches = Some(r"\d}$".into()), true);
        check(&|plan| plan.matches = Some(r"^\d".into()), false);
        check(&|plan| plan.json = vec![("$.n".into(), json!(7))], true);
        check(&|plan| plan.json = vec![("$.n".into(), json!(8))], false);
        check(
            &|plan| {
                plan.event = Some("tick".into());
                plan.contains = Some("tick".into());
                plan.json = vec![("$.type".into(), json!("tock"))];
            },
            false,
        );
        let unnamed = message(None, "x");
        assert!(!expect(|plan| plan.event = Some("tick".into())).is_met_by(&unnamed));
        assert!(!expect(|plan| plan.json = vec![("$.n".into(), json!(7))]).is_met_by(&unnamed));
    }

    #[test]
    fn the_last_of_several_is_taken_and_others_are_passed_over() {
        let expect = expect(|plan| {
            plan.contains = Some("a".into());
            plan.count = 2;
            let number = ExtractSource::Regex(r"\d".into());
            plan.extract.insert("number".into(), number.into());
        });
        let mut seen = Seen::default();
        assert!(!expect.note(&message(None, "a1"), &mut seen));
        assert!(!expect.note(&message(None, "b2"), &mut seen));
        let last = message(None, "a33");
        assert!(expect.note(&last, &mut seen));
        assert_eq!((seen.messages, seen.expected, seen.bytes), (3, 2, 7));
        let mut values = Values::new(1);
        values.renew(0, &[], 1).unwrap();
        assert_eq!(expect.take(&last, &mut values), Ok(()));
        assert_eq!(values.extracted, [Some("3".to_owned())]);
        let (kind, _) = expect.take(&message(None, "a"), &mut values).unwrap_err();
        assert_eq!(kind, ErrorKind::Extract);
    }
}
