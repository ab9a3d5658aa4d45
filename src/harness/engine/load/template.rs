//! Texts with values, resolved before the start to pieces that only need to be put together.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use percent_encoding::utf8_percent_encode;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::feed::{Feed, FeedError};
use super::job::Secrets;
use crate::harness::engine::redact::UNRESERVED;
use crate::harness::scenario::{Part, Template};

/// Where a filled text goes, which decides how values are escaped. What the scenario says outside
/// of values stands as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// A path, a query or a form: values are percent-encoded.
    Url,
    /// The inside of a JSON text: values are escaped as the inside of a string.
    Json,
    /// A header or a plain text: values stand as they are.
    Plain,
}

/// Why a template could not be resolved. A plan that was validated has none of these.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// A feed is missing.
    #[error("no feed is named `{0}`; check the scenario again")]
    Feed(String),
    /// A column is missing, or the file is.
    #[error(transparent)]
    Column(#[from] FeedError),
    /// No step before this one extracts the value.
    #[error("no earlier step extracts `{0}`; check the scenario again")]
    Extracted(String),
    /// The setup did not extract the value.
    #[error("the setup extracts no `{0}`; check the scenario again")]
    Setup(String),
    /// A variable of the environment was not handed on.
    #[error("the environment variable `{0}` is not set; set it and run again")]
    Env(String),
    /// A value that only process templates have.
    #[error("`{0}` has no value in a request; check the scenario again")]
    ProcessOnly(String),
}

/// A template with its names resolved to indices.
#[derive(Debug)]
pub(super) struct Compiled {
    place: Place,
    pieces: Vec<Piece>,
}

#[derive(Debug)]
enum Piece {
    Text(String),
    Feed { feed: usize, column: usize },
    Extracted(usize),
    Uuid,
    Counter,
    Random { low: i64, high: i64 },
    Now,
}

/// What names in templates mean.
pub(super) struct Names<'a> {
    /// The feeds that were read, in the order of their indices.
    pub(super) feeds: &'a [(String, Feed)],
    /// The values that earlier steps extract, in the order of their indices.
    pub(super) extracted: &'a [String],
    /// What the setup extracted, by name.
    pub(super) setup: &'a BTreeMap<String, String>,
    /// Values of the environment.
    pub(super) secrets: &'a Secrets,
}

/// The values of one iteration. A user keeps one and renews it for each.
#[derive(Debug)]
pub(super) struct Values {
    seeded: ChaCha8Rng,
    random: ChaCha8Rng,
    iteration: u64,
    rows: Vec<usize>,
    /// By index; `None` until extracted.
    pub(super) extracted: Vec<Option<String>>,
}

impl Values {
    /// Values whose random ones follow from `seed` and the number of the iteration, so that it
    /// makes no difference which user, worker or shard performs it.
    pub(super) fn new(seed: u64) -> Self {
        let seeded = ChaCha8Rng::seed_from_u64(seed);
        Self {
            random: seeded.clone(),
            seeded,
            iteration: 0,
            rows: Vec::new(),
            extracted: Vec::new(),
        }
    }

    /// Draws the values of an iteration.
    pub(super) fn renew(&mut self, iteration: u64, feeds: &[(String, Feed)], extracted: usize) {
        self.iteration = iteration;
        self.random.clone_from(&self.seeded);
        self.random.set_stream(iteration);
        self.rows.clear();
        for (_, feed) in feeds {
            self.rows.push(feed.draw(iteration, &mut self.random));
        }
        self.extracted.clear();
        self.extracted.resize(extracted, None);
    }

    /// A whole number between two bounds, both included.
    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        if low >= high {
            return low;
        }
        self.random.random_range(low..=high)
    }
}

impl Compiled {
    /// Resolves `template` for `place`.
    pub(super) fn new(
        template: &Template,
        place: Place,
        names: &Names<'_>,
    ) -> Result<Self, TemplateError> {
        let pieces = template
            .parts
            .iter()
            .map(|part| Piece::new(part, place, names))
            .collect::<Result<_, _>>()?;
        Ok(Self { place, pieces })
    }

    /// The text, where it holds no values.
    pub(super) fn literal(&self) -> Option<String> {
        self.pieces
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => Some(text.as_str()),
                _ => None,
            })
            .collect()
    }

    /// Adds the filled text to `out`. The error names a value that is missing.
    pub(super) fn fill(
        &self,
        out: &mut String,
        values: &mut Values,
        feeds: &[(String, Feed)],
    ) -> Result<(), String> {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Feed { feed, column } => {
                    let value = feeds[*feed].1.value(values.rows[*feed], *column);
                    escape(out, value, self.place);
                }
                Piece::Extracted(index) => match &values.extracted[*index] {
                    Some(value) => escape(out, value, self.place),
                    None => return Err("a value was not extracted before it was used".into()),
                },
                // Not of the seed: a server that keeps what it was sent has seen those of the run before.
                Piece::Uuid => {
                    let _ = write!(out, "{}", uuid::Uuid::new_v4());
                }
                Piece::Counter => {
                    let _ = write!(out, "{}", values.iteration);
                }
                Piece::Random { low, high } => {
                    let _ = write!(out, "{}", values.random.random_range(*low..=*high));
                }
                Piece::Now => escape(out, &jiff::Timestamp::now().to_string(), self.place),
            }
        }
        Ok(())
    }
}

