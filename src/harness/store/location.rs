//! Where a history lies: a SQLite file or a PostgreSQL database.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sqlx::any::AnyConnectOptions;
use sqlx::postgres::PgConnectOptions;

use super::error::StoreError;

/// Which database it is; the few places where they differ ask for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Backend {
    Sqlite,
    Postgres,
}

/// The schemes of PostgreSQL's URLs.
const POSTGRES: [&str; 2] = ["postgres", "postgresql"];

/// A place for a history. What it shows never holds a password.
pub(super) struct Location {
    pub(super) backend: Backend,
    /// Holds the password of a PostgreSQL URL; never shown.
    pub(super) options: AnyConnectOptions,
    label: String,
}

impl Location {
    /// Reads `text`: a `postgres://` URL, a `sqlite:` URL or the path of a SQLite file, whose
    /// folder is made where it is missing.
    pub(super) fn parse(text: &str) -> Result<Self, StoreError> {
        match (file(text), text.split_once(':')) {
            (Some(path), _) => Self::sqlite(path),
            (None, Some((scheme, _))) if !POSTGRES.contains(&scheme) => Err(StoreError::Address {
                given: format!("{scheme}://…"),
            }),
            (None, _) => Self::postgres(text),
        }
    }

    /// Whether there is something at `text` already. What a server holds is known once it is asked.
    pub(super) fn exists(text: &str) -> bool {
        file(text).is_none_or(|path| Path::new(path).exists())
    }

    fn postgres(url: &str) -> Result<Self, StoreError> {
        let refused = |source| StoreError::Open {
            location: "the PostgreSQL URL".to_owned(),
            source,
        };
        let parsed = PgConnectOptions::from_str(url).map_err(refused)?;
        let label = format!(
            "PostgreSQL database `{}` at {}:{}",
            parsed.get_database().unwrap_or(parsed.get_username()),
            parsed.get_host(),
            parsed.get_port()
        );
        Ok(Self {
            backend: Backend::Postgres,
            options: url.parse().map_err(refused)?,
            label,
        })
    }

    fn sqlite(path: &str) -> Result<Self, StoreError> {
        if path.is_empty() || path.starts_with(":memory:") {
            return Err(StoreError::Address {
                given: path.to_owned(),
            });
        }
        let path = with_real_folder(Path::new(path)).map_err(|source| StoreError::Folder {
            path: PathBuf::from(path),
            source,
        })?;
        let label = path.display().to_string();
        let url = format!("sqlite://{}?mode=rwc", percent_encode(&path));
        let options = url.parse().map_err(|source| StoreError::Open {
            location: label.clone(),
            source,
        })?;
        Ok(Self {
            backend: Backend::Sqlite,
            options,
            label,
        })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label)
    }
}

/// The path of the file that `text` names, unless it is a URL.
fn file(text: &str) -> Option<&str> {
    match text.split_once(':') {
        Some((scheme, _)) if POSTGRES.contains(&scheme) => None,
        Some(("sqlite", rest)) => Some(rest.strip_prefix("//").unwrap_or(rest)),
        Some((_, rest)) if rest.starts_with("//") => None,
        _ => Some(text),
    }
}

/// The absolute path of `path`, its folder made. A relative one could not be told from a host in a URL.
fn with_real_folder(path: &Path) -> std::io::Result<PathBuf> {
    let name = path
        .file_name()
        .ok_or_else(|| std::io::Error::other("the path names no file"))?;
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    fs::create_dir_all(folder)?;
    Ok(folder.canonicalize()?.join(name))
}

/// Every byte but those that mean nothing in a URL; the driver decodes them all.
fn percent_encode(path: &Path) -> String {
    path.as_os_str()
        .as_encoded_bytes()
        .iter()
        .map(|&byte| match byte {
            b'/' | b'.' | b'-' | b'_' => char::from(byte).to_string(),
            _ if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        for url in [
            "postgres://someone:s3cret@db.example:5433/runs",
            "postgresql://db.example:5433/runs?user=someone&password=s3cret",
        ] {
            let location = Location::parse(url).unwrap();
            assert_eq!(
                location.to_string(),
                "PostgreSQL database `runs` at db.example:5433"
            );
        }
        for url in [
            "postgres://someone:s3cret@db.example:port/runs",
            "postgres://someone:s3cret@[/runs",
            "mysql://someone:s3cret@db.example/runs",
            "https://someone:s3cret@db.example/runs",
        ] {
            let error = Location::parse(url).err().unwrap();
            let text = format!("{error} {error:?}");
            assert!(!text.contains("s3cret"), "{text}");
        }
    }

    #[test]
    fn a_path_is_a_file_whatever_its_letters() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["history.db", "a b%41?c#d.db", "ü:x.db"] {
            let path = folder.path().join("new").join(name);
            let location = Location::parse(path.to_str().unwrap()).unwrap();
            assert_eq!(location.backend, Backend::Sqlite);
            assert!(location.to_string().ends_with(name), "{location}");
        }
        assert!(folder.path().join("new").is_dir());
    }

    #[test]
    fn a_file_is_there_whatever_is_written_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("h.db").display().to_string();
        let places = [
            path.clone(),
            format!("sqlite:{path}"),
            format!("sqlite://{path}"),
        ];
        for is_there in [false, true] {
            if is_there {
                fs::write(&path, "").unwrap();
            }
            for place in &places {
                assert_eq!(Location::exists(place), is_there, "{place}");
            }
        }
        for url in [
            "postgres://db.example/runs",
            "postgresql:runs",
            "mysql://db.example",
        ] {
            assert!(Location::exists(url), "{url}");
        }
    }

    #[test]
    fn what_can_not_be_kept_is_refused() {
        for text in ["", "sqlite::memory:", "sqlite:", "/", ".."] {
            assert!(Location::parse(text).is_err(), "{text}");
        }
    }
}
