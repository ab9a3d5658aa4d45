//! `plimsoll list`: the scenarios with what they do, or the sessions and runs in the store.

use jiff::Timestamp;
use serde_json::json;

use crate::harness::gate::exit;
use crate::harness::model::Arm;
use crate::harness::report::{format, text};
use crate::harness::scenario::{Arrivals, Plan, Spacing, catalogue, highest};
use crate::harness::store::{History, Query, RunSummary, SessionSummary, StoreError};

use super::args::{Global, ListArgs};
use super::failure::Failure;
use super::output::Output;
use super::workspace::{self, reading};

/// Lists.
pub(super) async fn run(global: &Global, output: &Output, args: &ListArgs) -> Result<u8, Failure> {
    if args.sessions {
        return sessions(global, output).await;
    }
    if let Some(session) = &args.runs {
        return runs(global, output, session).await;
    }
    let chosen = workspace::choose(&args.files, output)?;
    let plans: Vec<Plan> = workspace::all_variants(&chosen.files, output)?
        .into_iter()
        .flatten()
        .collect();
    if output.is_json() {
        let all: Vec<_> = plans
            .iter()
            .map(|plan| to_json(plan, args.metrics))
            .collect();
        output.answer_json(&all)?;
        return Ok(exit::PASS);
    }
    for plan in &plans {
        output.answer(&describe(plan, args.metrics))?;
    }
    Ok(exit::PASS)
}

async fn sessions(global: &Global, output: &Output) -> Result<u8, Failure> {
    let sessions = match workspace::existing_history(global).await? {
        Some(history) => history.sessions().await.map_err(reading)?,
        None => Vec::new(),
    };
    if output.is_json() {
        let all: Vec<_> = sessions.iter().map(session_to_json).collect();
        output.answer_json(&all)?;
    } else if sessions.is_empty() {
        output.say("no sessions yet; make one: plimsoll run");
    } else {
        let mut table = format!(
            "{:<22} {:<28} {:<20} {:>5} {:>5}\n",
            "session", "scenario", "started (UTC)", "runs", "valid"
        );
        for session in &sessions {
            table.push_str(&format!(
                "{:<22} {:<28} {:<20} {:>5} {:>5}\n",
                text::shown(&session.session, 22),
                text::shown(&session.scenario, 28),
                time(session.first_started_at),
                session.runs,
                session.valid_runs,
            ));
        }
        output.answer(&table)?;
    }
    Ok(exit::PASS)
}

/// The runs of a session, of whichever scenario.
async fn runs(global: &Global, output: &Output, session: &str) -> Result<u8, Failure> {
    let runs = match workspace::existing_history(global).await? {
        Some(history) => runs_of(&history, session).await.map_err(reading)?,
        None => Vec::new(),
    };
    if runs.is_empty() {
        return Err(Failure::usage(
            format!("there is no session `{session}` in the history"),
            "see what there is: plimsoll list --sessions; or make some: plimsoll run",
        ));
    }
    if output.is_json() {
        let all: Vec<_> = runs.iter().map(run_to_json).collect();
        output.answer_json(&all)?;
        return Ok(exit::PASS);
    }
    let mut table = format!(
        "{:<36} {:<20} {:>9} {:<7} {:<8} {}\n",
        "run", "started (UTC)", "took", "valid", "arm", "scenario"
    );
    for run in &runs {
        let pair = run.pair.map_or_else(String::new, |pair| format!(" {pair}"));
        table.push_str(&format!(
            "{:<36} {:<20} {:>9} {:<7} {:<8} {}\n",
            run.id.to_string(),
            time(run.started_at),
            format::duration_ns(run.duration_ns),
            if run.valid { "yes" } else { "no" },
            format!("{}{pair}", run.arm.map_or("–", Arm::name)),
            text::shown(&run.scenario, 40),
        ));
    }
    output.answer(&table)?;
    Ok(exit::PASS)
}

/// Oldest first; none where there is no such session.
async fn runs_of(history: &History, session: &str) -> Result<Vec<RunSummary>, StoreError> {
    let newest = match session {
        "latest" => {
            let query = Query {
                limit: Some(1),
                ..Query::default()
            };
            history.find(&query).await?.pop()
        }
        _ => None,
    };
    let session = newest.map_or_else(|| session.to_owned(), |newest| newest.session);
    let query = Query {
        session: Some(session),
        ..Query::default()
    };
    let mut runs = history.find(&query).await?;
    runs.reverse();
    Ok(runs)
}

fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

fn run_to_json(run: &RunSummary) -> serde_json::Value {
    json!({
        "id": run.id,
        "scenario": run.scenario,
        "session": run.session,
        "arm": run.arm,
        "pair": run.pair,
        "started_at": run.started_at,
        "duration_ns": run.duration_ns,
        "revision": run.revision,
        "valid": run.valid,
    })
}

fn session_to_json(session: &SessionSummary) -> serde_json::Value {
    json!({
        "session": session.session,
        "scenario": session.scenario,
        "fingerprint": session.fingerprint_id,
        "first_started_at": session.first_started_at,
        "last_started_at": session.last_started_at,
        "runs": session.runs,
        "valid_runs": session.valid_runs,
    })
}

fn to_json(plan: &Plan, metrics: bool) -> serde_json::Value {
    let mut value = json!({
        "scenario": plan.id(),
        "file": plan.file,
        "description": plan.description,
        "processes": plan.processes.iter().map(|process| &process.name).collect::<Vec<_>>(),
        "loads": plan.loads.iter().map(|load| &load.name).collect::<Vec<_>>(),
        "gates": plan.gates.iter().map(|gate| &gate.metric).collect::<Vec<_>>(),
    });
    if metrics {
        value["metrics"] = catalogue::nameable(plan)
            .iter()
            .map(|spec| json!({ "name": spec.path(), "unit": spec.unit, "better": spec.better }))
            .collect();
    }
    value
}

fn describe(plan: &Plan, metrics: bool) -> String {
    let mut lines = vec![format!("{}  {}", plan.id(), plan.file.display())];
    if !plan.description.is_empty() {
        lines.push(format!("  {}", text::one_line(&plan.description)));
    }
    let names: Vec<_> = plan
        .processes
        .iter()
        .map(|process| process.name.as_str())
        .collect();
    if !names.is_empty() {
        lines.push(format!("  starts {}", names.join(", ")));
    }
    for load in &plan.loads {
        let arrivals = match &load.arrivals {
            Arrivals::Open {
                stages,
                spacing,
                max_in_flight,
            } => format!(
                "open, up to {}/s{}, at most {max_in_flight} in flight",
                // To the second digit: a share of a mix has many.
                (highest(stages) * 100.0).round() / 100.0,
                match spacing {
                    Spacing::Even => "",
                    Spacing::Poisson => " at random",
                }
            ),
            Arrivals::Trace {
                arrivals,
                max_in_flight,
                ..
            } => format!("open, {arrivals} recorded arrivals, at most {max_in_flight} in flight"),
            Arrivals::Closed { .. } => {
                let users = load.arrivals.most_users().unwrap_or(0);
                format!("closed, up to {users} users")
            }
            Arrivals::Capacity {
                from, to, hold_ns, ..
            } => format!(
                "looks for its capacity from {from}/s to {to}/s, each rate for {}",
                format::duration_ns(*hold_ns)
            ),
        };
        let share = match plan.mix.get(&load.name) {
            Some(weight) => format!(" (weight {weight} of the mix)"),
            None => String::new(),
        };
        lines.push(format!(
            "  load {}: flow {}, {arrivals}{share}",
            load.name, load.flow
        ));
    }
    if !plan.loads.is_empty() && !plan.searches() {
        lines.push(format!(
            "  takes {} a run",
            format::duration_ns(plan.phases.total_ns())
        ));
    }
    for bench in &plan.benches {
        let targets = if bench.targets.is_empty() {
            "all".to_owned()
        } else {
            bench.targets.join(", ")
        };
        lines.push(format!(
            "  benches {targets}, {} invocations",
            bench.invocations
        ));
    }
    let gates: Vec<_> = plan.gates.iter().map(|gate| gate.metric.as_str()).collect();
    if !gates.is_empty() {
        lines.push(format!("  judges {}", gates.join(", ")));
    }
    if metrics {
        lines.push("  metrics that a gate can name:".to_owned());
        lines.extend(
            catalogue::nameable(plan)
                .iter()
                .map(|spec| format!("    {} ({})", spec.path(), spec.unit)),
        );
    }
    lines.push(String::new());
    lines.join("\n")
}
