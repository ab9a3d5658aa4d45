//! From what was asked for to what was written.

use std::fs;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};

use crate::harness::cli::args::InitArgs;
use crate::harness::cli::diagnostics;
use crate::harness::cli::failure::Failure;
use crate::harness::cli::output::Output;
use crate::harness::gate::exit;
use crate::harness::scaffold::{
    self, Document, Draft, Facts, File, MAX_HAR_BYTES, MAX_OPENAPI_BYTES, ScaffoldError, Wishes,
};
use crate::harness::scenario;

use super::answer::{State, Told, answer};
use super::writing::Target;
use super::{folder, questions};

/// Writes what is missing and says what to do next.
pub(in crate::harness::cli) fn run(output: &Output, args: &InitArgs) -> Result<u8, Failure> {
    let folder = std::env::current_dir()
        .and_then(|folder| folder.canonicalize())
        .map_err(|error| Failure::tool("finding the working folder", &error))?;
    let top = folder::top_of_repository(&folder);
    let facts = scaffold::detect(&folder::tree(&folder));
    let mut wishes = wishes(args);
    let document = document(args, &facts, &folder)?;
    let is_asking = !args.yes
        && !args.dry_run
        && !output.is_json()
        && io::stdin().is_terminal()
        && io::stderr().is_terminal();
    if is_asking {
        questions::ask(&facts, document.as_ref(), &mut wishes)?;
    }
    let place = folder::place(&folder, top.as_deref());
    let draft = scaffold::draft(&facts, &wishes, &place, document.as_ref())
        .map_err(|error| refused(&error, args))?;
    check(&draft, output)?;
    let target = Target {
        folder: &folder,
        top: top.as_deref().unwrap_or(&folder),
    };
    let of_scenario = Wishes {
        action: None,
        ..wishes.clone()
    };
    let is_named = document.is_some_and(|document| document.is_named);
    let is_wished = |file: &File| match file.is_at_top {
        true => wishes.action.is_some(),
        false => file.path == draft.scenario && (is_named || of_scenario != Wishes::default()),
    };
    let states = match args.dry_run {
        true => vec![State::NotWritten; draft.files.len()],
        false => target.write(&draft, is_wished)?,
    };
    let told = draft.files.iter().zip(states).map(|(file, state)| Told {
        path: target.shown_path(file),
        state,
        text: &file.text,
    });
    answer(output, &draft, told.collect(), args.dry_run)?;
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
        action: args.action.clone(),
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

/// The document that was named, or the likeliest that was found, unless a path was named.
fn document(args: &InitArgs, facts: &Facts, folder: &Path) -> Result<Option<Document>, Failure> {
    let named = [(&args.from_openapi, false), (&args.from_har, true)];
    for (path, is_har) in named {
        let Some(path) = path else { continue };
        let limit_bytes = limit_bytes(is_har);
        let text = folder::read(path, limit_bytes).map_err(|error| match error.kind() {
            io::ErrorKind::FileTooLarge => refused(&ScaffoldError::TooLarge { limit_bytes }, args),
            _ => Failure::usage(
                format!("{} can't be read: {error}", path.display()),
                "name a text file that is there",
            ),
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
    let text = folder::read(&folder.join(path), limit_bytes(is_har)).ok();
    Ok(text.map(|text| Document {
        path: path.clone(),
        text,
        is_har,
        is_named: false,
    }))
}

fn limit_bytes(is_har: bool) -> usize {
    match is_har {
        true => MAX_HAR_BYTES,
        false => MAX_OPENAPI_BYTES,
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
