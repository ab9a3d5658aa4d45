//! A run in shards as Kubernetes objects: a ConfigMap with the scenario, and an Indexed Job.
//!
//! As JSON: every YAML reader takes it, and nothing in a scenario's text can mean something else in it.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::files::Files;
use crate::harness::cli::failure::Failure;
use crate::harness::model::Unit;
use crate::harness::report::format;

/// The contents of a ConfigMap have at most so many bytes together.
const MAX_CONFIG_MAP_BYTES: usize = 1 << 20;
/// The longest name: that of a pod has the Job's and its number in a label's 63 characters.
const MAX_NAME_CHARS: usize = 50;
/// Where the scenario lies in a pod.
const FOLDER: &str = "/scenario";
/// What all objects of a run have in common.
const RUN_LABEL: &str = "plimsoll/run";
/// What Kubernetes fills in with the number of the pod, which is that of its shard.
const INDEX: &str = "$(JOB_COMPLETION_INDEX)";

/// What is to be performed, and how.
#[derive(Debug, Clone)]
pub(super) struct Manifest<'a> {
    /// Of the Job and of its ConfigMap.
    pub(super) name: String,
    pub(super) namespace: Option<&'a str>,
    pub(super) image: &'a str,
    pub(super) shards: u32,
    /// The scenario's id and its hash.
    pub(super) scenario: &'a str,
    pub(super) hash: &'a str,
    pub(super) variant: Option<&'a str>,
    pub(super) target: &'a str,
    pub(super) start_at: Timestamp,
    /// How long a shard may take to end once it is told to, in s.
    pub(super) grace_s: u64,
    /// How long the Job may take before it is ended, in s.
    pub(super) deadline_s: u64,
    pub(super) files: &'a Files,
    /// The Secret that holds what no ConfigMap may.
    pub(super) secret: &'a str,
    /// The variables of the environment that are in it.
    pub(super) variables: Vec<String>,
}

/// The name of an object, for any scenario: lower-case letters, digits and hyphens.
pub(super) fn name_of(scenario: &str) -> String {
    let letters = scenario.chars().map(|c| match c.to_ascii_lowercase() {
        c @ ('a'..='z' | '0'..='9') => c,
        _ => '-',
    });
    let name: String = "plimsoll-"
        .chars()
        .chain(letters)
        .take(MAX_NAME_CHARS)
        .collect();
    name.trim_end_matches('-').to_owned()
}

/// Whether it can be the name of an object.
pub(super) fn is_name(name: &str) -> bool {
    let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=MAX_NAME_CHARS).contains(&name.len())
        && name.chars().all(inside)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

