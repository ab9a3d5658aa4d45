//! The keys of requests: how they reach the target, what they say, what must come back.

use super::Presence::{Default, Optional, Required};
use super::Rule::{AtLeastOne, Beside, ExactlyOne, Together};
use super::Shape::{
    Any, Bool, Choice, Duration, Either, Integer, List, Size, StatusText, Table, Text, TextMap,
};
use super::{MANY, Shape, TableSpec, key};

/// Whoever is sent on more often than this is sent in a circle.
pub(super) const MAX_REDIRECTS: i64 = 20;
const MAX_RETRIES: i64 = 10;
const MAX_MESSAGES: i64 = 100_000;

/// Where a value can come from, as keys of an extraction.
const EXTRACTED_FROM: [&str; 5] = ["json", "header", "regex", "cookie", "html"];

/// One status or range of them, or several.
const STATUSES: Shape = Either(&[
    Integer(100, 599),
    StatusText,
    List(&Either(&[Integer(100, 599), StatusText]), 1, MANY),
]);

pub(super) static HTTP: TableSpec = TableSpec {
    name: "http",
    description: "How requests reach the target.",
    keys: &[
        key(
            "version",
            Choice(&["1.1", "2"]),
            Default("1.1"),
            "The version of HTTP; `2` is negotiated with an `https` target and taken for granted with an `http` one.",
        ),
        key(
            "reuse",
            Choice(&["user", "iteration", "request"]),
            Default("user"),
            "How long a connection is kept: for the life of its user, for an iteration, for one request.",
        ),
        key(
            "proxy",
            Text,
            Optional,
            "A proxy between the generator and the target: `http://HOST:PORT`, perhaps with `USER:PASSWORD@`. Templates: `{$env.NAME}`.",
        ),
        key(
            "accept_encoding",
            List(&Choice(&["gzip", "br", "zstd"]), 0, 3),
            Optional,
            "What answers may be compressed with; checks see them decompressed.",
        ),
        key(
            "ca",
            Text,
            Optional,
            "A PEM file of authorities that are trusted instead of the system's.",
        ),
        key(
            "certificate",
            Text,
            Optional,
            "A PEM file with the client's certificate and its chain.",
        ),
        key(
            "key",
            Text,
            Optional,
            "A PEM file with the key of that certificate, without a password.",
        ),
        key(
            "server_name",
            Text,
            Default("the target's host"),
            "The name that is asked for and expected in the server's certificate.",
        ),
        key(
            "insecure",
            Bool,
            Default("false"),
            "Whether any certificate of the server is taken.",
        ),
    ],
    rules: &[Together("certificate", "key")],
};

pub(super) static BASIC: TableSpec = TableSpec {
    name: "basic",
    description: "Who sends a request, as RFC 7617 has it.",
    keys: &[
        key(
            "user",
            Text,
            Required,
            "The user, a template; without a colon.",
        ),
        key("password", Text, Required, "The password, a template."),
    ],
    rules: &[],
};

pub(super) static RETRY: TableSpec = TableSpec {
    name: "retry",
    description: "When a request is tried again. All attempts are one request, within its timeout.",
    keys: &[
        key(
            "times",
            Integer(1, MAX_RETRIES),
            Required,
            "How often, after the first attempt.",
        ),
        key(
            "status",
            STATUSES,
            Default("none"),
            "Statuses after which it is: `503`, `[502, \"503-504\"]`, `\"5xx\"`.",
        ),
        key(
            "connection",
            Bool,
            Default("true"),
            "Whether it is where no connection was made, or it broke before the answer was whole.",
        ),
        key(
            "wait",
            Duration,
            Default("0s"),
            "The pause before each further attempt.",
        ),
    ],
    rules: &[],
};

pub(super) static PART: TableSpec = TableSpec {
    name: "part",
    description: "A part of a multipart body.",
    keys: &[
        key("text", Text, Optional, "Its text, a template."),
        key("file", Text, Optional, "A file whose bytes it is."),
        key(
            "type",
            Text,
            Default("application/octet-stream for a file"),
            "Its media type, such as `image/jpeg`.",
        ),
        key(
            "filename",
            Text,
            Default("that of the file"),
            "The name of the file that the server is told.",
        ),
    ],
    rules: &[ExactlyOne(&["text", "file"])],
};

pub(super) static CHECK: TableSpec = TableSpec {
    name: "check",
    description: "What must hold of an answer; a request that doesn't is an error.",
    keys: &[
        key(
            "status",
            STATUSES,
            Default("200-399"),
            "Statuses that are in order: `200`, `[200, 404]`, `\"2xx\"`, `\"200-299\"`.",
        ),
        key(
            "body_contains",
            Text,
            Optional,
            "A text that the body must contain.",
        ),
        key(
            "body_matches",
            Text,
            Optional,
            "A regular expression that the body must match somewhere.",
        ),
        key(
            "json",
            TextMap(&Any),
            Optional,
            "JSONPath expressions and the value each must have.",
        ),
        key(
            "headers",
            TextMap(&Either(&[Text, Bool])),
            Optional,
            "Headers and the value each must have; `true`: it must be there.",
        ),
        key(
            "size",
            Table(&SIZE),
            Optional,
            "How large the body may be, decompressed.",
        ),
        key(
            "time",
            Duration,
            Optional,
            "How long the request may take, from when it is sent to the last byte.",
        ),
    ],
    rules: &[],
};

static SIZE: TableSpec = TableSpec {
    name: "size",
    description: "How large a body may be.",
    keys: &[
        key("min", Size, Optional, "At least: `1KiB`."),
        key("max", Size, Optional, "At most: `1MiB`."),
    ],
    rules: &[AtLeastOne(&["min", "max"])],
};

pub(super) static EXTRACT: TableSpec = TableSpec {
    name: "extract",
    description: "Where a value comes from.",
    keys: &[
        key(
            "json",
            Text,
            Optional,
            "A match of this JSONPath in the body.",
        ),
        key("header", Text, Optional, "This header."),
        key(
            "regex",
            Text,
            Optional,
            "The first group of this regular expression in the body.",
        ),
        key(
            "cookie",
            Text,
            Optional,
            "The cookie of this name that the answer sets.",
        ),
        key(
            "html",
            Text,
            Optional,
            "An element of an HTML body, by this CSS selector.",
        ),
        key(
            "attribute",
            Text,
            Default("the text inside"),
            "The attribute of the element that is taken.",
        ),
        key(
            "pick",
            Choice(&["first", "last", "random"]),
            Default("first"),
            "Which of several matches is taken.",
        ),
        key(
            "default",
            Text,
            Optional,
            "The value where there is none; without it, that is a failure.",
        ),
    ],
    rules: &[
        ExactlyOne(&EXTRACTED_FROM),
        Beside(&["attribute"], &["html"]),
    ],
};

pub(super) static EXPECT: TableSpec = TableSpec {
    name: "expect",
    description: "Which messages are waited for; any, where nothing is said.",
    keys: &[
        key(
            "contains",
            Text,
            Optional,
            "A text that the message must contain.",
        ),
        key(
            "matches",
            Text,
            Optional,
            "A regular expression that it must match somewhere.",
        ),
        key(
            "json",
            TextMap(&Any),
            Optional,
            "JSONPath expressions and the value each must have in it.",
        ),
        key(
            "event",
            Text,
            Optional,
            "The name of the server-sent event.",
        ),
        key(
            "count",
            Integer(1, MAX_MESSAGES),
            Default("1"),
            "How many such messages.",
        ),
    ],
    rules: &[],
};
