//! The keys of flows: what a user does, step by step.

use super::Presence::{Default, Optional, Required};
use super::Rule::{AtLeastOne, AtMostOne, Beside, ExactlyOne, Together};
use super::Shape::{
    Bool, Choice, Duration, Either, Integer, Json, List, Map, Name, Number, Share, Table, Text,
    TextMap,
};
use super::request::{BASIC, CHECK, EXPECT, EXTRACT, MAX_REDIRECTS, PART, RETRY};
use super::{MANY, TableSpec, key};

/// The HTTP methods, as keys of a step.
pub(crate) const METHODS: [&str; 7] = ["get", "post", "put", "patch", "delete", "head", "options"];
/// What a step can be other than a request or a pause, by its key.
pub(crate) const OTHER_KINDS: [&str; 9] = [
    "websocket",
    "events",
    "expect",
    "send",
    "close",
    "group",
    "repeat",
    "if",
    "choice",
];
/// Every key that says of what kind a step is. A pause is a step of its own where none of them is.
const KINDS: [&str; 16] = joined(METHODS, OTHER_KINDS);
const KINDS_AND_PAUSE: [&str; 17] = joined(KINDS, ["think"]);
const PAUSE_AND_OTHER_KINDS: [&str; 10] = joined(["think"], OTHER_KINDS);
/// The steps that are sent to a path.
const ADDRESSED: [&str; 9] = joined(METHODS, ["websocket", "events"]);
/// The steps that are answered with a body or a message.
const ANSWERED: [&str; 8] = joined(METHODS, ["expect"]);
/// The steps that have a request name in metrics.
const TIMED: [&str; 10] = joined(ADDRESSED, ["expect"]);
/// The bodies of a request, as keys of a step.
pub(crate) const BODIES: [&str; 6] = ["json", "text", "form", "file", "template", "multipart"];
/// What can be asked of the text of a condition, as its keys.
const TESTS: [&str; 5] = ["is", "is_not", "matches", "above", "below"];
const TESTS_AND_CHANCE: [&str; 6] = joined(TESTS, ["chance"]);

/// How often a block of steps may be repeated.
const MAX_REPEATS: i64 = 10_000;

pub(super) static FLOW: TableSpec = TableSpec {
    name: "flow",
    description: "The steps that one virtual user performs, in order; one pass is an iteration.",
    keys: &[
        key(
            "step",
            List(&Table(&STEP), 1, MANY),
            Required,
            "The steps, in order.",
        ),
        key(
            "headers",
            TextMap(&Text),
            Optional,
            "Headers of every request; a step's header of the same name wins.",
        ),
        key(
            "basic",
            Table(&BASIC),
            Optional,
            "The user and the password of every request.",
        ),
        key(
            "bearer",
            Text,
            Optional,
            "The bearer token of every request, a template.",
        ),
        key(
            "timeout",
            Duration,
            Optional,
            "The timeout of every step that has none of its own.",
        ),
        key(
            "redirects",
            Integer(0, MAX_REDIRECTS),
            Default("0"),
            "How many redirects a request follows, on the target only.",
        ),
        key(
            "retry",
            Table(&RETRY),
            Optional,
            "When a request is tried again.",
        ),
        key(
            "cookies",
            Choice(&["iteration", "user", "none"]),
            Default("iteration"),
            "How long the cookies of the server are kept and sent back.",
        ),
    ],
    rules: &[AtMostOne(&["basic", "bearer"])],
};

