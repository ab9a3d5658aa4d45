//! `plimsoll k8s`: what it prints is what Kubernetes takes, and does what it should where a pod starts.
//!
//! There is no cluster here. The objects are held against the types and schemas that k8s-openapi has from
//! the OpenAPI description of Kubernetes itself; what the kubelet does with them (files in a volume, the
//! pod's number in the arguments, stdout in the log) is done by the test.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Container};
use schemars::{JsonSchema, schema_for};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use support::Tested;
use support::http_servers::{Server, ok};
use support::project::{BUSY, Project};
use support::schemas::assert_valid;

/// A scenario in a folder of its project, with a feed above it and a secret.
fn project() -> Result<Project, Box<dyn std::error::Error>> {
    let project = Project::new()?;
    project.write("plimsoll.toml", "")?;
    project.write("data/rows.csv", "id\n1\n2\n")?;
    project.write(
        "load/shop.toml",
        &format!(
            r#"schema = 1
name = "Shop_1"
url = "http://127.0.0.1:1"
[feed.rows]
file = "../data/rows.csv"
[[flow.f.step]]
get = "/items/{{rows.id}}?{{$counter}}"
headers = {{ authorization = "Bearer {{$env.TOKEN}}" }}
[load.a]
open = {{ rate = "60/s", max_in_flight = 30 }}
{BUSY}
[phases]
warmup = "0s"
measure = "2s"
cooldown = "0s"
drain = "2s"
"#
        ),
    )?;
    Ok(project)
}

/// What is printed, as its ConfigMap and its Job, and what is said beside it.
fn rendered(
    project: &Project,
    more: &[&str],
) -> Result<(Value, Value, String), Box<dyn std::error::Error>> {
    let args = [
        "k8s",
        "load/shop.toml",
        "--shards",
        "3",
        "--image",
        "registry.example/plimsoll:1",
    ];
    let args = [&args[..], &["--target", "http://shop:8080"], more].concat();
    let (_, printed, said) = project.output(&args, 0)?;
    let list: Value = serde_json::from_str(&printed)?;
    assert_eq!(
        (&list["apiVersion"], &list["kind"]),
        (&"v1".into(), &"List".into())
    );
    match list["items"].as_array().map(Vec::as_slice) {
        Some([config_map, job]) => Ok((config_map.clone(), job.clone(), said)),
        _ => Err(printed.into()),
    }
}

/// The object as the type that it says it is. What the type does not know would be lost on the way through
/// it, and what it demands would be filled in.
fn official<T>(object: &Value) -> Result<T, Box<dyn std::error::Error>>
where
    T: DeserializeOwned + Serialize + JsonSchema,
{
    let typed: T = serde_json::from_value(object.clone())?;
    assert_eq!(serde_json::to_value(&typed)?, *object);
    let schema = serde_json::to_value(schema_for!(T))?;
    assert_valid(&jsonschema::validator_for(&schema)?, object);
    Ok(typed)
}

/// The only container of the Job's pods.
fn container(job: &Job) -> Option<&Container> {
    let pod = job.spec.as_ref()?.template.spec.as_ref()?;
    match pod.containers.as_slice() {
        [only] => Some(only),
        _ => None,
    }
}

#[test]
fn the_objects_are_what_kubernetes_takes() -> Tested {
    let project = project()?.with_env("TOKEN", "hunter2");
    let more = [
        "--namespace",
        "load",
        "--start-at",
        "+10m",
        "--secret",
        "shop-secrets",
    ];
    let (config_map, job, said) = rendered(&project, &more)?;
    for text in [config_map.to_string(), job.to_string(), said.clone()] {
        assert!(!text.contains("hunter2"), "{text}");
    }
    let config_map: ConfigMap = official(&config_map)?;
    let job: Job = official(&job)?;
    for metadata in [&config_map.metadata, &job.metadata] {
        assert_eq!(metadata.name.as_deref(), Some("plimsoll-shop-1"));
        assert_eq!(metadata.namespace.as_deref(), Some("load"));
    }
    let spec = job.spec.as_ref().ok_or("no spec")?;
    assert_eq!(spec.completion_mode.as_deref(), Some("Indexed"));
    assert_eq!((spec.completions, spec.parallelism), (Some(3), Some(3)));
    // One pod that fails, by a limit or otherwise, takes no other with it.
    assert_eq!(
        (spec.backoff_limit, spec.backoff_limit_per_index),
        (None, Some(0))
    );
    assert_eq!(spec.max_failed_indexes, None);
    // The ten minutes, the load and its drain are within it.
    assert!(spec.active_deadline_seconds > Some(10 * 60 + 4));
    let container = container(&job).ok_or("not one container")?;
    assert_eq!(
        container.image.as_deref(),
        Some("registry.example/plimsoll:1")
    );
    let args = container.args.clone().unwrap_or_default();
    assert!(
        args.windows(2)
            .any(|two| two == ["--shard", "$(JOB_COMPLETION_INDEX)/3"]),
        "{args:?}"
    );
    let env = container.env.clone().unwrap_or_default();
    let secrets: Vec<_> = env
        .iter()
        .filter_map(|env| {
            let from = env.value_from.as_ref()?.secret_key_ref.as_ref()?;
            Some((
                env.name.as_str(),
                from.name.as_str(),
                from.key.as_str(),
                env.value.is_none(),
            ))
        })
        .collect();
    assert_eq!(secrets, [("TOKEN", "shop-secrets", "TOKEN", true)]);
    for line in [
        "kubectl -n load create secret generic shop-secrets --from-literal=TOKEN=\"$TOKEN\"",
        "kubectl -n load create -f job.json",
        // A Job of which a pod failed is never complete.
        "grep -qwE 'Complete|Failed'",
        "plimsoll merge shard-*.json --scenario load/shop.toml",
    ] {
        assert!(said.contains(line), "{said}");
    }
    Ok(())
}

