//! Files that a stranger made: the artifact of a fork's pull request.
//!
//! What is opened must be a regular file under the name that was given, no link to another; its size is bounded before and
//! while it is read, and so is what is made of it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::fcntl::OFlag;

use crate::harness::gate::{VERDICT_FORMAT, Verdict};
use crate::harness::report::text;
use crate::harness::store::check_format;

use super::failure::Failure;

/// All files together are no larger. Five thousand metrics of five pairs are 7 MB.
const MAX_BYTES: u64 = 32 << 20;
/// More verdicts than this are of no one call.
const MAX_VERDICTS: usize = 200;
/// Metrics, limits, reasons and warnings of all verdicts together.
const MAX_PARTS: usize = 50_000;
/// What is wrong with a file is told in no more characters: they may be a stranger's.
const MAX_WHY_CHARS: usize = 400;
/// What to do about any of it.
const REMEDY: &str =
    "name the files that `--write json=FILE` wrote, and distrust whoever changed them";

/// The verdicts of some files, in their order; at least one.
pub(super) fn verdicts<'f>(
    files: impl IntoIterator<Item = &'f Path>,
) -> Result<Vec<Verdict>, Failure> {
    let mut left_bytes = MAX_BYTES;
    let (mut verdicts, mut parts) = (Vec::new(), 0);
    for file in files {
        let refused = |why: String| {
            let why = text::shown(&why, MAX_WHY_CHARS);
            Failure::usage(format!("{}: {why}", file.display()), REMEDY)
        };
        let text = text_of(file, left_bytes).map_err(refused)?;
        left_bytes = left_bytes.saturating_sub(text.len() as u64);
        let lines = (1..)
            .zip(text.lines())
            .filter(|(_, line)| !line.trim().is_empty());
        for (number, line) in lines {
            let verdict = verdict(line)
                .map_err(|why| refused(format!("line {number} is no verdict: {why}")))?;
            parts += size(&verdict);
            if verdicts.len() == MAX_VERDICTS || parts > MAX_PARTS {
                return Err(refused(format!(
                    "more than {MAX_VERDICTS} verdicts, or more than {MAX_PARTS} metrics, limits, reasons and warnings in all"
                )));
            }
            verdicts.push(verdict);
        }
    }
    match verdicts.is_empty() {
        true => Err(Failure::usage("there is no verdict in it", REMEDY)),
        false => Ok(verdicts),
    }
}

/// The text of a regular file of at most so many bytes.
fn text_of(path: &Path, limit: u64) -> Result<String, String> {
    let too_large =
        || format!("larger than the {MAX_BYTES} bytes that all files may have together");
    let file = open(path).map_err(|error| match error.raw_os_error() {
        Some(code) if code == nix::errno::Errno::ELOOP as i32 => {
            "it is a link, and what it leads to is not read".to_owned()
        }
        _ => format!("it can't be read: {error}"),
    })?;
    let found = file
        .metadata()
        .map_err(|error| format!("it can't be read: {error}"))?;
    if !found.is_file() {
        return Err("it is no regular file".to_owned());
    }
    if found.len() > limit {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    // It may grow after it was looked at.
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("it can't be read: {error}"))?;
    if bytes.len() as u64 > limit {
        return Err(too_large());
    }
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())
}

/// Opens a file that may be anything: a link is not followed, and a pipe without a writer is not waited for.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits())
        .open(path)
}

/// A verdict from a line. Its format is looked at first; how deep it may be nested, serde_json bounds.
fn verdict(line: &str) -> Result<Verdict, String> {
    check_format(line, VERDICT_FORMAT).map_err(|error| error.to_string())?;
    serde_json::from_str(line).map_err(|error| error.to_string())
}

