//! `plimsoll init`: looks at the folder, asks what can't be found, and writes what others decide.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::harness::gate::exit;
use crate::harness::report::text;
use crate::harness::scaffold::{
    self, Document, Draft, Entry, Facts, MAX_HAR_BYTES, MAX_OPENAPI_BYTES, Place, ScaffoldError,
    Tree, Wishes,
};
use crate::harness::scenario;

use super::args::InitArgs;
use super::diagnostics;
use super::failure::Failure;
use super::output::Output;

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Written,
    /// It was there and is as it was.
    Kept,
    /// It was only to be shown.
    NotWritten,
}

/// A file and what became of it, for programs.
#[derive(Debug, Serialize)]
struct Told<'a> {
    path: String,
    state: State,
    text: &'a str,
}

/// What a call did, for programs.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    files: Vec<Told<'a>>,
    found: Vec<Fact<'a>>,
    notes: &'a [String],
    next: Vec<Next<'a>>,
    gitlab: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct Fact<'a> {
    what: &'a str,
    value: &'a str,
    from: &'a str,
}

#[derive(Debug, Serialize)]
struct Next<'a> {
    reason: &'a str,
    line: &'a str,
}

/// Writes what is missing and says what to do next.
pub(super) fn run(output: &Output, args: &InitArgs) -> Result<u8, Failure> {
    let folder = std::env::current_dir()
        .and_then(|folder| folder.canonicalize())
        .map_err(|error| Failure::tool("finding the working folder", &error))?;
    let facts = scaffold::detect(&tree(&folder));
    let top = top_of_repository(&folder);
    let mut wishes = wishes(args);
    let document = document(args, &facts, &folder)?;
    let is_asking = !args.yes
        && !args.dry_run
        && !output.is_json()
        && io::stdin().is_terminal()
        && io::stderr().is_terminal();
    if is_asking {
        ask(&facts, document.as_ref(), &mut wishes)?;
    }
    let place = place(&folder, &top);
    let draft = scaffold::draft(&facts, &wishes, &place, document.as_ref())
        .map_err(|error| refused(&error, args))?;
    check(&draft, output)?;
    let files = match args.dry_run {
        true => draft.files.iter().map(|_| State::NotWritten).collect(),
        false => write(&draft, &folder, &top, args)?,
    };
    let told: Vec<Told<'_>> = draft
        .files
        .iter()
        .zip(files)
        .map(|(file, state)| Told {
            path: shown_path(file, &folder, &top),
            state,
            text: &file.text,
        })
        .collect();
    answer(output, &draft, told, args.dry_run)?;
    Ok(exit::PASS)
}

fn wishes(args: &InitArgs) -> Wishes {
    Wishes {
        name: args.name.clone(),
        url: args.url.clone(),
        start: args.start.clone(),
        port: args.port.clone(),
        path: args.path.clone(),
        rate: args.rate.clone(),
        writes: args.writes,
        assets: args.assets,
    }
}

fn refused(error: &ScaffoldError, args: &InitArgs) -> Failure {
    let named = args.from_openapi.as_ref().or(args.from_har.as_ref());
    let place = match error {
        ScaffoldError::NoTarget { .. }
        | ScaffoldError::NoPort(_)
        | ScaffoldError::BadWish { .. } => None,
        _ => named,
    };
    let place = place.map_or_else(String::new, |path| format!("{}: ", path.display()));
    Failure::usage(format!("{place}{error}"), error.remedy())
}

/// What lies in the folder, as far as it says something. What can't be read is as if it were not there:
/// what is missing is asked for.
fn tree(folder: &Path) -> Tree {
    let mut tree = Tree::default();
    let mut bytes_left = Tree::MAX_BYTES;
    let mut waiting = vec![String::new()];
    while let Some(below) = waiting.pop() {
        let Ok(entries) = fs::read_dir(folder.join(&below)) else {
            continue;
        };
        let mut entries: Vec<_> = entries.filter_map(Result::ok).collect();
        // What lies in a folder comes before what lies deeper.
        entries.sort_by_key(fs::DirEntry::file_name);
        let mut folders = Vec::new();
        for entry in entries {
            if tree.len() == Tree::MAX_FILES {
                return tree;
            }
            let (Ok(kind), Ok(name)) = (entry.file_type(), entry.file_name().into_string()) else {
                continue;
            };
            let path = match below.as_str() {
                "" => name,
                below => format!("{below}/{name}"),
            };
            // A link may lead anywhere.
            if kind.is_dir() && Tree::of_folder(&path) == Entry::Read {
                folders.push(path);
            } else if kind.is_file() {
                let what = Tree::of_file(&path);
                let text = match what {
                    Entry::Read => read_short(&entry.path(), bytes_left.min(Tree::MAX_FILE_BYTES)),
                    Entry::Name | Entry::PassOver => None,
                };
                bytes_left -= text.as_ref().map_or(0, String::len);
                if what != Entry::PassOver {
                    tree.insert(path, text);
                }
            }
        }
        waiting.extend(folders.into_iter().rev());
    }
    tree
}

