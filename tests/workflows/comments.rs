//! `comment`: what a gate found reaches its own pull request, whatever its artifact holds.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::Command;

use regex::Regex;
use serde_json::{Value, json};

use crate::api::{Api, BOT, REPOSITORY, REPOSITORY_ID};
use crate::gates::{at_a_pull_request, verdicts};
use crate::origin::{Origin, SLOW, STEADY};
use crate::runner::{Ended, Runner, TOKEN};
use crate::support::Tested;

const ACTION: &str = ".github/actions/comment";
/// The fork that changes come from: its owner and its number.
const FORK: (&str, u64) = ("stranger", 18);
const BRANCH: &str = "topic";
const SHA: &str = "1111111111111111111111111111111111111111";

/// Packs what a few lines of Python write into the archive `z`.
fn packed(lines: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("artifact.zip");
    let program = format!(
        "import sys, zipfile\nfrom zipfile import *\nwith ZipFile(sys.argv[1], 'w', ZIP_DEFLATED) as z:\n    {}\n",
        lines.replace('\n', "\n    ")
    );
    let done = Command::new("python3")
        .args(["-W", "ignore", "-c", &program])
        .arg(&file)
        .output()?;
    match done.status.success() {
        true => Ok(fs::read(&file)?),
        false => Err(String::from_utf8_lossy(&done.stderr).into()),
    }
}

/// An archive of a folder, as the action that uploads makes it.
fn packed_folder(folder: &Path) -> Result<Vec<u8>, Box<dyn Error>> {
    packed(&format!(
        "import pathlib\nroot = pathlib.Path({folder:?})\n\
         for file in root.rglob('*'): z.write(file, file.relative_to(root))"
    ))
}

/// An archive of one verdict.
fn packed_verdict(verdict: &Value) -> Result<Vec<u8>, Box<dyn Error>> {
    let text = serde_json::to_string(&verdict.to_string())?;
    packed(&format!("z.writestr('verdicts.jsonl', {text} + '\\n')"))
}

/// A runner at the end of a gate of the fork's commit.
fn after_a_gate(origin: &Origin, api: &Api, sha: &str) -> Result<Runner, Box<dyn Error>> {
    Ok(Runner::new(
        origin.path(),
        json!({
            "repository": REPOSITORY, "ref_name": "main", "sha": origin.main, "run_id": 100, "run_attempt": 1,
            "token": TOKEN,
            "event": {
                "repository": { "full_name": REPOSITORY, "id": REPOSITORY_ID },
                "workflow_run": {
                    "id": 99, "event": "pull_request", "conclusion": "failure", "head_sha": sha, "head_branch": BRANCH,
                    "html_url": format!("https://github.invalid/{REPOSITORY}/actions/runs/99"),
                    "head_repository": {
                        "id": FORK.1, "full_name": "stranger/ship", "owner": { "login": FORK.0 },
                    },
                },
            },
        }),
    )?
    .with_variable("GITHUB_API_URL", &api.url()))
}

/// What the step that takes the artifact makes of it.
fn taken_by(runner: &Runner) -> Result<Ended, Box<dyn Error>> {
    runner.action_until(ACTION, &json!({ "part": "render" }), "take")
}

