//! HAR 1.2, what a browser recorded, as flows: one for each page, with the pauses of the person.
//!
//! Only requests to one host are taken, without what browsers keep (scripts, styles, pictures), and what
//! writes only where the caller asks for it. No cookie, credential or token of the recording is kept.

mod left;
mod recording;

use std::collections::BTreeSet;

use jiff::Timestamp;
use percent_encoding::utf8_percent_encode;
use url::Url;

use self::left::Left;
use self::recording::{Entry, Har, Log, Pair, PostData, Request};
use super::address::QUERY;
use super::error::ScaffoldError;
use super::json;
use super::secret::{is_secret, is_secret_name, looks_secret};
use super::sketch::{Auth, Body, Course, Flow, Imported, Method, Step, request_name};
use super::text::{Template, name, shown, variable};
use crate::harness::scenario::UNWRITTEN;

/// Recordings hold what was answered, which is not looked at.
pub const MAX_HAR_BYTES: usize = 64 << 20;
const MAX_PAGES: usize = 10;
const MAX_STEPS: usize = 100;
/// So many hosts are told apart.
const MAX_HOSTS: usize = 100;
const MAX_PATH_BYTES: usize = 2000;
/// A larger body is left out, and its request with it.
const MAX_BODY_BYTES: usize = 8 << 10;
const MAX_HEADER_BYTES: usize = 500;
const MAX_HEADERS: usize = 20;
/// A shorter gap is that of the page, not of the person.
const MIN_THINK_MS: u64 = 200;
/// Whoever fetched a coffee is not waited for.
const MAX_THINK_MS: u64 = 5_000;
/// All pauses of a page; an iteration has to end within a run.
const MAX_PAGE_THINK_MS: u64 = 30_000;
/// The headers that are kept. Others say who asks, or what the browser has in its cache.
const KEPT_HEADERS: [&str; 5] = [
    "accept",
    "accept-language",
    "content-type",
    "prefer",
    "x-requested-with",
];
/// What a page loads with itself, by the ends of paths.
const ASSETS: [&str; 22] = [
    ".js",
    ".mjs",
    ".css",
    ".map",
    ".png",
    ".jpg",
    ".jpeg",
    ".gif",
    ".svg",
    ".webp",
    ".avif",
    ".ico",
    ".woff",
    ".woff2",
    ".ttf",
    ".otf",
    ".eot",
    ".mp4",
    ".webm",
    ".mp3",
    ".wasm",
    ".webmanifest",
];
/// The same by the media types of answers.
const ASSET_TYPES: [&str; 8] = [
    "image/",
    "font/",
    "audio/",
    "video/",
    "text/css",
    "text/javascript",
    "application/javascript",
    "application/wasm",
];

/// Turns a recording into flows of a scenario named `scenario`. `writes`: also what changes something;
/// `assets`: also scripts, styles and pictures.
///
/// # Errors
/// Where it is none, is too large, or holds nothing that can be driven.
pub fn read_har(
    text: &str,
    scenario: &str,
    writes: bool,
    assets: bool,
) -> Result<Imported, ScaffoldError> {
    if text.len() > MAX_HAR_BYTES {
        return Err(ScaffoldError::TooLarge {
            limit_bytes: MAX_HAR_BYTES,
        });
    }
    let text = text.trim_start_matches('\u{feff}');
    let har: Har = serde_json::from_str(text).map_err(|error| ScaffoldError::OtherFormat {
        expected: "HAR file",
        reason: shown(&error.to_string()),
    })?;
    let Log { pages, entries } = har.log;
    let mut reader = Reader {
        scenario,
        writes,
        assets,
        origin: visited(&entries),
        secrets: BTreeSet::new(),
        left: Left::default(),
    };
    let mut flows: Vec<(Option<&str>, Vec<Timed>)> = Vec::new();
    for entry in &entries {
        let Some(timed) = reader.read(entry) else {
            continue;
        };
        let page = entry.pageref.as_deref();
        let known = flows.iter().position(|(known, _)| *known == page);
        let index = match known {
            Some(index) => index,
            None if flows.len() == MAX_PAGES => {
                reader.left.pages += 1;
                continue;
            }
            None => {
                flows.push((page, Vec::new()));
                flows.len() - 1
            }
        };
        match flows[index].1.len() {
            MAX_STEPS => reader.left.steps += 1,
            _ => flows[index].1.push(timed),
        }
    }
    if flows.is_empty() {
        return Err(ScaffoldError::NothingToDrive {
            reasons: reader.left.notes(),
        });
    }
    let steps = flows.iter().flat_map(|(_, steps)| steps);
    let secrets = steps.flat_map(|timed| timed.secrets.clone()).collect();
    let mut names = BTreeSet::new();
    let mut shortened = false;
    let flows = flows.into_iter().map(|(page, timed)| {
        let title = pages
            .iter()
            .find(|known| Some(known.id.as_str()) == page)
            .map_or("", |known| known.title.as_str());
        flow(title, timed, &mut names, &mut shortened)
    });
    let flows = flows.collect();
    let mut notes = reader.left.notes();
    if shortened {
        notes.push(format!(
            "long pauses were shortened, to {} s each and {} s a page at most",
            MAX_THINK_MS / 1000,
            MAX_PAGE_THINK_MS / 1000
        ));
    }
    Ok(Imported {
        flows,
        columns: Vec::new(),
        server: reader.origin,
        secrets,
        notes,
    })
}

