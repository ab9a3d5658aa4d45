//! The body of a request: read, encoded and put together as far as that can be done before the
//! start.

use bytes::Bytes;
use http::header::HeaderValue;
use uuid::Uuid;

use super::feed::Feed;
use super::files::{FileError, read_checked};
use super::template::{Compiled, Names, Place, TemplateError, Values, form};
use crate::harness::scenario::{BodyPlan, PartContent, PartPlan, Template};

/// A compiled body.
#[derive(Debug)]
pub(super) enum Body {
    /// One content.
    Whole(Content),
    /// Several parts, some of which have values.
    Multipart(Vec<Part>),
}

/// A part of a multipart body.
#[derive(Debug)]
pub(super) struct Part {
    /// Its headers with the empty line after them.
    head: String,
    content: Content,
}

/// What is sent.
#[derive(Debug)]
pub(super) enum Content {
    /// Always the same.
    Fixed(Bytes),
    /// A text with values.
    Filled(Compiled),
}

/// Why a body could not be compiled.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// A text of it could not be resolved.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// A file of it could not be read.
    #[error("file {0}")]
    File(#[from] FileError),
}

/// What a header says of a body.
#[derive(Debug)]
pub(super) struct ContentType {
    /// The header's value; `None` where it is another in each request.
    pub(super) value: Option<HeaderValue>,
    /// Whether it wins over a header of the scenario, which can't know the boundary between parts.
    pub(super) is_needed: bool,
}

impl ContentType {
    fn usual(value: &'static str) -> Self {
        Self {
            value: Some(HeaderValue::from_static(value)),
            is_needed: false,
        }
    }
}

impl Body {
    /// Compiles a body, and says what it is.
    pub(super) fn new(
        plan: &BodyPlan,
        names: &Names<'_>,
    ) -> Result<(Self, ContentType), BodyError> {
        let text =
            |template: &Template, place| Content::text(template, place, names).map(Self::Whole);
        Ok(match plan {
            BodyPlan::Json(template) => (
                text(template, Place::Json)?,
                ContentType::usual("application/json"),
            ),
            BodyPlan::Text(template) => (
                text(template, Place::Plain)?,
                ContentType::usual("text/plain; charset=utf-8"),
            ),
            BodyPlan::Form(fields) => (
                text(&form(fields), Place::Url)?,
                ContentType::usual("application/x-www-form-urlencoded"),
            ),
            BodyPlan::File(file) => (
                Self::Whole(Content::Fixed(read_checked(file)?.into())),
                ContentType::usual("application/octet-stream"),
            ),
            BodyPlan::Multipart(parts) => {
                let parts = parts.iter().map(|part| Part::new(part, names));
                let parts = parts.collect::<Result<Vec<_>, _>>()?;
                let fixed = parts.iter().map(Part::fixed).collect::<Option<Vec<_>>>();
                let (body, value) = match fixed {
                    None => (Self::Multipart(parts), None),
                    Some(fixed) => {
                        let boundary = boundary();
                        let whole = Content::Fixed(joined(&boundary, &fixed));
                        (Self::Whole(whole), Some(multipart(&boundary)))
                    }
                };
                let is_needed = true;
                (body, ContentType { value, is_needed })
            }
        })
    }

    /// Whether it is another in each request.
    pub(super) fn is_filled(&self) -> bool {
        !matches!(self, Self::Whole(Content::Fixed(_)))
    }

    /// The body of one request, and its content type where that belongs to it alone. The error names
    /// a value that is missing.
    pub(super) fn filled(
        &self,
        values: &mut Values,
        feeds: &[Feed],
    ) -> Result<(Bytes, Option<HeaderValue>), String> {
        Ok(match self {
            Self::Whole(content) => (content.filled(values, feeds)?, None),
            Self::Multipart(parts) => {
                // Another one each time: what a server sent back may hold the one before.
                let boundary = boundary();
                let contents = parts
                    .iter()
                    .map(|part| Ok((part.head.as_str(), part.content.filled(values, feeds)?)));
                let contents = contents.collect::<Result<Vec<_>, String>>()?;
                (joined(&boundary, &contents), Some(multipart(&boundary)))
            }
        })
    }
}

impl Part {
    fn new(plan: &PartPlan, names: &Names<'_>) -> Result<Self, BodyError> {
        let mut head = format!(
            "content-disposition: form-data; name=\"{}\"",
            quoted(&plan.name)
        );
        if let Some(filename) = &plan.filename {
            head += &format!("; filename=\"{}\"", quoted(filename));
        }
        if let Some(content_type) = &plan.content_type {
            // Whatever a plan says, a part has no headers but these.
            head += &format!(
                "\r\ncontent-type: {}",
                content_type.replace(['\r', '\n'], " ")
            );
        }
        head += "\r\n\r\n";
        let content = match &plan.content {
            PartContent::File(file) => Content::Fixed(read_checked(file)?.into()),
            PartContent::Text(template) => Content::text(template, Place::Plain, names)?,
        };
        Ok(Self { head, content })
    }

    fn fixed(&self) -> Option<(&str, Bytes)> {
        match &self.content {
            Content::Fixed(bytes) => Some((&self.head, bytes.clone())),
            Content::Filled(_) => None,
        }
    }
}

impl Content {
    fn text(template: &Template, place: Place, names: &Names<'_>) -> Result<Self, BodyError> {
        let template = Compiled::new(template, place, names)?;
        Ok(match template.literal() {
            Some(text) => Self::Fixed(text.to_owned().into()),
            None => Self::Filled(template),
        })
    }

