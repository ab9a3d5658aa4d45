//! Where a workflow gets Plimsoll's action from. Nobody is guessed: a name that is made up could be somebody's.

use super::error::ScaffoldError;

/// What the manifest says of Plimsoll's own repository; empty where it says nothing.
const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");
/// Names on GitHub can't hold `<`, so what nobody filled in leads to nobody.
const NO_REPOSITORY: &str = "<OWNER>/<REPOSITORY>";
const NO_COMMIT: &str = "<COMMIT>";

/// Plimsoll's repository on GitHub and a commit of it, as far as they are known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Action {
    repository: Option<String>,
    commit: Option<String>,
}

impl Action {
    /// The action that `wish` (`OWNER/REPOSITORY@COMMIT`) names; without one, what Plimsoll's manifest says.
    pub(super) fn new(wish: Option<&str>) -> Result<Self, ScaffoldError> {
        let Some(wish) = wish else {
            return Ok(Self {
                repository: on_github(REPOSITORY),
                commit: None,
            });
        };
        let wrong = |reason: &str| Err(ScaffoldError::wish("--action", wish, reason));
        match wish.split_once('@') {
            Some((repository, _)) if !is_repository(repository) => {
                wrong("it names no repository on GitHub")
            }
            // A tag can be moved to other code by whoever owns it.
            Some((_, commit)) if !is_hash(commit) => wrong("it names no commit by its whole hash"),
            Some((repository, commit)) => Ok(Self {
                repository: Some(repository.to_owned()),
                commit: Some(commit.to_owned()),
            }),
            None => wrong("it names no commit"),
        }
    }

    /// Whether a workflow with it works.
    pub(super) fn is_known(&self) -> bool {
        self.repository.is_some() && self.commit.is_some()
    }

    /// What stands behind `uses:`.
    pub(super) fn uses(&self) -> String {
        let repository = self.repository.as_deref().unwrap_or(NO_REPOSITORY);
        let commit = self.commit.as_deref().unwrap_or(NO_COMMIT);
        format!("{repository}/.github/actions/plimsoll@{commit}")
    }
}

/// `OWNER/REPOSITORY` of a URL.
fn on_github(url: &str) -> Option<String> {
    let path = url.strip_prefix("https://github.com/")?;
    let path = path.trim_end_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    is_repository(path).then(|| path.to_owned())
}

fn is_repository(text: &str) -> bool {
    let is_name = |name: &str| {
        !name.is_empty()
            && name.len() <= 100
            && !name.starts_with(['.', '-'])
            && name
                .chars()
                .all(|char| char.is_ascii_alphanumeric() || "-_.".contains(char))
    };
    text.split_once('/')
        .is_some_and(|(owner, name)| is_name(owner) && is_name(name))
}

/// Of SHA-1 or SHA-256.
fn is_hash(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_is_a_repository_and_a_commit() {
        let check = |wish: &str, expected: Result<&str, &str>| {
            let found = Action::new(Some(wish)).map(|action| (action.uses(), action.is_known()));
            match (found, expected) {
                (Ok(found), Ok(uses)) => assert_eq!(found, (uses.to_owned(), true)),
                (Err(error), Err(reason)) => {
                    assert!(error.to_string().contains(reason), "{error}");
                    assert!(error.remedy().contains("--action OWNER/REPOSITORY@"));
                }
                (found, expected) => panic!("{wish}: {found:?}, not {expected:?}"),
            }
        };
        let hash = "0123456789abcdef0123456789abcdef01234567";
        check(
            &format!("acme/plimsoll@{hash}"),
            Ok(&format!("acme/plimsoll/.github/actions/plimsoll@{hash}")),
        );
        check("acme/plimsoll", Err("no commit"));
        check("acme/plimsoll@v1.0.0", Err("whole hash"));
        check(&format!("plimsoll@{hash}"), Err("no repository"));
        check(&format!("acme/a/b@{hash}"), Err("no repository"));
        check(&format!("acme/a\n  run: rm@{hash}"), Err("no repository"));
        check(&format!("../a@{hash}"), Err("no repository"));
    }

    #[test]
    fn what_is_not_known_is_nobodys_name() {
        let uses = Action::default().uses();
        assert_eq!(
            uses,
            "<OWNER>/<REPOSITORY>/.github/actions/plimsoll@<COMMIT>"
        );
        assert!(!is_repository(NO_REPOSITORY));
        let check = |url: &str, expected: Option<&str>| {
            assert_eq!(on_github(url).as_deref(), expected, "{url}");
        };
        check("", None);
        check("https://github.com/acme/plimsoll", Some("acme/plimsoll"));
        check(
            "https://github.com/acme/plimsoll.git",
            Some("acme/plimsoll"),
        );
        check("https://github.com/acme/plimsoll/", Some("acme/plimsoll"));
        check("https://github.com/acme", None);
        check("https://gitlab.com/acme/plimsoll", None);
    }
}
