//! What is written beside the scenario, and what to do next.

use super::{Draft, File, Place};
use crate::harness::scaffold::action::Action;
use crate::harness::scaffold::facts::Facts;
use crate::harness::scaffold::files;
use crate::harness::scaffold::render::{Scenario, Target};
use crate::harness::scaffold::sketch::Imported;

/// All that there is to tell.
pub(super) struct Told<'a> {
    pub(super) scenario: &'a Scenario<'a>,
    pub(super) facts: &'a Facts,
    pub(super) place: &'a Place,
    pub(super) imported: &'a Imported,
    pub(super) action: &'a Action,
}

impl Told<'_> {
    /// The scenario's file and all others.
    pub(super) fn files(&self, draft: &mut Draft) {
        let mut files = vec![here(&draft.scenario, self.scenario.text())];
        if let Some(text) = self.feed() {
            files.push(here(&self.feed_path(), text));
        }
        draft.together = files.len();
        if !self.place.is_root {
            files.push(here(files::ROOT_MARK, files::ROOT_MARK_TEXT.to_owned()));
        }
        files.push(here(files::BASELINES, files::BASELINES_TEXT.to_owned()));
        let path = match self.place.below.as_str() {
            "" => draft.scenario.clone(),
            below => format!("{below}/{}", draft.scenario),
        };
        match () {
            () if matches!(self.scenario.target, Target::Url(_)) => draft.notes.push(
                "no workflow was written: to gate a pull request, both revisions have to be started, and this scenario names a server that is \
                 there already"
                    .to_owned(),
            ),
            () if !is_plain(&path) => draft.notes.push(
                "no workflow was written: the name of this folder can't stand in one; the README of Plimsoll shows it".to_owned(),
            ),
            () if self.place.is_on_gitlab => {
                draft.gitlab = Some(files::gitlab(&path));
                draft.notes.push(
                    "which Plimsoll the job on GitLab installs, variables of the project say: PLIMSOLL_GIT (a URL) and PLIMSOLL_COMMIT"
                        .to_owned(),
                );
            }
            () => {
                let secrets: Vec<&str> = self.imported.secrets.iter().map(String::as_str).collect();
                files.push(File {
                    path: files::WORKFLOW.to_owned(),
                    text: files::workflow(&path, &secrets, self.action),
                    is_at_top: true,
                });
            }
        }
        draft.files = files;
    }

    /// The lines that come next.
    pub(super) fn next(&self, draft: &Draft) -> Vec<(String, String)> {
        let path = &draft.scenario;
        let mut next = Vec::new();
        let mut say = |what: &str, line: String| next.push((what.to_owned(), line));
        if !self.imported.columns.is_empty() {
            let names: Vec<&str> = self.columns().collect();
            let what = format!(
                "fill in what the document doesn't say: {}",
                names.join(", ")
            );
            say(&what, self.feed_path());
        }
        for secret in &self.imported.secrets {
            say(
                "a secret that the requests need",
                format!("export {secret}=…"),
            );
        }
        let url = match &self.scenario.target {
            Target::Url(url) => Some(url),
            Target::Process { .. } | Target::Nothing => None,
        };
        if let Some(url) = url {
            // A host may be named by what a shell would perform.
            let url = shell_words::quote(url);
            say("see that the server is there", format!("curl -i {url}"));
        }
        say(
            "a verdict on the limits, and a report",
            format!("plimsoll run {path}"),
        );
        if !self.facts.ignores {
            // A file that ends without a line break would take the first line for the end of its last.
            say(
                "keep what Plimsoll writes out of git",
                "printf '\\n/.plimsoll/\\n/reports/\\n' >> .gitignore".to_owned(),
            );
        }
        if url.is_none() {
            if !self.place.is_in_git {
                say(
                    "a change is told from what was before it by git",
                    "git init".to_owned(),
                );
            }
            say(
                "once all of it is committed: what you change from then on, against it",
                format!("plimsoll gate --against HEAD {path}"),
            );
        }
        say(
            "how noisy it is here, and which margins hold",
            format!("plimsoll calibrate {path}"),
        );
        let has_workflow = draft.files.iter().any(|file| file.is_at_top);
        if has_workflow && !self.action.is_known() {
            say(
                "before the workflow works, it has to say where Plimsoll is: fill that in (or remove the file and name --action OWNER/REPOSITORY@COMMIT)",
                files::WORKFLOW.to_owned(),
            );
        }
        next
    }

    /// The text of the feed, if there is one: one row, to be replaced.
    fn feed(&self) -> Option<String> {
        let row = self.imported.columns.iter().map(|column| {
            match column.placeholder.contains([',', '"', '\'']) {
                true => "1",
                false => column.placeholder.as_str(),
            }
        });
        let row: Vec<&str> = row.collect();
        let names: Vec<&str> = self.columns().collect();
        (!row.is_empty()).then(|| format!("{}\n{}\n", names.join(","), row.join(",")))
    }

    fn columns(&self) -> impl Iterator<Item = &str> {
        self.imported
            .columns
            .iter()
            .map(|column| column.name.as_str())
    }

    fn feed_path(&self) -> String {
        format!("scenarios/{}", self.scenario.feed_file())
    }
}

fn here(path: &str, text: String) -> File {
    File {
        path: path.to_owned(),
        text,
        is_at_top: false,
    }
}

/// Whether a path can stand in a workflow as it is.
fn is_plain(path: &str) -> bool {
    path.chars()
        .all(|char| char.is_ascii_alphanumeric() || "_-./".contains(char))
}