/// What a schema that demands nothing would let pass.
#[test]
fn an_object_that_is_none_is_noticed() -> Tested {
    let (_, job, _) = rendered(&project()?, &[])?;
    let is_official = |job: Value| std::panic::catch_unwind(|| official::<Job>(&job).is_ok());
    assert!(matches!(is_official(job.clone()), Ok(true)));
    let mut unknown = job.clone();
    unknown["spec"]["completionsMode"] = "Indexed".into();
    assert!(is_official(unknown).is_err());
    let mut wrong = job;
    wrong["spec"]["completions"] = "3".into();
    assert!(matches!(is_official(wrong), Ok(false)));
    Ok(())
}

/// Pods as the kubelet makes them of the objects: their logs together are a run.
#[test]
fn the_pods_of_a_job_make_a_run() -> Tested {
    let project = project()?;
    let (config_map, job, _) = rendered(&project, &["--start-at", "+8s"])?;
    let config_map: ConfigMap = official(&config_map)?;
    let job: Job = official(&job)?;
    let data = config_map.data.unwrap_or_default();
    let volume = tempfile::tempdir()?;
    let pod = job
        .spec
        .as_ref()
        .and_then(|spec| spec.template.spec.as_ref())
        .ok_or("no pod")?;
    let volumes = pod.volumes.as_deref().unwrap_or_default();
    let projected = volumes
        .iter()
        .find_map(|volume| volume.projected.as_ref())
        .ok_or("no volume")?;
    for source in projected.sources.as_deref().unwrap_or_default() {
        let source = source.config_map.as_ref().ok_or("not of the ConfigMap")?;
        assert_eq!(Some(&source.name), config_map.metadata.name.as_ref());
        for item in source.items.as_deref().unwrap_or_default() {
            let path = volume.path().join(&item.path);
            fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
            fs::write(path, data.get(&item.key).ok_or("no such key")?)?;
        }
    }
    let container = container(&job).ok_or("not one container")?;
    let mount = container
        .volume_mounts
        .iter()
        .flatten()
        .find(|it| it.name == "scenario");
    let mount = &mount.ok_or("the scenario is not mounted")?.mount_path;

    let server = Server::answering(|_| ok("ok"));
    let places = BTreeMap::from([
        (mount.as_str(), volume.path().display().to_string()),
        // The name is that of a service in the cluster.
        ("http://shop:8080", server.url()),
    ]);
    let start = |index: u32| -> std::io::Result<Child> {
        let args = container.args.iter().flatten().map(|arg| {
            let arg = arg.replace("$(JOB_COMPLETION_INDEX)", &index.to_string());
            places
                .iter()
                .fold(arg, |arg, (name, place)| arg.replace(name, place))
        });
        Command::new(env!("CARGO_BIN_EXE_plimsoll"))
            .args(args)
            .current_dir("/")
            .env("TOKEN", "hunter2")
            .stdin(Stdio::null())
            .stdout(fs::File::create(
                project.path().join(format!("shard-{index}.json")),
            )?)
            // A log has both.
            .stderr(
                fs::File::options()
                    .append(true)
                    .create(true)
                    .open(project.path().join("log"))?,
            )
            .spawn()
    };
    let mut pods: Vec<Child> = (0..3).map(start).collect::<Result<_, _>>()?;
    for pod in &mut pods {
        assert_eq!(pod.wait()?.code(), Some(0));
    }
    assert_eq!(fs::read_to_string(project.path().join("log"))?, "");
    let files = ["shard-0.json", "shard-1.json", "shard-2.json"];
    let args = [&["merge", "--scenario", "load/shop.toml"], &files[..]].concat();
    let verdict = project.json(&args, 0)?;
    assert_eq!(verdict["verdict"], "pass", "{verdict}");
    assert_eq!(server.seen().len(), 120);
    for file in files {
        let log = fs::read_to_string(project.path().join(file))?;
        let mut text = String::new();
        GzDecoder::new(STANDARD.decode(log.trim())?.as_slice()).read_to_string(&mut text)?;
        assert!(text.contains("plimsoll.shard/1") && !text.contains("hunter2"));
        assert!(log.len() < text.len(), "{} of {}", log.len(), text.len());
    }
    Ok(())
}

#[test]
fn what_no_cluster_can_do_is_refused() -> Tested {
    let project = project()?;
    let check = |change: (&str, &str), expected: &str| -> Tested {
        let mut args = vec!["k8s", "load/shop.toml", "--shards", "3", "--image", "i"];
        args.extend([change.0, change.1]);
        let (_, printed, said) = project.output(&args, 2)?;
        assert!(said.contains(expected), "{said}");
        assert_eq!(printed, "");
        Ok(())
    };
    // The scenario's own target.
    check(("--secret", "s"), "would be the pod itself")?;
    for target in ["http://localhost:1", "http://shop.localhost"] {
        check(("--target", target), "would be the pod itself")?;
    }
    check(("--target", "shop"), "can't be the target")?;
    let large = "x".repeat(1 << 20);
    project.write("data/rows.csv", &format!("id\n{large}\n"))?;
    check(("--target", "http://shop"), "a ConfigMap holds 1 MiB")
}
