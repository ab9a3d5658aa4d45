//! The keys of loads: how iterations arrive.

use super::Presence::{Default, Optional, Required};
use super::Rule::{AtMostOne, Beside, ExactlyOne, Together};
use super::Shape::{Choice, Duration, Integer, List, Number, Rate, Share, Table, Text};
use super::{Key, MANY, TableSpec, key};

/// No generator of one machine offers more.
pub(crate) const MAX_RATE_PER_S: f64 = 10_000_000.0;
/// The users of one load.
pub(crate) const MAX_USERS: i64 = 100_000;
/// The ways to say how a load arrives, as its keys.
pub(crate) const WAYS: [&str; 4] = ["open", "closed", "capacity", "weight"];
/// More stairs in one stage are a ramp.
const MAX_STEPS: i64 = 1000;

pub(super) static LOAD: TableSpec = TableSpec {
    name: "load",
    description: "One load: a flow and how it arrives.",
    keys: &[
        key(
            "flow",
            Text,
            Default("the only flow"),
            "The flow that it drives.",
        ),
        key(
            "open",
            Table(&OPEN),
            Optional,
            "Iterations arrive at a rate, whatever the responses do.",
        ),
        key(
            "closed",
            Table(&CLOSED),
            Optional,
            "A number of users that wait for their answers.",
        ),
        key(
            "capacity",
            Table(&CAPACITY),
            Optional,
            "Iterations arrive at several rates in turn, to find the highest at which the limits on this load hold.",
        ),
        key(
            "weight",
            Integer(1, 1_000_000),
            Optional,
            "Its share of `[mix]`: this divided by the sum of all weights.",
        ),
        key(
            "seed",
            Integer(0, i64::MAX),
            Default("derived from the load's name"),
            "The seed of everything random in it.",
        ),
        key(
            "allowed_dropped",
            Share,
            Default("0.1%"),
            "The share of arrivals that may find no idle user before the run is invalid.",
        ),
    ],
    rules: &[ExactlyOne(&WAYS)],
};

static OPEN: TableSpec = TableSpec {
    name: "open",
    description: "The open model. Latencies count from the intended start.",
    keys: &[
        OPEN_RATE,
        OPEN_STAGES,
        key(
            "trace",
            Text,
            Optional,
            "A CSV file with the times of arrivals: a column of seconds from the start of the load, ascending.",
        ),
        key(
            "speed",
            Number,
            Default("1"),
            "How many times faster than recorded a trace arrives.",
        ),
        ARRIVALS,
        key(
            "max_in_flight",
            Integer(1, MAX_USERS),
            Default("the arrivals of one second, 10 to 10000"),
            "Users at most; an arrival that finds none idle is dropped.",
        ),
    ],
    rules: &[
        ExactlyOne(&["rate", "stages", "trace"]),
        AtMostOne(&["arrivals", "trace"]),
        Beside(&["speed"], &["trace"]),
    ],
};

const OPEN_RATE: Key = key(
    "rate",
    Rate,
    Optional,
    "Iterations per time, over all phases: `500/s`, `30/min`.",
);

const STAGE_OF_RATE: super::Shape = Table(&OPEN_STAGE);

const OPEN_STAGES: Key = key(
    "stages",
    List(&STAGE_OF_RATE, 1, MANY),
    Optional,
    "The rate over time; the last stage lasts until the end.",
);

const ARRIVALS: Key = key(
    "arrivals",
    Choice(&["even", "poisson"]),
    Default("even"),
    "How the arrivals of a rate are spaced: evenly, or at random and independent of one another.",
);

static OPEN_STAGE: TableSpec = TableSpec {
    name: "open_stage",
    description: "A stretch of the load: a constant rate, an even way from one to another, stairs, or a sine.",
    keys: &[
        key("for", Duration, Required, "How long."),
        key("rate", Rate, Optional, "The rate, where it is constant."),
        key("from", Rate, Optional, "The rate at its start."),
        key("to", Rate, Optional, "The rate at its end."),
        STEPS,
        key("mean", Rate, Optional, "The rate around which it swings."),
        key(
            "amplitude",
            Rate,
            Optional,
            "How far the rate swings to each side, at most as far as the mean.",
        ),
        PERIOD,
    ],
    rules: &[
        ExactlyOne(&["rate", "from", "mean"]),
        Together("from", "to"),
        Beside(&["steps"], &["from"]),
        Together("mean", "amplitude"),
        Together("mean", "period"),
    ],
};

