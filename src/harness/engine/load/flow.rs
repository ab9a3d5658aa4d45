//! A flow compiled for sending: what can be done once is done before the load starts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use http::Method;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use url::{Position, Url};

use super::check::{CheckError, Checks};
use super::feed::{Feed, FeedError};
use super::job::WorkerJob;
use super::template::{Compiled, Names, Place, TemplateError, Values, percent_encoded};
use super::transport::Request;
use crate::harness::scenario::{BodyPlan, FlowPlan, Part, RequestPlan, Template, ThinkPlan};

/// Why a flow could not be compiled. A plan that was validated has almost none of these; a feed can
/// have changed, and a variable of the environment can be missing.
#[derive(Debug, thiserror::Error)]
pub enum FlowError {
    /// A feed could not be read.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// A template could not be resolved.
    #[error("step `{step}`: {error}")]
    Template {
        /// The step.
        step: String,
        /// What is wrong.
        error: TemplateError,
    },
    /// A check or an extraction could not be compiled.
    #[error("step `{step}`: {error}")]
    Check {
        /// The step.
        step: String,
        /// What is wrong.
        error: CheckError,
    },
    /// The step can't become a request.
    #[error("step `{step}`: {what}; check the scenario again")]
    Step {
        /// The step.
        step: String,
        /// What is wrong.
        what: String,
    },
    /// The proxy's address could not be resolved.
    #[error("the proxy: {0}")]
    Proxy(TemplateError),
    /// The target is not the URL of a server.
    #[error("the target `{0}` is not an http or https URL")]
    Target(String),
}

/// A compiled flow with its feeds.
#[derive(Debug)]
pub(super) struct Flow {
    /// The server that all steps go to.
    pub(super) origin: Url,
    /// The proxy before it.
    pub(super) proxy: Option<String>,
    /// In order.
    pub(super) steps: Vec<Step>,
    /// The request names, each once, in the order of the steps.
    pub(super) requests: Vec<String>,
    /// Those that the flow names.
    pub(super) feeds: Vec<(String, Feed)>,
    /// How many values the steps extract.
    pub(super) extracted: usize,
}

/// A compiled step.
#[derive(Debug)]
pub(super) struct Step {
    /// The index of its request name; steps of one name are counted together.
    pub(super) request: usize,
    pub(super) checks: Checks,
    pub(super) think: Option<ThinkPlan>,
    method: Method,
    origin: Url,
    url: Address,
    fixed_headers: HeaderMap,
    filled_headers: Vec<(HeaderName, Compiled)>,
    body: Option<Compiled>,
    timeout: Duration,
}

#[derive(Debug)]
enum Address {
    Fixed(PathAndQuery),
    Filled(Compiled),
}

