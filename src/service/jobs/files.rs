//! The files of jobs. Each carries its job and its attempt in its name, so that two runs of one job never
//! write to one file, and only the one whose end counts is ever asked for.

use std::fs::Metadata;
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use axum::http::StatusCode;
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, stream};
use tempfile::TempPath;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::spawn_blocking;
use uuid::Uuid;

use crate::datalayer::jobs::Job;
use crate::service::app::App;
use crate::service::error::{ApiError, chain};

/// How much of a file is read at once.
const PIECE_BYTES: usize = 64 * 1024;
/// What a file that is not whole is called after the dot.
const PART: &str = "part";
/// Nobody else on the machine reads what tenants have.
const FOLDER_MODE: u32 = 0o700;

/// So much is written before the folder is measured again: what others write there counts too.
const MEASURE_BYTES: u64 = 16 * 1024 * 1024;

/// The folder of the files.
pub(super) struct Files {
    folder: PathBuf,
    /// Most bytes that they may take together.
    bytes_max: u64,
}

/// A file that is being written. Dropped, it is removed.
pub(super) struct Draft {
    file: File,
    path: TempPath,
    target: PathBuf,
    bytes: u64,
    folder: Files,
    /// Bytes that may be written before the folder is measured again.
    room: u64,
}

impl Files {
    pub(super) fn of(app: &App) -> Self {
        Self {
            folder: PathBuf::from(&app.settings.jobs.folder),
            bytes_max: app.settings.jobs.files_max_bytes,
        }
    }

    /// How many bytes may still be written, `wanted` at least.
    async fn room(&self, wanted: u64) -> Result<u64, ApiError> {
        let folder = self.folder.clone();
        let taken = blocking(move || measure(&folder)).await;
        let taken = taken.map_err(failed("measure", &self.folder))?;
        let room = self.bytes_max.saturating_sub(taken);
        if room < wanted {
            let message = "the files of jobs take as much as jobs.files_max_bytes allows; wait until \
                           older ones are gone";
            let status = StatusCode::INSUFFICIENT_STORAGE;
            return Err(ApiError::client(status, "files_full", message));
        }
        Ok(room.min(MEASURE_BYTES))
    }

    /// Begins the file of an attempt, and removes what earlier attempts have left: none of them can end
    /// its job any more.
    pub(super) async fn begin(self, job: &Job, extension: &'static str) -> Result<Draft, ApiError> {
        let (folder, id, attempt) = (self.folder.clone(), job.id, job.attempt);
        let begun = blocking(move || {
            let mut builder = std::fs::DirBuilder::new();
            builder.recursive(true).mode(FOLDER_MODE).create(&folder)?;
            for earlier in 1..attempt {
                remove(&folder.join(part_name(id, earlier)))?;
                remove(&folder.join(file_name(id, earlier, extension)))?;
            }
            // For its owner alone (mode 0600), and not to be there before.
            let part = tempfile::Builder::new()
                .prefix(&part_name(id, attempt))
                .rand_bytes(0)
                .tempfile_in(&folder)?;
            let (file, path) = part.into_parts();
            let target = folder.join(file_name(id, attempt, extension));
            Ok((file, path, target))
        });
        let (file, path, target) = begun
            .await
            .map_err(failed("make a file in", &self.folder))?;
        // Counted from here on, so that there is room for something at least.
        let room = self.room(1).await?;
        Ok(Draft {
            file: File::from_std(file),
            path,
            target,
            bytes: 0,
            folder: self,
            room,
        })
    }

    /// The file of a job that is done, and its length; nothing where it is gone.
    pub(super) async fn open(
        &self,
        job: &Job,
        extension: &str,
    ) -> Result<Option<(File, u64)>, ApiError> {
        let path = self.folder.join(file_name(job.id, job.attempt, extension));
        let opened = async {
            let file = File::open(&path).await?;
            let bytes = file.metadata().await?.len();
            Ok((file, bytes))
        };
        match opened.await {
            Ok(opened) => Ok(Some(opened)),
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(failed("open a file in", &self.folder)(error)),
        }
    }

    /// Removes the whole file of an attempt whose end does not count.
    pub(super) async fn discard(&self, job: &Job, extension: &str) -> Result<(), ApiError> {
        let path = self.folder.join(file_name(job.id, job.attempt, extension));
        let removed = blocking(move || remove(&path)).await;
        removed.map_err(failed("remove a file from", &self.folder))
    }

    /// Removes files of jobs that were written to longer than `kept` ago; gives how many.
    pub(super) async fn purge(&self, kept: Duration) -> Result<u64, ApiError> {
        let folder = self.folder.clone();
        let purged = blocking(move || purge(&folder, kept)).await;
        purged.map_err(failed("remove old files from", &self.folder))
    }
}

impl Draft {
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), ApiError> {
        let length = bytes.len() as u64;
        if self.room < length {
            // What is still on its way would not be measured.
            let flushed = self.file.flush().await;
            flushed.map_err(failed("write to", &self.path))?;
            self.room = self.folder.room(length).await?.max(length);
        }
        self.room -= length;
        self.bytes += length;
        let written = self.file.write_all(bytes).await;
        written.map_err(failed("write to", &self.path))
    }

    /// Gives the file its name, whole and on the disk. Gives its length.
    pub(super) async fn publish(mut self) -> Result<u64, ApiError> {
        let (path, target) = (self.path, self.target);
        let written = async {
            self.file.flush().await?;
            self.file.sync_all().await
        };
        written.await.map_err(failed("write to", &path))?;
        let folder = target.clone();
        // In one step with what comes before and after: a run that is broken off leaves nothing behind that
        // would still happen after its file was discarded.
        let named = path.persist(&target).map_err(|error| error.error);
        named.map_err(failed("name", &folder))?;
        // Else the name may be lost with the power, and the job says that it is done.
        let synced = blocking(move || target.parent().map_or(Ok(()), sync_folder));
        synced.await.map_err(failed("name", &folder))?;
        Ok(self.bytes)
    }
}