/// From the gate's red to the comment, and to its update after the next commit.
#[test]
fn a_regression_is_told_and_told_anew_in_place() -> Tested {
    let origin = Origin::new(STEADY)?;
    let api = Api::new();
    // What the change brings in the place of our scripts is not run.
    let own = "import os\nopen(os.path.join(os.environ['RUNNER_TEMP'], '..', 'owned'), 'w')\n";
    let files = [("behaviour", SLOW), (".github/scripts/comment.py", own)];
    let head = origin.change(BRANCH, &files)?;
    let gate = at_a_pull_request(&origin, &origin.main, &head)?;
    let gated = gate.job("gate", "gate")?;
    assert!(!gated.is_success, "{}", gated.log);
    let artifact = gate.artifact("plimsoll");
    let verdict = verdicts(&artifact)?.remove(0);
    assert_eq!(verdict["exit_code"], 10, "{verdict}");
    let annotated = gated.log.lines().any(|line| line.starts_with("::error "));
    assert!(annotated, "{}", gated.log);

    // Somebody else may write the same marker, and may have begun earlier.
    let packed = packed_folder(&artifact)?;
    api.set_artifact(packed.clone(), packed.len());
    api.add_pull(7, &head, FORK, BRANCH);
    api.add_pull(8, SHA, FORK, "another");
    for number in 0..130 {
        api.add_comment(7, "somebody", "User", &format!("comment {number}"));
    }
    let runner = after_a_gate(&origin, &api, &head)?;
    let rendered = runner.job("comment", "render")?;
    assert!(rendered.is_success, "{}", rendered.log);
    assert_eq!(rendered.outputs["ready"], "true", "{}", rendered.log);
    assert!(runner.begins(
        "comment",
        "post",
        json!({ "render": { "outputs": rendered.outputs } })
    )?);
    let text = fs::read_to_string(runner.artifact("comment").join("comment.md"))?;
    let marker = text.lines().next().unwrap_or_default().to_owned();
    assert!(marker.starts_with("<!-- plimsoll"), "{text}");
    assert!(text.contains("load.reads.p50"), "{text}");
    api.add_comment(7, "somebody", "User", &format!("{marker}\nmine"));
    api.add_comment(7, BOT, "User", &format!("{marker}\nalso mine"));
    api.add_comment(8, BOT, "Bot", &format!("{marker}\nof another"));
    let before = api.comments();
    let post = || -> Result<Vec<Value>, Box<dyn Error>> {
        let posted = runner.job("comment", "post")?;
        assert!(posted.is_success, "{}", posted.log);
        let after = api.comments();
        assert_eq!(after[..before.len()], before, "others' comments stay");
        Ok(after[before.len()..].to_vec())
    };
    let [first] = post()?.try_into().map_err(|all| format!("{all:?}"))?;
    assert_eq!(first["body"], text.as_str());
    assert_eq!(first["pull"], 7);

    // The next commit's gate passed, say.
    let newer = text.replace("load.reads.p50", "load.reads.p51");
    fs::write(runner.artifact("comment").join("comment.md"), &newer)?;
    let [second] = post()?.try_into().map_err(|all| format!("{all:?}"))?;
    assert_eq!(second["id"], first["id"], "updated in place");
    assert_eq!(second["body"], newer.as_str());
    assert!(!runner.workspace().join("../owned").exists());
    // Whoever stores the artifact has no business with the token.
    let asked = api.asked_of_the_store();
    assert!(!asked.is_empty());
    let leaks = |header: &String| header.starts_with("authorization");
    assert!(!asked.iter().flat_map(|request| &request.headers).any(leaks));

    // While the text was made, a commit came: it is about something else now.
    api.change_pulls(|pulls| pulls[0]["head"]["sha"] = SHA.into());
    fs::write(runner.artifact("comment").join("comment.md"), &text)?;
    let [third] = post()?.try_into().map_err(|all| format!("{all:?}"))?;
    assert_eq!(third["body"], newer.as_str());
    api.change_pulls(|pulls| pulls[0]["head"]["sha"] = head.as_str().into());

    // A verdict of another commit, and one that is a disguise.
    let elsewhere = after_a_gate(&origin, &api, SHA)?;
    api.change_pulls(|pulls| pulls[0]["head"]["sha"] = SHA.into());
    let refused = elsewhere.job("comment", "render")?;
    assert!(!refused.is_success, "{}", refused.log);
    assert!(!elsewhere.artifact("comment").exists());
    api.change_pulls(|pulls| pulls[0]["head"]["sha"] = head.as_str().into());

    let mut hostile = verdict.clone();
    hostile["scenario"] =
        "x</details><script>alert(1)</script>\n::error::owned\n## owned\n@everyone \
        [click](javascript:alert(1)) ![pixel](https://evil.invalid/x.png) <!-- plimsoll:other -->"
            .into();
    hostile["pull_request"] = 8.into();
    let packed = packed_verdict(&hostile)?;
    api.set_artifact(packed.clone(), packed.len());
    let before = api.comments();
    let rendered = runner.job("comment", "render")?;
    assert!(
        !rendered.log.contains("\n::error::owned"),
        "{}",
        rendered.log
    );
    assert!(rendered.is_success, "{}", rendered.log);
    let posted = runner.job("comment", "post")?;
    assert!(posted.is_success, "{}", posted.log);
    let after = api.comments();
    assert_eq!(after.len(), before.len(), "in the place of ours");
    let ours = after.iter().find(|one| one["id"] == first["id"]);
    let body = ours.and_then(|one| one["body"].as_str()).ok_or("no body")?;
    // What is left without the marker, the link to the run, the escapes and what is code.
    let text = body.split_once('\n').ok_or("one line")?.1;
    let text = text.replace(
        &format!("(<https://github.invalid/{REPOSITORY}/actions/runs/99>)"),
        "",
    );
    let bare = Regex::new(r"\\.|`[^`\n]*`")?.replace_all(&text, "");
    for bad in ["<", "\n## owned", "](javascript", "![", "@everyone"] {
        assert!(!bare.contains(bad), "{bad} is in {body}");
    }
    assert_eq!(api.pulls().len(), 2);
    Ok(())
}

