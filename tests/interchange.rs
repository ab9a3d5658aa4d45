//! What other tools wrote, from outside: `plimsoll compare` over files, and what it says of bad ones.

mod support;

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use plimsoll::harness::compare::{Design, Settings, compare};
use plimsoll::harness::gate::{Evidence, Policy, Verdict, judge};
use plimsoll::harness::interchange::{Options, read, to_runs};
use plimsoll::harness::model::{Arm, Direction, Metric, Run, RunId, Unit};
use plimsoll::harness::scenario::GatePlan;
use serde_json::{Value, json};

use support::Tested;
use support::files::{copy, repository as root};
use support::project::Project;

/// Every sample by the tool that wrote it, with one metric and its value in our unit.
#[test]
fn every_sample_is_read() -> Tested {
    let check = |file: &str, runs: usize, metric: &str, value: f64, better| -> Tested {
        let imported = read(&data(file), &Options::default())?.ok_or("it is ours")?;
        let found = to_runs(&imported, Some(Arm::Base))?;
        assert_eq!(found.len(), runs, "{file}");
        let metric = found[0].metric(metric).ok_or(format!("{file}: {metric}"))?;
        let measured = metric.value().ok_or(format!("{file}: not measurable"))?;
        assert!((measured / value - 1.0).abs() < 1e-12, "{file}: {measured}");
        assert_eq!(metric.better, better, "{file}");
        // Nothing is made up of where and when another tool measured.
        assert!(found[0].fingerprint.is_unknown() && found[0].start().is_none());
        Ok(())
    };
    use Direction::{Higher, Lower};
    check(
        "hyperfine.json",
        6,
        "command.sort /etc/passwd",
        869_535.0,
        Lower,
    )?;
    check(
        "hyperfine-parameters.json",
        3,
        "command.seq 100000",
        1_471_312.0,
        Lower,
    )?;
    let fullname = "bench.test_text.py::test_sort[10]";
    let median = median_of("pytest-benchmark/run-1.json", 1)?;
    check("pytest-benchmark/run-1.json", 1, fullname, median, Lower)?;
    check("pytest-benchmark", 6, fullname, median, Lower)?;
    check(
        "goose.json",
        1,
        "request.GET items/1?<b>=2.mean",
        1_708_413.194_444_444_3,
        Lower,
    )?;
    check("goose.json", 1, "request.Aggregated.rate", 192.0, Higher)?;
    for shape in ["handle-summary", "summary-export", "machine-readable"] {
        let file = format!("k6/{shape}.json");
        check(&file, 1, "http_req_duration.p95", 31_280_400.0, Lower)?;
        check(&file, 1, "http_req_failed.error_rate", 9.0 / 5400.0, Lower)?;
        check(&file, 1, "iteration_duration.mean", 113_031_200.0, Lower)?;
    }
    check(
        "k6/handle-summary.json",
        1,
        "http_reqs.rate",
        179.7536,
        Higher,
    )?;
    check(
        "k6/summary-export.json",
        1,
        "checks.rate",
        5391.0 / 5400.0,
        Higher,
    )?;
    check(
        "k6/machine-readable.json",
        1,
        "http_reqs.rate",
        5400.0 / 30.041117,
        Higher,
    )?;
    check("oha.json", 1, "request.p99", 18_040_000.0, Lower)?;
    check("oha.json", 1, "request.error_rate", 55.0 / 10_027.0, Lower)?;
    check(
        "go-bench.txt",
        6,
        "bench.example.org/shop/text.Join-8 B/op",
        896.0,
        Lower,
    )?;
    check(
        "go-bench.txt",
        6,
        "bench.example.org/shop/text.Cache-8 hits/op",
        0.91,
        Higher,
    )?;
    Ok(())
}