/// How many things a verdict holds of which each may have to be looked at.
fn size(verdict: &Verdict) -> usize {
    let compared = verdict.comparison.as_ref().map_or(0, |comparison| {
        comparison.metrics.len() + comparison.fingerprint_differences.len()
    });
    let anchored: usize = verdict.anchors.iter().map(|it| it.metrics.len()).sum();
    let own = [
        verdict.metrics.len(),
        verdict.limits.len(),
        verdict.reasons.len(),
        verdict.warnings.len(),
    ];
    own.iter().sum::<usize>() + compared + anchored
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::harness::gate::{Evidence, Policy, Reason, judge};

    fn line(change: impl FnOnce(&mut Verdict)) -> String {
        let evidence = Evidence {
            base: &[],
            head: &[],
            comparison: None,
        };
        let mut verdict = judge(&Policy::default(), &evidence);
        change(&mut verdict);
        serde_json::to_string(&verdict).unwrap() + "\n"
    }

    /// What is said of a file with this text, or of what `make` makes in its place.
    fn refused(make: impl FnOnce(&Path)) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("verdicts.jsonl");
        make(&path);
        match verdicts([&*path]) {
            Err(Failure::Usage(what, _)) => what,
            other => panic!("{other:?}"),
        }
    }

    fn refused_text(text: &str) -> String {
        refused(|path| std::fs::write(path, text).unwrap())
    }

    #[test]
    fn what_was_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
        std::fs::write(
            &one,
            line(|_| {}) + "\n" + &line(|it| it.scenario = "b".into()),
        )
        .unwrap();
        std::fs::write(&two, line(|it| it.scenario = "c".into())).unwrap();
        let found = verdicts([&*one, &*two]).unwrap();
        let names: Vec<&str> = found.iter().map(|it| &*it.scenario).collect();
        assert_eq!(names, ["", "b", "c"]);
    }

    #[test]
    fn only_regular_files_of_a_bounded_size_are_read() {
        let check = |make: &dyn Fn(&Path), expected: &str| {
            let said = refused(make);
            assert!(said.contains(expected), "{said}: no {expected}");
        };
        check(&|_| {}, "can't be read");
        check(
            &|path| std::fs::create_dir(path).unwrap(),
            "no regular file",
        );
        let target = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(target.path(), line(|_| {})).unwrap();
        check(&|path| symlink(target.path(), path).unwrap(), "a link");
        // Nobody writes into it, so whoever waits does so for ever.
        check(
            &|path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap(),
            "no regular file",
        );
        // Two gigabytes that take no place on the disk.
        check(
            &|path| File::create(path).unwrap().set_len(2 << 30).unwrap(),
            "larger than",
        );
        check(
            &|path| std::fs::write(path, b"\xff\n").unwrap(),
            "not UTF-8",
        );
        // Of a file that grows, as those in /proc do from nothing, no more is read than is allowed.
        let said = text_of(Path::new("/proc/self/maps"), 100).unwrap_err();
        assert!(said.contains("larger than"), "{said}");
    }

    #[test]
    fn several_files_share_the_bound() {
        let folder = tempfile::tempdir().unwrap();
        let names = ["a", "b", "c"].map(|name| folder.path().join(name));
        for path in &names {
            let mut text = line(|_| {});
            text.push_str(&" ".repeat((12 << 20) - text.len()));
            std::fs::write(path, text).unwrap();
        }
        assert_eq!(
            verdicts(names[..2].iter().map(|it| &**it)).unwrap().len(),
            2
        );
        assert!(verdicts(names.iter().map(|it| &**it)).is_err());
    }

    #[test]
    fn what_is_no_verdict_is_refused() {
        let check = |text: &str, expected: &str| {
            let said = refused_text(text);
            assert!(said.contains(expected), "{said}: no {expected}");
        };
        check("", "no verdict in it");
        check("\n \n", "no verdict in it");
        check("{}", "missing field `schema`");
        check("[", "line 1 is no verdict");
        let (open, close) = ("[".repeat(1 << 20), "]".repeat(1 << 20));
        let reasons = format!("\"schema\":\"{VERDICT_FORMAT}\",\"reasons\":");
        check(&open, "line 1 is no verdict");
        check(&format!("{{{reasons}{open}"), "line 1 is no verdict");
        check(
            &format!("{{{reasons}{open}{close}}}"),
            "line 1 is no verdict",
        );
        let newer = line(|it| it.schema = "plimsoll.verdict/2".into());
        check(&newer, "use the newer one");
        let other = line(|it| it.schema = "plimsoll.run/1".into());
        check(&other, "expected `plimsoll.verdict/1`");
        check(&(line(|_| {}) + "x"), "line 2 is no verdict");
        check(
            &line(|_| {}).replace("\"pass\"", "\"wonderful\""),
            "wonderful",
        );
        // What is refused is not repeated at any length, nor in lines of its own.
        let long = "\\n::error::".repeat(100_000);
        let said = refused_text(&line(|_| {}).replace("\"pass\"", &format!("\"{long}\"")));
        assert!(
            said.chars().count() < 1000 && !said.contains('\n'),
            "{said}"
        );
    }

    #[test]
    fn there_are_only_so_many() {
        let many = line(|_| {}).repeat(MAX_VERDICTS + 1);
        assert!(refused_text(&many).contains("more than 200 verdicts"));
        let long = line(|it| it.reasons = vec![Reason::NoBaseline; MAX_PARTS + 1]);
        assert!(refused_text(&long).contains("50000"));
    }
}
