//! A runner: it reads the workflows and actions of this repository and does what they say, step by step.
//!
//! What is a `run:` is run by bash, with the variables that GitHub sets and no others. Actions of others are
//! what is not there: each is done as its description says, as far as it is used.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::expressions::{as_text, evaluate, fill, is_true};
use crate::support::files;
use crate::support::git::git;

/// The token of every job.
pub(crate) const TOKEN: &str = "ghs_secretOfTheJob";

/// A file of this repository, read as YAML.
pub(crate) fn yaml(path: &str) -> Result<Value, Box<dyn Error>> {
    let text = fs::read_to_string(files::repository(path))?;
    serde_saphyr::from_str(&text).map_err(|error| format!("{path}: {error}").into())
}

/// A machine that performs jobs, one after the other, for one run of a workflow.
pub(crate) struct Runner {
    home: TempDir,
    /// What a checkout clones.
    origin: PathBuf,
    /// What `github`, `inputs` and `vars` are in an expression.
    context: Value,
    variables: BTreeMap<String, String>,
}

/// What came of a job.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Whether every step was a success.
    pub(crate) is_success: bool,
    /// What it gives to other jobs.
    pub(crate) outputs: Value,
    /// Everything that was said.
    pub(crate) log: String,
}

/// Where the steps of a job or of a composite action stand.
struct Standing {
    /// What expressions see: `steps`, `inputs`, and what is the same for the whole run.
    context: Value,
    variables: BTreeMap<String, String>,
    is_failed: bool,
}

impl Runner {
    /// For an event of a repository whose commits are in `origin`.
    pub(crate) fn new(origin: &Path, github: Value) -> Result<Self, Box<dyn Error>> {
        let home = tempfile::tempdir()?;
        for folder in ["temp", "artifacts", "home", "bin"] {
            fs::create_dir(home.path().join(folder))?;
        }
        fs::write(home.path().join("event.json"), github["event"].to_string())?;
        // The machines of GitHub have it, and toolchains with it; nothing is compiled here.
        let rustup = home.path().join("bin/rustup");
        fs::write(&rustup, "#!/bin/sh\n")?;
        fs::set_permissions(&rustup, fs::Permissions::from_mode(0o755))?;
        let path = format!(
            "{}:{}",
            rustup.parent().ok_or("no folder")?.display(),
            std::env::var("PATH")?
        );
        Ok(Self {
            origin: origin.to_owned(),
            context: json!({
                "github": github,
                "runner": {
                    "temp": home.path().join("temp"), "os": "Linux", "arch": "X64",
                },
            }),
            variables: BTreeMap::from([("PATH".to_owned(), path)]),
            home,
        })
    }

    /// With another context of expressions: `inputs` or `vars`.
    pub(crate) fn with(mut self, name: &str, value: Value) -> Self {
        self.context[name] = value;
        self
    }

    /// With a variable that GitHub sets.
    pub(crate) fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The folder that an artifact was uploaded from, as a copy.
    pub(crate) fn artifact(&self, name: &str) -> PathBuf {
        self.home.path().join("artifacts").join(name)
    }

    /// Where the repository is checked out.
    pub(crate) fn workspace(&self) -> PathBuf {
        self.home.path().join("workspace")
    }

    /// The summary of the run.
    pub(crate) fn summary(&self) -> String {
        fs::read_to_string(self.home.path().join("summary.md")).unwrap_or_default()
    }

    /// Whether a job's `if:` lets it begin after the jobs that it needs.
    pub(crate) fn begins(
        &self,
        workflow: &str,
        job: &str,
        needs: Value,
    ) -> Result<bool, Box<dyn Error>> {
        let job = &workflow_file(workflow)?["jobs"][job];
        let mut context = self.context.clone();
        context["needs"] = needs;
        match job["if"].as_str() {
            Some(condition) => Ok(is_true(&fill_or_evaluate(condition, &context)?)),
            None => Ok(true),
        }
    }

