//! Shell blocks: their commands, and scripts that perform them.

use std::error::Error;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, fs};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use regex::Regex;

use crate::support::{Tested, wait};

/// A page's commands together may take so long, on a machine that has other things to do.
const WITHIN: Duration = Duration::from_secs(300);

/// A command, comments behind it included.
#[derive(Debug, Clone)]
pub(crate) struct Typed {
    pub(crate) line: usize,
    pub(crate) text: String,
    /// The exit code that the comment behind it names, or 0.
    pub(crate) code: i32,
}

impl Typed {
    pub(crate) fn new(line: usize, text: &str) -> Self {
        let named = Regex::new(r"#.*\bexit code (\d+)").expect("a regular expression");
        let code = named.captures(text).and_then(|found| found[1].parse().ok());
        Self {
            line,
            text: text.to_owned(),
            code: code.unwrap_or(0),
        }
    }

    /// Whether it begins so, however its words are spaced.
    pub(crate) fn begins(&self, with: &str) -> bool {
        let words: Vec<&str> = self.text.split_whitespace().collect();
        words.join(" ").starts_with(with)
    }

    /// What it has to say besides: a run ends with 0 also where nothing could be told.
    fn must_say(&self) -> Option<&'static str> {
        (self.code == 0 && self.begins("plimsoll run")).then_some("PASS")
    }

    /// Whether each call of plimsoll in it would be understood: command, options and their values.
    pub(crate) fn parses(&self) -> Tested {
        // What the lines for ssh set themselves.
        const GIVEN: &str = "set -- a b c; i=0 folder=shop scenario=shop.toml target=http://shop:8080 \
                             start=2026-11-21T20:00:00Z";
        let joined = self.text.replace("\\\n", " ").replace('"', "");
        let calls = Regex::new(r"(?m)(?:^|&&|;|\||\()\s*(plimsoll (?:\$#|[^#>&;|\n])*)")
            .expect("a regular expression");
        for call in calls.captures_iter(&joined) {
            let script = format!("{GIVEN}\n{} --help", &call[1]);
            let output = command().args(["-c", &script]).output()?;
            let said = String::from_utf8_lossy(&output.stderr);
            if !output.status.success() {
                return Err(format!("`{}`: {said}", &call[1]).into());
            }
        }
        Ok(())
    }
}

/// The commands of a shell block that begins in that line.
pub(crate) fn commands(line: usize, block: &str) -> Result<Vec<Typed>, Box<dyn Error>> {
    let mut commands = Vec::new();
    let mut begun: Option<(usize, String)> = None;
    for (number, next) in (line..).zip(block.lines()) {
        let is_nothing = next.trim().is_empty() || next.trim_start().starts_with('#');
        if begun.is_none() && is_nothing {
            continue;
        }
        let (first, mut text) = begun.take().unwrap_or((number, String::new()));
        text.push_str(next);
        match is_whole(&text)? {
            true => commands.push(Typed::new(first, &text)),
            false => begun = Some((first, text + "\n")),
        }
    }
    match begun {
        Some((first, text)) => Err(format!("line {first} is no command of a shell: {text}").into()),
        None => Ok(commands),
    }
}

/// Whether a shell would not wait for more lines.
fn is_whole(text: &str) -> Result<bool, Box<dyn Error>> {
    let read = command().args(["-n", "-c", text]).output()?;
    Ok(read.status.success() && read.stderr.is_empty() && !text.ends_with('\\'))
}

/// What a script does, one after the other, in one shell: folders and variables stay.
#[derive(Debug)]
pub(crate) enum Act {
    Write { name: String, text: String },
    Call(Typed),
}

/// Performs it in a project; what it notes goes to another folder. Whatever it started has ended then.
pub(crate) fn perform(acts: &[Act], project: &Path, notes: &Path) -> Tested {
    let project_text = project.display();
    let notes_text = notes.display();
    let mut script = String::new();
    for (number, act) in acts.iter().enumerate() {
        match act {
            Act::Write { name, text } => {
                fs::write(notes.join(format!("{number}.file")), text)?;
                let place = format!("'{project_text}/{name}'");
                script += &format!(
                    "mkdir -p \"$(dirname {place})\" && cp '{notes_text}/{number}.file' {place} || exit 1\n"
                );
            }
            Act::Call(typed) => {
                let (text, code) = (&typed.text, typed.code);
                script += &format!(
                    "echo {number} >'{notes_text}/last'\n{{\n{text}\n}} >'{notes_text}/said' 2>&1\ncode=$?\n\
                     [ $code = {code} ] || {{ echo \"exit code $code, not {code}\" >>'{notes_text}/said'; exit 1; }}\n"
                );
                if let Some(word) = typed.must_say() {
                    script += &format!("grep -q {word} '{notes_text}/said' || exit 1\n");
                }
            }
        }
    }
    fs::write(notes.join("script"), &script)?;
    let mut shell = command();
    let mut child = shell
        .arg(notes.join("script"))
        .current_dir(project)
        // A group of its own, to end what is left of it.
        .process_group(0)
        .spawn()?;
    let ended = wait::until("the commands end", WITHIN, || {
        child.try_wait().ok().flatten()
    });
    // None is left where all is well.
    let _ = killpg(Pid::from_raw(i32::try_from(child.id())?), Signal::SIGKILL);
    let _ = child.wait();
    if ended.as_ref().is_ok_and(|status| status.success()) {
        return Ok(());
    }
    let last = fs::read_to_string(notes.join("last")).unwrap_or_default();
    let said = fs::read(notes.join("said")).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let (line, text) = match last
        .trim()
        .parse::<usize>()
        .ok()
        .and_then(|number| acts.get(number))
    {
        Some(Act::Call(typed)) => (typed.line, typed.text.as_str()),
        _ => (0, "the first command"),
    };
    let why = ended
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default();
    Err(format!("line {line}: {text}\n{why}{said}").into())
}

