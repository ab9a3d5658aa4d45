//! `plimsoll report --site` from outside: a site over a real store, walked as a reader walks it.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use plimsoll::harness::model::*;
use plimsoll::harness::store::{AcceptedDrift, Anchor, Baseline, History};
use regex::Regex;
use scraper::{Html, Selector};
use serde_json::Value;
use sqlx::Connection as _;

use support::project::Project;
use support::runs::light_run;
use support::servers::Postgres;
use support::{Tested, browser};

const P95: &str = "load.reads.p95";
const HOSTILE: &str = "../<script>alert('1')</script>\"&\u{1b}[31m\u{202e}\u{ffff}🚀";
/// What the pages of a site demand of the browser.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";

/// What the tool keeps beside the pages; the last only while it writes.
const OWN: [&str; 3] = [
    "plimsoll-site.json",
    ".plimsoll-site.lock",
    ".plimsoll-site.tmp",
];

/// A run of a main branch, a night after the one before it.
fn night(number: u64, p95_ms: f64) -> Run {
    let start = Timestamp::from_second(1_790_000_000 + number as i64 * 86_400);
    let single = |name: &str, unit, better, value| Metric::single(name, unit, better, value, 1000);
    Run {
        arm: None,
        started_at: start.unwrap_or_default(),
        session: format!("night-{number}"),
        revision: Some(format!("{number:012x}")),
        metrics: vec![
            single("load.reads.error_rate", Unit::Ratio, Direction::Lower, 0.0),
            single(P95, Unit::Nanoseconds, Direction::Lower, p95_ms * 1e6),
            single("load.reads.rate", Unit::PerSecond, Direction::Higher, 500.0),
        ],
        ..light_run(number)
    }
}

/// Forty nights, 20 % slower from the 26th on (number 25).
fn nights() -> Vec<Run> {
    let level = |number: u64| match number < 25 {
        true => 50.0 + 0.2 * (number % 3) as f64,
        false => 60.0 + 0.2 * (number % 3) as f64,
    };
    (0..40).map(|number| night(number, level(number))).collect()
}

/// Everything that a store may hold: nights, a gate's session of both arms, another kernel, an invalid
/// run, names that nobody should give.
fn everything() -> Vec<Run> {
    let mut runs = nights();
    for (pair, arm) in [
        (1, Arm::Base),
        (1, Arm::Head),
        (2, Arm::Base),
        (2, Arm::Head),
    ] {
        let number = 50 + runs.len() as u64;
        runs.push(Run {
            arm: Some(arm),
            pair: Some(pair),
            session: "gate".into(),
            ..night(number, 60.0)
        });
    }
    let mut older = light_run(1).fingerprint;
    older.kernel = "6.0".into();
    runs.extend((200..203).map(|number| Run {
        started_at: Timestamp::from_second(1_780_000_000 + number as i64).unwrap_or_default(),
        fingerprint: older.clone(),
        ..night(number, 10.0)
    }));
    runs.push(Run {
        scenario: "other@servers".into(),
        invalid: vec![InvalidReason::ProcessExited {
            process: "web".into(),
            status: "signal 9".into(),
            at_ns: 5,
            output: HOSTILE.into(),
        }],
        ..night(300, 70.0)
    });
    for (number, scenario) in [(301, HOSTILE), (302, ""), (303, "a/b")] {
        let mut run = night(number, 5.0);
        run.scenario = scenario.into();
        run.session = HOSTILE.into();
        run.revision = Some(HOSTILE.into());
        run.metrics[0].name = HOSTILE.into();
        run.metrics[0].unit = Unit::Other(HOSTILE.into());
        runs.push(run);
    }
    runs
}

/// Judges the 95th percentile of the nights.
fn scenario(limit: &str) -> String {
    format!(
        "schema = 1\nname = \"mixed\"\ndescription = \"Reads at night\"\nurl = \"http://127.0.0.1:1\"\n\
         [[flow.read.step]]\nget = \"/\"\n[load.reads]\nflow = \"read\"\n\
         open = {{ rate = \"500/s\", max_in_flight = 200 }}\n\
         [[gate]]\nmetric = \"{P95}\"\nmax = \"{limit}\"\n"
    )
}

/// Files by their paths, each with the time of its last change and what is in it.
type Files = BTreeMap<String, (SystemTime, Vec<u8>)>;

/// A site with everything in it.
struct Site {
    project: Project,
}