/// The text of a file, if it has no more than so many bytes.
fn read_short(path: &Path, max_bytes: usize) -> Option<String> {
    let text = read(path, max_bytes).ok()?;
    (text.len() <= max_bytes).then_some(text)
}

/// The text of a file, with at most one byte more than `max_bytes`.
fn read(path: &Path, max_bytes: usize) -> io::Result<String> {
    let mut text = String::new();
    let limit = u64::try_from(max_bytes).unwrap_or(u64::MAX);
    File::open(path)?
        .take(limit.saturating_add(1))
        .read_to_string(&mut text)?;
    Ok(text)
}

/// The document that was named, or the likeliest that was found, unless a path was named.
fn document(args: &InitArgs, facts: &Facts, folder: &Path) -> Result<Option<Document>, Failure> {
    let named = [(&args.from_openapi, false), (&args.from_har, true)];
    for (path, is_har) in named {
        let Some(path) = path else { continue };
        let text = read(path, limit(is_har)).map_err(|error| {
            Failure::usage(
                format!("{} can't be read: {error}", path.display()),
                "name a text file that is there",
            )
        })?;
        return Ok(Some(Document {
            path: path.display().to_string(),
            text,
            is_har,
            is_named: true,
        }));
    }
    if args.path.is_some() {
        return Ok(None);
    }
    let found = facts.openapi.first().map(|path| (path, false));
    let found = found.or_else(|| facts.har.first().map(|path| (path, true)));
    let Some((path, is_har)) = found else {
        return Ok(None);
    };
    let text = read(&folder.join(path), limit(is_har)).ok();
    Ok(text.map(|text| Document {
        path: path.clone(),
        text,
        is_har,
        is_named: false,
    }))
}

fn limit(is_har: bool) -> usize {
    match is_har {
        true => MAX_HAR_BYTES,
        false => MAX_OPENAPI_BYTES,
    }
}

/// Asks what was neither said nor is sure. An empty answer takes what was found.
fn ask(facts: &Facts, document: Option<&Document>, wishes: &mut Wishes) -> Result<(), Failure> {
    if wishes.start.is_none() && wishes.url.is_none() {
        let found = facts
            .service
            .as_ref()
            .map(|service| service.start.value.as_str());
        let question = "How does the service start? (a command, {port} for its port; or the URL of one that is there)";
        match question_with(question, found)? {
            Some(answer) if answer.contains("://") => wishes.url = Some(answer),
            Some(answer) if Some(answer.as_str()) != found => wishes.start = Some(answer),
            _ => {}
        }
    }
    if wishes.path.is_none() && document.is_none() {
        let found = facts
            .path
            .as_ref()
            .map_or("/", |found| found.value.as_str());
        if let Some(answer) = question_with("Which path shall be asked for?", Some(found))? {
            wishes.path = Some(answer);
        }
    }
    Ok(())
}

/// Asks on the terminal; `None` where the answer is empty or there is none.
fn question_with(question: &str, found: Option<&str>) -> Result<Option<String>, Failure> {
    let mut stderr = io::stderr().lock();
    let default = found.map_or_else(String::new, |found| format!(" [{}]", text::one_line(found)));
    let asked = write!(stderr, "{question}{default}\n> ").and_then(|()| stderr.flush());
    asked.map_err(|error| Failure::tool("asking", &error))?;
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line);
    read.map_err(|error| Failure::tool("reading the answer", &error))?;
    let answer = line.trim();
    Ok((!answer.is_empty()).then(|| answer.to_owned()))
}

/// The top of the repository that the folder is in, or the folder itself.
fn top_of_repository(folder: &Path) -> PathBuf {
    let mut above = folder.ancestors();
    let top = above.find(|folder| folder.join(".git").exists());
    top.unwrap_or(folder).to_owned()
}

fn place(folder: &Path, top: &Path) -> Place {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    Place {
        folder: folder
            .file_name()
            .map(|name| text(Path::new(name)))
            .unwrap_or_default(),
        below: folder.strip_prefix(top).map(text).unwrap_or_default(),
        // Which does not depend on the scenario's name.
        is_root: scenario::root_of(&folder.join("scenarios/any.toml")) == folder,
    }
}

/// Checks the scenario as `plimsoll check` will, before anything is written.
fn check(draft: &Draft, output: &Output) -> Result<(), Failure> {
    let trouble = |error: io::Error| Failure::tool("checking what would be written", &error);
    let scratch = tempfile::tempdir().map_err(trouble)?;
    for file in &draft.files[..draft.together] {
        let path = scratch.path().join(&file.path);
        fs::create_dir_all(path.parent().unwrap_or(scratch.path())).map_err(trouble)?;
        fs::write(path, &file.text).map_err(trouble)?;
    }
    let checked = scenario::check(&scratch.path().join(&draft.scenario));
    checked.map(drop).map_err(|mut rejection| {
        rejection.file = PathBuf::from(&draft.scenario);
        Failure::Scenario(diagnostics::render(&rejection, output.style_err()))
    })
}