    fn filled(&self, values: &mut Values, feeds: &[Feed]) -> Result<Bytes, String> {
        match self {
            Self::Fixed(bytes) => Ok(bytes.clone()),
            Self::Filled(template) => Ok(template.filled(values, feeds)?.into()),
        }
    }
}

/// Parts with a boundary between them (RFC 2046, section 5.1).
fn joined(boundary: &str, parts: &[(&str, Bytes)]) -> Bytes {
    let length = |(head, content): &(&str, Bytes)| boundary.len() + head.len() + content.len() + 6;
    let mut body = Vec::with_capacity(parts.iter().map(length).sum::<usize>() + boundary.len() + 6);
    for (head, content) in parts {
        body.extend_from_slice(format!("--{boundary}\r\n{head}").as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    body.into()
}

/// What no content holds but by a chance of one in 2^122.
fn boundary() -> String {
    format!("plimsoll-{}", Uuid::new_v4().simple())
}

fn multipart(boundary: &str) -> HeaderValue {
    let value = format!("multipart/form-data; boundary={boundary}");
    HeaderValue::from_maybe_shared(Bytes::from(value)).expect("BUG: a boundary is plain text")
}

/// A name in quotation marks as browsers write it (HTML, "multipart form data").
fn quoted(name: &str) -> String {
    name.replace('"', "%22")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use std::collections::BTreeMap;

    use super::super::fixture;
    use super::super::job::Secrets;
    use super::*;
    use crate::harness::scenario;

    fn compiled(plan: &BodyPlan) -> Result<(Body, ContentType), BodyError> {
        let names = Names {
            feeds: &[],
            extracted: &["token".into()],
            setup: &BTreeMap::new(),
            secrets: &Secrets::default(),
        };
        Body::new(plan, &names)
    }

    /// The body and its content type in two requests.
    fn twice(plan: &BodyPlan) -> [(Bytes, String); 2] {
        let (body, usual) = compiled(plan).unwrap();
        let mut values = Values::new(1);
        values.renew(0, &[], 1).unwrap();
        values.extracted[0] = Some("a&\"b".into());
        [(); 2].map(|()| {
            let (bytes, own) = body.filled(&mut values, &[]).unwrap();
            let value = own.or_else(|| usual.value.clone()).unwrap();
            (bytes, value.to_str().unwrap().to_owned())
        })
    }

    fn token() -> Template {
        Template {
            parts: vec![
                scenario::Part::Text("<".into()),
                scenario::Part::Extracted("token".into()),
            ],
        }
    }

    fn text_part(content: Template) -> PartPlan {
        PartPlan {
            name: "a \"b\"\r\n".into(),
            filename: None,
            content_type: None,
            content: PartContent::Text(content),
        }
    }

    #[test]
    fn every_kind_of_body_is_encoded_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let check = |plan: BodyPlan, bytes: &[u8], content_type: &str| {
            for (found, of_type) in twice(&plan) {
                assert_eq!(found, bytes, "{plan:?}");
                assert_eq!(of_type, content_type, "{plan:?}");
            }
        };
        check(BodyPlan::Json(token()), b"<a&\\\"b", "application/json");
        check(
            BodyPlan::Text(token()),
            b"<a&\"b",
            "text/plain; charset=utf-8",
        );
        let fields = vec![
            ("k ".into(), token()),
            ("é".into(), Template::literal("1&2")),
        ];
        check(
            BodyPlan::Form(fields),
            b"k%20=%3Ca%26%22b&%C3%A9=1%262",
            "application/x-www-form-urlencoded",
        );
        let file = fixture::file(folder.path(), "a.bin", b"\x00\xff{x}");
        check(
            BodyPlan::File(file),
            b"\x00\xff{x}",
            "application/octet-stream",
        );
    }

    #[test]
    fn parts_are_told_apart_by_a_boundary() {
        let folder = tempfile::tempdir().unwrap();
        let file = PartPlan {
            name: "photo".into(),
            filename: Some("cat.jpg".into()),
            content_type: Some("image/jpeg".into()),
            content: PartContent::File(fixture::file(folder.path(), "cat.jpg", b"\xff\xd8")),
        };
        let check = |text: Template, shown: &str, is_fixed: bool| {
            let found = twice(&BodyPlan::Multipart(vec![text_part(text), file.clone()]));
            for (bytes, content_type) in &found {
                let boundary = content_type
                    .strip_prefix("multipart/form-data; boundary=")
                    .unwrap();
                let mut expected = format!(
                    "--{boundary}\r\n\
                     content-disposition: form-data; name=\"a %22b%22%0D%0A\"\r\n\r\n\
                     {shown}\r\n\
                     --{boundary}\r\n\
                     content-disposition: form-data; name=\"photo\"; filename=\"cat.jpg\"\r\n\
                     content-type: image/jpeg\r\n\r\n"
                )
                .into_bytes();
                expected.extend_from_slice(b"\xff\xd8\r\n");
                expected.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
                assert_eq!(bytes, &expected);
            }
            assert_eq!(found[0].1 == found[1].1, is_fixed, "{shown}");
        };
        check(Template::literal("fixed"), "fixed", true);
        check(token(), "<a&\"b", false);
    }

    #[test]
    fn a_file_that_is_gone_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = fixture::file(folder.path(), "a.bin", b"x");
        std::fs::remove_file(&file.path).unwrap();
        let error = compiled(&BodyPlan::File(file)).unwrap_err();
        assert!(matches!(error, BodyError::File(_)), "{error}");
    }
}