impl Site {
    fn new(runs: &[Run]) -> Result<Self, Box<dyn Error>> {
        let project = Project::with_history(runs)?;
        project.write("scenarios/mixed.toml", &scenario("55ms"))?;
        Ok(Self { project })
    }

    fn root(&self) -> PathBuf {
        self.project.path().join("public")
    }

    /// Brings it up to date: what was said to have been done.
    fn publish(&self, options: &[&str]) -> Result<Value, Box<dyn Error>> {
        let args = [&["report", "--site", "public"], options].concat();
        self.project.json(&args, 0)
    }

    /// Every file but those that are the tool's own, by its path.
    fn files(&self) -> Result<Files, Box<dyn Error>> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.root()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder)? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let name = path.strip_prefix(self.root())?.display().to_string();
                if !OWN.contains(&name.as_str()) {
                    found.insert(name, (fs::metadata(&path)?.modified()?, fs::read(&path)?));
                }
            }
        }
        Ok(found)
    }

    fn names(&self) -> Result<BTreeSet<String>, Box<dyn Error>> {
        Ok(self.files()?.into_keys().collect())
    }

    fn page(&self, path: &str) -> Result<String, Box<dyn Error>> {
        Ok(fs::read_to_string(self.root().join(path))?)
    }

    /// Follows every link from the first page on: each leads to a file, and to an element where it names one.
    /// Gives the pages that were reached.
    fn walk(&self) -> Result<BTreeSet<String>, Box<dyn Error>> {
        let links = Selector::parse("[href], [src]").map_err(|error| error.to_string())?;
        let ids = Selector::parse("[id]").map_err(|error| error.to_string())?;
        let mut reached: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut wanted = Vec::new();
        let mut next = vec!["index.html".to_owned()];
        while let Some(path) = next.pop() {
            if reached.contains_key(&path) {
                continue;
            }
            let text = self
                .page(&path)
                .map_err(|error| format!("{path}: {error}"))?;
            if !path.ends_with(".html") {
                reached.insert(path, BTreeSet::new());
                continue;
            }
            let page = Html::parse_document(&text);
            let mut known = BTreeSet::new();
            for element in page.select(&ids) {
                let id = element.attr("id").unwrap_or_default();
                assert!(known.insert(id.to_owned()), "{path}: {id} stands twice");
            }
            for element in page.select(&links) {
                let link = element
                    .attr("href")
                    .or(element.attr("src"))
                    .unwrap_or_default();
                if link.starts_with("data:") {
                    continue;
                }
                assert!(
                    !link.contains(':') && !link.starts_with('/'),
                    "{path}: {link}"
                );
                let (file, id) = link.split_once('#').unwrap_or((link, ""));
                let target = match file {
                    "" => path.clone(),
                    file => resolved(&path, file).ok_or(format!("{path}: {link} leads out"))?,
                };
                wanted.push((path.clone(), target.clone(), id.to_owned()));
                next.push(target);
            }
            reached.insert(path, known);
        }
        for (from, to, id) in wanted {
            let there = reached
                .get(&to)
                .is_some_and(|ids| id.is_empty() || ids.contains(&id));
            assert!(there, "{from} leads to {to}#{id}");
        }
        Ok(reached.into_keys().collect())
    }

    /// That all links lead somewhere, and to everything that there is.
    fn is_whole(&self) -> Tested {
        let mut reached = self.walk()?;
        reached.insert(".nojekyll".to_owned());
        assert_eq!(reached, self.names()?);
        assert!(!self.root().join(OWN[2]).exists());
        // A call that is killed may leave an empty folder, and the next one takes it away.
        let mut folders = vec![self.root()];
        while let Some(folder) = folders.pop() {
            let entries = fs::read_dir(&folder)?.collect::<Result<Vec<_>, _>>()?;
            assert!(!entries.is_empty(), "{} is empty", folder.display());
            let paths = entries.iter().map(fs::DirEntry::path);
            folders.extend(paths.filter(|path| path.is_dir()));
        }
        let manifest: Value = serde_json::from_str(&self.page("plimsoll-site.json")?)?;
        let listed = manifest["files"].as_object().ok_or("no files")?;
        assert_eq!(listed.keys().cloned().collect::<BTreeSet<_>>(), reached);
        Ok(())
    }
}