/// Writes each file that is not there. The scenario and its feed are written together or not at all.
fn write(draft: &Draft, folder: &Path, top: &Path, args: &InitArgs) -> Result<Vec<State>, Failure> {
    let path = |file: &scaffold::File| match file.is_at_top {
        true => top.join(&file.path),
        false => folder.join(&file.path),
    };
    // A link that leads nowhere is there too.
    let is_there = |file: &scaffold::File| path(file).symlink_metadata().is_ok();
    let (together, others) = draft.files.split_at(draft.together);
    let there = together.iter().find(|file| is_there(file));
    let is_wanted = args.from_openapi.is_some() || args.from_har.is_some() || args.name.is_some();
    if let Some(file) = there
        && (is_wanted || file.path != draft.scenario)
    {
        return Err(Failure::usage(
            format!("{} is there already, and no file is changed", file.path),
            "choose another name for the scenario: --name NAME",
        ));
    }
    let mut states = Vec::new();
    for file in together {
        states.push(match there {
            Some(_) => State::Kept,
            None => write_new(&path(file), &file.text)?,
        });
    }
    for file in others {
        states.push(write_new(&path(file), &file.text)?);
    }
    Ok(states)
}

/// Writes a file, unless it is there.
fn write_new(path: &Path, text: &str) -> Result<State, Failure> {
    let written = fs::create_dir_all(path.parent().unwrap_or(path)).and_then(|()| {
        let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
        file.write_all(text.as_bytes())
    });
    match written {
        Ok(()) => Ok(State::Written),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(State::Kept),
        Err(error) => Err(Failure::tool(format!("writing {}", path.display()), &error)),
    }
}

/// A file's path as it is seen from the folder.
fn shown_path(file: &scaffold::File, folder: &Path, top: &Path) -> String {
    let below = folder.strip_prefix(top).unwrap_or(Path::new(""));
    let up = match file.is_at_top {
        true => "../".repeat(below.components().count()),
        false => String::new(),
    };
    format!("{up}{}", file.path)
}

fn answer(
    output: &Output,
    draft: &Draft,
    files: Vec<Told<'_>>,
    is_dry: bool,
) -> Result<(), Failure> {
    if output.is_json() {
        let found = draft
            .found
            .iter()
            .map(|(what, value, from)| Fact { what, value, from });
        let next = draft
            .next
            .iter()
            .map(|(reason, line)| Next { reason, line });
        return output.answer_json(&Answer {
            files,
            found: found.collect(),
            notes: &draft.notes,
            next: next.collect(),
            gitlab: draft.gitlab.as_deref(),
        });
    }
    if is_dry {
        output.say(&text::block(&found(draft)));
        let files: Vec<String> = files
            .iter()
            .map(|file| format!("==> {} <==\n{}", file.path, file.text))
            .collect();
        return output.answer(&text::block(&files.join("\n")));
    }
    let mut told = match output.quiet {
        true => String::new(),
        false => found(draft),
    };
    told.push_str("Files\n");
    let width = files.iter().map(|file| file.path.len()).max().unwrap_or(0);
    for file in &files {
        let state = match file.state {
            State::Kept => "was there, and is as it was",
            State::Written | State::NotWritten => "written",
        };
        told.push_str(&format!("  {:width$}  {state}\n", file.path));
    }
    if !output.quiet {
        told.push_str("\nNext\n");
        let mut said = "";
        for (reason, line) in &draft.next {
            // Of several lines for one reason, it stands over the first.
            if reason != said {
                told.push_str(&format!("  # {reason}\n"));
            }
            told.push_str(&format!("  {line}\n"));
            said = reason;
        }
        if let Some(job) = &draft.gitlab {
            told.push_str(&format!("\nFor .gitlab-ci.yml\n{job}"));
        }
    }
    output.answer(&text::block(&told))
}

/// What was found, and what has to be known.
fn found(draft: &Draft) -> String {
    let mut told = String::new();
    if !draft.found.is_empty() {
        told.push_str("Found\n");
    }
    let width = draft
        .found
        .iter()
        .map(|(_, value, _)| value.chars().count().min(60))
        .max()
        .unwrap_or(0);
    for (what, value, from) in &draft.found {
        told.push_str(&format!("  {what:9} {value:width$}  ({from})\n"));
    }
    if !draft.notes.is_empty() {
        told.push_str("\nTo know\n");
        for note in &draft.notes {
            told.push_str(&format!("  - {note}\n"));
        }
    }
    if !told.is_empty() {
        told.push('\n');
    }
    told
}