/// A step and when it was.
struct Timed {
    step: Step,
    /// Its path without a query and secrets.
    plain: String,
    /// The variables that it needs.
    secrets: BTreeSet<String>,
    start_ms: Option<i64>,
    end_ms: Option<i64>,
}

struct Reader<'a> {
    scenario: &'a str,
    writes: bool,
    assets: bool,
    /// The only host whose requests count.
    origin: Option<String>,
    /// The variables that the request needs which is being read.
    secrets: BTreeSet<String>,
    left: Left,
}

impl Reader<'_> {
    fn read(&mut self, entry: &Entry) -> Option<Timed> {
        let request = &entry.request;
        let url = Url::parse(&request.url).ok();
        let Some(url) =
            url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        else {
            self.left.unusable += 1;
            return None;
        };
        let origin = url.origin().ascii_serialization();
        if self.origin.as_ref().is_some_and(|known| *known != origin) {
            let hosts = &mut self.left.hosts;
            if hosts.len() < MAX_HOSTS || hosts.contains_key(&origin) {
                *hosts.entry(origin).or_default() += 1;
            }
            return None;
        }
        if !self.assets && is_asset(entry, &url) {
            self.left.assets += 1;
            return None;
        }
        let status = entry.response.status;
        // Without a status it was never answered. A preflight (OPTIONS) is the browser's own.
        let (Some(method), true) = (
            Method::named(&request.method),
            (100.0..600.0).contains(&status),
        ) else {
            self.left.unusable += 1;
            return None;
        };
        // What went wrong once is nothing to demand of each run.
        if status >= 500.0 {
            self.left.failed += 1;
            return None;
        }
        if !method.is_safe() && !self.writes {
            self.left.writes += 1;
            return None;
        }
        self.secrets.clear();
        let (path, plain) = self.path(&url);
        if path.as_str().len() > MAX_PATH_BYTES {
            self.left.unusable += 1;
            return None;
        }
        let body = match &request.post_data {
            Some(data) if !method.is_safe() => match self.body(data) {
                Some(body) => body,
                None => {
                    self.left.bodies += 1;
                    return None;
                }
            },
            _ => None,
        };
        let (headers, auth) = self.head(request, body.as_ref());
        let start_ms = entry
            .started_date_time
            .parse::<Timestamp>()
            .ok()
            .map(|start| start.as_millisecond());
        let took_ms = match entry.time.is_finite() {
            true => entry.time.clamp(0.0, 3_600_000.0) as i64,
            false => 0,
        };
        Some(Timed {
            step: Step {
                method,
                name: request_name(method, &plain, &path),
                path,
                headers,
                auth,
                body,
                // What the browser had in its cache is sent by the server here.
                status: vec![match status as u16 {
                    304 => "200".to_owned(),
                    status => status.to_string(),
                }],
                think_ms: 0,
            },
            plain,
            secrets: std::mem::take(&mut self.secrets),
            start_ms,
            end_ms: start_ms.map(|start| start.saturating_add(took_ms)),
        })
    }

    /// The path with its query, secrets replaced; and the path alone, to be shown, without any.
    fn path(&mut self, url: &Url) -> (Template, String) {
        let mut path = Template::default();
        let mut plain = String::new();
        // Whatever follows is named after it.
        let mut before = "path";
        for segment in url.path().split('/').skip(1) {
            path.push_literal("/");
            plain.push('/');
            // Such as `cart;jsessionid=…`.
            let mut parts = segment.split(';');
            let first = parts.next().unwrap_or_default();
            match looks_secret(first) {
                true => {
                    path.push(&self.secret(before));
                    plain.push_str("(secret)");
                }
                false => {
                    path.push_literal(&utf8_percent_encode(first, UNWRITTEN).to_string());
                    plain.push_str(first);
                    before = first;
                }
            }
            for part in parts {
                path.push_literal(";");
                match part.split_once('=') {
                    Some((name, value)) if is_secret(name, value) => {
                        path.push_literal(&utf8_percent_encode(name, UNWRITTEN).to_string());
                        path.push_literal("=");
                        path.push(&self.secret(name));
                    }
                    _ if looks_secret(part) => path.push(&self.secret(before)),
                    _ => path.push_literal(&utf8_percent_encode(part, UNWRITTEN).to_string()),
                }
            }
        }
        let encoded = |text: &str| utf8_percent_encode(text, QUERY).to_string();
        for (index, (name, value)) in url.query_pairs().enumerate() {
            path.push_literal(if index == 0 { "?" } else { "&" });
            match looks_secret(&name) {
                true => path.push(&self.secret("query")),
                false => path.push_literal(&encoded(&name)),
            }
            path.push_literal("=");
            path.push(&self.value(&name, &value, encoded));
        }
        (path, plain)
    }

    /// The headers that are kept, and who sends the request.
    fn head(
        &mut self,
        request: &Request,
        body: Option<&Body>,
    ) -> (Vec<(String, Template)>, Option<Auth>) {
        let mut headers: Vec<(String, Template)> = Vec::new();
        let mut auth = None;
        for Pair { name, value } in &request.headers {
            let name = name.to_ascii_lowercase();
            // Those of HTTP/2 begin with a colon; `sec-websocket-key` and the like are of the connection.
            let is_of_connection = name.starts_with("sec-") || name.starts_with("proxy-");
            if is_of_connection
                || http::HeaderName::from_bytes(name.as_bytes()).is_err()
                || headers.iter().any(|(known, _)| *known == name)
            {
                continue;
            }
            if name == "cookie" {
                self.left.cookies = true;
            } else if name == "authorization" {
                auth = auth.or_else(|| self.authorization(value));
            } else if is_secret_name(&name) {
                if headers.len() < MAX_HEADERS {
                    let secret = self.secret(&name);
                    headers.push((name, secret));
                }
            } else if KEPT_HEADERS.contains(&name.as_str()) {
                let says_something = match name.as_str() {
                    // A client without it takes anything as well.
                    "accept" => value != "*/*",
                    "content-type" => body.is_some_and(|body| !is_implied(body, value)),
                    _ => true,
                };
                if is_sent(value) && says_something && !looks_secret(value) {
                    headers.push((name, Template::literal(value)));
                }
            } else if name.starts_with("x-") && self.left.headers.len() < MAX_HEADERS {
                self.left.headers.insert(name);
            }
        }
        // Some recordings have the type beside the body only.
        let media = request
            .post_data
            .as_ref()
            .map(|data| data.mime_type.as_str());
        if let (Some(Body::Text(_)), Some(media)) = (body, media)
            && headers.iter().all(|(name, _)| name != "content-type")
            && !media.is_empty()
            && is_sent(media)
        {
            headers.push(("content-type".to_owned(), Template::literal(media)));
        }
        (headers, auth)
    }

    fn authorization(&mut self, value: &str) -> Option<Auth> {
        self.left.replaced += 1;
        let scheme = value.split(' ').next().unwrap_or_default();
        Some(match scheme.to_ascii_lowercase().as_str() {
            "bearer" => Auth::Bearer(self.variable("token")),
            "basic" => Auth::Basic {
                user: self.variable("user"),
                password: self.variable("password"),
            },
            _ => Auth::Header {
                name: "authorization".to_owned(),
                value: Template::secret(&self.variable("authorization")),
            },
        })
    }

    /// The body; `None` where it can't be kept, `Some(None)` where there is none.
    fn body(&mut self, data: &PostData) -> Option<Option<Body>> {
        let media = data.mime_type.split(';').next().unwrap_or_default();
        let media = media.trim().to_ascii_lowercase();
        let text = data.text.as_deref().unwrap_or_default();
        if data
            .encoding
            .as_deref()
            .is_some_and(|encoding| !encoding.is_empty())
        {
            return None;
        }
        let of_params: usize = data
            .params
            .iter()
            .map(|pair| pair.name.len() + pair.value.len())
            .sum();
        if text.len() > MAX_BODY_BYTES || of_params > MAX_BODY_BYTES {
            return None;
        }
        if media == "application/x-www-form-urlencoded" {
            let of_text = || {
                url::form_urlencoded::parse(text.as_bytes())
                    .into_owned()
                    .collect()
            };
            let pairs: Vec<(String, String)> = match data.params.is_empty() {
                true => of_text(),
                false => {
                    let decoded = |text: &str| {
                        let text = text.replace('+', " ");
                        percent_encoding::percent_decode_str(&text)
                            .decode_utf8_lossy()
                            .into_owned()
                    };
                    let pairs = data.params.iter();
                    pairs
                        .map(|pair| (decoded(&pair.name), decoded(&pair.value)))
                        .collect()
                }
            };
            return self.form(&pairs);
        }
        if media == "application/json" || media.ends_with("+json") {
            if let Ok(value) = serde_json::from_str(text) {
                let written = json::text(&value, self.scenario)?;
                self.left.replaced += written.secrets.len();
                self.secrets.extend(written.secrets);
                return Some(Some(Body::Json(written.template)));
            }
            return None;
        }
        if text.is_empty() {
            // Parts of a form with files, of which the bytes are not recorded.
            return data.params.is_empty().then_some(None);
        }
        let is_textual = media.starts_with("text/") || media.ends_with("xml");
        let has_secret = text
            .split(|char: char| !(char.is_alphanumeric() || "_-.~+/=".contains(char)))
            .any(|word| looks_secret(word) || is_secret_name(word));
        let is_shown = !text.contains(|char: char| char.is_control() && !"\n\r\t".contains(char));
        (is_textual && is_shown && !has_secret).then(|| Some(Body::Text(Template::literal(text))))
    }

    /// The same of fields.
    fn form(&mut self, pairs: &[(String, String)]) -> Option<Option<Body>> {
        // Nothing could stand in the place of a name.
        if pairs.iter().any(|(name, _)| looks_secret(name)) {
            return None;
        }
        if pairs.is_empty() {
            return Some(None);
        }
        let mut names = BTreeSet::new();
        if pairs.iter().all(|(name, _)| names.insert(name)) {
            let fields = pairs.iter().map(|(name, value)| {
                let value = self.value(name, value, str::to_owned);
                (name.clone(), value)
            });
            return Some(Some(Body::Form(fields.collect())));
        }
        let encoded = |text: &str| utf8_percent_encode(text, QUERY).to_string();
        let mut text = Template::default();
        for (index, (name, value)) in pairs.iter().enumerate() {
            text.push_literal(if index == 0 { "" } else { "&" });
            text.push_literal(&encoded(name));
            text.push_literal("=");
            text.push(&self.value(name, value, encoded));
        }
        Some(Some(Body::Text(text)))
    }

    /// A value as `written` writes it, or the secret that stands in its place.
    fn value(&mut self, name: &str, value: &str, written: impl Fn(&str) -> String) -> Template {
        match !value.is_empty() && is_secret(name, value) {
            true => self.secret(name),
            false => Template::literal(&written(value)),
        }
    }

    fn secret(&mut self, name: &str) -> Template {
        self.left.replaced += 1;
        Template::secret(&self.variable(name))
    }

    fn variable(&mut self, name: &str) -> String {
        let variable = variable(self.scenario, name);
        self.secrets.insert(variable.clone());
        variable
    }
}

