//! `plimsoll k8s`: the manifest of a run in shards on Kubernetes.

mod files;
mod manifest;
mod command;

pub(super) use self::command::run;
