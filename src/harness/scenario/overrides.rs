//! What a call changes of a plan that was read: how long it measures, its rates, its users.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;

use super::hash;
use super::keys::{MAX_RATE_PER_S, MAX_USERS};
use super::nearest::nearest;
use super::plan::{
    self, Arrivals, LoadPlan, MAX_FEED_BYTES, Plan, Stage, Wave, default_in_flight, length_ns,
};
use super::shares;
use super::trace::{NoTrace, Trace};

/// What a call changes of a plan.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Overrides {
    /// How long the measure phase takes, in ns.
    pub measure_ns: Option<u64>,
    /// Rates, in iterations per second.
    pub rates: Vec<Wanted<f64>>,
    /// Numbers of users.
    pub users: Vec<Wanted<u32>>,
}

/// What is wanted of a load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted<T> {
    /// The load; `None`: of the mix, or else of the only load that has such a number.
    pub load: Option<String>,
    /// The rate or the number of users; where it changes over time, its highest.
    pub value: T,
}

/// Why a plan can't be changed so.
#[derive(Debug, thiserror::Error)]
pub enum OverrideError {
    /// There is nothing to change.
    #[error("it has no loads")]
    NoLoads,
    /// No load has this name.
    #[error("it has no load `{load}`")]
    UnknownLoad {
        /// The name.
        load: String,
        /// What to do instead.
        remedy: String,
    },
    /// Several loads could be meant.
    #[error("it has several loads with {what}: {}", .loads.join(", "))]
    Ambiguous {
        /// What the loads have: `a rate`.
        what: &'static str,
        /// The loads.
        loads: Vec<String>,
    },
    /// One load was named twice.
    #[error("{what} is given twice for `{load}`")]
    Twice {
        /// What: `a rate`.
        what: &'static str,
        /// The load.
        load: String,
    },
    /// The load is part of a mix.
    #[error("what arrives at load `{load}` is its share of the mix")]
    Shared {
        /// The load.
        load: String,
    },
    /// The load has another model.
    #[error("load `{load}` {has}")]
    OtherModel {
        /// The load.
        load: String,
        /// What it has.
        has: &'static str,
        /// What to do instead.
        remedy: &'static str,
    },
    /// Nothing has such a number.
    #[error("none of its loads has {what}")]
    NoneHas {
        /// What: `a rate`.
        what: &'static str,
    },
    /// No such rate or number of users can be.
    #[error("{what} is {bounds}")]
    OutOfRange {
        /// What: `a rate`.
        what: &'static str,
        /// What it has to be.
        bounds: String,
    },
    /// Its share of the mix would be nobody.
    #[error("load `{load}` would get none of so few users")]
    Nobody {
        /// The load.
        load: String,
    },
    /// The load decides by itself how long it takes.
    #[error("load `{load}` looks for its capacity, for as long as that takes")]
    Search {
        /// The load.
        load: String,
    },
    /// The stages of a load don't fit into the phases any more.
    #[error("the stages of load `{load}` need a measure phase of at least {}s", *.measure_ns as f64 / 1e9)]
    TooShort {
        /// The load.
        load: String,
        /// How long it has to be, in ns.
        measure_ns: u64,
    },
    /// A trace doesn't fit the phases any more.
    #[error("{misfit}; the trace of load `{load}` would not fit")]
    Trace {
        /// The load.
        load: String,
        /// Why.
        misfit: String,
    },
    /// A trace is not what it was.
    #[error("the trace of load `{load}`, {}: {error}", .file.display())]
    TraceFile {
        /// The load.
        load: String,
        /// Its file.
        file: PathBuf,
        /// What is wrong with it.
        error: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A fault would never happen.
    #[error("its fault at {}s would come after the end", *.at_ns as f64 / 1e9)]
    Fault {
        /// When, in ns from the start of the load.
        at_ns: u64,
    },
}

impl OverrideError {
    /// What to do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::NoLoads => "name a scenario that has loads".to_owned(),
            Self::UnknownLoad { remedy, .. } => remedy.clone(),
            Self::Ambiguous { loads, .. } => {
                let first = loads.first().map_or("LOAD", String::as_str);
                format!("say which one: `{first}=…`")
            }
            Self::Twice { .. } => "give each load once".to_owned(),
            Self::Shared { .. } => {
                "name no load, and the mix is meant; or change the weights in the scenario"
                    .to_owned()
            }
            Self::OtherModel { remedy, .. } => (*remedy).to_owned(),
            Self::NoneHas { .. } => "see what they have: plimsoll list".to_owned(),
            Self::OutOfRange { .. } => "write another number".to_owned(),
            Self::Nobody { .. } => "give the mix more users".to_owned(),
            Self::Search { .. } => {
                "change `hold` in the scenario: how long each rate is measured".to_owned()
            }
            Self::TooShort { .. } | Self::Trace { .. } | Self::Fault { .. } => {
                "measure for longer, or change the scenario".to_owned()
            }
            Self::TraceFile { .. } => "leave the file alone while it is used".to_owned(),
        }
    }
}