/// The steps of a page with its pauses, under a name that no other has.
fn flow(
    title: &str,
    mut timed: Vec<Timed>,
    names: &mut BTreeSet<String>,
    shortened: &mut bool,
) -> Flow {
    let mut gaps: Vec<u64> = timed
        .windows(2)
        .map(|two| match (two[0].end_ms, two[1].start_ms) {
            (Some(end), Some(start)) => u64::try_from(start.saturating_sub(end)).unwrap_or(0),
            _ => 0,
        })
        .collect();
    for gap in &mut gaps {
        if *gap < MIN_THINK_MS {
            *gap = 0;
        }
        *shortened |= *gap > MAX_THINK_MS;
        *gap = (*gap).min(MAX_THINK_MS);
    }
    let sum: u64 = gaps.iter().sum();
    if sum > MAX_PAGE_THINK_MS {
        *shortened = true;
        for gap in &mut gaps {
            *gap = *gap * MAX_PAGE_THINK_MS / sum;
        }
    }
    for (timed, gap) in timed.iter_mut().zip(&gaps) {
        timed.step.think_ms = gap / 100 * 100;
    }
    let first = timed.first().map_or("", |timed| timed.plain.as_str());
    let base = match first.trim_matches('/').trim_end_matches(".html") {
        "" => "home".to_owned(),
        place => name(place).unwrap_or_else(|| "page".to_owned()),
    };
    let mut unique = base.clone();
    let mut number = 2;
    while !names.insert(unique.clone()) {
        unique = format!("{base}-{number}");
        number += 1;
    }
    let title = match title.is_empty() || looks_secret(title) || title.contains("://") {
        true => String::new(),
        false => format!(" ({})", shown(title)),
    };
    Flow {
        name: unique,
        about: format!("What one visitor of this page did, with the pauses in between{title}."),
        course: Course::InOrder,
        steps: timed.into_iter().map(|timed| timed.step).collect(),
    }
}