/// Where a relative link of a page leads; `None` where that is outside of the site.
fn resolved(from: &str, link: &str) -> Option<String> {
    let mut place: Vec<&str> = from.split('/').collect();
    place.pop();
    for part in Path::new(link).components() {
        match part {
            Component::Normal(name) => place.push(name.to_str()?),
            Component::ParentDir => {
                place.pop()?;
            }
            _ => return None,
        }
    }
    Some(place.join("/"))
}

fn count(published: &Value, of: &str) -> u64 {
    published["files"][of].as_u64().unwrap_or(u64::MAX)
}

#[test]
fn every_page_is_led_to_and_every_link_leads_to_one() -> Tested {
    let site = Site::new(&everything())?;
    let published = site.publish(&[])?;
    assert_eq!(published["schema"], "plimsoll.published/1");
    assert_eq!(published["sessions"], 48);
    assert_eq!(published["scenarios"], 5);
    site.is_whole()?;
    for (name, (_, bytes)) in site.files()? {
        let text = String::from_utf8(bytes)?;
        for forbidden in ["<script>alert", "\u{1b}", "\u{202e}", "\u{0}"] {
            assert!(!text.contains(forbidden), "{forbidden:?} is in {name}");
        }
        if name.starts_with("sessions/") {
            // A report's page, which has rules of its own.
            assert!(text.contains("content=\"default-src 'none'"), "{name}");
        } else if name.ends_with(".html") {
            assert!(text.contains(POLICY) && !text.contains("<script"), "{name}");
            assert!(
                !text.contains("@import") && !text.contains("url("),
                "{name}"
            );
        } else if name.ends_with(".svg") {
            let badge =
                roxmltree::Document::parse(&text).map_err(|error| format!("{name}: {error}"))?;
            let root = badge.root_element();
            assert_eq!(root.attribute("role"), Some("img"));
            assert!(
                root.children()
                    .any(|child| child.has_tag_name((SVG, "title")))
            );
        }
        assert!(text.len() < 600_000, "{name} has {} bytes", text.len());
    }
    // Both lineages, each on its page.
    let page = site.page("scenarios/mixed/index.html")?;
    assert!(page.contains("kernel was 6.0, is 6.1"), "{page}");
    Ok(())
}

const SVG: &str = "http://www.w3.org/2000/svg";
const ATOM: &str = "http://www.w3.org/2005/Atom";

#[test]
fn a_scenario_shows_where_it_changed() -> Tested {
    let runs = nights();
    let site = Site::new(&runs)?;
    // A release was measured on the tenth night.
    let baselines = site.project.path().join("baselines");
    Anchor::pin(&baselines, Baseline::from_runs(&runs[9..10])?, "v1.0")?;
    // Somebody has accepted the change.
    let mut renewed = Baseline::from_runs(&runs[29..30])?;
    renewed.accepted.push(AcceptedDrift {
        metric: P95.into(),
        effect: Some(0.2),
        reason: "audited <now>".into(),
    });
    renewed.save(&baselines)?;
    site.publish(&[])?;
    site.is_whole()?;
    let page = site.page("scenarios/mixed/index.html")?;
    let shown = page.replace('\u{202f}', " ");
    // The change, in words and in the plot; before it, its revision and the last one before it.
    assert!(shown.contains("000000000018 → 000000000019"), "{shown}");
    assert!(
        shown.contains("+19.9 % worse") || shown.contains("+20.0 % worse"),
        "{shown}"
    );
    assert!(page.contains("s-worse") && page.contains("f-worse"));
    // What else happened, in words; in the plots where it concerns them.
    for (note, times) in [
        ("v1.0", 1 + 3),
        ("baseline\n", 3),
        ("accepted: audited &lt;now&gt;", 1 + 1),
    ] {
        assert_eq!(page.matches(note).count(), times, "{note}: {shown}");
    }
    // A point a run, with its words; the table says the same.
    let plot = page.split("<figure id=").nth(1).ok_or("no plot")?;
    assert_eq!(plot.matches("</title></rect>").count(), 40);
    assert!(
        plot.replace('\u{202f}', " ")
            .contains("2026-09-21 14:13 UTC · 50.0 ms · 000000000000")
    );
    assert_eq!(
        plot.matches("<tr><th scope=\"row\"><a href=\"../../sessions/")
            .count(),
        40
    );
    // What gates are on comes first, whatever its name.
    let first = page
        .split("<figcaption><strong>")
        .nth(1)
        .unwrap_or_default();
    assert!(first.starts_with(P95), "{first}");
    assert!(page.contains("Reads at night"));

    let index = site.page("index.html")?;
    assert!(index.contains("Latest changes"), "{index}");
    let feed = site.page("feed.xml")?;
    let feed = roxmltree::Document::parse(&feed)?;
    let entries: Vec<_> = feed
        .descendants()
        .filter(|node| node.has_tag_name((ATOM, "entry")))
        .collect();
    assert_eq!(entries.len(), 41, "40 sessions and a change");
    let mut ids = BTreeSet::new();
    for entry in entries {
        let text = |name: &'static str| {
            let node = entry
                .children()
                .find(|child| child.has_tag_name((ATOM, name)));
            node.and_then(|node| node.text()).unwrap_or_default()
        };
        assert!(
            text("updated").parse::<Timestamp>().is_ok(),
            "{}",
            text("updated")
        );
        assert!(text("id").starts_with("urn:uuid:") && ids.insert(text("id").to_owned()));
        assert!(!text("title").is_empty() && !text("summary").is_empty());
        let link = entry
            .children()
            .find(|child| child.has_tag_name((ATOM, "link")));
        let link = link
            .and_then(|link| link.attribute("href"))
            .ok_or("no link")?;
        assert!(site.root().join(link).is_file(), "{link}");
    }
    Ok(())
}

