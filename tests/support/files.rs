//! Files of the repository and of folders that tests make.

use std::path::{Path, PathBuf};
use std::{fs, io};

use plimsoll::harness::scenario::FilePlan;
use sha2::{Digest as _, Sha256};

/// A path of the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The files with that extension anywhere below a folder, sorted.
pub(crate) fn below(folder: &Path, extension: &str) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Copies a folder with all that is in it.
pub(crate) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// A file in that folder, as a plan names it.
pub(crate) fn planned(folder: &Path, name: &str, contents: &str) -> io::Result<FilePlan> {
    let path = folder.join(name);
    fs::write(&path, contents)?;
    let digest = Sha256::digest(contents);
    Ok(FilePlan {
        path,
        sha256: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
    })
}
