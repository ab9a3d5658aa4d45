//! Python: its frameworks, and what installs and starts them.

use std::sync::LazyLock;

use regex::Regex;

use super::container;
use super::words::line;
use crate::harness::scaffold::facts::{Found, Port, Service};
use crate::harness::scaffold::tree::Tree;

/// Where a program without a framework may be.
const ENTRIES: [&str; 6] = [
    "server.py",
    "main.py",
    "app.py",
    "run.py",
    "src/main.py",
    "src/server.py",
];
/// A folder of its own below what git leaves out, so that nobody's environment is changed.
const ENVIRONMENT: &str = ".plimsoll/venv";

static ASGI: LazyLock<Regex> = LazyLock::new(|| {
    expression(r"(?m)^(\w+)(?:\s*:\s*\w+)?\s*=\s*(?:\w+\.)?(?:FastAPI|Starlette|Litestar|Quart)\(")
});
static FLASK: LazyLock<Regex> = LazyLock::new(|| expression(r"(?m)^(\w+)\s*=\s*(?:\w+\.)?Flask\("));
/// A function that makes the application, which flask looks for by these names.
static FACTORY: LazyLock<Regex> = LazyLock::new(|| {
    expression(r"(?m)^def (create_app|make_app)\((?:\s*\w+[^,)=]*=[^,)]*,?)*\s*\)(?s:.)*\bFlask\(")
});
static NAME: LazyLock<Regex> = LazyLock::new(|| expression(r#"(?m)^name\s*=\s*["']([^"']+)["']"#));
static DEPENDS: LazyLock<Regex> = LazyLock::new(|| expression(r#"(?mi)^\s*["']?([a-z][\w.-]*)"#));

pub(super) fn name(tree: &Tree) -> Option<String> {
    let found = NAME.captures(tree.text("pyproject.toml")?)?;
    Some(found[1].to_owned())
}

pub(super) fn service(tree: &Tree) -> Option<Service> {
    let installed = Installed::of(tree);
    let build = installed.build();
    let has_gunicorn = installed.names(tree, "gunicorn");
    if let Some((path, app)) = app(tree, &ASGI) {
        let (module, folder) = module(path);
        let folder = folder.map_or_else(String::new, |folder| format!(" --app-dir {folder}"));
        let start = format!(
            "{} {module}:{app} --host 127.0.0.1 --port {{port}}{folder}",
            installed.program("uvicorn")
        );
        return Some(Service::told(start, path, build));
    }
    let made = app(tree, &FACTORY).map(|(path, name)| (path, format!("{name}()")));
    if let Some((path, app)) = app(tree, &FLASK).or(made) {
        let (module, folder) = module(path);
        let start = match has_gunicorn {
            true => {
                let folder = folder.map_or_else(String::new, |folder| format!(" --chdir {folder}"));
                format!(
                    "{} --bind 127.0.0.1:{{port}}{folder} {}",
                    installed.program("gunicorn"),
                    line(&[format!("{module}:{app}")])
                )
            }
            false => {
                let file = path.strip_suffix(".py").unwrap_or(path);
                format!(
                    "{} --app {} run --port {{port}}",
                    installed.program("flask"),
                    line(&[format!("{file}:{app}")])
                )
            }
        };
        return Some(Service::told(start, path, build));
    }
    if tree.has("manage.py") {
        let wsgi = tree
            .paths()
            .into_iter()
            .find(|path| path.ends_with("/wsgi.py"));
        let start = match wsgi.filter(|_| has_gunicorn) {
            Some(wsgi) => format!(
                "{} --bind 127.0.0.1:{{port}} {}",
                installed.program("gunicorn"),
                module(wsgi).0
            ),
            None => format!(
                "{} manage.py runserver --noreload 127.0.0.1:{{port}}",
                installed.program("python")
            ),
        };
        return Some(Service::told(start, "manage.py", build));
    }
    if let Some(mut service) = container::procfile(tree) {
        service.build = build;
        return Some(service);
    }
    let serves = |path: &&&str| {
        let signs = [
            "serve_forever(",
            "run_app(",
            ".listen(",
            "app.run(",
            "serve(",
        ];
        tree.text(path)
            .is_some_and(|text| signs.iter().any(|sign| text.contains(sign)))
    };
    let entry = ENTRIES.iter().find(serves)?;
    Some(Service {
        build,
        start: Found::new(format!("{} {entry}", installed.program("python")), *entry),
        port: Port::Unknown,
        ready: None,
        folder: String::new(),
    })
}

/// The file nearest to the top that makes an application, and the variable that holds it.
fn app<'a>(tree: &'a Tree, made: &Regex) -> Option<(&'a str, String)> {
    tree.sources(&["py"]).into_iter().find_map(|(path, text)| {
        let found = made.captures(text)?;
        // Paths stand in command lines as they are.
        let is_plain = path
            .chars()
            .all(|char| char.is_ascii_alphanumeric() || "/_.".contains(char));
        is_plain.then(|| (path, found[1].to_owned()))
    })
}

/// A file as the module that is imported, and the folder from where, if it is another.
fn module(path: &str) -> (String, Option<&'static str>) {
    let stem = path.strip_suffix(".py").unwrap_or(path);
    let stem = stem.strip_suffix("/__init__").unwrap_or(stem);
    match stem.strip_prefix("src/") {
        Some(stem) => (stem.replace('/', "."), Some("src")),
        None => (stem.replace('/', "."), None),
    }
}

/// What installs the packages.
enum Installed {
    Uv,
    Poetry,
    Pipenv,
    /// pip, into an environment of its own, from this.
    Pip(&'static str),
    /// Nothing: there are no packages.
    None,
}

impl Installed {
    fn of(tree: &Tree) -> Self {
        let lists = |file: &str| {
            tree.text(file).is_some_and(|text| {
                text.lines().any(|line| {
                    let line = line.trim();
                    !line.is_empty() && !line.starts_with('#')
                })
            })
        };
        match () {
            () if tree.has("uv.lock") => Self::Uv,
            () if tree.has("poetry.lock") => Self::Poetry,
            () if tree.has("Pipfile") => Self::Pipenv,
            () if lists("requirements.txt") => Self::Pip("-r requirements.txt"),
            () if tree
                .text("pyproject.toml")
                .is_some_and(|text| text.contains("[build-system]")) =>
            {
                Self::Pip(".")
            }
            () => Self::None,
        }
    }

    fn build(&self) -> Option<String> {
        Some(match self {
            Self::Uv => "uv sync --frozen".to_owned(),
            Self::Poetry => "poetry install --no-interaction".to_owned(),
            Self::Pipenv => "pipenv install --deploy".to_owned(),
            Self::Pip(what) => format!(
                "sh -c 'python3 -m venv {ENVIRONMENT} && {ENVIRONMENT}/bin/pip install --quiet {what}'"
            ),
            Self::None => return None,
        })
    }

    fn program(&self, name: &str) -> String {
        match (self, name) {
            (Self::Uv, name) => format!("uv run --frozen {name}"),
            (Self::Poetry, name) => format!("poetry run {name}"),
            (Self::Pipenv, name) => format!("pipenv run {name}"),
            (Self::Pip(_), name) => format!("{ENVIRONMENT}/bin/{name}"),
            (Self::None, "python") => "python3".to_owned(),
            (Self::None, name) => format!("python3 -m {name}"),
        }
    }

    /// Whether a package is asked for by name.
    fn names(&self, tree: &Tree, package: &str) -> bool {
        let files = ["requirements.txt", "pyproject.toml", "Pipfile"];
        files.iter().filter_map(|file| tree.text(file)).any(|text| {
            DEPENDS
                .captures_iter(text)
                .any(|found| found[1].eq_ignore_ascii_case(package))
        })
    }
}

fn expression(pattern: &str) -> Regex {
    Regex::new(pattern).expect("BUG: a constant expression")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(files: &[(&str, &str)], start: &str, build: Option<&str>) {
        let tree: Tree = files.iter().copied().collect();
        let found = service(&tree);
        let found = found
            .as_ref()
            .map(|service| (service.start.value.as_str(), service.build.as_deref()));
        assert_eq!(found, Some((start, build)), "{files:?}");
    }

    #[test]
    fn frameworks_are_started_as_they_ask_to_be() {
        let venv = "sh -c 'python3 -m venv .plimsoll/venv && .plimsoll/venv/bin/pip install --quiet -r requirements.txt'";
        check(
            &[
                ("requirements.txt", "fastapi==0.115\nuvicorn\n"),
                (
                    "app/main.py",
                    "from fastapi import FastAPI\napp = FastAPI()\n",
                ),
            ],
            ".plimsoll/venv/bin/uvicorn app.main:app --host 127.0.0.1 --port {port}",
            Some(venv),
        );
        check(
            &[
                ("pyproject.toml", "[project]\nname = \"shop\"\n"),
                ("uv.lock", ""),
                ("src/shop/__init__.py", "api: FastAPI = FastAPI()"),
            ],
            "uv run --frozen uvicorn shop:api --host 127.0.0.1 --port {port} --app-dir src",
            Some("uv sync --frozen"),
        );
        check(
            &[
                ("requirements.txt", "Flask\n"),
                ("shop.py", "app = Flask(__name__)"),
            ],
            ".plimsoll/venv/bin/flask --app shop:app run --port {port}",
            Some(venv),
        );
        check(
            &[
                ("requirements.txt", "Flask\ngunicorn==23\n"),
                ("shop.py", "app = Flask(__name__)"),
            ],
            ".plimsoll/venv/bin/gunicorn --bind 127.0.0.1:{port} shop:app",
            Some(venv),
        );
        let factory = "def create_app(config=None):\n    app = Flask(__name__)\n    return app\n";
        check(
            &[
                ("requirements.txt", "Flask\n"),
                ("shop/__init__.py", factory),
            ],
            ".plimsoll/venv/bin/flask --app 'shop/__init__:create_app()' run --port {port}",
            Some(venv),
        );
        check(
            &[
                ("requirements.txt", "Flask\ngunicorn\n"),
                ("shop/__init__.py", factory),
            ],
            ".plimsoll/venv/bin/gunicorn --bind 127.0.0.1:{port} 'shop:create_app()'",
            Some(venv),
        );
        check(
            &[
                ("poetry.lock", ""),
                ("pyproject.toml", ""),
                ("manage.py", ""),
                ("shop/wsgi.py", ""),
            ],
            "poetry run python manage.py runserver --noreload 127.0.0.1:{port}",
            Some("poetry install --no-interaction"),
        );
        check(
            &[
                ("requirements.txt", "# nothing\n"),
                ("server.py", "server.serve_forever()"),
            ],
            "python3 server.py",
            None,
        );
    }

    #[test]
    fn a_library_starts_nothing() {
        let tree: Tree = [
            ("pyproject.toml", "[project]\nname = \"lib\"\n"),
            ("lib/__init__.py", "x = 1"),
        ]
        .into_iter()
        .collect();
        assert_eq!(service(&tree), None);
        assert_eq!(name(&tree).as_deref(), Some("lib"));
    }
}