/// What becomes of an artifact whose archive is like this: whether there is something to say, or nothing,
/// or whether the job fails.
#[test]
fn an_artifact_can_bring_nothing_but_verdicts() -> Tested {
    enum Taken {
        Ready(&'static str),
        Nothing(&'static str),
        Refused(&'static str),
    }
    use Taken::{Nothing, Ready, Refused};
    let origin = Origin::new(STEADY)?;
    let api = Api::new();
    api.add_pull(7, SHA, FORK, BRANCH);
    let check = |packed: Vec<u8>, size: Option<usize>, expected: Taken| -> Tested {
        api.set_artifact(packed.clone(), size.unwrap_or(packed.len()));
        let runner = after_a_gate(&origin, &api, SHA)?;
        let folder = runner.workspace().join("../temp/artifact");
        // Only the step that looks at it: what is no verdict is refused by a later one.
        let ended = taken_by(&runner)?;
        let said = |words: &str| assert!(ended.log.contains(words), "{words}: {}", ended.log);
        let taken = fs::read_to_string(folder.join("verdicts.jsonl")).ok();
        match expected {
            Ready(content) => {
                assert!(ended.is_success, "{}", ended.log);
                assert_eq!(ended.outputs["ready"], "true", "{}", ended.log);
                assert_eq!(taken.as_deref(), Some(content));
            }
            Nothing(words) => {
                assert!(ended.is_success, "{}", ended.log);
                assert_eq!(ended.outputs["ready"], "false", "{}", ended.log);
                said(words);
            }
            Refused(words) => {
                assert!(!ended.is_success, "{}", ended.log);
                said(words);
                assert!(!ended.log.contains("Traceback"), "{}", ended.log);
            }
        }
        // Nothing but what was wanted, and nowhere else.
        let files = crate::support::files::below(&runner.workspace().join("../temp"), "jsonl")?;
        assert_eq!(files.len(), usize::from(taken.is_some()), "{files:?}");
        assert!(!Path::new("/tmp/plimsoll-owned.jsonl").exists());
        Ok(())
    };
    let fine = "z.writestr('verdicts.jsonl', '{}')";
    check(packed(fine)?, None, Ready("{}"))?;
    check(
        packed(
            "z.writestr('../verdicts.jsonl', 'a')\nz.writestr('../../../x.jsonl', 'b')\n\
             z.writestr('/tmp/plimsoll-owned.jsonl', 'c')\nz.writestr('verdicts.jsonl/../y.jsonl', 'd')",
        )?,
        None,
        Nothing("nothing was judged"),
    )?;
    check(
        packed(&format!(
            "z.writestr('../../verdicts.jsonl', 'a')\nz.writestr('comment.md', 'b')\n{fine}"
        ))?,
        None,
        Ready("{}"),
    )?;
    check(packed("pass")?, None, Nothing("nothing was judged"))?;
    let empty = "z.writestr('verdicts.jsonl', '\\n')";
    check(packed(empty)?, None, Nothing("nothing was judged"))?;
    check(
        b"PK but no archive".to_vec(),
        None,
        Refused("can't be read"),
    )?;
    let link = "i = ZipInfo('verdicts.jsonl')\ni.external_attr = 0o120777 << 16\nz.writestr(i, '/etc/passwd')";
    check(packed(link)?, None, Refused("no regular file"))?;
    check(
        packed(&format!("{fine}\n{fine}"))?,
        None,
        Refused("2 files"),
    )?;
    let bomb = "z.writestr('verdicts.jsonl', bytes(64 << 20))";
    check(packed(bomb)?, None, Refused("more than 8388608 bytes"))?;
    // It says that it is small.
    let liar = format!("{bomb}\nz.filelist[0].file_size = 10");
    check(packed(&liar)?, None, Refused("can't be read"))?;
    // It says that it is large, and is not.
    let claim = format!("{fine}\nz.filelist[0].file_size = 2 << 30");
    check(packed(&claim)?, None, Ready("{}"))?;
    let slow = "z.writestr('verdicts.jsonl', '{}', ZIP_LZMA)";
    check(packed(slow)?, None, Refused("does not use"))?;
    let locked = format!("{fine}\nz.filelist[0].flag_bits |= 1");
    check(packed(&locked)?, None, Refused("can't be read"))?;
    // Its own header has another name than the list, one that the runner would obey if it were said as it is.
    let two_names =
        "z.writestr('##[error]::error::x', '{}')\nz.filelist[0].filename = 'verdicts.jsonl'";
    check(packed(two_names)?, None, Refused("## [error]: :error: :x"))?;

    // What GitHub says is too much is not even asked for; what it doesn't say is not read to its end.
    let asked = api.asked_of_the_store().len();
    check(packed(fine)?, Some(2 << 30), Refused("more than 33554432"))?;
    assert_eq!(api.asked_of_the_store().len(), asked);
    api.make_endless();
    check(vec![0; 1 << 20], None, Refused("more than 33554432 bytes"))
}

/// What is refused is told in words that are partly a stranger's.
#[test]
fn what_is_said_of_an_artifact_is_no_command() -> Tested {
    let origin = Origin::new(STEADY)?;
    let api = Api::new();
    api.add_pull(7, SHA, FORK, BRANCH);
    let check = |verdict: Value, expected: &str| -> Tested {
        let packed = packed_verdict(&verdict)?;
        api.set_artifact(packed.clone(), packed.len());
        let runner = after_a_gate(&origin, &api, SHA)?;
        let rendered = runner.job("comment", "render")?;
        let log = &rendered.log;
        assert!(!rendered.is_success, "{log}");
        assert!(log.contains(expected), "{log}");
        let is_command = |line: &str| line.trim_start().starts_with("::") || line.contains("##[");
        assert_eq!(log.lines().find(|line| is_command(line)), None, "{log}");
        Ok(())
    };
    let hostile = "x\n::add-mask::e ##[error]owned";
    check(
        json!({ "schema": "plimsoll.verdict/1", "verdict": hostile }),
        "unknown variant",
    )?;
    check(json!({ "schema": hostile }), "plimsoll.verdict/1")
}

/// Where the commit is not the newest one of exactly one open pull request, nothing is said to anybody.
#[test]
fn only_the_pull_request_of_the_gated_commit_is_told() -> Tested {
    let origin = Origin::new(STEADY)?;
    let fine = packed("z.writestr('verdicts.jsonl', '{}')")?;
    let check = |change: &dyn Fn(&Api), expected: &str| -> Tested {
        let api = Api::new();
        api.set_artifact(fine.clone(), fine.len());
        change(&api);
        let runner = after_a_gate(&origin, &api, SHA)?;
        let ended = taken_by(&runner)?;
        assert!(ended.is_success, "{}", ended.log);
        assert_eq!(ended.outputs["ready"], expected, "{}", ended.log);
        Ok(())
    };
    check(&|api| api.add_pull(7, SHA, FORK, BRANCH), "true")?;
    check(&|_| {}, "false")?;
    // Another fork has the same commit; so has another branch of this one.
    check(&|api| api.add_pull(7, SHA, ("other", 19), BRANCH), "false")?;
    check(&|api| api.add_pull(7, SHA, (FORK.0, 20), BRANCH), "false")?;
    check(&|api| api.add_pull(7, SHA, FORK, "another"), "false")?;
    let old = "2222222222222222222222222222222222222222";
    check(&|api| api.add_pull(7, old, FORK, BRANCH), "false")?;
    let two = |api: &Api| {
        api.add_pull(7, SHA, FORK, BRANCH);
        api.add_pull(8, SHA, FORK, BRANCH);
    };
    check(&two, "false")?;
    let closed = |api: &Api| {
        api.add_pull(7, SHA, FORK, BRANCH);
        api.change_pulls(|pulls| pulls[0]["state"] = "closed".into());
    };
    check(&closed, "false")?;
    let gone = |api: &Api| {
        api.add_pull(7, SHA, FORK, BRANCH);
        api.change_pulls(|pulls| pulls[0]["head"]["repo"] = Value::Null);
    };
    check(&gone, "false")?;
    let elsewhere = |api: &Api| {
        api.add_pull(7, SHA, FORK, BRANCH);
        api.change_pulls(|pulls| pulls[0]["base"]["repo"]["id"] = 1.into());
    };
    check(&elsewhere, "false")
}

/// A comment is what `plimsoll comment` writes, or it is not written.
#[test]
fn what_is_no_comment_of_plimsoll_is_not_posted() -> Tested {
    let origin = Origin::new(STEADY)?;
    let api = Api::new();
    api.add_pull(7, SHA, FORK, BRANCH);
    let runner = after_a_gate(&origin, &api, SHA)?;
    let file = runner.artifact("comment").join("comment.md");
    fs::create_dir_all(runner.artifact("comment"))?;
    let check = |text: &str, expected: &str| -> Tested {
        fs::write(&file, text)?;
        let posted = runner.job("comment", "post")?;
        assert!(!posted.is_success, "{}", posted.log);
        assert!(posted.log.contains(expected), "{}", posted.log);
        Ok(())
    };
    check("red", "marker")?;
    check("<!-- other:x -->\nred", "marker")?;
    check("<!-- plimsoll:a --> red", "marker")?;
    let long = format!("<!-- plimsoll:a -->\n{}", "x".repeat(65_536));
    check(&long, "65536 at most")?;
    assert_eq!(api.comments(), [] as [Value; 0]);
    Ok(())
}

/// A part that is misspelled would say nothing to nobody, and be green.
#[test]
fn the_action_has_two_parts() -> Tested {
    let origin = Origin::new(STEADY)?;
    let runner = after_a_gate(&origin, &Api::new(), SHA)?;
    let ended = runner.action(ACTION, &json!({ "part": "comment" }))?;
    assert!(!ended.is_success, "{}", ended.log);
    assert!(ended.log.contains("render or post"), "{}", ended.log);
    Ok(())
}

/// The gate of a branch of ours, one that was cancelled, and one of another event have nothing to tell.
#[test]
fn only_gates_of_pull_requests_that_ended_are_looked_at() -> Tested {
    let origin = Origin::new(STEADY)?;
    let api = Api::new();
    let check = |event: &str, conclusion: &str, expected: bool| -> Tested {
        let runner = after_a_gate(&origin, &api, SHA)?;
        let runner = runner.with_event(&["workflow_run", "event"], event);
        let runner = runner.with_event(&["workflow_run", "conclusion"], conclusion);
        let begins = runner.begins("comment", "render", Value::Null)?;
        assert_eq!(begins, expected, "{event} {conclusion}");
        Ok(())
    };
    check("pull_request", "success", true)?;
    check("pull_request", "failure", true)?;
    check("pull_request", "cancelled", false)?;
    check("push", "success", false)?;
    check("pull_request_target", "success", false)
}