/// A file piece by piece, so that it is never in memory as a whole.
pub(super) fn read_in_pieces(file: File) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    stream::try_unfold(file, |mut file| async move {
        let mut piece = BytesMut::with_capacity(PIECE_BYTES);
        let read = file.read_buf(&mut piece).await?;
        Ok((read > 0).then(|| (piece.freeze(), file)))
    })
}

fn purge(folder: &Path, kept: Duration) -> io::Result<u64> {
    let mut purged = 0;
    for (path, metadata) in ours(folder)? {
        let age = SystemTime::now().duration_since(metadata.modified()?);
        if !age.is_ok_and(|age| age > kept) {
            continue;
        }
        match remove(&path) {
            Ok(()) => purged += 1,
            // The others are not to stay because of one.
            Err(error) => tracing::warn!(path = %path.display(), %error, "an old file stays"),
        }
    }
    Ok(purged)
}

/// How many bytes the files take.
fn measure(folder: &Path) -> io::Result<u64> {
    let files = ours(folder)?;
    Ok(files.iter().map(|(_, metadata)| metadata.len()).sum())
}

/// The files of jobs. Whatever else lies there is not ours.
fn ours(folder: &Path) -> io::Result<Vec<(PathBuf, Metadata)>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if is_gone(&error) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry?;
        if !entry.file_name().to_str().is_some_and(is_ours) {
            continue;
        }
        match entry.metadata() {
            Ok(metadata) => files.push((entry.path(), metadata)),
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(files)
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    std::fs::File::open(folder)?.sync_all()
}

fn file_name(job: Uuid, attempt: i64, extension: &str) -> String {
    format!("{job}-{attempt}.{extension}")
}

fn part_name(job: Uuid, attempt: i64) -> String {
    format!(".{job}-{attempt}.{PART}")
}

/// Whether a name is one that [`file_name`] or [`part_name`] gives.
fn is_ours(name: &str) -> bool {
    let name = name.strip_prefix('.').unwrap_or(name);
    let parts = name.split_at_checked(Uuid::nil().to_string().len());
    let Some((job, rest)) = parts else {
        return false;
    };
    let attempt = rest.strip_prefix('-').and_then(|rest| rest.split_once('.'));
    let is_attempt = attempt.is_some_and(|(attempt, extension)| {
        attempt.parse::<i64>().is_ok() && ["csv", "ndjson", "json", PART].contains(&extension)
    });
    is_attempt && job.parse::<Uuid>().is_ok()
}

/// Removes a file that may be gone already.
fn remove(path: &Path) -> io::Result<()> {
    std::fs::remove_file(path).or_else(|error| match is_gone(&error) {
        true => Ok(()),
        false => Err(error),
    })
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == ErrorKind::NotFound
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}

fn failed(action: &str, path: &Path) -> impl Fn(io::Error) -> ApiError {
    let place = format!("cannot {action} {}", path.display());
    move |error| {
        let hint =
            "is there room, and may it be written to? The setting jobs.folder names the folder";
        ApiError::internal(format!("{place}: {}; {hint}", chain(&error)))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
mod tests {
    use std::fs::{File as StdFile, FileTimes};

    use super::*;

    #[test]
    fn only_old_files_of_jobs_are_removed() {
        let folder = tempfile::TempDir::new().unwrap();
        let (day, id) = (Duration::from_secs(86_400), Uuid::now_v7());
        let write = |name: &str, age: Duration| {
            let file = StdFile::create(folder.path().join(name)).unwrap();
            let times = FileTimes::new().set_modified(SystemTime::now() - age);
            file.set_times(times).unwrap();
        };
        let old = [file_name(id, 1, "csv"), part_name(id, 2)];
        let others = [
            "notes.csv".to_owned(),
            format!("{id}.csv"),
            format!("{id}-x.csv"),
            format!("{id}-1.db"),
        ];
        for name in old.iter().chain(&others) {
            write(name, 7 * day + Duration::from_secs(60));
        }
        // One that cannot be removed keeps none of the others.
        let stuck = folder.path().join(file_name(id, 9, "csv"));
        std::fs::create_dir(&stuck).unwrap();
        let times = FileTimes::new().set_modified(SystemTime::now() - 8 * day);
        StdFile::open(&stuck).unwrap().set_times(times).unwrap();
        let young = file_name(id, 3, "json");
        write(&young, 7 * day - Duration::from_secs(60));
        assert_eq!(purge(folder.path(), 7 * day).unwrap(), 2);
        for name in others.iter().chain([&young]) {
            assert!(folder.path().join(name).exists(), "{name}");
        }
        assert_eq!(purge(folder.path(), 7 * day).unwrap(), 0);
        assert_eq!(purge(&folder.path().join("none"), day).unwrap(), 0);
    }

    #[test]
    fn all_files_of_jobs_are_measured_and_no_others() {
        let folder = tempfile::TempDir::new().unwrap();
        let id = Uuid::now_v7();
        let write = |name: &str, bytes: usize| {
            std::fs::write(folder.path().join(name), vec![0; bytes]).unwrap();
        };
        write(&file_name(id, 1, "csv"), 1000);
        write(&part_name(id, 2), 300);
        write("notes.csv", 50);
        assert_eq!(measure(folder.path()).unwrap(), 1300);
        assert_eq!(measure(&folder.path().join("none")).unwrap(), 0);
    }
}