/// bash as a reader has it: plimsoll is found, and nothing of the caller's own settings.
fn command() -> Command {
    let bin = Path::new(env!("CARGO_BIN_EXE_plimsoll")).parent();
    let places = env::var_os("PATH").unwrap_or_default();
    let folders = bin
        .map(Path::to_owned)
        .into_iter()
        .chain(env::split_paths(&places));
    let path = env::join_paths(folders).expect("folders without a colon");
    let mut command = Command::new("bash");
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        // Called from a hook, git would work in the repository that the hook is of; on a CI runner, its own files
        // are no place for what the examples say.
        if ["PLIMSOLL_", "GIT_", "GITHUB_", "GITLAB_", "CI_"]
            .iter()
            .any(|of| name.starts_with(of))
        {
            command.env_remove(&*name);
        }
    }
    command
        .env("PATH", path)
        .env("NO_COLOR", "1")
        .envs([
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_CONFIG_SYSTEM", "/dev/null"),
            ("GIT_CONFIG_COUNT", "1"),
            ("GIT_CONFIG_KEY_0", "init.defaultBranch"),
            ("GIT_CONFIG_VALUE_0", "main"),
            ("GIT_AUTHOR_NAME", "t"),
            ("GIT_AUTHOR_EMAIL", "t@localhost"),
            ("GIT_COMMITTER_NAME", "t"),
            ("GIT_COMMITTER_EMAIL", "t@localhost"),
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

#[test]
fn a_block_is_a_list_of_commands() -> Tested {
    let block = "# why\none  --option   # exit code 10: it got worse\n\nfor i in 1 2; do\n  two\ndone\nthree \\\n  --four\ncat <<END\nx\nEND\n";
    let found = commands(7, block)?;
    let told: Vec<(usize, &str, i32)> = found
        .iter()
        .map(|typed| (typed.line, typed.text.as_str(), typed.code))
        .collect();
    assert_eq!(
        told,
        [
            (8, "one  --option   # exit code 10: it got worse", 10),
            (10, "for i in 1 2; do\n  two\ndone", 0),
            (13, "three \\\n  --four", 0),
            (15, "cat <<END\nx\nEND", 0),
        ]
    );
    assert!(found[0].begins("one --option"));
    assert!(commands(1, "for i in 1 2; do\n").is_err());
    Ok(())
}

#[test]
fn an_option_that_is_not_there_is_seen() {
    let check = |text: &str, expected: bool| {
        let found = Typed::new(1, text).parses();
        assert_eq!(found.is_ok(), expected, "{text}: {found:?}");
    };
    check("cargo install --bin plimsoll --nothing", true);
    check("plimsoll run shop.toml --duration 3s   # --nothing", true);
    check("plimsoll run shop.toml --nothing", false);
    check("plimsoll \\\n  walk", false);
    check("cd x && plimsoll gate --pairs many", false);
    check(
        "ssh \"$host\" \"cd $folder && plimsoll worker $scenario --shard $i/$# --start-at $start --out -\" &",
        true,
    );
    check(
        "ssh \"$host\" \"cd $folder && plimsoll worker $scenario --shards $i/$# --start-at $start --out -\" &",
        false,
    );
}

#[test]
fn a_script_ends_at_the_first_code_that_is_another() -> Tested {
    let perform_all = |lines: &[&str]| -> Result<String, Box<dyn Error>> {
        let (project, notes) = (tempfile::tempdir()?, tempfile::tempdir()?);
        let write = Act::Write {
            name: "a/b".to_owned(),
            text: "it's there\n".to_owned(),
        };
        let calls = lines.iter().map(|line| Act::Call(Typed::new(7, line)));
        let acts: Vec<Act> = std::iter::once(write).chain(calls).collect();
        perform(&acts, project.path(), notes.path())?;
        Ok(fs::read_to_string(project.path().join("a/out"))?)
    };
    let out = perform_all(&[
        "cd a",
        "x=1 # here",
        "false # exit code 1",
        "cat b >out; echo $x >>out",
    ])?;
    assert_eq!(out, "it's there\n1\n");
    let failed = perform_all(&["echo so", "echo no; (exit 3)", "touch a/out"]);
    let failed = failed.expect_err("it ended with 3");
    assert_eq!(
        failed.to_string(),
        "line 7: echo no; (exit 3)\nno\nexit code 3, not 0\n"
    );
    Ok(())
}