impl Piece {
    fn new(part: &Part, place: Place, names: &Names<'_>) -> Result<Self, TemplateError> {
        Ok(match part {
            Part::Text(text) => Self::Text(text.clone()),
            Part::Feed { feed, column } => {
                let index = names
                    .feeds
                    .iter()
                    .position(|(name, _)| name == feed)
                    .ok_or_else(|| TemplateError::Feed(feed.clone()))?;
                Self::Feed {
                    feed: index,
                    column: names.feeds[index].1.column(column)?,
                }
            }
            Part::Extracted(name) => Self::Extracted(
                names
                    .extracted
                    .iter()
                    .position(|known| known == name)
                    .ok_or_else(|| TemplateError::Extracted(name.clone()))?,
            ),
            Part::Setup(name) => {
                let value = names.setup.get(name);
                let value = value.ok_or_else(|| TemplateError::Setup(name.clone()))?;
                let mut text = String::new();
                escape(&mut text, value, place);
                Self::Text(text)
            }
            Part::Env(name) => {
                let value = names.secrets.0.get(name);
                let value = value.ok_or_else(|| TemplateError::Env(name.clone()))?;
                let mut text = String::new();
                escape(&mut text, value, place);
                Self::Text(text)
            }
            Part::Uuid => Self::Uuid,
            Part::Counter => Self::Counter,
            Part::Random { low, high } => Self::Random {
                low: *low.min(high),
                high: *low.max(high),
            },
            Part::Now => Self::Now,
            Part::OwnPort => return Err(TemplateError::ProcessOnly("{port}".into())),
            Part::OwnDir => return Err(TemplateError::ProcessOnly("{dir}".into())),
            Part::PortOf(name) => {
                return Err(TemplateError::ProcessOnly(format!("{{{name}.port}}")));
            }
            Part::UrlOf(name) => {
                return Err(TemplateError::ProcessOnly(format!("{{{name}.url}}")));
            }
        })
    }
}

/// `value` as it may stand in a path, a query or a form.
pub(super) fn percent_encoded(value: &str) -> String {
    utf8_percent_encode(value, UNRESERVED).to_string()
}

fn escape(out: &mut String, value: &str, place: Place) {
    match place {
        Place::Url => out.extend(utf8_percent_encode(value, UNRESERVED)),
        Place::Json => {
            let quoted = serde_json::Value::from(value).to_string();
            out.push_str(&quoted[1..quoted.len() - 1]);
        }
        Place::Plain => out.push_str(value),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;
    use crate::harness::scenario::{FeedFormat, FeedOrder, FeedPlan};

    fn feeds(order: FeedOrder) -> Vec<(String, Feed)> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("c.csv");
        std::fs::write(&file, "id,name\n1,a b\n2,\"q\"\"/é\"\n3,..\n").unwrap();
        let feed = Feed::read(&FeedPlan {
            file,
            format: FeedFormat::Csv,
            columns: vec!["id".into(), "name".into()],
            order,
        });
        vec![("clients".into(), feed.unwrap())]
    }

    fn fill(parts: Vec<Part>, place: Place, iteration: u64) -> Result<String, String> {
        let feeds = feeds(FeedOrder::Sequential);
        let names = Names {
            feeds: &feeds,
            extracted: &["token".into()],
            setup: &BTreeMap::new(),
            secrets: &Secrets(BTreeMap::from([("KEY".into(), "s&t".into())])),
        };
        let template =
            Compiled::new(&Template { parts }, place, &names).map_err(|error| error.to_string())?;
        let mut values = Values::new(7);
        values.renew(iteration, &feeds, 1);
        let mut out = String::new();
        template.fill(&mut out, &mut values, &feeds).map(|()| out)
    }

    #[test]
    fn values_are_escaped_for_their_place_and_the_rest_is_not() {
        let name = || {
            let feed = Part::Feed {
                feed: "clients".into(),
                column: "name".into(),
            };
            vec![Part::Text("/x?q=".into()), feed, Part::Env("KEY".into())]
        };
        let check = |place, iteration, expected: &str| {
            assert_eq!(fill(name(), place, iteration).unwrap(), expected);
        };
        check(Place::Url, 0, "/x?q=a%20bs%26t");
        check(Place::Url, 1, "/x?q=q%22%2F%C3%A9s%26t");
        check(Place::Json, 1, "/x?q=q\\\"/és&t");
        check(Place::Plain, 4, "/x?q=q\"/és&t");
    }

    #[test]
    fn what_a_request_has_not_is_an_error() {
        let check = |part: Part, expected: &str| {
            let error = fill(vec![part], Place::Plain, 0).unwrap_err();
            assert!(error.contains(expected), "{error}");
        };
        check(Part::Extracted("token".into()), "not extracted");
        check(Part::Extracted("other".into()), "`other`");
        check(Part::Env("NONE".into()), "`NONE`");
        check(Part::OwnPort, "{port}");
        let column = "none".into();
        let feed = "clients".into();
        check(Part::Feed { feed, column }, "no column `none`");
    }

    #[test]
    fn random_values_follow_from_seed_and_iteration() {
        let any = || {
            vec![Part::Random {
                low: 0,
                high: i64::MAX,
            }]
        };
        let one = fill(any(), Place::Plain, 1).unwrap();
        assert_eq!(one, fill(any(), Place::Plain, 1).unwrap());
        assert_ne!(one, fill(any(), Place::Plain, 2).unwrap());
    }

    #[test]
    fn no_two_runs_send_the_same_uuid() {
        let one = fill(vec![Part::Uuid], Place::Plain, 1).unwrap();
        assert_ne!(one, fill(vec![Part::Uuid], Place::Plain, 1).unwrap());
        assert_eq!(one.len(), 36);
    }

    #[test]
    fn a_random_feed_draws_every_row() {
        let feeds = feeds(FeedOrder::Random);
        let mut values = Values::new(1);
        let mut seen = [0_u32; 3];
        for iteration in 0..300 {
            values.renew(iteration, &feeds, 0);
            seen[values.rows[0]] += 1;
        }
        assert!(seen.iter().all(|count| *count > 50), "{seen:?}");
    }
}