/// criterion's own estimate of the same samples.
#[test]
fn folders_of_criterion_are_runs() -> Tested {
    let folder = tempfile::tempdir()?;
    let recorded = root("tests/data/criterion/recorded");
    for number in 1..=5 {
        copy(
            &recorded,
            &folder.path().join(format!("run-{number}/criterion")),
        )?;
    }
    let estimates: Value = serde_json::from_str(&fs::read_to_string(
        recorded.join("sum/linear/new/estimates.json"),
    )?)?;
    let slope = estimates["slope"]["point_estimate"].as_f64();
    let slope = slope.ok_or("no slope")?;
    for (path, expected) in [(folder.path(), 5), (recorded.as_path(), 1)] {
        let imported = read(path, &Options::default())?.ok_or("it is ours")?;
        let runs = to_runs(&imported, Some(Arm::Head))?;
        assert_eq!(runs.len(), expected);
        for run in &runs {
            let names: Vec<&str> = run.metrics.iter().map(|m| m.name.as_str()).collect();
            assert_eq!(
                names,
                [
                    "bench.new/<b>a/b?</b>",
                    "bench.new/new",
                    "bench.sum/flat/1000",
                    "bench.sum/linear"
                ]
            );
            let value = run.metrics[3].value().ok_or("not measured")?;
            assert!((value / slope - 1.0).abs() < 1e-12, "{value}");
        }
    }
    Ok(())
}

/// What the documentation shows is what is read.
#[test]
fn the_examples_of_the_documentation_are_read() -> Tested {
    let text = fs::read_to_string(root("docs/INTERCHANGE.md"))?;
    let folder = tempfile::tempdir()?;
    let mut kinds = Vec::new();
    for block in text.split("```").skip(1).step_by(2) {
        let (kind, example) = block.split_once('\n').ok_or("a block without a line")?;
        if !["json", "csv"].contains(&kind) {
            continue;
        }
        kinds.push(kind);
        let path = folder.path().join(format!("{}.{kind}", kinds.len()));
        fs::write(&path, example)?;
        let imported = read(&path, &Options::default())?.ok_or("it is ours")?;
        let runs = to_runs(&imported, None)?;
        assert!(
            runs.iter()
                .all(|run| run.arm.is_some() && run.pair == Some(1)),
            "{example}"
        );
        let first = runs[0].metrics.last().and_then(Metric::value);
        assert!(
            [Some(31.28e6), Some(31.49e6)].contains(&first),
            "{example}: {first:?}"
        );
    }
    assert_eq!(kinds, ["json", "csv", "csv", "csv"]);
    Ok(())
}

/// What a reader can't use it names, and what it should not use it doesn't.
#[test]
fn what_is_not_used_is_said() -> Tested {
    let project = Project::new()?;
    let check = |file: &str, said: &[&str], absent: &[&str]| -> Tested {
        let file = data(file).display().to_string();
        let verdict = project.json(&["compare", &file, &file, "--regress", "5%"], 0)?;
        let warnings = verdict["warnings"].to_string();
        for part in said {
            assert!(warnings.contains(part), "{file}: {part}: {warnings}");
        }
        for name in absent {
            let metrics = verdict["metrics"].as_array().into_iter().flatten();
            let names: Vec<&Value> = metrics.map(|metric| &metric["name"]).collect();
            assert!(!names.contains(&&json!(name)), "{file}: {names:?}");
        }
        Ok(())
    };
    check(
        "k6/handle-summary.json",
        &[
            "data_received, data_sent",
            "cart_size",
            "vus, vus_max",
            "which way is better",
        ],
        &[
            "cart_size.mean",
            "cache_hits.rate",
            "http_req_connecting.mean",
            "vus.value",
        ],
    )?;
    check(
        "k6/summary-export.json",
        &["render_time"],
        &["render_time.mean"],
    )?;
    check("hyperfine.json", &["user and system times"], &[])?;
    check(
        "oha.json",
        &["fastest, slowest", "p10, p25"],
        &["request.p10"],
    )?;
    check("go-bench.txt", &["probes/op"], &[])?;
    check("goose.json", &["below a millisecond"], &["request.GET.p50"])?;
    check(
        "pytest-benchmark/run-1.json",
        &["rounds share one process"],
        &[],
    )?;
    Ok(())
}