impl Overrides {
    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.measure_ns.is_none() && self.rates.is_empty() && self.users.is_empty()
    }

    /// Changes the plan: stages keep their course and are scaled so that their highest value is the
    /// one that is wanted, the loads of a mix get their shares of it, and a `max_in_flight` that
    /// follows from the rate follows it. The hash is another one then, the same for the same changes of
    /// the same plan: what was measured without them is not comparable.
    ///
    /// # Errors
    /// Where a change doesn't fit the plan, which then stays as it is.
    pub fn apply(&self, plan: &mut Plan) -> Result<(), OverrideError> {
        let mut changed = plan.clone();
        if let Some(measure_ns) = self.measure_ns {
            set_measure(&mut changed, measure_ns)?;
        }
        let mut seen = BTreeSet::new();
        for rate in &self.rates {
            let loads = RATE.find(&changed, rate.load.as_deref(), &mut seen)?;
            RATE.check(rate.value)?;
            RATE.set(&mut changed, &loads, rate.value)?;
        }
        for users in &self.users {
            let loads = USERS.find(&changed, users.load.as_deref(), &mut seen)?;
            USERS.check(users.value.into())?;
            USERS.set(&mut changed, &loads, users.value.into())?;
        }
        if changed != *plan {
            changed.hash = hash::renewed(&changed);
            *plan = changed;
        }
        Ok(())
    }
}

/// Sets how long is measured, and looks whether everything still has its time.
fn set_measure(plan: &mut Plan, measure_ns: u64) -> Result<(), OverrideError> {
    if measure_ns == 0 {
        return Err(OverrideError::OutOfRange {
            what: "a measure phase",
            bounds: "longer than nothing".to_owned(),
        });
    }
    if plan.loads.is_empty() {
        return Err(OverrideError::NoLoads);
    }
    plan.phases.measure_ns = measure_ns;
    let phases = plan.phases;
    let total_ns = phases.total_ns();
    for load in &mut plan.loads {
        let name = || load.name.clone();
        match &mut load.arrivals {
            Arrivals::Open { stages, .. } | Arrivals::Closed { stages, .. } => {
                match &mut stages[..] {
                    [only] if only.is_constant() => only.duration_ns = total_ns,
                    stages if length_ns(stages) > total_ns => {
                        let outside_ns = phases.warmup_ns.saturating_add(phases.cooldown_ns);
                        return Err(OverrideError::TooShort {
                            load: name(),
                            measure_ns: length_ns(stages).saturating_sub(outside_ns),
                        });
                    }
                    _ => {}
                }
            }
            Arrivals::Trace { file, speed, .. } => {
                let wrong = |error| OverrideError::TraceFile {
                    load: name(),
                    file: file.path.clone(),
                    error,
                };
                let source = File::open(&file.path).map_err(|error| wrong(error.into()))?;
                let trace = Trace::read(source.take(MAX_FEED_BYTES), *speed, &phases)
                    .map_err(|error: NoTrace| wrong(error.into()))?;
                if let Some((misfit, _)) = trace.misfit(&phases) {
                    return Err(OverrideError::Trace {
                        load: name(),
                        misfit,
                    });
                }
            }
            Arrivals::Capacity { .. } => return Err(OverrideError::Search { load: name() }),
        }
    }
    match plan.faults.iter().find(|fault| fault.at_ns >= total_ns) {
        Some(fault) => Err(OverrideError::Fault { at_ns: fault.at_ns }),
        None => Ok(()),
    }
}