static STEP: TableSpec = TableSpec {
    name: "step",
    description: "A request, a pause, a stream and its messages, or a block of other steps. Templates: `{FEED.COLUMN}`, `{EXTRACTED}`, `{setup.NAME}`, `{$env.NAME}`, `{$uuid}`, `{$counter}`, `{$random(LOW,HIGH)}`, `{$now}`.",
    keys: &[
        key("get", Text, Optional, "The path of a GET, with templates."),
        key(
            "post",
            Text,
            Optional,
            "The path of a POST, with templates.",
        ),
        key("put", Text, Optional, "The path of a PUT, with templates."),
        key(
            "patch",
            Text,
            Optional,
            "The path of a PATCH, with templates.",
        ),
        key(
            "delete",
            Text,
            Optional,
            "The path of a DELETE, with templates.",
        ),
        key(
            "head",
            Text,
            Optional,
            "The path of a HEAD, with templates.",
        ),
        key(
            "options",
            Text,
            Optional,
            "The path of an OPTIONS, with templates.",
        ),
        key(
            "name",
            Text,
            Default("method and path as written"),
            "The request name in metrics; steps of one name are counted together.",
        ),
        key(
            "query",
            TextMap(&Text),
            Optional,
            "Added to the query of the path, percent-encoded; values are templates.",
        ),
        key(
            "headers",
            TextMap(&Text),
            Optional,
            "Headers; values are templates.",
        ),
        key(
            "basic",
            Table(&BASIC),
            Optional,
            "The user and the password of this request.",
        ),
        key(
            "bearer",
            Text,
            Optional,
            "The bearer token of this request, a template.",
        ),
        key(
            "auth",
            Bool,
            Optional,
            "`false`: this request says nothing of who sends it, whatever the flow says.",
        ),
        key(
            "json",
            Json,
            Optional,
            "A JSON body: a table or an array whose texts are templates, or a template of JSON text.",
        ),
        key("text", Text, Optional, "A text body, a template."),
        key(
            "form",
            TextMap(&Text),
            Optional,
            "A form body; values are templates.",
        ),
        key("file", Text, Optional, "A file whose bytes are the body."),
        key(
            "template",
            Text,
            Optional,
            "A file whose text, a template, is the body: JSON where its name ends in `.json`.",
        ),
        key(
            "multipart",
            TextMap(&Either(&[Text, Table(&PART)])),
            Optional,
            "A body of several parts, by name: a text, which is a template, or a table.",
        ),
        key(
            "check",
            Table(&CHECK),
            Optional,
            "What must hold of the answer.",
        ),
        key(
            "extract",
            Map(&Table(&EXTRACT)),
            Optional,
            "Values of the answer or the message for later steps, by name.",
        ),
        key(
            "timeout",
            Duration,
            Default("that of the flow, else 30s, of a stream and a message 10s"),
            "How long the answer may take to its last byte, redirects and retries included; or a stream to be accepted, or messages to come.",
        ),
        key(
            "redirects",
            Integer(0, MAX_REDIRECTS),
            Default("that of the flow"),
            "How many redirects are followed, on the target only.",
        ),
        key(
            "retry",
            Table(&RETRY),
            Default("that of the flow"),
            "When the request is tried again.",
        ),
        key(
            "think",
            Either(&[Duration, Table(&THINK)]),
            Optional,
            "How long the user waits, after the request or as a step of its own.",
        ),
        key(
            "websocket",
            Text,
            Optional,
            "The path of a WebSocket that is opened, with templates.",
        ),
        key(
            "events",
            Text,
            Optional,
            "The path of a stream of server-sent events that is opened, with templates.",
        ),
        key(
            "send",
            Text,
            Optional,
            "A text that is sent over the open WebSocket, a template.",
        ),
        key(
            "expect",
            Table(&EXPECT),
            Optional,
            "Messages of the open stream that are waited for; others are passed over.",
        ),
        key(
            "close",
            Bool,
            Optional,
            "`true`: the open stream is closed. At the end of an iteration it is closed anyway.",
        ),
        key(
            "group",
            Name,
            Optional,
            "The name of a block whose time is a metric of its own, `load.LOAD.group.NAME.p95`.",
        ),
        key(
            "repeat",
            Either(&[Integer(1, MAX_REPEATS), Table(&TIMES)]),
            Optional,
            "How often a block is performed: a number, or any between two.",
        ),
        key(
            "until",
            Table(&CONDITION),
            Optional,
            "Ends the repetition, looked at after each pass; where it never holds, the iteration fails.",
        ),
        key(
            "if",
            Table(&CONDITION),
            Optional,
            "When a block is performed.",
        ),
        key(
            "choice",
            List(&Table(&BRANCH), 1, MANY),
            Optional,
            "Blocks of which one is performed, at random.",
        ),
        key(
            "step",
            List(&Table(&STEP), 1, MANY),
            Optional,
            "The steps of a block: of `group`, `repeat` or `if`.",
        ),
        key(
            "else",
            List(&Table(&STEP), 1, MANY),
            Optional,
            "The steps that are performed where the condition of `if` doesn't hold.",
        ),
    ],
    rules: &[
        Beside(&["else"], &["if"]),
        Beside(&["until"], &["repeat"]),
        AtMostOne(&KINDS),
        AtLeastOne(&KINDS_AND_PAUSE),
        AtMostOne(&PAUSE_AND_OTHER_KINDS),
        AtMostOne(&BODIES),
        AtMostOne(&["basic", "bearer", "auth"]),
        Beside(&BODIES, &METHODS),
        Beside(&["check", "redirects", "retry"], &METHODS),
        Beside(&["query", "headers", "basic", "bearer", "auth"], &ADDRESSED),
        Beside(&["extract"], &ANSWERED),
        Beside(&["name", "timeout"], &TIMED),
        Beside(&["step"], &["group", "repeat", "if"]),
        Beside(&["group", "repeat", "if"], &["step"]),
    ],
};