/// p99.9 of ten thousand requests is no number to be judged, here as in a run of ours; and it spoils
/// no gate over every metric.
#[test]
fn a_quantile_of_too_few_requests_is_not_measurable() -> Tested {
    let project = Project::new()?;
    let file = data("oha.json").display().to_string();
    let verdict = project.json(&["compare", &file, &file, "--regress", "5%"], 0)?;
    let metric = named(&verdict, "request.p99.9")?;
    assert_eq!(metric["verdict"], "not_measurable");
    assert_eq!(metric["gating"], false);
    let note = metric["note"].as_str().unwrap_or_default();
    assert!(note.contains("only 10 requests lie beyond p99.9"), "{note}");
    Ok(())
}

/// Five pairs of a machine that drifts, as lines.
fn lines(slowdown: f64) -> String {
    let mut text = String::new();
    let base = [100.0, 105.0, 110.0, 115.0, 120.0];
    let noise = [1.001, 0.998, 1.002, 1.0, 0.999];
    for (pair, (base, noise)) in (1..).zip(base.iter().zip(noise)) {
        for (arm, value) in [("base", *base), ("head", base * noise * slowdown)] {
            let line = json!({
                "schema": "plimsoll.runs/1", "arm": arm, "run": format!("{arm}{pair}"), "pair": pair,
                "metrics": [{"name": "request.p95", "value": value, "unit": "ms", "better": "lower"}],
            });
            writeln!(text, "{line}").expect("a string takes text");
        }
    }
    text
}

#[test]
fn both_arms_in_one_file_are_pairs_by_their_numbers() -> Tested {
    let project = Project::new()?;
    let check = |slowdown, code, outcome: &str, metric: &str| -> Tested {
        project.write("runs.jsonl", &lines(slowdown))?;
        let verdict = project.json(&["compare", "runs.jsonl", "--regress", "5%"], code)?;
        assert_eq!(verdict["schema"], "plimsoll.verdict/1");
        assert_eq!(verdict["verdict"], outcome, "{verdict}");
        assert_eq!(verdict["exit_code"], code);
        assert_eq!(verdict["comparison"]["design"], "paired");
        let found = named(&verdict, "request.p95")?;
        assert_eq!(found["verdict"], metric);
        assert_eq!((&found["n_base"], &found["n_head"]), (&json!(5), &json!(5)));
        assert_eq!(found["gating"], true);
        // Fractions: .1 is 10 % worse. The noise has a geometric mean of one within a thousandth.
        let effect = found["effect"].as_f64().ok_or("no effect")?;
        assert!((effect - (slowdown - 1.0)).abs() < 0.002, "{effect}");
        for bound in ["lower", "upper", "p", "mde", "pairs_needed"] {
            assert!(found[bound].is_number(), "{bound}: {found}");
        }
        assert!(found["lower"].as_f64() < Some(effect) && Some(effect) < found["upper"].as_f64());
        Ok(())
    };
    check(1.0, 0, "pass", "unchanged")?;
    check(1.1, 10, "fail", "regressed")?;
    check(0.9, 0, "pass", "improved")
}

