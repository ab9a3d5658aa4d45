//! One service a database file.
//!
//! Two services on one SQLite file would share neither cache tier and never learn of each other's
//! writes. On PostgreSQL and Redis they share the second tier; what is in the first tier of one is then
//! at most its lifetime behind the other's writes.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use super::server::ServerError;

/// The right to a database file. The system takes it back with the process, however that ends.
#[derive(Debug)]
pub(super) struct FileLock {
    _file: File,
}

impl FileLock {
    /// Takes the lock beside `database`, whose folder must be there. The lock has a file of its own:
    /// SQLite's locks on the database end when any descriptor of it is closed
    /// (<https://sqlite.org/howtocorrupt.html>, section 2.2). The empty file stays: whoever removed
    /// it could take the name from under the next service's lock.
    ///
    /// # Errors
    /// [`ServerError::InUse`] while another service holds the lock, [`ServerError::Lock`] where there
    /// can be none.
    pub(super) fn take(database: &Path) -> Result<Self, ServerError> {
        // By whatever links it is reached, the file is the same.
        let database = database
            .canonicalize()
            .unwrap_or_else(|_| database.to_owned());
        let path = lock_path(&database);
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(TryLockError::Error)
            .and_then(|file| file.try_lock().map(|()| Self { _file: file }));
        lock.map_err(|error| match error {
            TryLockError::WouldBlock => ServerError::InUse { database },
            TryLockError::Error(source) => ServerError::Lock { path, source },
        })
    }
}

fn lock_path(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(".lock");
    path.into()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_locked_once_whatever_it_is_called() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("a.db");
        std::fs::write(&file, "").unwrap();
        let link = folder.path().join("b.db");
        std::os::unix::fs::symlink(&file, &link).unwrap();

        let held = FileLock::take(&file).unwrap();
        for name in [&file, &link] {
            let refused = FileLock::take(name).unwrap_err();
            assert!(matches!(refused, ServerError::InUse { .. }), "{refused}");
        }
        FileLock::take(&folder.path().join("c.db")).unwrap();
        drop(held);
        FileLock::take(&link).unwrap();
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let folder = tempfile::TempDir::new().unwrap();
        let error = FileLock::take(&folder.path().join("none/a.db")).unwrap_err();
        assert!(error.to_string().contains("none/a.db.lock"), "{error}");
    }
}
