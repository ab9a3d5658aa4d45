//! What lies in a folder, as a value.

use std::collections::BTreeMap;

/// More levels of folders are not looked at: sources of the JVM lie eight deep.
const MAX_DEPTH: usize = 10;
/// Folders with what was installed, built or is only for tests.
const PASSED_OVER: [&str; 16] = [
    "node_modules",
    "target",
    "dist",
    "build",
    "out",
    "vendor",
    "venv",
    "env",
    "__pycache__",
    "test",
    "tests",
    "__tests__",
    "spec",
    "testdata",
    "examples",
    "coverage",
];
/// Manifests, and what else says how a service is built, starts and is told its port.
const MANIFESTS: [&str; 15] = [
    "Cargo.toml",
    "package.json",
    "go.mod",
    "pom.xml",
    "build.gradle",
    "build.gradle.kts",
    "pyproject.toml",
    "requirements.txt",
    "setup.py",
    "Pipfile",
    "Dockerfile",
    "Containerfile",
    "Procfile",
    "yarn.lock",
    ".gitignore",
];
/// Sources, by extension.
const SOURCES: [&str; 11] = [
    "js",
    "mjs",
    "cjs",
    "ts",
    "mts",
    "py",
    "go",
    "rs",
    "java",
    "kt",
    "properties",
];
/// What is done with something in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// It is not looked at.
    PassOver,
    /// That it is there is enough.
    Name,
    /// Its text is read, or what is in it, if it is a folder.
    Read,
}

/// What lies in a folder: paths below it, with `/`, and the texts of files that say something.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree(BTreeMap<String, Option<String>>);

impl Tree {
    /// More files are not taken: a project that has more shows what it is in these.
    pub const MAX_FILES: usize = 4000;
    /// A longer file is known by its name alone.
    pub const MAX_FILE_BYTES: usize = 256 << 10;
    /// All texts together.
    pub const MAX_BYTES: usize = 16 << 20;

    /// What is done with the folder at `path`.
    pub fn of_folder(path: &str) -> Entry {
        let name = path.rsplit('/').next().unwrap_or(path);
        let is_left = name.starts_with('.') && name != ".github";
        match is_left || PASSED_OVER.contains(&name) || path.split('/').count() > MAX_DEPTH {
            true => Entry::PassOver,
            false => Entry::Read,
        }
    }

    /// What is done with the file at `path`.
    pub fn of_file(path: &str) -> Entry {
        let name = path.rsplit('/').next().unwrap_or(path);
        let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
        match () {
            () if MANIFESTS.contains(&name) => Entry::Read,
            () if is_test(name) => Entry::PassOver,
            () if SOURCES.contains(&extension) => Entry::Read,
            () => Entry::Name,
        }
    }

    /// Adds a file, with its text where that was read.
    pub fn insert(&mut self, path: impl Into<String>, text: Option<String>) {
        self.0.insert(path.into(), text);
    }

    /// How many files there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the file is there.
    pub fn has(&self, path: &str) -> bool {
        self.0.contains_key(path)
    }

    /// The text of a file, where it is there and was read.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.0.get(path)?.as_deref()
    }

    /// The first of these files that is there.
    pub(super) fn first<'a>(&self, paths: &[&'a str]) -> Option<&'a str> {
        paths.iter().copied().find(|path| self.has(path))
    }

    /// All paths, those nearer to the top first.
    pub(super) fn paths(&self) -> Vec<&str> {
        let mut paths: Vec<&str> = self.0.keys().map(String::as_str).collect();
        paths.sort_by_key(|path| path.matches('/').count());
        paths
    }

    /// The sources with one of these extensions and their texts, those nearer to the top first.
    pub(super) fn sources(&self, extensions: &[&str]) -> Vec<(&str, &str)> {
        let of_kind = |path: &&str| {
            let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
            extensions.contains(&extension)
        };
        let paths = self.paths().into_iter().filter(of_kind);
        paths
            .filter_map(|path| Some((path, self.text(path)?)))
            .collect()
    }
}

impl<P: Into<String>, T: Into<String>> FromIterator<(P, T)> for Tree {
    fn from_iter<I: IntoIterator<Item = (P, T)>>(files: I) -> Self {
        let files = files.into_iter();
        Self(
            files
                .map(|(path, text)| (path.into(), Some(text.into())))
                .collect(),
        )
    }
}

/// Whether a source is named as tests are: what they listen on is nobody's service.
fn is_test(name: &str) -> bool {
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    stem.starts_with("test_")
        || stem.ends_with("_test")
        || stem.ends_with(".test")
        || stem.ends_with(".spec")
        || stem.ends_with("Test")
        || stem.ends_with("Tests")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_of_a_folder() {
        let folder =
            |path: &str, expected: Entry| assert_eq!(Tree::of_folder(path), expected, "{path}");
        folder("src", Entry::Read);
        folder("src/main/java/com/acme", Entry::Read);
        folder("a/node_modules", Entry::PassOver);
        folder(".git", Entry::PassOver);
        folder(".github", Entry::Read);
        folder(&"a/".repeat(20), Entry::PassOver);
        let file =
            |path: &str, expected: Entry| assert_eq!(Tree::of_file(path), expected, "{path}");
        file("server.js", Entry::Read);
        file("src/main.rs", Entry::Read);
        file("package-lock.json", Entry::Name);
        file("cart_test.go", Entry::PassOver);
        file("app.test.ts", Entry::PassOver);
        file("openapi.yaml", Entry::Name);
        file("photo.jpg", Entry::Name);
    }

    #[test]
    fn what_is_near_comes_first() {
        let tree: Tree = [
            ("b/c/x.py", "1"),
            ("z.py", "2"),
            ("a/y.py", "3"),
            ("a.js", "4"),
        ]
        .into_iter()
        .collect();
        let found: Vec<&str> = tree
            .sources(&["py"])
            .into_iter()
            .map(|(path, _)| path)
            .collect();
        assert_eq!(found, ["z.py", "a/y.py", "b/c/x.py"]);
    }
}