/// A number that loads of one model have.
struct Number {
    /// In a sentence.
    what: &'static str,
    largest: f64,
    /// What it has to be, by the largest.
    bounds: fn(f64) -> String,
    /// The stages of a load that has it.
    stages: fn(&Arrivals) -> Option<&[Stage]>,
    /// The stages of loads that share it, put together.
    together: fn(&[&[Stage]]) -> Vec<Stage>,
    scale: fn(&[Stage], f64) -> Vec<Stage>,
    /// What each of the loads with these weights has of stages.
    share: fn(&[Stage], &[u32]) -> Vec<Vec<Stage>>,
}

const RATE: Number = Number {
    what: "a rate",
    largest: MAX_RATE_PER_S,
    bounds: |most| format!("above 0 and at most {most}/s"),
    stages: |arrivals| match arrivals {
        Arrivals::Open { stages, .. } => Some(stages),
        _ => None,
    },
    together: added_up,
    scale: scaled_rate,
    share: shares::of_rate,
};

const USERS: Number = Number {
    what: "a number of users",
    largest: MAX_USERS as f64,
    bounds: |most| format!("1 to {most}"),
    stages: |arrivals| match arrivals {
        Arrivals::Closed { stages, .. } => Some(stages),
        _ => None,
    },
    // Each has the stages of all.
    together: |shares| shares.first().copied().unwrap_or_default().to_vec(),
    scale: scaled_users,
    share: |stages, weights| vec![stages.to_vec(); weights.len()],
};

impl Number {
    /// The places of the loads that are meant: one, or all of the mix. None may be meant twice.
    fn find(
        &self,
        plan: &Plan,
        named: Option<&str>,
        seen: &mut BTreeSet<usize>,
    ) -> Result<Vec<usize>, OverrideError> {
        let found = match named {
            Some(name) => vec![self.named(plan, name)?],
            None => self.unnamed(plan)?,
        };
        match found.iter().find(|at| !seen.insert(**at)) {
            Some(at) => Err(OverrideError::Twice {
                what: self.what,
                load: plan.loads[*at].name.clone(),
            }),
            None => Ok(found),
        }
    }

    fn named(&self, plan: &Plan, name: &str) -> Result<usize, OverrideError> {
        let known = || plan.loads.iter().map(|load| load.name.as_str());
        let Some(at) = known().position(|known| known == name) else {
            return Err(OverrideError::UnknownLoad {
                load: name.to_owned(),
                remedy: match nearest(name, known()) {
                    Some(nearest) => format!("did you mean `{nearest}`?"),
                    None => format!("it has {}", Vec::from_iter(known()).join(", ")),
                },
            });
        };
        let load = &plan.loads[at];
        if (self.stages)(&load.arrivals).is_none() {
            return Err(other_model(load));
        }
        if plan.mix.contains_key(name) {
            return Err(OverrideError::Shared {
                load: name.to_owned(),
            });
        }
        Ok(at)
    }