/// Whether a text can be sent as the value of a header.
fn is_sent(value: &str) -> bool {
    value.len() <= MAX_HEADER_BYTES
        && value
            .bytes()
            .all(|byte| byte.is_ascii_graphic() || byte == b' ')
}

/// The host that was visited: that of the first page that was shown, or else the one that answered most. What only
/// leads to a page (from http to https, from a domain to its `www`) is often another, and so is what a page has in
/// its frames.
fn visited(entries: &[Entry]) -> Option<String> {
    let origin = |entry: &Entry| {
        let url = Url::parse(&entry.request.url).ok()?;
        let is_http = matches!(url.scheme(), "http" | "https") && url.has_host();
        is_http.then(|| url.origin().ascii_serialization())
    };
    let is_shown = |entry: &&Entry| {
        let status = entry.response.status;
        (200.0..300.0).contains(&status) || status == 304.0
    };
    let mut pages = entries
        .iter()
        .filter(is_shown)
        .filter(|entry| is_page(entry));
    if let Some(page) = pages.find_map(origin) {
        return Some(page);
    }
    let mut answers: Vec<(String, usize)> = Vec::new();
    for origin in entries.iter().filter(is_shown).filter_map(origin) {
        match answers.iter().position(|(known, _)| *known == origin) {
            Some(index) => answers[index].1 += 1,
            None if answers.len() < MAX_HOSTS => answers.push((origin, 1)),
            None => {}
        }
    }
    // Of several that answered as often, the first.
    let most = answers.into_iter().rev().max_by_key(|(_, count)| *count);
    most.map(|(origin, _)| origin)
        .or_else(|| entries.iter().find_map(origin))
}