/// The arms in files of their own, from a table, and in any order of the lines: the same verdict.
#[test]
fn the_form_does_not_matter() -> Tested {
    let project = Project::new()?;
    let text = lines(1.1);
    project.write("both.jsonl", &text)?;
    let arm = |name: &str| -> String {
        let of_arm = text
            .lines()
            .filter(|line| line.contains(&format!("\"arm\":\"{name}\"")));
        of_arm.map(|line| format!("{line}\n")).collect()
    };
    project.write("base.jsonl", &arm("base"))?;
    let head: Vec<String> = arm("head").lines().rev().map(str::to_owned).collect();
    let head = head.join("\n").replace("\"arm\":\"head\",", "");
    project.write("head-1.jsonl", head.lines().next().unwrap_or_default())?;
    let rest: Vec<&str> = head.lines().skip(1).collect();
    project.write("head-2.jsonl", &rest.join("\r\n"))?;
    let mut table = "arm,pair,request.p95 (ms)\n".to_owned();
    let mut long = "arm,run,pair,session,metric,value,unit,better\n".to_owned();
    let mut pairs = vec![String::new(); 5];
    for line in text.lines() {
        let run: Value = serde_json::from_str(line)?;
        let (arm, pair) = (run["arm"].as_str().ok_or("arm")?, &run["pair"]);
        let value = &run["metrics"][0]["value"];
        writeln!(table, "{arm},{pair},{value}")?;
        writeln!(long, "{arm},{pair},{pair},,request.p95,{value},ms,")?;
        let place = pair.as_u64().ok_or("pair")? as usize - 1;
        write!(pairs[place], ",{value}")?;
    }
    let pairs: String = (1..)
        .zip(&pairs)
        .map(|(pair, values)| format!("{pair},request.p95,ms{values}\n"))
        .collect();
    project.write("table.csv", &table)?;
    project.write("long.csv", &long)?;
    project.write("pairs.csv", &format!("pair,metric,unit,base,head\n{pairs}"))?;

    let judged = |args: &[&str]| -> Result<Value, Box<dyn Error>> {
        let verdict = project.json(&[&["compare", "--regress", "5%"], args].concat(), 10)?;
        Ok(verdict["metrics"].clone())
    };
    let expected = judged(&["both.jsonl"])?;
    assert_eq!(judged(&["both.jsonl", "both.jsonl"])?, expected);
    assert_eq!(
        judged(&["--base", "both.jsonl", "--head", "both.jsonl"])?,
        expected
    );
    assert_eq!(
        judged(&[
            "--base",
            "base.jsonl",
            "--head",
            "head-1.jsonl",
            "head-2.jsonl"
        ])?,
        expected
    );
    assert_eq!(judged(&["table.csv"])?, expected);
    assert_eq!(judged(&["long.csv"])?, expected);
    assert_eq!(judged(&["pairs.csv"])?, expected);
    Ok(())
}

/// Without pairs and with one session an arm nothing is known of what lies between sessions; three
/// sessions of the base tell.
#[test]
fn without_pairs_the_arms_are_stored() -> Tested {
    let project = Project::new()?;
    let text = lines(1.5).replace("\"pair\":", "\"x-pair\":");
    project.write("runs.jsonl", &text)?;
    let args = ["compare", "runs.jsonl", "--regress", "5%"];
    let verdict = project.json(&args, 0)?;
    assert_eq!(verdict["comparison"]["design"], "stored");
    assert_eq!(named(&verdict, "request.p95")?["gating"], false);
    assert_eq!(verdict["warnings"][0]["kind"], "advisory");
    // In their order, if the user says so and no run has a number.
    let verdict = project.json(&[&args[..], &["--paired"]].concat(), 10)?;
    assert_eq!(verdict["comparison"]["design"], "paired");

    let some = text.replacen("\"x-pair\":1", "\"pair\":1", 1);
    project.write("some.jsonl", &some)?;
    let verdict = project.json(&["compare", "some.jsonl", "--regress", "5%"], 0)?;
    assert!(
        verdict["warnings"]
            .to_string()
            .contains("9 of 10 runs say no pair")
    );
    project.output(&["compare", "some.jsonl", "--regress", "5%", "--paired"], 2)?;

    let mut sessions = String::new();
    for (number, line) in text.lines().enumerate() {
        let session = format!("{{\"session\":\"s{}\",", number / 2 % 3);
        writeln!(sessions, "{}", line.replacen('{', &session, 1))?;
    }
    project.write("runs.jsonl", &sessions)?;
    let verdict = project.json(&args, 10)?;
    assert_eq!(named(&verdict, "request.p95")?["verdict"], "regressed");
    Ok(())
}