    fn unnamed(&self, plan: &Plan) -> Result<Vec<usize>, OverrideError> {
        let has_it = |at: &usize| (self.stages)(&plan.loads[*at].arrivals).is_some();
        let fitting: Vec<usize> = (0..plan.loads.len()).filter(has_it).collect();
        let name = |at: &usize| plan.loads[*at].name.clone();
        let (shared, own): (Vec<usize>, Vec<usize>) = fitting
            .into_iter()
            .partition(|at| plan.mix.contains_key(&plan.loads[*at].name));
        match (&own[..], &plan.loads[..]) {
            _ if !shared.is_empty() => Ok(shared),
            ([only], _) => Ok(vec![*only]),
            ([], []) => Err(OverrideError::NoLoads),
            ([], [only]) => Err(other_model(only)),
            ([], _) => Err(OverrideError::NoneHas { what: self.what }),
            (several, _) => Err(OverrideError::Ambiguous {
                what: self.what,
                loads: several.iter().map(name).collect(),
            }),
        }
    }

    fn check(&self, value: f64) -> Result<(), OverrideError> {
        if value > 0.0 && value <= self.largest {
            return Ok(());
        }
        Err(OverrideError::OutOfRange {
            what: self.what,
            bounds: (self.bounds)(self.largest),
        })
    }

    /// Gives the loads together this as their highest value, each its share.
    fn set(&self, plan: &mut Plan, loads: &[usize], highest: f64) -> Result<(), OverrideError> {
        let weights: Vec<u32> = loads
            .iter()
            .map(|at| plan.mix.get(&plan.loads[*at].name).copied().unwrap_or(1))
            .collect();
        let stages = loads.iter();
        let stages: Vec<&[Stage]> = stages
            .filter_map(|at| (self.stages)(&plan.loads[*at].arrivals))
            .collect();
        let scaled = (self.scale)(&(self.together)(&stages), highest);
        for (at, own) in loads.iter().zip((self.share)(&scaled, &weights)) {
            let load = &mut plan.loads[*at];
            match &mut load.arrivals {
                Arrivals::Open {
                    stages,
                    max_in_flight,
                    ..
                } => {
                    if plan.default_in_flight.contains(&load.name) {
                        *max_in_flight = default_in_flight(&own);
                    }
                    *stages = own;
                }
                Arrivals::Closed { stages, .. } => *stages = own,
                Arrivals::Trace { .. } | Arrivals::Capacity { .. } => {}
            }
            if load.arrivals.most_users() == Some(0) {
                return Err(OverrideError::Nobody {
                    load: load.name.clone(),
                });
            }
        }
        Ok(())
    }
}

/// What a load has instead of the number that was wanted.
fn other_model(load: &LoadPlan) -> OverrideError {
    let (has, remedy) = match &load.arrivals {
        Arrivals::Open { .. } => (
            "has a rate and no number of users",
            "give it another rate: --rate",
        ),
        Arrivals::Closed { .. } => (
            "has users and no rate",
            "give it another number of users: --users",
        ),
        Arrivals::Trace { .. } => (
            "arrives at recorded times",
            "change `speed` in the scenario",
        ),
        Arrivals::Capacity { .. } => (
            "looks for its rate by itself",
            "change `from` and `to` in the scenario",
        ),
    };
    OverrideError::OtherModel {
        load: load.name.clone(),
        has,
        remedy,
    }
}

fn added_up(shares: &[&[Stage]]) -> Vec<Stage> {
    let shares = shares.iter().map(|stages| stages.to_vec());
    let sum = shares.reduce(|sum, more| sum.iter().zip(&more).map(|(a, b)| added(a, b)).collect());
    sum.unwrap_or_default()
}

/// Two shares of one stage together.
fn added(one: &Stage, other: &Stage) -> Stage {
    let wave = |stage: &Stage| stage.wave.map_or(0.0, |wave| wave.amplitude);
    Stage {
        duration_ns: one.duration_ns,
        from: one.from + other.from,
        to: one.to + other.to,
        wave: one.wave.or(other.wave).map(|known| Wave {
            amplitude: wave(one) + wave(other),
            ..known
        }),
    }
}

fn scaled_rate(stages: &[Stage], highest: f64) -> Vec<Stage> {
    let before = plan::highest(stages);
    let stages = stages.iter();
    stages
        .map(|stage| stage.map(|value| value / before * highest))
        .collect()
}

