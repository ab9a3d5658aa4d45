//! The command: what is to be rendered, and what to do with it.

use jiff::{SignedDuration, Timestamp};
use shell_words::quote;

use crate::harness::cli::args::K8sArgs;
use crate::harness::cli::failure::Failure;
use crate::harness::cli::output::Output;
use crate::harness::cli::worker::{can_be_shared, left_out, only_plan, target};
use crate::harness::engine::shards::loads_alone;
use crate::harness::engine::{is_loopback, secret_names};
use crate::harness::gate::exit;
use crate::harness::report::{json, text};
use crate::harness::scenario::Plan;

use super::files::Files;
use super::manifest::{Manifest, file_name, is_name, name_of};

/// What a pod may take beside the load itself: to be scheduled, to write its file, to end.
const SLACK_S: u64 = 600;

/// Prints the manifest, and says on stderr what to do with it.
pub(in crate::harness::cli) fn run(output: &Output, args: &K8sArgs) -> Result<u8, Failure> {
    let plan = only_plan(&args.scenario, args.variant.as_deref(), output)?;
    can_be_shared(&plan, args.shards)?;
    let target = target(&plan, args.target.as_deref())?;
    is_elsewhere(&target)?;
    for text in left_out(&plan, &target) {
        output.say(&text);
    }
    let name = args.name.clone().unwrap_or_else(|| name_of(&plan.id()));
    for (option, name) in [
        ("--name", Some(&name)),
        ("--namespace", args.namespace.as_ref()),
    ] {
        if let Some(name) = name.filter(|name| !is_name(name)) {
            return Err(Failure::usage(
                format!(
                    "{option} {} is no name for Kubernetes",
                    text::one_line(name)
                ),
                "use at most 50 lower-case letters, digits and hyphens",
            ));
        }
    }
    let files = Files::of(&plan, output)?;
    let id = plan.id();
    let seconds = |ns: u64| ns.div_ceil(1_000_000_000);
    let ahead = Timestamp::now()
        .duration_until(args.start_at)
        .max(SignedDuration::ZERO);
    let grace_s = seconds(plan.phases.drain_ns) + 30;
    let manifest = Manifest {
        name,
        namespace: args.namespace.as_deref(),
        image: &args.image,
        shards: args.shards,
        scenario: &id,
        hash: &plan.hash,
        variant: plan.variant.as_deref(),
        target: &target,
        start_at: args.start_at,
        grace_s,
        deadline_s: ahead.as_secs().unsigned_abs()
            + seconds(plan.phases.total_ns())
            + grace_s
            + SLACK_S,
        files: &files,
        secret: &args.secret,
        variables: secret_names(&loads_alone(&plan, &target))
            .into_iter()
            .collect(),
    };
    output.document(&json::render(&manifest.render()?))?;
    output.say(&next(&manifest, &plan));
    Ok(exit::PASS)
}

/// A pod is another host: this one's own address would be the pod's.
fn is_elsewhere(target: &str) -> Result<(), Failure> {
    match is_loopback(target) {
        false => Ok(()),
        true => Err(Failure::usage(
            format!("the target {target} would be the pod itself"),
            "name the server as the pods see it: --target http://shop:8080",
        )),
    }
}

/// What to do with it, in lines for a shell.
fn next(manifest: &Manifest<'_>, plan: &Plan) -> String {
    let Manifest { name, shards, .. } = manifest;
    let kubectl = match manifest.namespace {
        Some(namespace) => format!("kubectl -n {namespace}"),
        None => "kubectl".to_owned(),
    };
    let mut lines = vec![
        format!(
            "The loads begin at {}: by then, every pod has to be up.",
            manifest.start_at
        ),
        "The log of a pod is its shard's file. A kubelet cuts logs at 10 MiB (containerLogMaxSize), so that a very long run of many request names may need a higher limit."
            .to_owned(),
    ];
    let mut secrets: Vec<String> = manifest
        .variables
        .iter()
        .map(|variable| format!("--from-literal={variable}=\"${variable}\""))
        .collect();
    let key = manifest.files.key.iter();
    let file = |key: &String| quote(&plan.root.join(key).to_string_lossy()).into_owned();
    secrets.extend(key.map(|key| format!("--from-file={}={}", file_name(key), file(key))));
    if !secrets.is_empty() {
        lines.push(format!(
            "  {kubectl} create secret generic {} {}",
            manifest.secret,
            secrets.join(" ")
        ));
    }
    let selector =
        format!("batch.kubernetes.io/job-name={name},batch.kubernetes.io/job-completion-index=$i");
    lines.extend([
        format!("  {kubectl} create -f job.json"),
        // A shard that a limit ended has failed, and so has its Job, once the others are done too. The Job has a
        // deadline, so that this ends.
        format!(
            "  until {kubectl} get job/{name} -o jsonpath='{{.status.conditions[*].type}}' | grep -qwE 'Complete|Failed'; do sleep 5; done"
        ),
        // A log is whole only where all of its lines are asked for; by a label, it is the last ten.
        format!(
            "  for i in $(seq 0 {}); do {kubectl} logs --tail=-1 -l {selector} > shard-$i.json; done",
            shards - 1
        ),
        format!(
            "  plimsoll merge shard-*.json --scenario {}",
            quote(&plan.file.to_string_lossy())
        ),
        format!("  {kubectl} delete -f job.json"),
    ]);
    text::block(&lines.join("\n"))
}