/// Whether a browser showed the answer as a page, and not in a frame of one, which it says where it can.
fn is_page(entry: &Entry) -> bool {
    let mut headers = entry.request.headers.iter();
    let place = headers.find(|header| header.name.eq_ignore_ascii_case("sec-fetch-dest"));
    let is_document = entry.resource_type.as_deref() == Some("document")
        || entry.response.content.mime_type.starts_with("text/html");
    is_document && place.is_none_or(|place| place.value == "document")
}

/// Whether the client says this type of such a body by itself.
fn is_implied(body: &Body, content_type: &str) -> bool {
    let media = content_type.split(';').next().unwrap_or_default().trim();
    match body {
        Body::Json(_) => media.eq_ignore_ascii_case("application/json"),
        Body::Form(_) => media.eq_ignore_ascii_case("application/x-www-form-urlencoded"),
        Body::Text(_) => false,
    }
}

fn is_asset(entry: &Entry, url: &Url) -> bool {
    let by_kind = matches!(
        entry.resource_type.as_deref(),
        Some("image" | "stylesheet" | "script" | "font" | "media" | "manifest" | "texttrack")
    );
    let path = url.path().to_ascii_lowercase();
    let media = entry.response.content.mime_type.to_ascii_lowercase();
    by_kind
        || ASSETS.iter().any(|end| path.ends_with(end))
        || ASSET_TYPES.iter().any(|start| media.starts_with(start))
}

#[cfg(test)]
mod tests;
