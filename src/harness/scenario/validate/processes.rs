//! Processes: commands, readiness, and the order in which they start.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::policies::positive;
use super::syntax::{check_path, regex_groups};
use super::values::{self, Scope};
use super::{SECOND_NS, stays_below, unique};
use crate::harness::scenario::plan::{CommandPlan, Part, ProcessPlan, Ready, Template};
use crate::harness::scenario::problem::{Code, Problems};
use crate::harness::scenario::raw::{self, Text};

const PORT_HELP: &str =
    "write `{port}` in `start` or in `env`; Plimsoll finds a free one for each run";

/// A process and what the plan doesn't keep of it.
pub(super) struct Process<'a> {
    /// Empty where the file has none that can be used, which has been said.
    pub(super) name: Text<'a>,
    pub(super) variant: Option<Text<'a>>,
    /// `target`, where it says so.
    pub(super) is_target: Option<bool>,
    /// Whether one of its templates holds its port.
    pub(super) has_port: bool,
    /// `needs` is still empty.
    plan: ProcessPlan,
    /// Processes that must be ready before it, and where it says so.
    mentions: Vec<Mention>,
}

struct Mention {
    name: String,
    span: Range<usize>,
    /// Whether a template asks for its port, rather than `after` for its readiness.
    wants_port: bool,
}

impl Process<'_> {
    /// Whether it may be the one that any unknown name means.
    pub(super) fn is_nameless(&self) -> bool {
        self.name.text.is_empty()
    }

    /// Says that something needs a port that the process was never told.
    pub(super) fn report_no_port(
        &self,
        why: &str,
        span: Range<usize>,
        problems: &mut Problems<'_>,
    ) {
        problems.report(
            Code::NoPort,
            span,
            format!(
                "process `{}` {why}, but is never told its port",
                self.name.text
            ),
            "needs a port",
            PORT_HELP,
        );
    }
}

pub(super) fn read<'a>(
    table: &'a DeTable<'_>,
    variants: &[String],
    problems: &mut Problems<'_>,
) -> Vec<Process<'a>> {
    raw::tables(table, "process")
        .into_iter()
        .map(|(table, span)| process(table, span, variants, problems))
        .collect()
}

fn process<'a>(
    table: &'a DeTable<'_>,
    span: Range<usize>,
    variants: &[String],
    problems: &mut Problems<'_>,
) -> Process<'a> {
    let name = raw::text(table, "name").unwrap_or(Text { text: "", span });
    let variant = raw::text(table, "variant");
    if let Some(variant) = &variant
        && !variants.iter().any(|known| known == variant.text)
    {
        problems
            .report(
                Code::UnknownVariant,
                variant.span.clone(),
                format!("there is no variant `{}`", variant.text),
                "no such variant",
                "add `variants = [\"…\", \"…\"]` at the top; the first is the default",
            )
            .suggest(variant.text, variants.iter().map(String::as_str));
    }
    let mut mentioned = Vec::new();
    let build = command(table, "build", &mut Scope::Build, problems);
    let mut scope = Scope::Process {
        name: name.text,
        mentions: &mut mentioned,
    };
    let prepare = command(table, "prepare", &mut scope, problems);
    let start = command(table, "start", &mut scope, problems);
    let env = env(table, &mut scope, problems);
    let has_port = prepare
        .iter()
        .chain(&start)
        .flat_map(|command| &command.words)
        .chain(env.values())
        .flat_map(|template| &template.parts)
        .any(|part| match part {
            Part::OwnPort => true,
            Part::UrlOf(other) => other == name.text,
            _ => false,
        });

    let mut mentions: Vec<Mention> = mentioned
        .into_iter()
        .map(|(name, span)| Mention {
            name,
            span,
            wants_port: true,
        })
        .collect();
    mentions.extend(raw::texts(table, "after").into_iter().map(|text| Mention {
        name: text.text.to_owned(),
        span: text.span,
        wants_port: false,
    }));
    let metrics = raw::text(table, "metrics");
    if let Some(path) = &metrics {
        check_path(path.text, path.span.clone(), problems);
    }
    let is_target = table
        .get("target")
        .and_then(|value| value.get_ref().as_bool());
    let process = Process {
        plan: ProcessPlan {
            name: name.text.to_owned(),
            build,
            prepare,
            start: start.unwrap_or(CommandPlan { words: Vec::new() }),
            ready: ready(table, has_port, problems),
            ready_timeout_ns: positive(table, "ready_timeout", problems).unwrap_or(60 * SECOND_NS),
            metrics: metrics.as_ref().map(|path| path.text.to_owned()),
            env,
            cwd: cwd(table, problems),
            stop_timeout_ns: raw::duration_ns(table, "stop_timeout").unwrap_or(10 * SECOND_NS),
            needs: Vec::new(),
        },
        name,
        variant,
        is_target,
        has_port,
        mentions,
    };
    if !has_port && table.contains_key("start") {
        if let Some(path) = metrics {
            process.report_no_port("has `metrics`", path.span, problems);
        }
        if let Some((ready, _)) = raw::table(table, "ready") {
            for (key, value) in raw::entries(ready) {
                let waits = value.get_ref().as_bool() != Some(false);
                if matches!(key.get_ref().as_ref(), "http" | "tcp") && waits {
                    process.report_no_port("is waited for on its port", key.span(), problems);
                }
            }
        }
    }
    process
}