#[test]
fn a_verdict_is_that_of_the_scenario_as_it_is_now() -> Tested {
    let runs = everything();
    let site = Site::new(&runs)?;
    site.publish(&[])?;
    let badge = |site: &Site, name: &str| -> Result<String, Box<dyn Error>> {
        let text = site.page(&format!("badges/{name}.svg"))?;
        let svg = roxmltree::Document::parse(&text)?;
        Ok(svg
            .root_element()
            .attribute("aria-label")
            .unwrap_or_default()
            .replace('\u{202f}', " "))
    };
    // The newest night had 60 ms; the gate's session after it is a proposal.
    assert_eq!(badge(&site, "mixed")?, "mixed: fail · p95 60.0 ms");
    assert_eq!(
        badge(&site, "other@servers")?,
        "other@servers: invalid · p95 70.0 ms"
    );
    let nameless = site
        .names()?
        .into_iter()
        .find(|name| name.starts_with("badges/_-"));
    let nameless = nameless
        .ok_or("no badge")?
        .replace("badges/", "")
        .replace(".svg", "");
    assert_eq!(
        badge(&site, &nameless)?,
        "(no scenario): not judged · p95 5.00 ms"
    );
    let index = site.page("index.html")?;
    let at = |text: &str| index.find(text).unwrap_or(usize::MAX);
    assert!(
        at("FAIL") < at("INVALID") && at("INVALID") < at("NOT JUDGED"),
        "{index}"
    );

    let before = site.files()?;
    site.project
        .write("scenarios/mixed.toml", &scenario("200ms"))?;
    let done = site.publish(&[])?;
    assert_eq!(badge(&site, "mixed")?, "mixed: pass · p95 60.0 ms");
    // All sessions of this scenario, and none of another.
    let changed = changed(&before, &site.files()?);
    let of_sessions: Vec<&String> = changed
        .iter()
        .filter(|it| it.starts_with("sessions/"))
        .collect();
    assert_eq!(of_sessions.len(), 44);
    assert!(of_sessions.iter().all(|path| path.contains("/mixed~")));
    assert_eq!((count(&done, "made"), count(&done, "removed")), (0, 0));
    site.is_whole()?;

    // Without it nothing judges them, and a pass of nothing is none.
    fs::remove_file(site.project.path().join("scenarios/mixed.toml"))?;
    site.publish(&[])?;
    assert_eq!(badge(&site, "mixed")?, "mixed: not judged · p95 60.0 ms");
    Ok(())
}

/// The paths whose files are not as they were.
fn changed(before: &Files, after: &Files) -> Vec<String> {
    let changed = after
        .iter()
        .filter(|(path, file)| before.get(*path) != Some(file));
    changed.map(|(path, _)| path.clone()).collect()
}