const STEPS: Key = key(
    "steps",
    Integer(2, MAX_STEPS),
    Optional,
    "Stairs instead of an even way: so many of equal length and height, the first at `from`, the last at `to`.",
);

const PERIOD: Key = key(
    "period",
    Duration,
    Optional,
    "How long one swing takes, up, down and back.",
);

static CLOSED: TableSpec = TableSpec {
    name: "closed",
    description: "The closed model.",
    keys: &[
        key(
            "users",
            Integer(1, MAX_USERS),
            Optional,
            "Users, over all phases.",
        ),
        key(
            "stages",
            List(&Table(&CLOSED_STAGE), 1, MANY),
            Optional,
            "The number of users over time; the last stage lasts until the end.",
        ),
    ],
    rules: &[ExactlyOne(&["users", "stages"])],
};

static CLOSED_STAGE: TableSpec = TableSpec {
    name: "closed_stage",
    description: "A stretch of the load: a constant number of users, an even way from one to another, stairs, or a sine.",
    keys: &[
        key("for", Duration, Required, "How long."),
        key(
            "users",
            Integer(0, MAX_USERS),
            Optional,
            "The number of users, where it is constant.",
        ),
        key(
            "from",
            Integer(0, MAX_USERS),
            Optional,
            "The number of users at its start.",
        ),
        key(
            "to",
            Integer(0, MAX_USERS),
            Optional,
            "The number of users at its end.",
        ),
        STEPS,
        key(
            "mean",
            Integer(1, MAX_USERS),
            Optional,
            "The number of users around which it swings.",
        ),
        key(
            "amplitude",
            Integer(0, MAX_USERS),
            Optional,
            "How far the number of users swings to each side, at most as far as the mean.",
        ),
        PERIOD,
    ],
    rules: &[
        ExactlyOne(&["users", "from", "mean"]),
        Together("from", "to"),
        Beside(&["steps"], &["from"]),
        Together("mean", "amplitude"),
        Together("mean", "period"),
    ],
};

static CAPACITY: TableSpec = TableSpec {
    name: "capacity",
    description: "A search for the highest rate at which the limits on the load hold.",
    keys: &[
        key("from", Rate, Required, "The lowest rate that is tried."),
        key("to", Rate, Required, "The highest."),
        key(
            "within",
            Share,
            Default("5%"),
            "How close: the search ends where the rates between which the capacity lies differ by no more.",
        ),
        key(
            "hold",
            Duration,
            Default(
                "10s, up to 1min where a quantile that is gated needs it at the lowest rate, or on a load beside it",
            ),
            "How long each rate is measured, after the warm-up.",
        ),
        ARRIVALS,
        key(
            "max_in_flight",
            Integer(1, MAX_USERS),
            Default("the arrivals of one second of the rate that is tried, 10 to 10000"),
            "Users at most; an arrival that finds none idle is dropped.",
        ),
    ],
    rules: &[],
};

pub(super) static MIX: TableSpec = TableSpec {
    name: "mix",
    description: "One arrival process, shared by the loads that have a `weight`.",
    keys: &[
        key(
            "open",
            Table(&MIX_OPEN),
            Optional,
            "Iterations of all of them arrive at a rate, whatever the responses do.",
        ),
        key(
            "closed",
            Table(&CLOSED),
            Optional,
            "A number of users of all of them together, who wait for their answers.",
        ),
    ],
    rules: &[ExactlyOne(&["open", "closed"])],
};

static MIX_OPEN: TableSpec = TableSpec {
    name: "mix_open",
    description: "The open model of a mix.",
    keys: &[
        OPEN_RATE,
        OPEN_STAGES,
        ARRIVALS,
        key(
            "max_in_flight",
            Integer(1, MAX_USERS),
            Default("for each load the arrivals of one second, 10 to 10000"),
            "Users of all of them together at most; an arrival that finds none idle is dropped.",
        ),
    ],
    rules: &[ExactlyOne(&["rate", "stages"])],
};