#[test]
fn options_of_the_gate() -> Tested {
    let project = Project::new()?;
    let second = lines(1.0).replace("request.p95", "request.p50");
    let both: Vec<String> = lines(1.1)
        .lines()
        .zip(second.lines())
        .map(|(first, second)| {
            let metric = second.split("\"metrics\":[").nth(1).unwrap_or_default();
            let metric = metric.split(']').next().unwrap_or_default();
            first.replacen("\"metrics\":[", &format!("\"metrics\":[{metric},"), 1)
        })
        .collect();
    project.write("runs.jsonl", &both.join("\n"))?;
    let verdict =
        |args: &[&str], code| project.json(&[&["compare", "runs.jsonl"], args].concat(), code);
    verdict(&["--regress", "5%"], 10)?;
    let only = verdict(&["--regress", "5%", "--gate", "*.p50"], 0)?;
    assert_eq!(named(&only, "request.p95")?["gating"], false);
    assert_eq!(named(&only, "request.p95")?["verdict"], "regressed");
    verdict(
        &["--regress", "5%", "--gate", "*.p50", "--gate", "*.p95"],
        10,
    )?;
    verdict(&["--regress", "15%", "--strict"], 0)?;
    let none = verdict(&[], 0)?;
    assert!(
        none["warnings"].to_string().contains("--regress 5%"),
        "{none}"
    );

    // Two pairs of a noisy metric tell nothing.
    let noisy = lines(1.0).replace("100.0", "80.0");
    let noisy: Vec<&str> = noisy.lines().take(4).collect();
    project.write("runs.jsonl", &noisy.join("\n"))?;
    let open = verdict(&["--regress", "1%"], 0)?;
    assert_eq!(open["verdict"], "inconclusive");
    let open = verdict(&["--regress", "1%", "--strict"], 11)?;
    assert_eq!(open["exit_code"], 11);
    for wrong in [
        &["--gate", "*"][..],
        &["--regress", "five"],
        &["--regress", "-5%"],
        &["--from", "jmeter"],
        &["--head", "runs.jsonl"],
    ] {
        project.output(&[&["compare", "runs.jsonl"], wrong].concat(), 2)?;
    }
    Ok(())
}

/// Every mistake is exit code 2 with the file, the line and what to do; nothing hostile reaches the
/// terminal, and nothing takes long or much.
#[test]
fn hostile_files_are_refused_with_a_remedy() -> Tested {
    let project = Project::new()?;
    let check = |name: &str, content: &[u8], said: &[&str]| -> Tested {
        fs::write(project.path().join(name), content)?;
        for extra in [&[][..], &["--from", "plimsoll"]] {
            let args = [
                &["compare", "--base", name, "--head", name, "--regress", "5%"],
                extra,
            ]
            .concat();
            let (_, stdout, stderr) = project.output(&args, 2)?;
            assert_eq!(stdout, "", "{name}");
            assert!(
                stderr.contains(name) && stderr.contains("help: "),
                "{name}: {stderr}"
            );
            assert!(stderr.len() < 2000, "{name}: {} bytes", stderr.len());
            assert!(!stderr.contains('\u{1b}'), "{name}: {stderr:?}");
            if extra.is_empty() {
                for part in said {
                    assert!(stderr.contains(part), "{name}: {part}: {stderr}");
                }
            }
        }
        Ok(())
    };
    let good = lines(1.0);
    let second = |from: &str, to: &str| {
        let mut lines: Vec<String> = good.lines().map(str::to_owned).collect();
        lines[1] = lines[1].replace(from, to);
        lines.join("\n").into_bytes()
    };
    check(
        "typo.jsonl",
        &second("\"metrics\"", "\"metric\""),
        &["line 2", "unknown field `metric`"],
    )?;
    check(
        "nan.jsonl",
        &second("\"unit\"", "\"x-a\":NaN,\"unit\""),
        &["line 2"],
    )?;
    check(
        "huge.jsonl",
        &second("\"pair\":1", "\"pair\":1e999"),
        &["line 2"],
    )?;
    check(
        "key.jsonl",
        &second("\"pair\"", &format!("\"{}\"", "k".repeat(1 << 20))),
        &["line 2", "unknown field `kkk", "kk…"],
    )?;
    check(
        "escape.jsonl",
        &second("\"pair\"", "\"\u{1b}[31mpair\""),
        &["line 2"],
    )?;
    check(
        "twice.jsonl",
        good.replace("base2", "base1").as_bytes(),
        &["line 3", "line 1", "is also in"],
    )?;
    check(
        "pair.jsonl",
        good.replace("\"pair\":2", "\"pair\":1").as_bytes(),
        &["line 3", "pair 1 of the base"],
    )?;
    let deep = format!(
        "{good}{{\"schema\":\"plimsoll.runs/1\",\"x-a\":{}",
        "[".repeat(1_000_000)
    );
    check(
        "deep.jsonl",
        deep.as_bytes(),
        &["line 11", "recursion limit"],
    )?;
    let long = format!(
        "{good}{{\"schema\":\"plimsoll.runs/1\",\"x-a\":\"{}\"}}",
        "a".repeat(5 << 20)
    );
    check(
        "long.jsonl",
        long.as_bytes(),
        &["line 11", "longer than 4194304 bytes"],
    )?;
    check(
        "binary.json",
        &[0, 159, 146, 150, 255, 10, 0, 1],
        &["not text"],
    )?;
    check(
        "binary.jsonl",
        &[good.as_bytes(), &[0, 255, 254, 10][..]].concat(),
        &["line 11", "not text"],
    )?;
    check("empty.json", b"", &["which tool wrote it"])?;
    check(
        "deep.json",
        "{\"a\":".repeat(1_000_000).as_bytes(),
        &["can't be read"],
    )?;
    check("cut.json", b"{\"results\":[{\"command\":\"a\"", &["EOF"])?;
    check(
        "other.json",
        b"{\"hello\":1}",
        &["which tool wrote it", "--from", "hyperfine"],
    )?;
    check(
        "nothing.json",
        b"{\"results\":[]}",
        &["no metric", "hyperfine"],
    )?;
    let name = "n".repeat(5000);
    check(
        "name.jsonl",
        &second("request.p95", &name),
        &["line 2", "too long"],
    )?;
    check(
        "infinite.csv",
        b"arm,a (ms)\nbase,1e999\n",
        &["line 2", "\"1e999\" is not a finite number"],
    )?;
    check("ragged.csv", b"arm,a (ms)\nbase,1,2\n", &["line 2"])?;
    check(
        "unit.csv",
        b"arm,a\nbase,1\n",
        &["line 2", "`a (ms)`", "--better"],
    )?;

    // A folder that isn't there, a device that never ends.
    project.output(
        &["compare", "--base", "/dev/zero", "--head", "/dev/zero"],
        1,
    )?;
    let (_, _, stderr) = project.output(&["compare", "missing.jsonl", "missing.jsonl"], 2)?;
    assert!(stderr.contains("missing.jsonl"), "{stderr}");
    Ok(())
}