#[test]
fn a_second_call_writes_what_is_new() -> Tested {
    let site = Site::new(&everything())?;
    let first = site.publish(&[])?;
    let before = site.files()?;
    assert_eq!(count(&first, "made"), before.len() as u64);
    let manifest = fs::metadata(site.root().join("plimsoll-site.json"))?.modified()?;

    let second = site.publish(&[])?;
    assert_eq!(count(&second, "kept"), before.len() as u64);
    assert_eq!(
        count(&second, "made") + count(&second, "renewed") + count(&second, "removed"),
        0
    );
    assert_eq!(changed(&before, &site.files()?), [""; 0]);
    assert_eq!(
        fs::metadata(site.root().join("plimsoll-site.json"))?.modified()?,
        manifest
    );
    let (_, said, _) = site.project.output(&["report", "--site", "public"], 0)?;
    assert!(
        said.contains("public/index.html: 48 sessions of 5 scenarios"),
        "{said}"
    );
    assert!(said.contains("0 files made, 0 renewed"), "{said}");

    // One more night: its page, and those that show it.
    site.project.keep(&[night(400, 61.0)])?;
    let third = site.publish(&[])?;
    assert_eq!(
        (count(&third, "made"), count(&third, "removed")),
        (3, 0),
        "{third}"
    );
    let changed = changed(&before, &site.files()?);
    let is_of_it = |path: &&String| {
        [
            "index.html",
            "feed.xml",
            "archive/",
            "scenarios/mixed/",
            "badges/mixed.svg",
        ]
        .iter()
        .any(|beginning| path.starts_with(beginning))
            || path.ends_with("/mixed~night-400.html")
    };
    assert!(changed.iter().all(|path| is_of_it(&path)), "{changed:?}");
    assert!(
        !changed.iter().any(|path| path.contains("/trends/")),
        "{changed:?}"
    );
    site.is_whole()?;

    // A page that somebody took away comes again.
    let lost = site.root().join("badges/mixed.svg");
    fs::remove_file(&lost)?;
    assert_eq!(count(&site.publish(&[])?, "made"), 1);
    assert!(lost.is_file());
    Ok(())
}

#[test]
fn what_is_gone_from_the_history_is_gone_from_the_site() -> Tested {
    let site = Site::new(&everything())?;
    site.publish(&[])?;
    let before = site.names()?;
    site.project
        .output(&["history", "prune", "--keep-runs", "5"], 0)?;
    let done = site.publish(&[])?;
    assert_eq!(
        done["sessions"], 6,
        "a gate's session and the newest night, and four others"
    );
    site.is_whole()?;
    let after = site.names()?;
    assert_eq!(
        count(&done, "removed"),
        before.difference(&after).count() as u64
    );

    // So is what has no page by the options.
    assert_eq!(site.publish(&["--keep-sessions", "1"])?["sessions"], 5);
    site.is_whole()?;
    let past = Site::new(&nights()[..3])?;
    assert_eq!(past.publish(&["--keep-days", "36500"])?["sessions"], 3);
    let done = past.publish(&["--keep-days", "1"])?;
    assert_eq!(
        (&done["sessions"], &done["sessions_left_out"]),
        (&0.into(), &3.into())
    );
    let expected = [".nojekyll", "feed.xml", "index.html"].map(str::to_owned);
    assert_eq!(past.names()?, BTreeSet::from(expected));
    past.is_whole()
}

#[test]
fn what_is_not_ours_is_left_alone() -> Tested {
    let site = Site::new(&nights())?;
    site.publish(&[])?;
    let foreign = [
        "CNAME",
        "scenarios/mixed/notes.txt",
        "archive/extra/page.html",
    ];
    for path in foreign {
        site.project.write(&format!("public/{path}"), "mine")?;
    }
    site.project
        .output(&["history", "prune", "--keep-runs", "1"], 0)?;
    site.publish(&[])?;
    site.walk()?;
    let is_there = |path: &str| site.page(path).is_ok_and(|text| text == "mine");
    assert!(foreign.iter().all(|path| is_there(path)));

    // Where a page is to be, it is the person who decides.
    site.project.write("public/badges/second.svg", "mine")?;
    let mut second = night(500, 1.0);
    second.scenario = "second".into();
    site.project.keep(&[second])?;
    let index = site.page("index.html")?;
    let (_, _, stderr) = site.project.output(&["report", "--site", "public"], 2)?;
    assert!(stderr.contains("badges/second.svg"), "{stderr}");
    assert!(is_there("badges/second.svg"));
    assert_eq!(site.page("index.html")?, index);
    site.walk()?;
    fs::remove_file(site.root().join("badges/second.svg"))?;
    site.publish(&[])?;
    site.walk()?;

    // A folder that leads elsewhere.
    let elsewhere = tempfile::tempdir()?;
    fs::remove_dir_all(site.root().join("badges"))?;
    std::os::unix::fs::symlink(elsewhere.path(), site.root().join("badges"))?;
    site.project.output(&["report", "--site", "public"], 2)?;
    assert_eq!(fs::read_dir(elsewhere.path())?.count(), 0);
    Ok(())
}

