//! Scenario files that are right: what ships, what the format allows, and what a plan's hash is of.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::path::{Path, PathBuf};

use plimsoll::harness::model::Unit;
use plimsoll::harness::scenario::{
    self, Arrivals, AuthPlan, BodyPlan, Code, ConditionPlan, CookieScope, ExtractSource,
    FeedFormat, FeedOrder, FlowPlan, HttpVersion, Part, PartContent, Pick, Plan, Problem, Ready,
    RequestPlan, RetryPlan, Reuse, Scenario, Spacing, Stage, StepPlan, Target, Template, TestPlan,
    ThinkPlan, catalogue,
};
use proptest::prelude::*;
use serde_json::Value;

/// The example of the design document, as it stands there: an excerpt, which names a flow and a
/// process without showing them.
const DESIGN: &str = include_str!("scenarios/design.toml");

fn parse(text: &str) -> Result<Scenario, Vec<Problem>> {
    scenario::parse(text, Path::new("tests/scenarios/inline.toml"))
}

fn plan(text: &str) -> Plan {
    parse(text).unwrap().plans.remove(0)
}

fn toml_files(folder: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    files.sort();
    files
}

/// A plan with what differs from machine to machine taken out.
fn portable(plan: &Plan) -> Value {
    let mut value = serde_json::to_value(plan).unwrap();
    let root = value["root"].as_str().unwrap().to_owned();
    value["root"] = "[root]".into();
    for feed in value["feeds"].as_object_mut().unwrap().values_mut() {
        let path = &mut feed["file"]["path"];
        *path = path.as_str().unwrap().replace(&root, "[root]").into();
    }
    shorten(&mut value);
    value
}