/// A large file takes time, not memory beyond what is made of it, and it is read to its last line.
#[test]
fn a_long_file_is_read_line_by_line() -> Tested {
    let project = Project::new()?;
    let mut text = String::new();
    for pair in 1..=300 {
        for (arm, value) in [("base", 100), ("head", 101)] {
            let padding = "x".repeat(20_000);
            writeln!(
                text,
                r#"{{"schema":"plimsoll.runs/1","x-log":"{padding}","arm":"{arm}","run":"{pair}","pair":{pair},"metrics":[{{"name":"m","value":{}.{pair},"unit":"ms"}}]}}"#,
                value + pair % 7
            )?;
        }
    }
    project.write("runs.jsonl", &text)?;
    let verdict = project.json(&["compare", "runs.jsonl", "--regress", "5%"], 0)?;
    assert_eq!(named(&verdict, "m")?["n_head"], 300);
    Ok(())
}

/// Names of another tool are shown, and never become part of the page or the terminal's commands.
#[test]
fn hostile_names_are_only_text() -> Tested {
    let project = Project::new()?;
    let hostile = r"<script>alert(1)</script>\u001b[31m\u202e";
    project.write("runs.jsonl", &lines(1.1).replace("request.p95", hostile))?;
    let args = [
        "compare",
        "runs.jsonl",
        "--regress",
        "5%",
        "--html",
        "page.html",
    ];
    let (_, human, _) = project.output(&args, 10)?;
    assert!(
        !human.contains('\u{1b}') && !human.contains('\u{202e}'),
        "{human:?}"
    );
    assert!(human.contains("<script>alert(1)</script>"), "{human}");
    let page = fs::read_to_string(project.path().join("page.html"))?;
    assert!(!page.contains("<script>alert"), "a name became code");
    assert!(
        !page.contains("1970"),
        "an unknown start is shown as a date"
    );
    Ok(())
}