/// The processes of a variant in the order in which they start: as in the file, but each after
/// those that it needs.
pub(super) fn in_order(
    here: &[&Process<'_>],
    all: &[Process<'_>],
    variant: Option<&str>,
    problems: &mut Problems<'_>,
) -> Vec<ProcessPlan> {
    let named = here.iter().filter(|process| !process.is_nameless());
    unique("processes", named.map(|process| &process.name), problems);
    let names: BTreeSet<&str> = here.iter().map(|process| process.name.text).collect();
    let mut waiting: Vec<(&Process<'_>, ProcessPlan)> = Vec::new();
    for process in here {
        let mut needs: Vec<String> = Vec::new();
        for mention in &process.mentions {
            match here.iter().find(|other| other.name.text == mention.name) {
                None => unknown(&mention.name, &mention.span, &names, all, variant, problems),
                Some(other) if mention.wants_port && !other.has_port => {
                    let why = format!("is asked for its port by `{}`", process.name.text);
                    other.report_no_port(&why, mention.span.clone(), problems);
                }
                Some(_) => {}
            }
            if names.contains(mention.name.as_str()) && !needs.contains(&mention.name) {
                needs.push(mention.name.clone());
            }
        }
        let plan = ProcessPlan {
            needs,
            ..process.plan.clone()
        };
        waiting.push((*process, plan));
    }

    let mut ordered: Vec<ProcessPlan> = Vec::new();
    while !waiting.is_empty() {
        let is_ready = |(_, plan): &(&Process<'_>, ProcessPlan)| {
            plan.needs
                .iter()
                .all(|need| ordered.iter().any(|other| &other.name == need))
        };
        match waiting.iter().position(is_ready) {
            Some(index) => ordered.push(waiting.remove(index).1),
            None => {
                report_cycle(&waiting, problems);
                ordered.extend(waiting.drain(..).map(|(_, plan)| plan));
            }
        }
    }
    ordered
}

/// Says that no process of the variant has this name, unless one may have been meant to.
pub(super) fn unknown(
    name: &str,
    span: &Range<usize>,
    names: &BTreeSet<&str>,
    all: &[Process<'_>],
    variant: Option<&str>,
    problems: &mut Problems<'_>,
) {
    if all.iter().any(Process::is_nameless) {
        return;
    }
    let is_elsewhere = all.iter().any(|process| process.name.text == name);
    let place = match variant {
        Some(variant) if is_elsewhere => format!(" in variant `{variant}`"),
        _ => String::new(),
    };
    problems
        .report(
            Code::UnknownProcess,
            span.clone(),
            format!("there is no process `{name}`{place}"),
            format!("no such process{place}"),
            "add `[[process]]` with this name",
        )
        .suggest(name, names.iter().copied());
}

/// Follows the needs of a process that can't start until they come back to one seen before.
fn report_cycle(waiting: &[(&Process<'_>, ProcessPlan)], problems: &mut Problems<'_>) {
    let by_name: BTreeMap<&str, &(&Process<'_>, ProcessPlan)> = waiting
        .iter()
        .map(|entry| (entry.1.name.as_str(), entry))
        .collect();
    let mut path: Vec<&str> = Vec::new();
    let mut at = waiting[0].1.name.as_str();
    while !path.contains(&at) {
        path.push(at);
        let next = by_name[at]
            .1
            .needs
            .iter()
            .find(|need| by_name.contains_key(need.as_str()));
        match next {
            Some(next) => at = next,
            None => return,
        }
    }
    let start = path.iter().position(|name| *name == at).unwrap_or(0);
    let mut circle = path[start..].to_vec();
    circle.push(at);
    let process = by_name[at].0;
    let span = process
        .mentions
        .iter()
        .find(|mention| mention.name == circle[1])
        .map_or(process.name.span.clone(), |mention| mention.span.clone());
    problems
        .report(
            Code::Cycle,
            span,
            format!("processes wait for one another: {}", circle.join(" → ")),
            format!("`{at}` waits for `{}` here", circle[1]), "a process starts after those in its `after` and those that its templates name; remove one of these");
}

/// The command line at `key`, split into words as a shell would, each a template.
fn command(
    table: &DeTable<'_>,
    key: &str,
    scope: &mut Scope<'_>,
    problems: &mut Problems<'_>,
) -> Option<CommandPlan> {
    let line = raw::text(table, key)?;
    let words = match shell_words::split(line.text) {
        Ok(words) if !words.is_empty() => words,
        Ok(_) => {
            problems.report(
                Code::BadCommand,
                line.span,
                format!("`{key}` is empty"),
                "no command",
                "write a program and its arguments, or remove the key",
            );
            return None;
        }
        Err(_) => {
            problems.report(
                Code::BadCommand,
                line.span,
                format!("`{key}` can't be split into words"),
                "a quote is never closed",
                "no shell is involved: a program and its arguments, quoted as in a shell",
            );
            return None;
        }
    };
    let words = words
        .iter()
        .map(|word| values::parts(word, &line.span, scope, problems))
        .collect();
    Some(CommandPlan { words })
}

fn env(
    table: &DeTable<'_>,
    scope: &mut Scope<'_>,
    problems: &mut Problems<'_>,
) -> BTreeMap<String, Template> {
    let mut env = BTreeMap::new();
    let entries = raw::table(table, "env")
        .into_iter()
        .flat_map(|(table, _)| raw::entries(table));
    for (name, value) in entries {
        let Some(text) = raw::as_text(value) else {
            continue;
        };
        let key = name.get_ref();
        if key.is_empty() || key.contains(['=', '\0']) || text.text.contains('\0') {
            problems.report(
                Code::BadName,
                name.span(),
                format!("`{}` can't be put into an environment", key),
                "not an environment variable", "the name of a variable is not empty and holds no `=`, and neither it nor its value a NUL");
        }
        env.insert(key.to_string(), values::template(&text, scope, problems));
    }
    env
}

fn ready(table: &DeTable<'_>, has_port: bool, problems: &mut Problems<'_>) -> Ready {
    let table = raw::table(table, "ready").map(|(table, _)| table);
    if let Some(path) = table.and_then(|table| raw::text(table, "http")) {
        check_path(path.text, path.span.clone(), problems);
        return Ready::Http(path.text.to_owned());
    }
    if let Some(regex) = table.and_then(|table| raw::text(table, "log")) {
        regex_groups(&regex, problems);
        return Ready::Log(regex.text.to_owned());
    }
    let tcp = table
        .and_then(|table| table.get("tcp"))
        .and_then(|value| value.get_ref().as_bool());
    if tcp.unwrap_or(has_port) {
        Ready::Tcp
    } else {
        Ready::Started
    }
}

fn cwd(table: &DeTable<'_>, problems: &mut Problems<'_>) -> Option<PathBuf> {
    let cwd = raw::text(table, "cwd")?;
    if !stays_below(Path::new(cwd.text)) {
        problems.report(
            Code::PathOutside,
            cwd.span,
            "the working folder lies outside the project",
            "leads out of the project",
            "name a folder below the project's root by a relative path",
        );
    }
    Some(PathBuf::from(cwd.text))
}