static THINK: TableSpec = TableSpec {
    name: "think",
    description: "A waiting time that is drawn anew each time.",
    keys: &[
        key(
            "min",
            Duration,
            Optional,
            "At least: any time up to `max`, all as likely.",
        ),
        key(
            "max",
            Duration,
            Default("the mean and four deviations, or ten exponential means"),
            "At most; what is drawn beyond it is drawn again.",
        ),
        key(
            "mean",
            Duration,
            Optional,
            "The mean of a normal distribution.",
        ),
        key(
            "deviation",
            Duration,
            Optional,
            "The standard deviation of a normal distribution.",
        ),
        key(
            "exponential",
            Duration,
            Optional,
            "The mean of an exponential distribution.",
        ),
        key(
            "recorded",
            Text,
            Optional,
            "A file with one duration a line, such as `850ms`: any of them.",
        ),
    ],
    rules: &[
        ExactlyOne(&["min", "mean", "exponential", "recorded"]),
        Together("mean", "deviation"),
        Beside(&["min"], &["max"]),
        Beside(&["max"], &["min", "mean", "exponential"]),
    ],
};

static CONDITION: TableSpec = TableSpec {
    name: "condition",
    description: "A text and a test that it must stand, or a chance.",
    keys: &[
        key(
            "value",
            Text,
            Optional,
            "The text, a template; a value that no step reached yet is empty.",
        ),
        key("is", Text, Optional, "It is this, a template."),
        key("is_not", Text, Optional, "It is not this, a template."),
        key(
            "matches",
            Text,
            Optional,
            "This regular expression matches somewhere in it.",
        ),
        key("above", Number, Optional, "It is a number above this."),
        key("below", Number, Optional, "It is a number below this."),
        key(
            "chance",
            Share,
            Optional,
            "Holds in this share of all cases, at random: `30%`.",
        ),
    ],
    rules: &[
        ExactlyOne(&TESTS_AND_CHANCE),
        AtMostOne(&["value", "chance"]),
        Beside(&TESTS, &["value"]),
    ],
};

static TIMES: TableSpec = TableSpec {
    name: "times",
    description: "Any number between two, at random.",
    keys: &[
        key("min", Integer(1, MAX_REPEATS), Required, "At least."),
        key("max", Integer(1, MAX_REPEATS), Required, "At most."),
    ],
    rules: &[],
};

static BRANCH: TableSpec = TableSpec {
    name: "branch",
    description: "One way to go on.",
    keys: &[
        key(
            "weight",
            Number,
            Required,
            "Its share is this divided by the sum of all weights.",
        ),
        key(
            "step",
            List(&Table(&STEP), 0, MANY),
            Required,
            "Its steps; `[]` for none.",
        ),
    ],
    rules: &[],
};

const fn joined<const A: usize, const B: usize, const BOTH: usize>(
    first: [&'static str; A],
    second: [&'static str; B],
) -> [&'static str; BOTH] {
    let mut both = [""; BOTH];
    let mut at = 0;
    while at < BOTH {
        both[at] = if at < A { first[at] } else { second[at - A] };
        at += 1;
    }
    both
}