/// Saved runs leave and come back: the same verdict, their conditions with them.
#[test]
fn what_is_exported_can_be_compared() -> Tested {
    let project = Project::new()?;
    let mut number = 0_u32;
    let mut save = |arm, value: f64, kernel: &str| -> Tested {
        number += 1;
        let metric = Metric::single(
            "load.a.p95",
            Unit::Nanoseconds,
            Direction::Lower,
            value,
            1000,
        );
        let mut run = Run::imported(RunId::now(), "s".into(), vec![metric]);
        run.arm = Some(arm);
        run.pair = Some(number.div_ceil(2));
        run.fingerprint.kernel = kernel.into();
        project.write(
            &format!("saved/{number}.json"),
            &serde_json::to_string(&run)?,
        )
    };
    for pair in 0..5 {
        let drift = 1e6 * (1.0 + 0.02 * f64::from(pair));
        save(Arm::Base, drift, "6.1")?;
        save(
            Arm::Head,
            drift * (1.10 + 0.001 * f64::from(pair % 2)),
            "6.1",
        )?;
    }
    let gate = ["--regress", "5%"];
    let saved = project.json(&[&["compare", "saved"], &gate[..]].concat(), 10)?;
    let (_, text, _) = project.output(&["export", "saved"], 0)?;
    assert_eq!(text.lines().count(), 10);
    project.write("runs.jsonl", &text)?;
    let exported = project.json(&[&["compare", "runs.jsonl"], &gate[..]].concat(), 10)?;
    assert_eq!(exported["metrics"], saved["metrics"]);

    // A page that can't be written takes no verdict with it.
    let page = ["compare", "saved", "--html", "runs.jsonl/page.html"];
    let without = project.json(&[&page, &gate[..]].concat(), 1)?;
    assert_eq!(without["verdict"], "fail", "{without}");

    // A run that is named twice would count twice.
    let twice = [
        "compare",
        "--base",
        "saved/1.json",
        "saved",
        "--head",
        "saved",
    ];
    let (_, _, said) = project.output(&[&twice, &gate[..]].concat(), 2)?;
    assert!(said.contains("is named twice"), "{said}");

    save(Arm::Base, 1e6, "6.2")?;
    save(Arm::Head, 1e6, "6.2")?;
    let (_, text, _) = project.output(&["export", "saved"], 0)?;
    project.write("runs.jsonl", &text)?;
    let mixed = project.json(&[&["compare", "runs.jsonl"], &gate[..]].concat(), 13)?;
    assert_eq!(mixed["reasons"][0]["kind"], "not_comparable");

    fs::write(project.path().join("saved/none.json"), "{}")?;
    project.output(&["export", "saved"], 1)?;
    project.output(&["export", "nowhere"], 2)?;
    Ok(())
}

const METRICS: [&str; 7] = [
    "requestAvg",
    "requestP95",
    "iterationAvg",
    "iterationP95",
    "averageCpuUser",
    "totalAllocatedMB",
    "runDurationMs",
];