/// Whole users; a wave reaches as high as its share of the highest, and not below nobody.
fn scaled_users(stages: &[Stage], highest: f64) -> Vec<Stage> {
    let before = plan::highest(stages);
    let scaled = |value: f64| value / before * highest;
    let of_stage = |stage: &Stage| {
        let from = scaled(stage.from).round();
        Stage {
            from,
            to: scaled(stage.to).round(),
            wave: stage.wave.map(|wave| Wave {
                amplitude: (scaled(stage.highest()) - from).max(0.0).min(from),
                ..wave
            }),
            ..*stage
        }
    };
    stages.iter().map(of_stage).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::harness::scenario::parse;

    const S: u64 = 1_000_000_000;

    /// The plan of a scenario with these lines.
    fn plan(lines: &str) -> Plan {
        let text = format!(
            "schema = 1\nname = \"s\"\nurl = \"http://127.0.0.1:1\"\n[[flow.f.step]]\nget = \"/\"\n{lines}\n"
        );
        let scenario = parse(&text, Path::new("s.toml"));
        let scenario = scenario.unwrap_or_else(|problems| panic!("{lines}: {problems:#?}"));
        scenario.plans[0].clone()
    }

    fn wanted<T>(load: &str, value: T) -> Wanted<T> {
        Wanted {
            load: (!load.is_empty()).then(|| load.to_owned()),
            value,
        }
    }

    fn rates(rates: &[(&str, f64)]) -> Overrides {
        Overrides {
            rates: rates
                .iter()
                .map(|(load, rate)| wanted(load, *rate))
                .collect(),
            ..Overrides::default()
        }
    }

    fn users(users: &[(&str, u32)]) -> Overrides {
        Overrides {
            users: users
                .iter()
                .map(|(load, users)| wanted(load, *users))
                .collect(),
            ..Overrides::default()
        }
    }

    fn measured(seconds: u64) -> Overrides {
        Overrides {
            measure_ns: Some(seconds * S),
            ..Overrides::default()
        }
    }

    /// What a plan becomes is what another scenario says, but for the hash, which is a third one.
    #[track_caller]
    fn check(lines: &str, overrides: &Overrides, expected: &str) {
        let before = plan(lines);
        let mut changed = before.clone();
        overrides.apply(&mut changed).unwrap();
        let expected = plan(expected);
        assert_ne!(changed.hash, before.hash);
        let hash = changed.hash.clone();
        assert_eq!(
            changed,
            Plan {
                hash: hash.clone(),
                ..expected
            }
        );
        let mut again = before;
        overrides.apply(&mut again).unwrap();
        assert_eq!(again.hash, hash, "the same changes are comparable");
    }

    #[track_caller]
    fn refused(lines: &str, overrides: &Overrides, expected: &str) {
        let before = plan(lines);
        let mut changed = before.clone();
        let error = overrides.apply(&mut changed).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!error.remedy().is_empty());
        assert_eq!(changed, before, "refused and yet changed");
    }

    const OPEN: &str = "[load.a]\nopen = { rate = \"100/s\" }";
    const CLOSED: &str = "[load.b]\nclosed = { users = 10 }";

    #[test]
    fn a_rate_is_that_of_the_only_load_that_has_one() {
        let both = format!("{OPEN}\n{CLOSED}");
        let faster = both.replace("100/s", "250/s");
        check(&both, &rates(&[("", 250.0)]), &faster);
        check(&both, &rates(&[("a", 250.0)]), &faster);
        check(
            &both,
            &users(&[("", 3)]),
            &both.replace("users = 10", "users = 3"),
        );
        let all = Overrides {
            users: vec![wanted("b", 3)],
            ..rates(&[("a", 250.0)])
        };
        check(&both, &all, &faster.replace("users = 10", "users = 3"));
        // The users of an open load follow its rate, unless the scenario says how many there are.
        let few = OPEN.replace("\" }", "\", max_in_flight = 7 }");
        check(&few, &rates(&[("", 9.0)]), &few.replace("100/s", "9/s"));
        // Also where it says what it would have been.
        let same = OPEN.replace("\" }", "\", max_in_flight = 100 }");
        check(
            &same,
            &rates(&[("", 250.0)]),
            &same.replace("100/s", "250/s"),
        );
    }

    #[test]
    fn stages_keep_their_course() {
        let open = |first: &str, from: &str, mean: &str, amplitude: &str| {
            format!(
                "[load.a]\nopen = {{ arrivals = \"poisson\", stages = [{{ for = \"5s\", rate = \"{first}/s\" }}, \
                 {{ for = \"5s\", from = \"{from}/s\", to = \"0/s\" }}, \
                 {{ for = \"5s\", mean = \"{mean}/s\", amplitude = \"{amplitude}/s\", period = \"1s\" }}] }}"
            )
        };
        check(
            &open("10", "50", "60", "40"),
            &rates(&[("", 200.0)]),
            &open("20", "100", "120", "80"),
        );
        let closed = |first: u32, to: u32, mean: u32, amplitude: u32| {
            format!(
                "[load.a]\nclosed = {{ stages = [{{ for = \"5s\", users = {first} }}, \
                 {{ for = \"5s\", from = 0, to = {to} }}, \
                 {{ for = \"5s\", mean = {mean}, amplitude = {amplitude}, period = \"1s\" }}] }}"
            )
        };
        // .3 of a user is nobody, 1.5 are two: also around which the wave goes, up to 3.
        check(&closed(1, 5, 5, 5), &users(&[("", 3)]), &closed(0, 2, 2, 1));
    }

    #[test]
    fn a_mix_is_changed_as_a_whole() {
        let mix = |rate: &str| {
            format!(
                "[mix]\nopen = {{ rate = \"{rate}\" }}\n[load.a]\nweight = 5\n[load.b]\nweight = 1\n\
                 [load.c]\nopen = {{ rate = \"1/s\" }}"
            )
        };
        check(&mix("600/s"), &rates(&[("", 900.0)]), &mix("900/s"));
        refused(
            &mix("600/s"),
            &rates(&[("a", 900.0)]),
            "its share of the mix",
        );
        let other = mix("600/s").replace("\"1/s\"", "\"2/s\"");
        check(&mix("600/s"), &rates(&[("c", 2.0)]), &other);
        let users_of = |users: u32| {
            format!(
                "[mix]\nclosed = {{ users = {users} }}\n[load.a]\nweight = 5\n[load.b]\nweight = 1"
            )
        };
        check(&users_of(7), &users(&[("", 60)]), &users_of(60));
        refused(&users_of(7), &users(&[("", 2)]), "load `b` would get none");
        let ramp = |to: u32| {
            format!(
                "[mix]\nclosed = {{ stages = [{{ for = \"5s\", from = 0, to = {to} }}] }}\n\
                 [load.a]\nweight = 5\n[load.b]\nweight = 1"
            )
        };
        check(&ramp(12), &users(&[("", 30)]), &ramp(30));
        let in_flight = |rate: u32, users: u32| {
            mix(&format!("{rate}/s")).replace(
                "/s\" }\n[load.a]",
                &format!("/s\", max_in_flight = {users} }}\n[load.a]"),
            )
        };
        check(
            &in_flight(600, 600),
            &rates(&[("", 900.0)]),
            &in_flight(900, 600),
        );
    }

    #[test]
    fn a_measure_phase_has_room_for_everything_in_it() {
        let long =
            |lines: &str, measure: &str| format!("{lines}\n[phases]\nmeasure = \"{measure}\"");
        check(&long(OPEN, "30s"), &measured(7), &long(OPEN, "7s"));
        check(&long(CLOSED, "30s"), &measured(70), &long(CLOSED, "70s"));
        let staged = "[load.a]\nopen = { stages = [{ for = \"9s\", rate = \"1/s\" }, { for = \"4s\", rate = \"2/s\" }] }";
        check(&long(staged, "30s"), &measured(8), &long(staged, "8s"));
        refused(staged, &measured(7), "a measure phase of at least 8s");
        let capacity = "[load.a]\ncapacity = { from = \"100/s\", to = \"200/s\" }\n\
                        [[gate]]\nmetric = \"load.a.mean\"\nmax = \"1s\"";
        refused(capacity, &measured(8), "looks for its capacity");
        refused(OPEN, &measured(0), "longer than nothing");
        refused("[[bench]]", &measured(8), "no loads");
        let fault = format!(
            "{OPEN}\n[[process]]\nname = \"db\"\nstart = \"db {{port}}\"\n[[fault]]\nat = \"20s\"\nstop = \"db\""
        );
        refused(&fault, &measured(15), "its fault at 20s");
    }

    #[test]
    fn a_trace_is_looked_at_again() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("t.csv"), "1\n6\n9\n").unwrap();
        let text = "schema = 1\nname = \"s\"\nurl = \"http://127.0.0.1:1\"\n[[flow.f.step]]\nget = \"/\"\n\
                    [load.a]\nopen = { trace = \"t.csv\" }\n";
        let scenario = parse(text, &folder.path().join("s.toml")).unwrap();
        let before = scenario.plans[0].clone();
        let apply = |overrides: &Overrides| {
            let mut plan = before.clone();
            overrides.apply(&mut plan).map(|()| plan.phases.measure_ns)
        };
        assert_eq!(apply(&measured(5)).unwrap(), 5 * S);
        let error = apply(&measured(4)).unwrap_err().to_string();
        assert!(
            error.contains("1 of its 3 arrivals come after the end"),
            "{error}"
        );
        let error = apply(&rates(&[("", 1.0)])).unwrap_err();
        assert!(error.remedy().contains("`speed`"), "{error}");
        std::fs::remove_file(folder.path().join("t.csv")).unwrap();
        let error = apply(&measured(5)).unwrap_err().to_string();
        assert!(error.contains("t.csv"), "{error}");
    }

    #[test]
    fn what_is_not_clear_is_not_guessed() {
        let two = format!("{OPEN}\n[load.c]\nopen = {{ rate = \"1/s\" }}");
        refused(
            &two,
            &rates(&[("", 1.0)]),
            "several loads with a rate: a, c",
        );
        refused(&two, &rates(&[("ab", 1.0)]), "no load `ab`");
        refused(
            &two,
            &rates(&[("a", 1.0), ("a", 2.0)]),
            "given twice for `a`",
        );
        refused(
            &two,
            &users(&[("", 1)]),
            "none of its loads has a number of users",
        );
        refused(
            OPEN,
            &users(&[("", 1)]),
            "has a rate and no number of users",
        );
        refused(CLOSED, &rates(&[("b", 1.0)]), "has users and no rate");
        refused(OPEN, &rates(&[("", 0.0)]), "a rate is above 0");
        refused(OPEN, &rates(&[("", 1e9)]), "at most 10000000/s");
        refused(CLOSED, &users(&[("", 0)]), "1 to 100000");
        refused("[[bench]]", &rates(&[("", 1.0)]), "no loads");
        let capacity = "[load.a]\ncapacity = { from = \"100/s\", to = \"200/s\" }\n\
                        [[gate]]\nmetric = \"load.a.mean\"\nmax = \"1s\"";
        refused(
            capacity,
            &rates(&[("", 1.0)]),
            "looks for its rate by itself",
        );
    }

    #[test]
    fn what_changes_nothing_leaves_the_plan_comparable() {
        let before = plan(OPEN);
        let mut same = before.clone();
        rates(&[("", 100.0)]).apply(&mut same).unwrap();
        assert_eq!(same, before);
        assert!(Overrides::default().is_empty() && !measured(1).is_empty());
    }
}