#[test]
fn a_folder_that_is_none_of_ours_is_refused() -> Tested {
    let site = Site::new(&nights()[..2])?;
    let project = &site.project;
    let refused = |said: &str| -> Tested {
        let before = site.names()?;
        let (_, _, stderr) = project.output(&["report", "--site", "public"], 2)?;
        assert!(stderr.contains(said), "{said}: {stderr}");
        assert_eq!(site.names()?, before);
        Ok(())
    };
    project.write("public/index.html", "mine")?;
    refused("index.html")?;
    assert_eq!(site.page("index.html")?, "mine");
    assert!(!site.root().join(".plimsoll-site.lock").exists());
    fs::remove_file(site.root().join("index.html"))?;
    // The worktree of a branch of pages.
    project.write("public/.git", "gitdir: elsewhere")?;
    site.publish(&[])?;

    // A manifest that says what no site has: nothing outside goes with it.
    let manifest: Value = serde_json::from_str(&site.page("plimsoll-site.json")?)?;
    project.write("victim", "mine")?;
    let spoilt = |change: fn(&mut Value)| {
        let mut spoilt = manifest.clone();
        change(&mut spoilt);
        project.write("public/plimsoll-site.json", &spoilt.to_string())
    };
    spoilt(|it| it["files"]["../victim"] = it["files"]["index.html"].clone())?;
    refused("../victim")?;
    spoilt(|it| it["files"]["CNAME"] = it["files"]["index.html"].clone())?;
    refused("CNAME")?;
    spoilt(|it| it["schema"] = "plimsoll.site/9".into())?;
    refused("plimsoll.site/9")?;
    project.write("public/plimsoll-site.json", "{")?;
    refused("plimsoll-site.json")?;
    assert_eq!(fs::read_to_string(project.path().join("victim"))?, "mine");

    project.write("file", "mine")?;
    project.output_of(&["report", "--site", "file"], &[1, 2])?;
    assert_eq!(fs::read_to_string(project.path().join("file"))?, "mine");
    Ok(())
}

#[test]
fn what_makes_no_sense_is_wrong_usage() -> Tested {
    let site = Site::new(&nights()[..1])?;
    for (args, said) in [
        (&["report", "latest", "--site", "public"][..], "--site"),
        (
            &["report", "--site", "public", "--base", "baseline"],
            "--base",
        ),
        (
            &["report", "--site", "public", "--html", "x.html"],
            "--html",
        ),
        (
            &["report", "--site", "public", "--write", "junit=x.xml"],
            "--write",
        ),
        (
            &["report", "--site", "public", "--format", "junit"],
            "no form junit",
        ),
        (&["report", "--keep-sessions", "3"], "--site"),
        (&["report", "--keep-days", "3"], "--site"),
        (
            &["report", "--site", "public", "--keep-sessions", "0"],
            "--keep-sessions",
        ),
    ] {
        let (_, _, stderr) = site.project.output(args, 2)?;
        assert!(stderr.contains(said), "{args:?}: {stderr}");
    }
    // From a folder without a history nobody makes a site of nothing.
    let empty = Project::new()?;
    let (_, _, stderr) = empty.output(&["report", "--site", "public"], 2)?;
    assert!(stderr.contains("no history"), "{stderr}");
    assert_eq!(fs::read_dir(empty.path())?.count(), 0);
    Ok(())
}

/// One page of each kind, as a reader's browser shows it.
#[test]
fn pages_are_in_order_in_a_browser() -> Tested {
    let runs = everything();
    let site = Site::new(&runs)?;
    let baselines = site.project.path().join("baselines");
    Anchor::pin(&baselines, Baseline::from_runs(&runs[9..10])?, "v1.0")?;
    site.publish(&[])?;
    let names = site.names()?;
    let one_of = |begins: &str, ends: &str| -> Result<PathBuf, Box<dyn Error>> {
        let mut names = names.iter();
        let found = names.find(|name| name.starts_with(begins) && name.ends_with(ends));
        Ok(site
            .root()
            .join(found.ok_or(format!("no {begins}…{ends}"))?))
    };
    browser::assert_in_order([
        one_of("index.html", "")?,
        one_of("scenarios/mixed/index", "")?,
        one_of("scenarios/mixed/trends/", ".html")?,
        one_of("scenarios/mixed/archive/", ".html")?,
        one_of("scenarios/_.._", "/index.html")?,
        one_of("archive/", ".html")?,
        one_of("sessions/", "/mixed~night-39.html")?,
        one_of("sessions/", "/mixed~gate.html")?,
    ]);
    Ok(())
}