/// Blocks of five nights through the binary give what the library gives, on the same build and with
/// 10 % added to the head; tests/verdicts pins the rates over all blocks.
#[test]
fn blocks_of_nights_are_judged_as_in_process() -> Tested {
    let text = fs::read_to_string(root("tests/data/nightly-pairs.csv"))?;
    let header = text.lines().next().ok_or("a header")?;
    let rows: Vec<Vec<&str>> = text
        .lines()
        .skip(1)
        .map(|row| row.split(',').collect())
        .collect();
    let project = Project::new()?;
    let mut verdicts = 0;
    for block in rows.chunks_exact(10).step_by(25) {
        for slowdown in [1.0, 1.1] {
            let mut csv = format!("{header}\n");
            let mut jsonl = String::new();
            let (mut base, mut head) = (Vec::new(), Vec::new());
            for (place, row) in block.iter().enumerate() {
                let is_head = row[1] == "head";
                let pair = u32::try_from(place / 2 + 1)?;
                let factor = if is_head { slowdown } else { 1.0 };
                let values: Vec<f64> = row[2..]
                    .iter()
                    .map(|cell| Ok(cell.parse::<f64>()? * factor))
                    .collect::<Result<_, std::num::ParseFloatError>>()?;
                let cells: Vec<String> = values.iter().map(f64::to_string).collect();
                writeln!(csv, "{},{},{}", row[0], row[1], cells.join(","))?;
                let named = METRICS.iter().zip(&values);
                let metrics: Vec<Value> = named
                    .clone()
                    .map(|(name, value)| json!({"name": name, "value": value, "unit": "ms", "better": "lower"}))
                    .collect();
                let line = json!({"schema": "plimsoll.runs/1", "arm": row[1], "run": row[0], "pair": pair, "metrics": metrics});
                // A night that comes twice has two runs of the same name.
                let line = line
                    .to_string()
                    .replace(row[0], &format!("{} {pair}", row[0]));
                writeln!(jsonl, "{line}")?;
                let metrics = named
                    .map(|(name, value)| {
                        Metric::single(*name, Unit::Nanoseconds, Direction::Lower, value * 1e6, 1)
                    })
                    .collect();
                let mut run = Run::imported(RunId::now(), "s".into(), metrics);
                run.pair = Some(pair);
                if is_head { &mut head } else { &mut base }.push(run);
            }
            let expected = in_process(&base, &head);
            let code = i32::from(expected.exit_code);
            project.write("block.jsonl", &jsonl)?;
            project.write("block.csv", &csv)?;
            for args in [&["block.jsonl"][..], &["block.csv", "--better", "lower"]] {
                let args = [&["compare", "--regress", "5%"], args].concat();
                let found = project.json(&args, code)?;
                assert_eq!(found["verdict"], json!(expected.verdict));
                for metric in &expected.metrics {
                    let found = named(&found, &metric.name)?;
                    assert_eq!(found["verdict"], json!(metric.verdict), "{}", metric.name);
                    for (field, expected) in [
                        ("effect", metric.effect),
                        ("lower", metric.lower),
                        ("upper", metric.upper),
                        ("mde", metric.mde),
                        ("p", metric.p),
                    ] {
                        let (found, expected) = (found[field].as_f64(), expected);
                        let (found, expected) = (found.ok_or(field)?, expected.ok_or(field)?);
                        assert!(
                            (found - expected).abs() < 1e-9,
                            "{field}: {found} {expected}"
                        );
                    }
                    assert_eq!(found["pairs_needed"], json!(metric.pairs_needed));
                }
                verdicts += 1;
            }
        }
    }
    assert_eq!(verdicts, 14 * 4);
    Ok(())
}

fn in_process(base: &[Run], head: &[Run]) -> Verdict {
    let comparison = compare(base, head, &Settings::new(Design::Paired));
    let gate = |name: &&str| GatePlan {
        regress: Some(0.05),
        ..GatePlan::on(*name)
    };
    let policy = Policy {
        gates: METRICS.iter().map(gate).collect(),
        ..Policy::default()
    };
    judge(
        &policy,
        &Evidence {
            base,
            head,
            comparison: Some(&comparison),
        },
    )
}

fn named<'a>(verdict: &'a Value, name: &str) -> Result<&'a Value, String> {
    let mut metrics = verdict["metrics"].as_array().into_iter().flatten();
    let found = metrics.find(|metric| metric["name"] == name);
    found.ok_or_else(|| format!("{name} is not in {}", verdict["metrics"]))
}

/// The median of a benchmark of pytest-benchmark in ns, by its place.
fn median_of(file: &str, place: usize) -> Result<f64, Box<dyn Error>> {
    let export: Value = serde_json::from_str(&fs::read_to_string(data(file))?)?;
    let mut rounds: Vec<f64> = export["benchmarks"][place]["stats"]["data"]
        .as_array()
        .ok_or("no rounds")?
        .iter()
        .filter_map(Value::as_f64)
        .collect();
    rounds.sort_by(f64::total_cmp);
    let middle = rounds.len() / 2;
    Ok((rounds[middle - 1] + rounds[middle]) / 2.0 * 1e9)
}

fn data(path: &str) -> PathBuf {
    root("tests/data/interchange").join(path)
}