impl Flow {
    /// Compiles the job's flow and reads the feeds that it names.
    pub(super) fn new(job: &WorkerJob) -> Result<Self, FlowError> {
        let origin = Url::parse(&job.target)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| FlowError::Target(job.target.clone()))?;
        let feeds = named_feeds(&job.flow)
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), job.feeds.get(name)?)))
            .map(|(name, plan)| Ok((name, Feed::read(plan)?)))
            .collect::<Result<Vec<_>, FeedError>>()?;
        let names = Names {
            feeds: &[],
            extracted: &[],
            setup: &BTreeMap::new(),
            secrets: &job.secrets,
        };
        let proxy = job.http.proxy.as_ref();
        let proxy = proxy.map(|proxy| Compiled::new(proxy, Place::Plain, &names));
        let proxy = proxy.transpose().map_err(FlowError::Proxy)?;
        let proxy = proxy.and_then(|proxy| proxy.literal());
        let mut requests: Vec<String> = Vec::new();
        let mut extracted: Vec<String> = Vec::new();
        let mut steps = Vec::with_capacity(job.flow.steps.len());
        for plan in job.flow.requests() {
            let request = index_of(&mut requests, &plan.name);
            // A step sees what earlier ones extracted, not what it extracts itself.
            let names = Names {
                feeds: &feeds,
                extracted: &extracted,
                setup: &job.setup,
                secrets: &job.secrets,
            };
            let step = StepParts::new(plan, &job.target, &origin, &names)?;
            let extract: Vec<_> = plan
                .extract
                .iter()
                .map(|(name, plan)| (index_of(&mut extracted, name), plan))
                .collect();
            let checks = Checks::new(&plan.check, extract.into_iter()).map_err(|error| {
                FlowError::Check {
                    step: plan.name.clone(),
                    error,
                }
            })?;
            steps.push(Step {
                request,
                checks,
                think: plan.think.clone(),
                method: step.method,
                origin: origin.clone(),
                url: step.url,
                fixed_headers: step.fixed_headers,
                filled_headers: step.filled_headers,
                body: step.body,
                timeout: Duration::from_nanos(plan.timeout_ns),
            });
        }
        Ok(Self {
            origin,
            proxy,
            steps,
            requests,
            feeds,
            extracted: extracted.len(),
        })
    }

    /// Whether an iteration draws any value at all.
    pub(super) fn has_values(&self) -> bool {
        let is_filled = |step: &Step| {
            matches!(step.url, Address::Filled(_))
                || !step.filled_headers.is_empty()
                || step
                    .body
                    .as_ref()
                    .is_some_and(|body| body.literal().is_none())
                || !matches!(step.think, None | Some(ThinkPlan::Constant(_)))
        };
        self.extracted > 0 || self.steps.iter().any(is_filled)
    }
}

impl Step {
    /// The request of one iteration. The error says why it can't be built; it may hold hostile text.
    pub(super) fn request(
        &self,
        values: &mut Values,
        feeds: &[(String, Feed)],
    ) -> Result<Request, String> {
        let path = match &self.url {
            Address::Fixed(path) => path.clone(),
            Address::Filled(template) => {
                let mut text = String::new();
                template.fill(&mut text, values, feeds)?;
                let url = Url::parse(&text).map_err(|error| format!("not a URL: {error}"))?;
                path_of(&on_origin(url, &self.origin)?)?
            }
        };
        let mut headers = self.fixed_headers.clone();
        for (name, template) in &self.filled_headers {
            let mut text = String::new();
            template.fill(&mut text, values, feeds)?;
            let value = HeaderValue::from_str(&text).map_err(|_| {
                format!("the value for the header {name} holds a control character")
            })?;
            headers.append(name, value);
        }
        let body = match &self.body {
            Some(template) => {
                let mut text = String::new();
                template.fill(&mut text, values, feeds)?;
                Some(text.into())
            }
            None => None,
        };
        Ok(Request {
            method: self.method.clone(),
            path,
            headers,
            body,
            timeout: self.timeout,
            keep_body: self.checks.needs_body(),
        })
    }
}

/// What a step is made of apart from its checks.
struct StepParts {
    method: Method,
    url: Address,
    fixed_headers: HeaderMap,
    filled_headers: Vec<(HeaderName, Compiled)>,
    body: Option<Compiled>,
}