/// What one store holds, another one shows; and nobody learns how it is opened.
#[test]
fn a_shared_store_makes_the_same_site() -> Tested {
    let runs = everything();
    let site = Site::new(&runs)?;
    site.publish(&[])?;
    let before = site.files()?;

    let server = Postgres::start()?;
    let url = server.url().replace("postgres@", "postgres:s3cret@");
    // The wrong database is no reason to take the site away.
    let args = ["report", "--site", "public", "--store", &url];
    let (_, _, stderr) = site.project.output(&args, 2)?;
    assert!(stderr.contains("holds no runs"), "{stderr}");
    assert!(!stderr.contains("s3cret"), "{stderr}");
    assert_eq!(site.files()?, before);

    tokio::runtime::Runtime::new()?.block_on(async {
        let history = History::open(&url).await?;
        for run in &runs {
            history.save(run).await?;
        }
        history.close().await;
        Ok::<_, Box<dyn Error>>(())
    })?;
    fs::remove_dir_all(site.root())?;
    let published = site.publish(&["--store", &url])?;
    assert_eq!(published["sessions"], 48);
    site.is_whole()?;
    // The feed has another id, as each site has.
    let when = Regex::new("Rendered [0-9-]+ [0-9:]+ UTC")?;
    let shown = |files: Files| -> Result<BTreeMap<String, String>, Box<dyn Error>> {
        let pages = files.into_iter().filter(|(name, _)| name != "feed.xml");
        let shown = pages.map(|(name, (_, bytes))| {
            let text = String::from_utf8(bytes)?;
            assert!(!text.contains("s3cret"), "{name}");
            Ok((name, when.replace(&text, "").into_owned()))
        });
        shown.collect()
    };
    let (before, after) = (shown(before)?, shown(site.files()?)?);
    assert!(before.keys().eq(after.keys()));
    for (name, text) in &before {
        assert_eq!(Some(text), after.get(name), "{name}");
    }
    let again = site.publish(&["--store", &url])?;
    assert_eq!(count(&again, "kept"), before.len() as u64 + 1, "{again}");
    Ok(())
}

/// A run that can't be read takes its own page away and nothing else.
#[test]
fn a_damaged_run_takes_nothing_along() -> Tested {
    let site = Site::new(&nights())?;
    let place = site.project.path().join(".plimsoll/history.db");
    tokio::runtime::Runtime::new()?.block_on(async {
        let mut history = sqlx::SqliteConnection::connect(&place.display().to_string()).await?;
        let damage = "UPDATE runs SET payload = '{' WHERE session = 'night-39'";
        sqlx::raw_sql(damage).execute(&mut history).await?;
        history.close().await
    })?;
    let (_, _, stderr) = site.project.output(&["report", "--site", "public"], 0)?;
    assert!(
        stderr.contains("session night-39 of mixed has no page"),
        "{stderr}"
    );
    site.is_whole()?;
    let page = site.page("scenarios/mixed/index.html")?;
    assert!(!page.contains("night-39.html") && page.contains("night-38.html"));
    // Its values are in columns of their own, and the conditions are those of the run before it.
    assert_eq!(page.matches("<figure").count(), 3, "{page}");
    assert!(page.contains("AMD EPYC, 2 CPUs"), "{page}");
    Ok(())
}

/// What a page says of how it is made again works also where a session is of several scenarios.
#[test]
fn what_a_page_says_to_reproduce_it_does() -> Tested {
    let (first, mut second, mut third) = (night(1, 50.0), night(2, 5.0), night(3, 6.0));
    second.scenario = "other".into();
    second.session = first.session.clone();
    third.scenario = "third".into();
    let also = Run {
        id: night(4, 6.0).id,
        ..third.clone()
    };
    let site = Site::new(&[first, second, third, also])?;
    site.publish(&[])?;
    let commands = Selector::parse("#reproduce code").map_err(|error| error.to_string())?;
    let pages = site.names()?.into_iter();
    let pages: Vec<String> = pages.filter(|it| it.starts_with("sessions/")).collect();
    assert_eq!(pages.len(), 3);
    for path in pages {
        let page = Html::parse_document(&site.page(&path)?);
        let command: String = page.select(&commands).flat_map(|it| it.text()).collect();
        let words = shell_words::split(&command)?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        assert_eq!(words[..2], ["plimsoll", "report"], "{path}");
        site.project.output(&words[1..], 0)?;
    }
    Ok(())
}