/// Of a text of very many parts, as a template of a thousand lines has, the first ones and how many there are.
fn shorten(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (key, field) in fields {
                match field.as_array_mut() {
                    Some(parts) if key == "parts" && parts.len() > 100 => {
                        let rest = parts.split_off(20).len();
                        parts.push(format!("and {rest} more").into());
                    }
                    _ => shorten(field),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(shorten),
        _ => {}
    }
}

#[test]
fn the_examples_of_the_documentation_are_scenarios() {
    let examples = |file: &str| -> Vec<String> {
        let text = std::fs::read_to_string(file).unwrap();
        let blocks = text.split("```toml\n").skip(1);
        blocks
            .map(|rest| rest.split("```").next().unwrap().to_owned())
            .collect()
    };
    let [shop, process] = examples("README.md").try_into().unwrap();
    plan(&shop);
    // "In place of `url`".
    let url = "url = \"http://127.0.0.1:8080\"\n";
    assert!(shop.contains(url), "{shop}");
    plan(&(shop.replace(url, "") + &process));
    let mut of_reference = examples("docs/SCENARIO.md").into_iter().skip(1);
    plan(&of_reference.next().unwrap());
    let excerpts: Vec<String> = of_reference.map(|excerpt| completed(&excerpt)).collect();
    assert!(excerpts.len() >= 8);
    for excerpt in excerpts {
        plan(&excerpt);
    }
}

/// An excerpt of a scenario with what it leaves out.
fn completed(excerpt: &str) -> String {
    let mut text = "schema = 1\nname = \"excerpt\"\n".to_owned();
    if !excerpt.starts_with("url") {
        text += "url = \"http://127.0.0.1:1\"\n";
    }
    text += excerpt;
    if !excerpt.contains("flow.") {
        text += "[[flow.home.step]]\nget = \"/\"\n";
    }
    if !excerpt.contains("load.") {
        text += "[load.users]\nclosed = { users = 1 }\n";
    }
    text
}

#[test]
fn the_shipped_scenarios_are_these_plans() {
    let mut names = Vec::new();
    for file in toml_files("scenarios") {
        assert!(scenario::looks_like_one(&file));
        let plans = scenario::check(&file).unwrap_or_else(|rejection| panic!("{rejection:?}"));
        for plan in &plans {
            assert_eq!(Path::new(&plan.name), file.file_stem().unwrap());
            insta::assert_json_snapshot!(format!("plan-{}", plan.id()), portable(plan));
            names.push(plan.id());
        }
    }
    assert_eq!(
        names,
        [
            "batch-million",
            "batch-million@servers",
            "clients-api",
            "clients-api@servers",
            "mixed-workload",
            "mixed-workload@servers",
            "query-mix",
            "query-mix@servers",
            "query-mix@before",
            "query-mix@servers-before",
            "quickstart",
            "read-heavy",
            "read-heavy@servers",
            "redis-outage",
        ]
    );
}

#[test]
fn both_variants_of_a_shipped_scenario_differ_in_their_processes_only() {
    let all = ["postgres", "redis", "service"];
    // Each pair of variants, and the processes of the one with servers.
    let cases: [(&str, &[&[&str]]); 5] = [
        ("batch-million", &[&all]),
        ("clients-api", &[&all]),
        ("mixed-workload", &[&all]),
        // Before caching there is no Redis either.
        ("query-mix", &[&all, &["postgres", "service"]]),
        ("read-heavy", &[&all]),
    ];
    for (name, expected) in cases {
        let plans = scenario::check(Path::new(&format!("scenarios/{name}.toml"))).unwrap();
        assert_eq!(plans.len(), 2 * expected.len(), "{name}");
        for plan in &plans {
            assert_eq!(plan.loads, plans[0].loads);
            assert_eq!(plan.gates, plans[0].gates);
        }
        for (pair, expected) in plans.chunks(2).zip(expected) {
            let [embedded, servers] = pair else {
                panic!("an odd variant of {name}");
            };
            assert_ne!(embedded.hash, servers.hash);
            assert_eq!(process_names(embedded), ["service"]);
            assert_eq!(process_names(servers), *expected);
            let (service, needed) = servers.processes.split_last().unwrap();
            let needed: Vec<&str> = needed.iter().map(|process| process.name.as_str()).collect();
            assert_eq!(service.needs, needed);
        }
    }
}

fn process_names(plan: &Plan) -> Vec<&str> {
    let names = plan.processes.iter().map(|process| &process.name);
    names.map(String::as_str).collect()
}

#[test]
fn the_shape_of_the_design_document_is_the_format() {
    let problems = parse(DESIGN).unwrap_err();
    let found: Vec<(Code, &str)> = problems
        .iter()
        .map(|problem| (problem.code, problem.message.as_str()))
        .collect();
    assert_eq!(
        found,
        [
            (Code::UnknownFlow, "there is no flow `write`"),
            (Code::UnknownProcess, "there is no process `redis`"),
        ],
        "nothing but the two things that the excerpt leaves out"
    );
    let completed = format!(
        "{DESIGN}
[[process]]
name = \"redis\"
start = \"redis-server --port {{port}}\"

[[flow.write.step]]
post = \"/api/v1/clients\"
json = {{ id = \"{{clients.id}}\" }}
"
    );
    let plan = plan(&completed);
    assert_eq!(plan.id(), "mixed-workload");
    assert_eq!(plan.target, Some(Target::Process("service".into())));
    assert_eq!(plan.phases.measure_ns, 30_000_000_000);
    let metrics: Vec<&str> = plan.gates.iter().map(|gate| gate.metric.as_str()).collect();
    assert_eq!(metrics, ["load.reads.p95"]);
    assert_eq!(plan.gates[0].max, Some(5e8));
    assert_eq!(plan.gates[0].regress, Some(0.05));
    assert_eq!(plan.gates[0].unit, Some(Unit::Nanoseconds));
    assert_eq!(plan.benches[0].targets, ["cache", "pool", "batch"]);
    assert_eq!(plan.faults[0].at_ns, 20_000_000_000);
}

#[test]
fn ten_lines_are_a_scenario() {
    let text = std::fs::read_to_string("tests/scenarios/good/ten-lines.toml").unwrap();
    assert!(text.lines().count() <= 10);
    let plan = scenario::check(Path::new("tests/scenarios/good/ten-lines.toml"))
        .unwrap()
        .remove(0);
    assert_eq!(plan.name, "ten-lines");
    assert_eq!(
        plan.target,
        Some(Target::Url("http://127.0.0.1:8000".into()))
    );
    assert_eq!(plan.loads[0].flow, "home");
    let Arrivals::Open {
        stages,
        max_in_flight,
        ..
    } = &plan.loads[0].arrivals
    else {
        panic!("not open");
    };
    assert_eq!(stages[0].duration_ns, plan.phases.total_ns());
    assert_eq!((stages[0].from, stages[0].to), (100.0, 100.0));
    assert_eq!(*max_in_flight, 100);
    // The address is kept as it was checked.
    let padded = text.replace(":8000\"", ":8000/ \"");
    assert_ne!(padded, text);
    assert_eq!(parse(&padded).unwrap().plans[0].target, plan.target);
    let step = requests_of(&plan.flows["home"])[0];
    assert_eq!(step.name, "GET /");
    assert_eq!(step.check.status, [(200, 399)]);
    assert_eq!(step.timeout_ns, 30_000_000_000);
    assert_eq!(
        (plan.phases.warmup_ns, plan.phases.measure_ns),
        (5_000_000_000, 30_000_000_000)
    );
    assert_eq!(
        (plan.phases.cooldown_ns, plan.phases.drain_ns),
        (0, 30_000_000_000)
    );
    assert_eq!(plan.runs, 5);
    assert_eq!(plan.generator.late_ns, 5_000_000);
}

/// An iteration that was begun just before the end can then come to its own, or a request of it run
/// into its timeout: were it cut off before, a server that hangs would be told from a good one by
/// nothing but its silence, and a good one with pauses between its steps would seem to fall behind.
#[test]
fn the_default_drain_is_the_longest_that_an_iteration_may_take() {
    let check = |steps: &str, drain: &str, expected_s: u64| {
        let plan = plan(&format!(
            "schema = 1\nname = \"d\"\nurl = \"http://127.0.0.1:1\"\n{steps}\n\
             [load.l]\nflow = \"a\"\nclosed = {{ users = 1 }}\n[phases]\n{drain}\n"
        ));
        assert_eq!(plan.phases.drain_ns, expected_s * 1_000_000_000, "{steps}");
    };
    let a = "[[flow.a.step]]\nget = \"/\"\n";
    let b = "[[flow.b.step]]\nget = \"/\"\n";
    check(a, "", 30);
    check(&format!("{a}timeout = \"2s\"\n"), "", 2);
    let both = format!("{a}timeout = \"2s\"\n{a}timeout = \"45s\"\n{b}timeout = \"3s\"\n");
    check(&both, "", 47);
    let pauses = both.replace("get", "think = { min = \"5s\", max = \"7s\" }\nget");
    check(&pauses, "", 54);
    // Nobody waits for longer who has not asked for it.
    let long = format!("{a}timeout = \"50s\"\n{a}timeout = \"20s\"\n");
    check(&long, "", 60);
    check(&long, "drain = \"70s\"", 70);
    check(&both, "drain = \"1s\"", 1);
    check(&both, "drain = \"0s\"", 0);
}

#[test]
fn whatever_the_format_allows_is_understood() {
    let file = Path::new("tests/scenarios/good/everything.toml");
    let plans = scenario::check(file).unwrap_or_else(|rejection| panic!("{rejection:?}"));
    let [small, large] = plans.as_slice() else {
        panic!("two variants");
    };
    let names = |plan: &Plan| -> Vec<String> {
        plan.processes
            .iter()
            .map(|process| process.name.clone())
            .collect()
    };
    assert_eq!(names(small), ["db", "service"]);
    assert_eq!(names(large), ["db", "cache", "service"]);
    assert_eq!(small.processes[0].ready_timeout_ns, 90_000_000_000);
    assert_eq!(small.processes[0].ready, Ready::Log(r"ready on \d+".into()));
    assert_eq!(large.processes[1].ready, Ready::Tcp);
    assert_eq!(large.processes[2].ready, Ready::Started);
    assert_eq!(large.processes[2].needs, ["cache", "db"]);
    let program = &small.processes[0].start.words[0];
    assert_eq!(program.as_literal(), Some("data base"));
    // What names a process of another variant is left out.
    assert_eq!(small.faults.len() + 1, large.faults.len());
    assert_eq!(small.gates.len() + 1, large.gates.len());

    let steps = requests_of(&small.flows["shop"]);
    let json = |step: usize| match &steps[step].body {
        Some(BodyPlan::Json(template)) => template
            .parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => text.clone(),
                part => format!("<{part:?}>"),
            })
            .collect::<String>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        json(0),
        r#"{"name":"<Feed { feed: "rows", column: "name" }>","list":[1,2.5,true,"é\"<Counter>"],"at":"1979-05-27"}"#
    );
    assert_eq!(
        json(1),
        r#"{"who": {"id": <Feed { feed: "rows", column: "id" }>, "t": "<Now>"}}"#
    );
    assert_eq!(steps[0].check.status, [(200, 200), (200, 299), (300, 302)]);
    assert_eq!(steps[1].name, "PUT /items/{id}?n={n}");
    let uniform = ThinkPlan::Uniform {
        min_ns: 0,
        max_ns: 1_000_000_000,
    };
    assert_eq!(steps[1].think, Some(uniform));
    let Some(BodyPlan::Text(text)) = &steps[3].body else {
        panic!("a text");
    };
    assert_eq!(text.parts[2], Part::Text(" {literal} {}".into()));

    assert_eq!(large.probes["queue"].unit, Unit::Other("jobs".into()));
    let limit = |metric: &str| {
        let gate = large
            .gates
            .iter()
            .find(|gate| gate.metric == metric)
            .unwrap();
        (gate.min, gate.max)
    };
    assert_eq!(limit("load.browse.p95"), (Some(1.0), Some(5e8)));
    assert_eq!(limit("process.cache.rss_max"), (None, Some(180e6)));
    assert_eq!(limit("process.service.cpu_mean"), (None, Some(1.5)));
    assert_eq!(limit("probe.queue"), (None, Some(5.0)));
    // What the process shows in seconds is judged in our unit.
    let query = &large.probes["query"];
    assert_eq!((&query.unit, query.scale), (&Unit::Nanoseconds, 1e9));
    assert_eq!(limit("probe.query"), (None, Some(1e8)));
    assert_eq!(limit("load.*.error_rate"), (None, Some(0.01)));
    assert_eq!(large.loads[1].allowed_dropped, 0.01);
    assert_eq!((large.loads[0].seed, large.runs), (7, 7));
    assert_ne!(large.loads[1].seed, large.loads[3].seed);
    assert_eq!(large.generator.cpu, 0.8);
}

fn good(name: &str) -> Plan {
    let file = format!("tests/scenarios/good/{name}.toml");
    let plans = scenario::check(Path::new(&file));
    plans
        .unwrap_or_else(|rejection| panic!("{rejection:#?}"))
        .remove(0)
}

/// The requests among all steps, in the order of the file.
fn requests_of(flow: &FlowPlan) -> Vec<&RequestPlan> {
    let steps = flow.all_steps().into_iter();
    let requests = steps.filter_map(|step| match step {
        StepPlan::Request(request) => Some(&**request),
        _ => None,
    });
    requests.collect()
}

/// Stages as seconds, values and waves: amplitude and seconds.
type Course = Vec<(f64, f64, f64, Option<(f64, f64)>)>;

fn course(stages: &[Stage]) -> Course {
    let seconds = |ns: u64| ns as f64 / 1e9;
    let stages = stages.iter().map(|stage| {
        let wave = stage
            .wave
            .map(|wave| (wave.amplitude, seconds(wave.period_ns)));
        (seconds(stage.duration_ns), stage.from, stage.to, wave)
    });
    stages.collect()
}

/// The stages of a load, and its `max_in_flight` and spacing where it is open.
fn staged(plan: &Plan, load: &str) -> (Course, Option<(u32, Spacing)>) {
    let load = plan.loads.iter().find(|known| known.name == load).unwrap();
    match &load.arrivals {
        Arrivals::Open {
            stages,
            spacing,
            max_in_flight,
        } => (course(stages), Some((*max_in_flight, *spacing))),
        Arrivals::Closed { stages, .. } => (course(stages), None),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_course_of_a_load_becomes_stages() {
    let plan = good("shapes");
    let check = |load: &str, expected: &Course, open: Option<(u32, Spacing)>| {
        assert_eq!(staged(&plan, load), (expected.clone(), open), "{load}");
    };
    let level = |seconds: f64, value: f64| (seconds, value, value, None);
    let stairs = [100.0, 200.0, 300.0, 400.0, 500.0].map(|rate| level(6.0, rate));
    check("stairs", &stairs.to_vec(), Some((500, Spacing::Even)));
    let spike = vec![level(15.0, 100.0), level(5.0, 2000.0), level(5.0, 100.0)];
    check("spike", &spike, Some((2000, Spacing::Even)));
    let sine = vec![
        (5.0, 0.0, 100.0, None),
        (20.0, 100.0, 100.0, Some((50.0, 10.0))),
    ];
    check("sine", &sine, Some((150, Spacing::Even)));
    check(
        "random",
        &vec![level(35.0, 500.0)],
        Some((50, Spacing::Poisson)),
    );
    // Half a user rounds up.
    let people = vec![
        level(3.0, 1.0),
        level(3.0, 6.0),
        level(3.0, 10.0),
        (20.0, 10.0, 10.0, Some((5.0, 4.0))),
    ];
    check("people", &people, None);

    let recorded = plan.loads.iter().find(|load| load.name == "recorded");
    let Arrivals::Trace {
        file,
        speed,
        arrivals,
        max_in_flight,
    } = &recorded.unwrap().arrivals
    else {
        panic!("no trace");
    };
    assert!(file.path.is_absolute() && file.path.ends_with("tests/scenarios/arrivals.csv"));
    assert_eq!(file.sha256.len(), 64);
    // Three in the busiest second are fewer than the least default.
    assert_eq!((*speed, *arrivals, *max_in_flight), (2.0, 12, 10));
    assert_eq!(plan.generator.workers, Some(2));
    let aborts: Vec<bool> = plan.gates.iter().map(|gate| gate.abort).collect();
    assert_eq!(aborts, [true, false]);
}

#[test]
fn a_mix_is_divided_by_weights() {
    let plan = good("mix");
    let weights: Vec<(&str, u32)> = plan
        .mix
        .iter()
        .map(|(load, weight)| (load.as_str(), *weight))
        .collect();
    assert_eq!(weights, [("reads", 5), ("writes", 1)]);
    let level = |seconds: f64, value: f64| vec![(seconds, value, value, None)];
    let poisson = |users| Some((users, Spacing::Poisson));
    assert_eq!(staged(&plan, "reads"), (level(35.0, 500.0), poisson(100)));
    assert_eq!(staged(&plan, "writes"), (level(35.0, 100.0), poisson(20)));
    assert_eq!(staged(&plan, "background"), (level(35.0, 3.0), None));

    let plan = good("mix-stages");
    let even = |users| Some((users, Spacing::Even));
    let ramp = |to: f64, amplitude: f64| {
        vec![
            (10.0, 0.0, to, None),
            (10.0, to, to, Some((amplitude, 5.0))),
        ]
    };
    assert_eq!(staged(&plan, "most"), (ramp(50.0, 25.0), even(75)));
    assert_eq!(staged(&plan, "few"), (ramp(10.0, 5.0), even(15)));

    let plan = good("mix-users");
    // Both have the course of all, of whose users each knows its own.
    let all = vec![
        (10.0, 7.0, 60.0, None),
        (10.0, 12.0, 12.0, Some((6.0, 5.0))),
    ];
    let own = |load: &str| {
        assert_eq!(staged(&plan, load), (all.clone(), None));
        let load = plan.loads.iter().find(|known| known.name == load).unwrap();
        let Arrivals::Closed { share, .. } = &load.arrivals else {
            panic!("{load:?}");
        };
        assert_eq!(
            load.arrivals.most_users(),
            Some(share.as_ref().unwrap().own(60).len() as u64)
        );
        share.as_ref().unwrap().own(18)
    };
    assert_eq!(own("few"), [4, 10, 16]);
    let others: Vec<u64> = (1..=18)
        .filter(|user| ![4, 10, 16].contains(user))
        .collect();
    assert_eq!(own("most"), others);
}

#[test]
fn a_search_has_its_rates_its_limits_and_its_capacity() {
    let plan = good("capacity");
    assert_eq!(
        plan.loads[0].arrivals,
        Arrivals::Capacity {
            from: 100.0,
            to: 50_000.0,
            within: 0.02,
            hold_ns: 20_000_000_000,
            spacing: Spacing::Poisson,
            max_in_flight: Some(1000),
        }
    );
    let limits = scenario::search_limits(&plan, &plan.loads[0]);
    let limits: Vec<_> = limits
        .iter()
        .map(|limit| (limit.metric.as_str(), limit.max, limit.min))
        .collect();
    assert_eq!(
        limits,
        [
            ("load.api.p90", Some(1e8), None),
            ("load.api.service.p90", Some(1e8), None),
            ("load.api.iteration.p90", Some(1e8), None),
            ("load.api.first_byte.p90", Some(1e8), None),
            ("load.api.connect.p90", Some(1e8), None),
            ("load.api.request.GET /.p90", Some(1e8), None),
            ("load.api.request.GET /.service.p90", Some(1e8), None),
            ("load.api.p95", Some(2e8), None),
            ("load.api.error_rate", Some(0.02), None),
            ("load.api.achieved", None, Some(0.99)),
        ]
    );
    let capacity = &plan.gates[3];
    assert_eq!((capacity.min, capacity.regress), (Some(2000.0), Some(0.1)));
    assert_eq!(capacity.unit, Some(Unit::PerSecond));
}

/// Where nobody says how long a rate is held, it is as long as the limits need at the lowest rate.
#[test]
fn a_rate_is_held_as_long_as_its_limits_need() {
    let check = |from: &str, metric: &str, expected_s: u64| {
        let plan = plan(&format!(
            "schema = 1\nname = \"h\"\nurl = \"http://127.0.0.1:1\"\n[[flow.f.step]]\nget = \"/\"\n\
             [load.a]\ncapacity = {{ from = \"{from}\", to = \"9000/s\" }}\n\
             [[gate]]\nmetric = \"{metric}\"\nmax = \"1s\"\n"
        ));
        let Arrivals::Capacity { hold_ns, .. } = plan.loads[0].arrivals else {
            panic!("no search");
        };
        assert_eq!(hold_ns, expected_s * 1_000_000_000, "{metric} from {from}");
    };
    check("100/s", "load.a.mean", 10);
    check("100/s", "load.a.p50", 10);
    check("100/s", "load.a.p95", 20);
    check("200/s", "load.*.p99", 50);
    check("1000/s", "load.a.p99", 10);
}

#[test]
fn the_hash_knows_traces_and_the_limits_of_a_search() {
    let hash = |trace: &str, lines: &str| {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("t.csv"), trace).unwrap();
        let text = format!(
            "schema = 1\nname = \"h\"\nurl = \"http://127.0.0.1:1\"\n[[flow.f.step]]\nget = \"/\"\n{lines}"
        );
        let scenario = scenario::parse(&text, &folder.path().join("h.toml"));
        scenario
            .unwrap_or_else(|problems| panic!("{problems:#?}"))
            .plans
            .remove(0)
            .hash
    };
    let traced = "[load.a]\nopen = { trace = \"t.csv\" }\n";
    assert_eq!(hash("7\n", traced), hash("7\n", traced), "another folder");
    assert_ne!(hash("7\n", traced), hash("8\n", traced));

    let search = |gates: &str| {
        let load = "[load.a]\ncapacity = { from = \"100/s\", to = \"200/s\" }\n";
        hash("7\n", &format!("{load}{gates}"))
    };
    let gate = |metric: &str, limit: &str| format!("[[gate]]\nmetric = \"{metric}\"\n{limit}\n");
    let mean = gate("load.a.mean", "max = \"1s\"");
    let errors = gate("load.a.error_rate", "max = \"2%\"");
    let base = search(&format!("{mean}{errors}"));
    assert_eq!(base, search(&format!("{errors}{mean}")), "another order");
    assert_ne!(base, search(&mean));
    assert_ne!(base, search(&format!("{mean}{errors}").replace("1s", "2s")));
    let capacity = gate("load.a.capacity", "min = \"150/s\"");
    assert_eq!(base, search(&format!("{mean}{errors}{capacity}")));
    // A weight and what comes of it are one thing.
    let mix = |weights: [u32; 2]| {
        let [a, b] = weights;
        let lines = format!(
            "[mix]\nopen = {{ rate = \"60/s\" }}\n[load.a]\nweight = {a}\n[load.b]\nweight = {b}\n"
        );
        hash("7\n", &lines)
    };
    assert_eq!(mix([5, 1]), mix([10, 2]));
    assert_ne!(mix([5, 1]), mix([4, 2]));
}

#[test]
fn whatever_a_journey_can_do_is_in_its_plan() {
    let file = Path::new("tests/scenarios/good/journeys.toml");
    let plan = scenario::check(file)
        .unwrap_or_else(|rejection| panic!("{rejection:?}"))
        .remove(0);
    assert_eq!(plan.http.version, HttpVersion::Two);
    assert_eq!(plan.http.reuse, Reuse::Iteration);
    assert_eq!(plan.http.accept_encoding.len(), 3);
    assert!(plan.http.tls.insecure);
    let client = plan.http.tls.client.as_ref().unwrap();
    assert!(client.key.is_absolute() && client.key.ends_with("tests/scenarios/certs/client.key"));
    let feed = |name: &str| {
        let feed = &plan.feeds[name];
        (feed.format, feed.order, feed.columns.join(","))
    };
    assert_eq!(
        feed("clients"),
        (FeedFormat::Csv, FeedOrder::Shuffled, "id,name".into())
    );
    assert_eq!(
        feed("visitors"),
        (FeedFormat::Json, FeedOrder::Unique, "id,name,is_new".into())
    );

    let env = |name: &str| Template {
        parts: vec![Part::Env(name.into())],
    };
    let shop = &plan.flows["shop"];
    assert_eq!(shop.cookies, CookieScope::User);
    assert_eq!(plan.flows["live"].cookies, CookieScope::Iteration);
    let requests = requests_of(shop);
    let [search, order, photo, album] = requests[..4] else {
        panic!("four requests first");
    };
    let names = |request: &RequestPlan| -> Vec<String> {
        let headers = request.address.headers.iter();
        headers.map(|(name, _)| name.clone()).collect()
    };
    assert_eq!(search.name, "GET /search?sort=name");
    assert_eq!(names(search), ["accept-language", "x-trace"]);
    assert_eq!(
        search
            .address
            .query
            .iter()
            .map(|(name, _)| &**name)
            .collect::<Vec<_>>(),
        ["q", "page"]
    );
    let token = Template {
        parts: vec![Part::Setup("token".into())],
    };
    assert_eq!(search.address.auth, Some(AuthPlan::Bearer(token)));
    assert_eq!((search.timeout_ns, search.redirects), (5_000_000_000, 2));
    assert_eq!(
        search.retry,
        Some(RetryPlan {
            times: 2,
            status: vec![(502, 502), (503, 504)],
            on_connection_failure: false,
            wait_ns: 100_000_000,
        })
    );
    let check = &search.check;
    assert_eq!(
        (check.min_bytes, check.max_bytes),
        (Some(1024), Some(1 << 20))
    );
    assert_eq!(check.max_time_ns, Some(500_000_000));
    assert_eq!(check.body_matches.as_deref(), Some(r#"id="\d+""#));
    assert_eq!(search.extract["item"].pick, Pick::Random);
    assert_eq!(search.extract["title"].default.as_deref(), Some("none"));
    let csrf = ExtractSource::Html {
        selector: "form > input[name=csrf]".into(),
        attribute: Some("value".into()),
    };
    assert_eq!(search.extract["csrf"].from, csrf);

    // The names of headers have no case, so the step's own one is the only one.
    assert_eq!(names(order), ["X-Trace", "accept-language"]);
    assert_eq!(order.address.auth, None);
    assert_eq!(order.redirects, 0);
    let retry = order.retry.as_ref().unwrap();
    assert_eq!((retry.times, &*retry.status), (1, &[(500, 599)][..]));
    assert!(retry.on_connection_failure);
    let Some(BodyPlan::Json(template)) = &order.body else {
        panic!("JSON");
    };
    assert_eq!(
        template.parts[1],
        Part::Feed {
            feed: "clients".into(),
            column: "id".into()
        }
    );
    let normal = |max_ns| ThinkPlan::Normal {
        mean_ns: 2_000_000_000,
        sd_ns: 500_000_000,
        max_ns,
    };
    assert_eq!(order.think, Some(normal(4_000_000_000)));
    assert!(
        matches!(&photo.address.auth, Some(AuthPlan::Basic { password, .. }) if password.as_literal() == Some("x"))
    );
    assert_eq!(
        album.address.auth,
        Some(AuthPlan::Basic {
            user: Template::literal("ada"),
            password: env("PASSWORD")
        })
    );
    let exponential = ThinkPlan::Exponential {
        mean_ns: 2_000_000_000,
        max_ns: 9_000_000_000,
    };
    assert_eq!(photo.think, Some(exponential));
    assert_eq!(album.think.as_ref().unwrap().max_ns(), 1_200_000_000);
    let Some(BodyPlan::Multipart(parts)) = &album.body else {
        panic!("parts");
    };
    let heads: Vec<_> = parts
        .iter()
        .map(|part| {
            (
                &*part.name,
                part.filename.as_deref(),
                part.content_type.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        heads,
        [
            ("title", None, None),
            ("note", Some("note.md"), Some("text/markdown")),
            ("photo", Some("cat.jpg"), Some("application/octet-stream")),
        ]
    );
    let (Some(BodyPlan::File(file)), PartContent::File(part)) = (&photo.body, &parts[2].content)
    else {
        panic!("files");
    };
    assert_eq!(file, part);
    // `sha256sum tests/scenarios/cat.jpg`.
    assert_eq!(
        file.sha256,
        "32461d5bd1773012acef0ba15636752949bd7c2ce50f9172159d9f56cf0dd9af"
    );

    assert_eq!(shop.group_names().collect::<Vec<_>>(), ["checkout"]);
    let Some(StepPlan::Group { steps, .. }) = shop.steps.get(5) else {
        panic!("{:?}", shop.steps.get(5));
    };
    let [
        StepPlan::Repeat {
            times,
            until,
            steps,
        },
        StepPlan::If { otherwise, .. },
    ] = &steps[..]
    else {
        panic!("{steps:?}");
    };
    assert_eq!((times.min, times.max), (1, 3));
    assert!(matches!(
        until,
        Some(ConditionPlan::Value {
            test: TestPlan::Is(_),
            ..
        })
    ));
    assert!(matches!(
        &steps[..],
        [StepPlan::Request(_), StepPlan::Think(_)]
    ));
    assert_eq!(otherwise.len(), 1);
    let Some(StepPlan::Choose(branches)) = shop.steps.last() else {
        panic!("a choice");
    };
    let shares: Vec<_> = branches
        .iter()
        .map(|branch| (branch.weight, branch.steps.len()))
        .collect();
    assert_eq!(shares, [(3.0, 1), (0.5, 0)]);

    let live: Vec<&str> = plan.flows["live"].request_names().collect();
    assert_eq!(
        live,
        ["open", "expect 1", "events /stream?from={price}", "tick"]
    );
    let timeouts: Vec<u64> = plan.flows["live"]
        .steps
        .iter()
        .filter_map(|step| match step {
            StepPlan::Open(open) => Some(open.timeout_ns / 1_000_000_000),
            StepPlan::Expect(expect) => Some(expect.timeout_ns / 1_000_000_000),
            _ => None,
        })
        .collect();
    assert_eq!(timeouts, [2, 1, 10, 10]);

    let setup = requests_of(plan.setup.as_ref().unwrap());
    assert!(
        setup
            .iter()
            .all(|request| request.timeout_ns == 3_000_000_000)
    );
    let teardown = requests_of(plan.teardown.as_ref().unwrap());
    assert_eq!(
        teardown[0].address.path.parts[1],
        Part::Setup("first".into())
    );
}

/// What flows say of files is their contents: a project may be moved, and a payload changed.
#[test]
fn the_hash_is_of_what_files_hold_and_not_of_where_they_are() {
    let text = "schema = 1
name = \"a\"
url = \"https://127.0.0.1:1\"
http = { ca = \"c.pem\", certificate = \"c.pem\", key = \"k.pem\" }
setup.step = [{ post = \"/\", file = \"s\" }]
teardown.step = [{ post = \"/\", file = \"t\" }]
load.home.closed = { users = 1 }
[flow.home]
step = [
  { post = \"/\", template = \"x\", think = { recorded = \"r\" } },
  { group = \"g\", step = [{ repeat = 2, step = [{ post = \"/\", file = \"f\" }] }] },
  { if = { chance = 0.5 }, step = [{ think = { recorded = \"r\" } }], else = [{ post = \"/\", multipart = { p = { file = \"m\" } } }] },
  { choice = [{ weight = 1, step = [{ post = \"/\", file = \"d\" }] }] },
  { get = \"/\", check = { json = { \"$.file\" = { path = \"p\", sha256 = \"q\" } } } },
]
";
    let pem = |kind: &str| {
        let text = std::fs::read_to_string(format!("tests/scenarios/certs/client.{kind}"));
        text.unwrap()
    };
    let files = [
        ("c.pem", pem("pem")),
        ("k.pem", pem("key")),
        ("x", "{$now}".to_owned()),
        ("r", "1s\n".to_owned()),
        ("f", "f".to_owned()),
        ("m", "m".to_owned()),
        ("d", "d".to_owned()),
        ("s", "s".to_owned()),
        ("t", "t".to_owned()),
    ];
    let hash = |text: &str, changed: &str, to: &str| {
        let folder = tempfile::tempdir().unwrap();
        for (name, contents) in &files {
            let contents = if *name == changed {
                to
            } else {
                contents.as_str()
            };
            std::fs::write(folder.path().join(name), contents).unwrap();
        }
        let scenario = scenario::parse(text, &folder.path().join("a.toml"));
        scenario
            .unwrap_or_else(|problems| panic!("{problems:?}"))
            .plans
            .remove(0)
            .hash
    };
    let base = hash(text, "", "");
    assert_eq!(hash(text, "", ""), base, "another folder");
    let other_key = pem("key").replace("bm8g", "bm9g");
    assert_ne!(other_key, pem("key"));
    assert_eq!(hash(text, "k.pem", &other_key), base, "a renewed key");
    for name in ["x", "f", "m", "d", "s", "t"] {
        assert_ne!(hash(text, name, "other"), base, "{name}");
    }
    assert_ne!(hash(text, "r", "1s\n1s\n"), base);
    let both = pem("pem") + &pem("pem");
    assert_ne!(hash(text, "c.pem", &both), base);
    // What only looks like a file of the plan is what is demanded of an answer.
    assert_ne!(
        hash(&text.replace("path = \"p\"", "path = \"o\""), "", ""),
        base
    );
}

#[test]
fn every_gate_of_a_plan_finds_its_metrics() {
    let files = [toml_files("scenarios"), toml_files("tests/scenarios/good")].concat();
    assert!(files.len() > 6);
    for plan in files.iter().flat_map(|file| scenario::check(file).unwrap()) {
        for gate in &plan.gates {
            assert!(!catalogue::select(&plan, &gate.metric).unwrap().is_empty());
        }
    }
}

#[test]
fn the_hash_is_of_what_is_measured_and_of_nothing_else() {
    let text = "schema = 1
name = \"a\"
description = \"b\"
url = \"http://127.0.0.1:1\"
feed.rows.file = \"rows.csv\"
flow.home.step = [{ get = \"/{rows.id}\" }]
load.home.open = { rate = \"100/s\" }
gate = [{ metric = \"load.home.p95\", max = \"1s\" }]
";
    let hash = |text: &str, rows: &str| {
        // A folder of its own each time: where a project lies is not measured.
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("rows.csv"), rows).unwrap();
        let scenario = scenario::parse(text, &folder.path().join("a.toml"));
        scenario.unwrap().plans.remove(0).hash
    };
    let base = hash(text, "id\n1\n");
    assert_eq!(base.len(), 64);
    let check = |from: &str, to: &str, rows: &str, same: bool| {
        let changed = text.replace(from, to);
        assert!(changed != text || rows != "id\n1\n");
        assert_eq!(hash(&changed, rows) == base, same, "{from} → {to}");
    };
    check("\"a\"", "\"c\"", "id\n1\n", true);
    check("\"b\"", "\"c\"", "id\n1\n", true);
    check("1s", "2s", "id\n1\n", true);
    check(
        "schema = 1",
        "schema = 1 # again\nsampling.runs = 9",
        "id\n1\n",
        true,
    );
    check("100/s", "6000/min", "id\n1\n", true);
    check("100/s", "101/s", "id\n1\n", false);
    check("\"/{rows.id}\"", "\"/x/{rows.id}\"", "id\n1\n", false);
    check("127.0.0.1:1", "127.0.0.1:2", "id\n1\n", false);
    check(
        "schema = 1",
        "schema = 1\nphases.measure = \"31s\"",
        "id\n1\n",
        false,
    );
    check("schema", "schema", "id\n2\n", false);
}

#[cfg(unix)]
#[test]
fn a_link_does_not_lead_out_of_the_project() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret.csv"), "id\n1\n").unwrap();
    let project = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(
        outside.path().join("secret.csv"),
        project.path().join("rows.csv"),
    )
    .unwrap();
    let text = "schema = 1\nbench = [{}]\nfeed.rows.file = \"rows.csv\"\n";
    let problems = scenario::parse(text, &project.path().join("a.toml")).unwrap_err();
    assert_eq!(problems[0].code, Code::MissingFile);
}

#[test]
fn a_file_is_only_so_large() {
    let project = tempfile::tempdir().unwrap();
    let codes = |bytes: u64| -> Vec<Code> {
        let body = std::fs::File::create(project.path().join("body")).unwrap();
        body.set_len(bytes).unwrap();
        let text = "schema = 1\nurl = \"http://127.0.0.1:1\"\nload.l.closed = { users = 1 }\n\
                    flow.f.step = [{ post = \"/\", file = \"body\" }]\n";
        let problems = scenario::parse(text, &project.path().join("a.toml")).err();
        let problems = problems.into_iter().flatten();
        problems.map(|problem| problem.code).collect()
    };
    assert_eq!(codes(1 << 20), []);
    assert_eq!(codes((64 << 20) + 1), [Code::MissingFile]);
}

#[test]
fn deep_nesting_is_a_problem_and_no_crash() {
    let check = |text: String| {
        let problems = parse(&text).unwrap_err();
        assert!(!problems.is_empty());
    };
    check(format!("schema = {}", "[".repeat(100_000)));
    check(format!(
        "schema = 1\na = {}{}",
        "{ a = ".repeat(20_000),
        "}".repeat(20_000)
    ));
    check(format!("{} = 1", vec!["a"; 20_000].join(".")));
    let pattern = "(".repeat(50_000);
    check(format!("schema = 1\nbench = [{{ filter = '{pattern}' }}]"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() })]

    #[test]
    fn arbitrary_text_never_panics(text in "\\PC*") {
        well_placed(&text);
    }

    #[test]
    fn arbitrary_toml_never_panics(lines in prop::collection::vec(line(), 0..30)) {
        well_placed(&lines.join("\n"));
    }

    #[test]
    fn a_damaged_scenario_never_panics(at in 0.0..1.0_f64, length in 0_usize..60, patch in "[\\PC\n]{0,12}") {
        let whole = include_str!("scenarios/good/everything.toml");
        let start = floor_char(whole, (at * whole.len() as f64) as usize);
        let end = floor_char(whole, (start + length).min(whole.len()));
        well_placed(&format!("{}{patch}{}", &whole[..start], &whole[end.max(start)..]));
    }
}

/// Parses and checks that every problem lies in the text.
fn well_placed(text: &str) {
    if let Err(problems) = parse(text) {
        assert!(!problems.is_empty());
        for problem in problems {
            assert!(text.get(problem.span.clone()).is_some() || problem.span.is_empty());
            assert!(problem.span.end <= text.len());
            assert!(problem.line >= 1 && problem.column >= 1);
        }
    }
}

fn floor_char(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// A line of TOML with the words of a scenario in it.
fn line() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec![
        "schema",
        "name",
        "url",
        "variants",
        "start",
        "ready",
        "file",
        "get",
        "json",
        "check",
        "extract",
        "flow",
        "open",
        "rate",
        "stages",
        "closed",
        "users",
        "measure",
        "ratio",
        "max",
        "at",
        "stop",
        "metric",
        "regress",
        "targets",
        "filter",
        "think",
        "after",
        "env",
        "target",
        "capacity",
        "weight",
        "trace",
        "speed",
        "arrivals",
        "steps",
        "mean",
        "amplitude",
        "period",
        "from",
        "to",
        "for",
        "within",
        "hold",
        "abort",
        "workers",
        "step",
        "else",
        "if",
        "until",
        "repeat",
        "group",
        "choice",
        "send",
        "expect",
        "websocket",
        "multipart",
        "template",
        "retry",
        "bearer",
        "basic",
        "auth",
        "headers",
        "query",
        "proxy",
    ]);
    let value = prop_oneof![
        Just("1".to_owned()),
        Just("true".to_owned()),
        Just("nan".to_owned()),
        Just("1979-05-27".to_owned()),
        Just("[]".to_owned()),
        Just("[{}]".to_owned()),
        Just("{ http = \"/\", min = \"1s\", json = \"$.a\" }".to_owned()),
        Just("[{ for = \"1s\", rate = \"1/s\" }]".to_owned()),
        Just("[{ for = \"1s\", from = 0, to = 7, steps = 3 }]".to_owned()),
        Just("[{ for = \"1s\", mean = \"1/s\", amplitude = \"2/s\", period = \"0s\" }]".to_owned()),
        Just("{ from = \"10/s\", to = \"1/s\", rate = \"nan/s\" }".to_owned()),
        Just(
            "[{ get = \"/{a}\", step = [{ send = \"{a.b}\" }], extract.a.html = \"p\" }]"
                .to_owned()
        ),
        Just(
            "{ value = \"{setup.a}\", is = \"\", chance = 2, file = \"a\", mean = \"1s\" }"
                .to_owned()
        ),
        "\"[a-z{}$./0-9 ]{0,12}\"",
        prop::sample::select(vec![
            "\"a\"",
            "\"5s\"",
            "\"10/s\"",
            "\"/\"",
            "\"{port}\"",
            "\"load.a.p95\""
        ])
        .prop_map(str::to_owned),
    ];
    let header = prop::sample::select(vec![
        "[[process]]",
        "[feed.a]",
        "[[flow.a.step]]",
        "[[flow.a.step.step]]",
        "[[setup.step]]",
        "[teardown]",
        "[http]",
        "[load.a]",
        "[load.b]",
        "[mix]",
        "[mix.open]",
        "[load.a.capacity]",
        "[load.a.open]",
        "[phases]",
        "[probe]",
        "[probe.a]",
        "[[fault]]",
        "[[gate]]",
        "[[bench]]",
        "[sampling]",
        "[generator]",
        "[flow]",
        "[[load]]",
    ]);
    prop_oneof![
        3 => (key, value).prop_map(|(key, value)| format!("{key} = {value}")),
        1 => header.prop_map(str::to_owned),
    ]
}

/// The lengths of the stages together did not fit into 64 bits.
#[test]
fn stages_without_end_are_a_problem_and_no_panic() {
    let stage = "{ for = \"30d\", rate = \"1/s\" },";
    let text = format!(
        "schema = 1\nurl = \"http://127.0.0.1:1\"\n[[flow.f.step]]\nget = \"/\"\n[load.l]\nopen = {{ stages = [{}] }}",
        stage.repeat(8_000)
    );
    let problems = parse(&text).unwrap_err();
    assert!(
        problems
            .iter()
            .all(|problem| problem.message == "the stages are longer than the phases"),
        "{problems:?}"
    );
}

/// A generated flow with a name for each of its steps would fill the worker's memory.
#[test]
fn a_flow_has_a_bounded_number_of_request_names() {
    let check = |names: usize, steps: usize, expected: &[&str]| {
        let steps: String = (0..steps)
            .map(|number| {
                format!(
                    "[[flow.f.step]]\nget = \"/\"\nname = \"{}\"\n",
                    number % names
                )
            })
            .collect();
        let text = format!(
            "schema = 1\nurl = \"http://127.0.0.1:1\"\n{steps}[load.l]\nclosed = {{ users = 1 }}\n"
        );
        let problems = parse(&text).map_or_else(|problems| problems, |_| Vec::new());
        let found: Vec<_> = problems.iter().map(|problem| &*problem.message).collect();
        assert_eq!(found, expected, "{names}");
    };
    check(200, 500, &[]);
    check(
        203,
        500,
        &["the flow has more than 200 names of requests and groups"],
    );
}