    /// With another value in the event, for the expressions.
    pub(crate) fn with_event(mut self, path: &[&str], value: &str) -> Self {
        let event = &mut self.context["github"]["event"];
        let place = path.iter().fold(event, |event, name| &mut event[*name]);
        *place = value.into();
        self
    }

    /// Performs the steps of a job on a machine that nobody used before.
    pub(crate) fn job(&self, workflow: &str, job: &str) -> Result<Ended, Box<dyn Error>> {
        let file = workflow_file(workflow)?;
        let job = &file["jobs"][job];
        let mut standing = self.standing();
        let log = self.perform(list(&job["steps"])?, &mut standing)?;
        Ok(Ended {
            is_success: !standing.is_failed,
            outputs: outputs(&job["outputs"], &standing)?,
            log,
        })
    }

    /// Performs a composite action of this repository alone, after a checkout.
    pub(crate) fn action(&self, path: &str, with: &Value) -> Result<Ended, Box<dyn Error>> {
        let steps = [
            json!({ "uses": "actions/checkout@0" }),
            json!({ "id": "it", "uses": format!("$/{path}"), "with": with }),
        ];
        let mut standing = self.standing();
        let log = self.perform(&steps, &mut standing)?;
        Ok(Ended {
            is_success: !standing.is_failed,
            outputs: standing.context["steps"]["it"]["outputs"].clone(),
            log,
        })
    }

    /// Performs the steps of a composite action up to the one of that id, and gives that one's outputs.
    pub(crate) fn action_until(
        &self,
        path: &str,
        with: &Value,
        id: &str,
    ) -> Result<Ended, Box<dyn Error>> {
        let (action, mut standing) = self.entered(path, with, &self.standing())?;
        let steps = list(&action["runs"]["steps"])?;
        let last = steps.iter().position(|step| step["id"] == id);
        let log = self.perform(&steps[..=last.ok_or("no such step")?], &mut standing)?;
        Ok(Ended {
            is_success: !standing.is_failed,
            outputs: standing.context["steps"][id]["outputs"].clone(),
            log,
        })
    }

    /// How a job begins.
    fn standing(&self) -> Standing {
        Standing {
            context: self.context.clone(),
            variables: self.variables.clone(),
            is_failed: false,
        }
    }

    fn perform(&self, steps: &[Value], standing: &mut Standing) -> Result<String, Box<dyn Error>> {
        for used in ["workspace", "temp", "home"] {
            let folder = self.home.path().join(used);
            let _ = fs::remove_dir_all(&folder);
            fs::create_dir(folder)?;
        }
        let mut log = String::new();
        self.steps(steps, standing, &mut log)?;
        Ok(log)
    }

    fn steps(
        &self,
        steps: &[Value],
        standing: &mut Standing,
        log: &mut String,
    ) -> Result<(), Box<dyn Error>> {
        for step in steps {
            let goes = match step["if"].as_str() {
                None => !standing.is_failed,
                // What asks for no status means: where nothing has failed.
                Some(condition) => {
                    (!standing.is_failed || condition.contains("always()"))
                        && is_true(&fill_or_evaluate(condition, &standing.context)?)
                }
            };
            if !goes {
                continue;
            }
            let outputs = match (step["run"].as_str(), step["uses"].as_str()) {
                (Some(script), None) => self.script(script, step, standing, log)?,
                (None, Some(action)) => self.uses(action, step, standing, log)?,
                _ => return Err(format!("neither run nor uses: {step}").into()),
            };
            if let Some(id) = step["id"].as_str() {
                standing.context["steps"][id] = json!({ "outputs": outputs });
            }
        }
        Ok(())
    }