impl Manifest<'_> {
    /// Both objects as one list.
    ///
    /// # Errors
    /// The files are too large for a ConfigMap.
    pub(super) fn render(&self) -> Result<Value, Failure> {
        let objects = [self.config_map()?, self.job()];
        Ok(json!({"apiVersion": "v1", "kind": "List", "items": objects}))
    }

    fn metadata(&self) -> Value {
        let mut metadata = json!({
            "name": self.name,
            "labels": self.labels(),
            "annotations": {"plimsoll/scenario": self.scenario, "plimsoll/scenario-hash": self.hash},
        });
        if let Some(namespace) = self.namespace {
            metadata["namespace"] = namespace.into();
        }
        metadata
    }

    fn labels(&self) -> Value {
        json!({"app.kubernetes.io/name": "plimsoll", RUN_LABEL: self.name})
    }

    fn config_map(&self) -> Result<Value, Failure> {
        let bytes: usize = self.files.contents.values().map(Vec::len).sum();
        if bytes > MAX_CONFIG_MAP_BYTES {
            return Err(Failure::usage(
                format!(
                    "{} and the files that it names have {}; a ConfigMap holds 1 MiB",
                    self.scenario,
                    format::value(&Unit::Bytes, bytes as f64)
                ),
                "use a smaller feed; or put the project into the image, and start its shards as docs/SHARDS.md says",
            ));
        }
        let (mut data, mut binary) = (Map::new(), Map::new());
        for (key, (_, contents)) in self.keyed() {
            match std::str::from_utf8(contents) {
                Ok(text) => data.insert(key, text.into()),
                Err(_) => binary.insert(key, STANDARD.encode(contents).into()),
            };
        }
        let mut object = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": self.metadata(),
            "immutable": true,
            "data": data,
        });
        if !binary.is_empty() {
            object["binaryData"] = binary.into();
        }
        Ok(object)
    }

    /// The files with their keys in the ConfigMap, which has no folders.
    fn keyed(&self) -> BTreeMap<String, (&str, &[u8])> {
        let files = self.files.contents.iter().enumerate();
        let keyed = files.map(|(number, (path, contents))| {
            (
                format!("file-{number}"),
                (path.as_str(), contents.as_slice()),
            )
        });
        keyed.collect()
    }

    fn job(&self) -> Value {
        json!({
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": self.metadata(),
            "spec": {
                "completionMode": "Indexed",
                "completions": self.shards,
                "parallelism": self.shards,
                // A shard that is started again comes after the start that all agreed on. By index, because one
                // that fails must not end the others and take their logs with it.
                "backoffLimitPerIndex": 0,
                "activeDeadlineSeconds": self.deadline_s,
                "template": {
                    "metadata": {"labels": self.labels()},
                    "spec": {
                        "restartPolicy": "Never",
                        "automountServiceAccountToken": false,
                        "terminationGracePeriodSeconds": self.grace_s,
                        // Two shards on one machine are no two machines.
                        "topologySpreadConstraints": [{
                            "maxSkew": 1,
                            "topologyKey": "kubernetes.io/hostname",
                            "whenUnsatisfiable": "ScheduleAnyway",
                            "labelSelector": {"matchLabels": {RUN_LABEL: self.name}},
                        }],
                        "containers": [self.container()],
                        "volumes": [
                            {"name": "scenario", "projected": {"sources": self.sources()}},
                            {"name": "tmp", "emptyDir": {}},
                        ],
                    },
                },
            },
        })
    }

    fn container(&self) -> Value {
        let variables = self.variables.iter().map(|variable| {
            let key = json!({"name": self.secret, "key": variable});
            json!({"name": variable, "valueFrom": {"secretKeyRef": key}})
        });
        json!({
            "name": "shard",
            "image": self.image,
            "command": ["plimsoll"],
            "args": self.args(),
            "env": variables.collect::<Vec<_>>(),
            // No limit: a generator that is throttled is late, and its run invalid.
            "resources": {"requests": {"cpu": "1", "memory": "256Mi"}},
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": {"drop": ["ALL"]},
            },
            "volumeMounts": [
                {"name": "scenario", "mountPath": FOLDER, "readOnly": true},
                {"name": "tmp", "mountPath": "/tmp"},
            ],
        })
    }

    fn args(&self) -> Vec<String> {
        let scenario = format!("{FOLDER}/{}", self.files.scenario);
        let start_at = self.start_at.to_string();
        let mut args = vec![
            "worker".to_owned(),
            literal(&scenario),
            "--shard".to_owned(),
            format!("{INDEX}/{}", self.shards),
            "--start-at".to_owned(),
            start_at,
            "--target".to_owned(),
            literal(self.target),
            // To stdout, where nothing else is: the pod's log is the shard's file.
            "--out".to_owned(),
            "-".to_owned(),
            "--quiet".to_owned(),
        ];
        if let Some(variant) = self.variant {
            args.extend(["--variant".to_owned(), literal(variant)]);
        }
        args
    }

    fn sources(&self) -> Vec<Value> {
        let items = self.keyed().into_iter();
        let items = items.map(|(key, (path, _))| json!({"key": key, "path": path}));
        let items: Vec<Value> = items.collect();
        let mut sources = vec![json!({"configMap": {"name": self.name, "items": items}})];
        if let Some(path) = &self.files.key {
            let items = [json!({"key": file_name(path), "path": path})];
            sources.push(json!({"secret": {"name": self.secret, "items": items}}));
        }
        sources
    }
}

/// The last part of a path.
pub(super) fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// A word of a command line in which Kubernetes fills in nothing.
fn literal(word: &str) -> String {
    word.replace("$(", "$$(")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_that_kubernetes_takes() {
        let check = |scenario: &str, expected: &str| {
            let name = name_of(scenario);
            assert_eq!(name, expected);
            assert!(is_name(&name), "{name}");
        };
        check("shop", "plimsoll-shop");
        check("Mixed_Workload@servers", "plimsoll-mixed-workload-servers");
        check("ü", "plimsoll");
        check(&"x".repeat(64), &format!("plimsoll-{}", "x".repeat(41)));
        for name in ["", "-a", "a-", "A", "a_b", "a.b", &"a".repeat(51)] {
            assert!(!is_name(name), "{name}");
        }
    }
}