/// Killed at any moment, what the first page leads to is there; the next call makes the rest.
#[test]
fn a_call_that_is_killed_leaves_a_site() -> Tested {
    let mut runs = everything();
    let site = Site::new(&runs)?;
    site.publish(&[])?;
    let mut killed = 0;
    for (round, wait_ms) in (0_u64..).zip([5, 20, 60, 120, 200, 300, 450, 700]) {
        let more: Vec<Run> = (0..40)
            .map(|n| night(1000 + 40 * round + n, 60.0))
            .collect();
        site.project.keep(&more)?;
        runs.extend(more);
        let (index, names) = (site.page("index.html")?, site.names()?);
        // Sessions go, too: the oldest of each scenario.
        let keep = (40 + 20 * round).to_string();
        let mut call =
            site.project
                .spawn(&["report", "--site", "public", "--keep-sessions", &keep])?;
        std::thread::sleep(Duration::from_millis(wait_ms));
        call.kill()?;
        site.walk()?;
        let is_between = site.page("index.html")? == index && site.names()? != names;
        killed += u64::from(is_between);
    }
    assert!(killed > 0, "no call was killed in the middle");
    site.publish(&[])?;
    site.is_whole()?;

    // It is the site that a call which was never killed would have made; nor does it matter that this one
    // had a predecessor.
    let other = Site::new(&runs)?;
    let mut call = other.project.spawn(&["report", "--site", "public"])?;
    std::thread::sleep(Duration::from_millis(150));
    call.kill()?;
    other.publish(&[])?;
    other.is_whole()?;
    assert_eq!(site.names()?, other.names()?);
    for path in ["index.html", "scenarios/mixed/index.html"] {
        assert_eq!(site.page(path)?, other.page(path)?, "{path}");
    }
    Ok(())
}

#[test]
fn two_calls_at_once_take_turns() -> Tested {
    let site = Site::new(&everything())?;
    let args = ["report", "--site", "public"];
    let mut calls = Vec::new();
    for _ in 0..3 {
        calls.push(site.project.spawn(&args)?);
    }
    for call in &mut calls {
        assert_eq!(call.finish(Duration::from_secs(120))?.0, Some(0));
    }
    site.is_whole()
}

/// Folders and pages stay small, and a call that has one new session to render is quick.
#[test]
fn a_large_history_stays_bounded() -> Tested {
    let runs: Vec<Run> = (0..2000_u64)
        .map(|number| Run {
            // An hour apart: eighty-three days.
            started_at: Timestamp::from_second(1_790_000_000 + number as i64 * 3600)
                .unwrap_or_default(),
            ..night(number, 50.0 + 0.2 * (number % 7) as f64)
        })
        .collect();
    let site = Site::new(&runs)?;
    let published = site.publish(&["--keep-sessions", "1500"])?;
    assert_eq!(published["sessions_left_out"], 500);
    let names = site.names()?;
    let mut in_folder: BTreeMap<&Path, usize> = BTreeMap::new();
    for name in &names {
        *in_folder
            .entry(Path::new(name).parent().unwrap_or(Path::new("")))
            .or_default() += 1;
    }
    let largest = in_folder.values().max().copied().unwrap_or_default();
    assert!(largest < 40, "{largest} files in one folder");
    for (name, (_, bytes)) in site.files()? {
        assert!(bytes.len() < 300_000, "{name} has {} bytes", bytes.len());
    }
    assert_eq!(site.walk()?.len(), names.len() - 1);

    site.project.keep(&[night(9000, 50.0)])?;
    let started = Instant::now();
    let published = site.publish(&["--keep-sessions", "1500"])?;
    assert!(
        started.elapsed() < Duration::from_secs(20),
        "{:?}",
        started.elapsed()
    );
    assert!(count(&published, "made") <= 3, "{published}");
    assert!(count(&published, "renewed") < 20, "{published}");
    Ok(())
}