    /// Runs a script, and gives its outputs.
    fn script(
        &self,
        script: &str,
        step: &Value,
        standing: &mut Standing,
        log: &mut String,
    ) -> Result<Value, Box<dyn Error>> {
        let files = ["output", "path", "env"].map(|name| self.home.path().join(name));
        for file in &files {
            fs::write(file, "")?;
        }
        let file = self.home.path().join("script.sh");
        fs::write(&file, script)?;
        let mut command = Command::new("bash");
        match step["shell"].as_str() {
            Some("bash") => command.args(["--noprofile", "--norc", "-eo", "pipefail"]),
            None => command.arg("-e"),
            Some(other) => return Err(format!("no shell {other} here").into()),
        };
        let [output, path, env] = &files;
        command
            .arg(&file)
            .current_dir(self.workspace())
            .env_clear()
            .env("HOME", self.home.path().join("home"))
            .env("LANG", "C.UTF-8")
            .env("CI", "true")
            .env("GITHUB_ACTIONS", "true")
            .env("GITHUB_WORKSPACE", self.workspace())
            .env("GITHUB_EVENT_PATH", self.home.path().join("event.json"))
            .env("GITHUB_STEP_SUMMARY", self.home.path().join("summary.md"))
            .env("GITHUB_OUTPUT", output)
            .env("GITHUB_PATH", path)
            .env("GITHUB_ENV", env)
            .env("RUNNER_TEMP", self.home.path().join("temp"))
            .env("RUNNER_OS", "Linux")
            .env("RUNNER_ARCH", "X64")
            .envs(&standing.variables);
        for name in ["repository", "sha", "ref_name", "run_id"] {
            let value = as_text(&standing.context["github"][name]);
            command.env(format!("GITHUB_{}", name.to_uppercase()), value);
        }
        for (name, value) in object(&step["env"]) {
            command.env(
                name,
                as_text(&fill(&as_text(value), &standing.context)?).replace('\0', ""),
            );
        }
        let done = command.output()?;
        *log += &String::from_utf8_lossy(&done.stdout);
        *log += &String::from_utf8_lossy(&done.stderr);
        standing.is_failed |= !done.status.success();
        for line in fs::read_to_string(path)?.lines() {
            let path = standing.variables.entry("PATH".to_owned()).or_default();
            *path = format!("{line}:{path}");
        }
        assert_eq!(fs::read_to_string(env)?, "", "no step here has to write it");
        let lines = fs::read_to_string(output)?;
        let pairs = lines.lines().filter_map(|line| line.split_once('='));
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.into()));
        Ok(Value::Object(pairs.collect()))
    }

    /// Does what an action does, and gives its outputs.
    fn uses(
        &self,
        action: &str,
        step: &Value,
        standing: &mut Standing,
        log: &mut String,
    ) -> Result<Value, Box<dyn Error>> {
        let mut with = Map::new();
        for (name, value) in object(&step["with"]) {
            with.insert(name.clone(), fill(&as_text(value), &standing.context)?);
        }
        let with = Value::Object(with);
        if let Some(path) = action.strip_prefix("$/") {
            return self.composite(path, &with, standing, log);
        }
        let name = action.split('@').next().unwrap_or_default();
        let artifact = |name: &str| -> Result<PathBuf, Box<dyn Error>> {
            let name = with[name].as_str().unwrap_or("github-pages");
            Ok(self.artifact(name))
        };
        let path = with["path"].as_str().unwrap_or_default();
        match name {
            "actions/checkout" => {
                let commit = with["ref"]
                    .as_str()
                    .or(standing.context["github"]["sha"].as_str())
                    .ok_or("no commit to check out")?;
                let _ = fs::remove_dir_all(self.workspace());
                let (from, to) = (self.origin.to_string_lossy(), self.workspace());
                git(
                    self.home.path(),
                    &["clone", "--quiet", &from, &to.to_string_lossy()],
                )?;
                git(&to, &["checkout", "--quiet", "--detach", commit])?;
            }
            // One that was kept has the program in it.
            "actions/cache" if path.ends_with("/plimsoll") => {
                fs::create_dir_all(Path::new(path).join("bin"))?;
                symlink(
                    env!("CARGO_BIN_EXE_plimsoll"),
                    Path::new(path).join("bin/plimsoll"),
                )?;
                return Ok(json!({ "cache-hit": "true" }));
            }
            "actions/cache" => {}
            "actions/upload-artifact" | "actions/upload-pages-artifact" => {
                let (from, to) = (self.workspace().join(path), artifact("name")?);
                let _ = fs::remove_dir_all(&to);
                if from.is_dir() {
                    files::copy(&from, &to)?;
                } else if from.is_file() {
                    fs::create_dir_all(&to)?;
                    fs::copy(&from, to.join(from.file_name().ok_or("no name")?))?;
                } else if with["if-no-files-found"] == "error" {
                    standing.is_failed = true;
                }
            }
            "actions/download-artifact" => files::copy(&artifact("name")?, Path::new(path))?,
            "actions/deploy-pages" => return Ok(json!({ "page_url": "https://pages.invalid/" })),
            other => return Err(format!("no action {other} is known here").into()),
        }
        Ok(Value::Null)
    }

    fn composite(
        &self,
        path: &str,
        with: &Value,
        standing: &mut Standing,
        log: &mut String,
    ) -> Result<Value, Box<dyn Error>> {
        let (action, mut inner) = self.entered(path, with, standing)?;
        self.steps(list(&action["runs"]["steps"])?, &mut inner, log)?;
        standing.is_failed |= inner.is_failed;
        // What it put on the PATH stays there.
        for (name, value) in inner.variables.iter().filter(|(name, _)| *name == "PATH") {
            standing.variables.insert(name.clone(), value.clone());
        }
        let values = object(&action["outputs"]);
        let values = values.map(|(name, output)| (name.clone(), output["value"].clone()));
        outputs(&Value::Object(values.collect()), &inner)
    }

    /// A composite action of this repository, and how its steps begin.
    fn entered(
        &self,
        path: &str,
        with: &Value,
        outside: &Standing,
    ) -> Result<(Value, Standing), Box<dyn Error>> {
        let action = yaml(&format!("{path}/action.yml"))?;
        let mut context = self.context.clone();
        context["inputs"] = json!({});
        for (name, input) in object(&action["inputs"]) {
            let given = with.get(name).unwrap_or(&input["default"]);
            context["inputs"][name] = as_text(given).into();
        }
        for (name, _) in object(with) {
            let known = action["inputs"].get(name).is_some();
            assert!(known, "{path} has no input {name}");
        }
        let mut variables = outside.variables.clone();
        let place = files::repository(path).to_string_lossy().into_owned();
        variables.insert("GITHUB_ACTION_PATH".to_owned(), place);
        let inside = Standing {
            context,
            variables,
            is_failed: false,
        };
        Ok((action, inside))
    }
}

fn list(value: &Value) -> Result<&[Value], Box<dyn Error>> {
    Ok(value.as_array().ok_or("no list of steps")?)
}

/// A workflow of this repository.
pub(crate) fn workflow_file(name: &str) -> Result<Value, Box<dyn Error>> {
    yaml(&format!(".github/workflows/{name}.yml"))
}

/// The entries of a mapping; none where there is no mapping.
pub(crate) fn object(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn outputs(named: &Value, standing: &Standing) -> Result<Value, Box<dyn Error>> {
    let mut outputs = Map::new();
    for (name, value) in object(named) {
        let value = fill(&as_text(value), &standing.context)?;
        outputs.insert(name.clone(), as_text(&value).into());
    }
    Ok(Value::Object(outputs))
}

/// An `if:` is an expression with and without the brackets around it.
fn fill_or_evaluate(condition: &str, context: &Value) -> Result<Value, String> {
    match condition.contains("${{") {
        true => fill(condition, context),
        false => evaluate(condition, context),
    }
}