impl StepParts {
    fn new(
        plan: &RequestPlan,
        target: &str,
        origin: &Url,
        names: &Names<'_>,
    ) -> Result<Self, FlowError> {
        let wrong = |what: String| FlowError::Step {
            step: plan.name.clone(),
            what,
        };
        let compile = |template: &Template, place| {
            Compiled::new(template, place, names).map_err(|error| FlowError::Template {
                step: plan.name.clone(),
                error,
            })
        };
        let method = Method::from_bytes(plan.method.as_bytes())
            .map_err(|_| wrong(format!("`{}` is not an HTTP method", plan.method)))?;
        let url = compile(&below(target, &plan.address.path), Place::Url)?;
        let url = match url.literal() {
            Some(text) => {
                let url = Url::parse(&text)
                    .map_err(|error| wrong(format!("`{text}` is not a URL: {error}")))?;
                let path = on_origin(url, origin).and_then(|url| path_of(&url));
                Address::Fixed(path.map_err(wrong)?)
            }
            None => Address::Filled(url),
        };
        let mut fixed_headers = HeaderMap::new();
        let mut filled_headers = Vec::new();
        for (name, template) in &plan.address.headers {
            let name = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| wrong(format!("`{name}` is not the name of a header")))?;
            let value = compile(template, Place::Plain)?;
            match value.literal() {
                Some(text) => {
                    let value = HeaderValue::from_str(&text).map_err(|_| {
                        wrong(format!(
                            "the value of the header {name} holds a control character"
                        ))
                    })?;
                    fixed_headers.append(name, value);
                }
                None => filled_headers.push((name, value)),
            }
        }
        let (body, content_type) = match &plan.body {
            None => (None, None),
            Some(BodyPlan::Json(text)) => {
                (Some(compile(text, Place::Json)?), Some("application/json"))
            }
            Some(BodyPlan::Text(text)) => (
                Some(compile(text, Place::Plain)?),
                Some("text/plain; charset=utf-8"),
            ),
            Some(BodyPlan::Form(fields)) => (
                Some(compile(&form(fields), Place::Url)?),
                Some("application/x-www-form-urlencoded"),
            ),
            Some(BodyPlan::File(_) | BodyPlan::Multipart(_)) => {
                unimplemented!("no scenario can say this yet")
            }
        };
        let is_given = fixed_headers.contains_key(CONTENT_TYPE)
            || filled_headers.iter().any(|(name, _)| name == CONTENT_TYPE);
        if let Some(content_type) = content_type.filter(|_| !is_given) {
            fixed_headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        // The client says nothing of a body that is empty. Where the method means one, some servers
        // answer 411 to that (RFC 9110, section 8.6).
        let is_empty = body
            .as_ref()
            .is_none_or(|body| body.literal().is_some_and(|text| text.is_empty()));
        if is_empty && matches!(method, Method::POST | Method::PUT | Method::PATCH) {
            fixed_headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        Ok(Self {
            method,
            url,
            fixed_headers,
            filled_headers,
            body,
        })
    }
}

/// The path below the target. A scenario's path begins with `/`; what else a job may say is still
/// held to the target.
fn below(target: &str, path: &Template) -> Template {
    let mut parts = vec![Part::Text(target.trim_end_matches('/').to_owned())];
    parts.extend(path.parts.iter().cloned());
    Template { parts }
}

/// The fields of a form as one template: names and fixed texts are encoded here, values on filling.
fn form(fields: &[(String, Template)]) -> Template {
    let mut parts = Vec::new();
    for (index, (name, value)) in fields.iter().enumerate() {
        let separator = if index == 0 { "" } else { "&" };
        parts.push(Part::Text(format!("{separator}{}=", percent_encoded(name))));
        parts.extend(value.parts.iter().map(|part| match part {
            Part::Text(text) => Part::Text(percent_encoded(text)),
            other => other.clone(),
        }));
    }
    Template { parts }
}

/// The load goes to the target and nowhere else, whatever the values say.
fn on_origin(url: Url, origin: &Url) -> Result<Url, String> {
    let place = |url: &Url| {
        (
            url.scheme().to_owned(),
            url.host_str().map(str::to_owned),
            url.port_or_known_default(),
        )
    };
    if place(&url) == place(origin) {
        Ok(url)
    } else {
        Err("the URL leads away from the target".to_owned())
    }
}

/// What a request says of its URL.
fn path_of(url: &Url) -> Result<PathAndQuery, String> {
    PathAndQuery::try_from(&url[Position::BeforePath..Position::AfterQuery])
        .map_err(|error| format!("not a path: {error}"))
}

/// The feeds that a flow names.
fn named_feeds(flow: &FlowPlan) -> BTreeSet<&str> {
    let templates = flow.templates().into_iter();
    templates
        .flat_map(|template| &template.parts)
        .filter_map(|part| match part {
            Part::Feed { feed, .. } => Some(feed.as_str()),
            _ => None,
        })
        .collect()
}

/// The index of `name`, which is added where it is new.
fn index_of(names: &mut Vec<String>, name: &str) -> usize {
    names
        .iter()
        .position(|known| known == name)
        .unwrap_or_else(|| {
            names.push(name.to_owned());
            names.len() - 1
        })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::harness::scenario::{ExtractSource, StepPlan};

    /// The only request of a job's flow.
    fn first(job: &mut WorkerJob) -> &mut RequestPlan {
        match &mut job.flow.steps[0] {
            StepPlan::Request(request) => request,
            other => panic!("{other:?}"),
        }
    }

    fn request(change: impl FnOnce(&mut WorkerJob)) -> Result<Request, String> {
        let mut job = fixture::job("http://127.0.0.1:8080/base");
        change(&mut job);
        let flow = Flow::new(&job).map_err(|error| error.to_string())?;
        let mut values = Values::new(1);
        values.renew(0, &flow.feeds, flow.extracted);
        values.extracted.fill(Some("a/..:@b".into()));
        flow.steps.last().unwrap().request(&mut values, &flow.feeds)
    }

    #[test]
    fn a_path_is_below_the_target() {
        let check = |path: &str, expected: &str| {
            let found = request(|job| first(job).address.path = Template::literal(path)).unwrap();
            assert_eq!(found.path.as_str(), expected);
        };
        check("/a?b=c", "/base/a?b=c");
        check("//elsewhere/a", "/base//elsewhere/a");
        let away = request(|job| {
            job.target = "http://127.0.0.1:8080".into();
            first(job).address.path = Template::literal("@elsewhere/a");
        });
        assert!(away.unwrap_err().contains("away from the target"));
    }

    #[test]
    fn a_value_cannot_lead_away_from_the_target() {
        let found = request(|job| {
            first(job).address.path.parts =
                vec![Part::Text("/x/".into()), Part::Extracted("v".into())];
            let mut before = fixture::request();
            let source = ExtractSource::Header("x".into());
            before.extract.insert("v".into(), source.into());
            job.flow.steps.insert(0, before.into());
        });
        assert_eq!(found.unwrap().path.as_str(), "/base/x/a%2F..%3A%40b");
    }

    #[test]
    fn a_body_has_its_content_type_unless_a_header_says_otherwise() {
        let check = |body: BodyPlan, header: Option<&str>, text: &str, content_type: &str| {
            let found = request(|job| {
                let step = first(job);
                step.body = Some(body);
                step.address.headers = header
                    .map(|value| ("Content-Type".into(), Template::literal(value)))
                    .into_iter()
                    .collect();
            })
            .unwrap();
            assert_eq!(found.body.as_deref(), Some(text.as_bytes()));
            let types: Vec<_> = found.headers.get_all(CONTENT_TYPE).iter().collect();
            assert_eq!(types, [content_type]);
        };
        let json = || BodyPlan::Json(Template::literal("{}"));
        check(json(), None, "{}", "application/json");
        check(json(), Some("text/x"), "{}", "text/x");
        let form = BodyPlan::Form(vec![
            ("a b".into(), Template::literal("1&2")),
            ("c".into(), Template::literal("é")),
        ]);
        let encoded = "a%20b=1%262&c=%C3%A9";
        check(form, None, encoded, "application/x-www-form-urlencoded");
    }

    #[test]
    fn an_empty_body_is_said_to_be_so_where_the_method_means_one() {
        let check = |method: &str, body: Option<&str>, expected: Option<&str>| {
            let found = request(|job| {
                let step = first(job);
                step.method = method.into();
                step.body = body.map(|text| BodyPlan::Text(Template::literal(text)));
            });
            let headers = found.unwrap().headers;
            let length = headers.get(CONTENT_LENGTH);
            let length = length.map(|length| length.to_str().unwrap());
            assert_eq!(length, expected, "{method} {body:?}");
        };
        check("POST", None, Some("0"));
        check("PUT", None, Some("0"));
        check("PATCH", Some(""), Some("0"));
        // Of any other the client says the length itself.
        check("POST", Some("x"), None);
        check("GET", None, None);
        check("DELETE", None, None);
    }
}
