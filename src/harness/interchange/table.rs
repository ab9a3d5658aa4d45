//! CSV with a header, in three forms, told apart by the columns:
//!
//! - *long*, with `metric` and `value`: a number a line;
//! - *runs*, with `arm` and without `metric`: a run a line, a metric a column; the column's head says
//!   the unit and, where that doesn't, the direction: `p95 (ms)`, `hits (ratio, higher)`;
//! - *pairs*, with `base` and `head`: a pair a line.

use std::collections::BTreeMap;
use std::path::Path;

use csv::StringRecord;

use super::error::{InterchangeError, Place, Wrong, quoted};
use super::format::Format;
use super::imported::{Imported, ImportedRun};
use super::metric::{Said, metric};
use super::read::Options;
use crate::harness::model::{Arm, Direction, Metric};

/// Columns that are no metrics.
const LABELS: [&str; 4] = ["arm", "run", "pair", "session"];
/// The name of a metric in a table of pairs that names none.
const UNNAMED: &str = "value";
const SEE: &str = "docs/INTERCHANGE.md shows the three forms of a table";

/// Whether a first line is the header of such a table.
pub(super) fn is_header(line: &str) -> bool {
    let columns: Vec<&str> = line
        .split(',')
        .map(|column| column.trim().trim_matches('"'))
        .collect();
    Form::of(&columns).is_some()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Long,
    Runs,
    Pairs,
}

impl Form {
    fn of(columns: &[&str]) -> Option<Self> {
        let has = |column: &str| columns.contains(&column);
        if has("metric") && has("value") {
            Some(Self::Long)
        } else if has("base") && has("head") && !has("arm") {
            Some(Self::Pairs)
        } else if has("arm") && columns.len() > 1 {
            Some(Self::Runs)
        } else {
            None
        }
    }
}

/// The runs of a table.
pub(super) fn read(
    path: &Path,
    text: &str,
    options: &Options,
) -> Result<Imported, InterchangeError> {
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let broken = |error: csv::Error| {
        let place = match error.position() {
            Some(position) => Place::line(path, position.line()),
            None => Place::file(path),
        };
        place.wrong(
            format!("it is no table: {error}"),
            "give every line as many cells as the header",
        )
    };
    let header = reader.headers().map_err(broken)?.clone();
    let columns: Vec<&str> = header.iter().collect();
    let place = Place::line(path, 1);
    let form = Form::of(&columns)
        .ok_or_else(|| place.wrong("the header names no form of a table", SEE))?;
    if let Some(twice) = columns
        .iter()
        .enumerate()
        .find_map(|(at, column)| columns[..at].contains(column).then_some(column))
    {
        return Err(place.wrong(
            format!("the column {} comes twice", quoted(twice)),
            "give every column a name of its own",
        ));
    }
    let rows = reader
        .into_records()
        .map(|row| row.map_err(broken))
        .collect::<Result<Vec<_>, _>>()?;
    let mut table = Table {
        path,
        columns,
        better: options.better,
        imported: Imported::new(Format::Csv, path.to_owned()),
        places: BTreeMap::new(),
    };
    match form {
        Form::Long => table.long(&rows)?,
        Form::Runs => table.runs(&rows)?,
        Form::Pairs => table.pairs(&rows)?,
    }
    Ok(table.imported)
}

struct Table<'a> {
    path: &'a Path,
    columns: Vec<&'a str>,
    better: Option<Direction>,
    imported: Imported,
    /// Where the run of an arm, a session and a name is.
    places: BTreeMap<(Option<bool>, String, String), usize>,
}

impl Table<'_> {
    /// The cell of a row in the column of that name; `None` where there is none or it is empty.
    fn cell<'r>(&self, row: &'r StringRecord, column: &str) -> Option<&'r str> {
        let at = self.columns.iter().position(|name| *name == column)?;
        row.get(at).filter(|cell| !cell.is_empty())
    }

    fn place(&self, row: &StringRecord) -> Place {
        Place::line(self.path, row.position().map_or(1, csv::Position::line))
    }

    fn long(&mut self, rows: &[StringRecord]) -> Result<(), InterchangeError> {
        self.only_known(&[
            "arm", "run", "pair", "session", "metric", "value", "unit", "better",
        ]);
        for row in rows {
            let place = self.place(row);
            self.long_row(row).map_err(|wrong| wrong.at(&place))?;
        }
        Ok(())
    }

    fn long_row(&mut self, row: &StringRecord) -> Result<(), Wrong> {
        let name = self.cell(row, "metric").unwrap_or_default();
        let value = number(self.cell(row, "value").unwrap_or_default())?;
        let metric = self.metric(row, name, value)?;
        let place = self.place(row);
        let arm = arm(self.cell(row, "arm"))?;
        let pair = pair(self.cell(row, "pair"))?;
        let session = self.cell(row, "session").map(str::to_owned);
        // Without a run's name its pair names it.
        let run = self.cell(row, "run").or_else(|| self.cell(row, "pair"));
        let run = run.ok_or_else(|| Wrong::new("it names no run", SEE))?;
        let key = (
            arm.map(|arm| arm == Arm::Head),
            session.clone().unwrap_or_default(),
            run.to_owned(),
        );
        let at = *self.places.entry(key).or_insert_with(|| {
            let name = name_of(session.as_deref(), run);
            self.imported.runs.push(ImportedRun {
                arm,
                pair,
                session,
                ..ImportedRun::new(place, name)
            });
            self.imported.runs.len() - 1
        });
        let found = &mut self.imported.runs[at];
        if found.pair != pair {
            return Err(Wrong::new(
                format!("run {} is in two pairs", quoted(&found.name)),
                "a run belongs to one pair",
            ));
        }
        found.add(metric)
    }

    /// The metric of a row with the columns `unit` and `better`.
    fn metric(&self, row: &StringRecord, name: &str, value: f64) -> Result<Metric, Wrong> {
        let said = Said {
            unit: self.cell(row, "unit"),
            better: direction(self.cell(row, "better"))?.or(self.better),
        };
        metric(name, &[value], said, 1)
    }

    fn pairs(&mut self, rows: &[StringRecord]) -> Result<(), InterchangeError> {
        self.only_known(&[
            "base", "head", "pair", "session", "metric", "unit", "better",
        ]);
        // Pairs without a number are numbered in their order, those of each metric for themselves.
        let mut numbers: BTreeMap<(String, String), u32> = BTreeMap::new();
        for row in rows {
            let place = self.place(row);
            self.pair_row(row, &mut numbers)
                .map_err(|wrong| wrong.at(&place))?;
        }
        Ok(())
    }

    fn pair_row(
        &mut self,
        row: &StringRecord,
        numbers: &mut BTreeMap<(String, String), u32>,
    ) -> Result<(), Wrong> {
        let name = self.cell(row, "metric").unwrap_or(UNNAMED);
        let session = self.cell(row, "session");
        let key = (session.unwrap_or_default().to_owned(), name.to_owned());
        let number = numbers.entry(key).or_insert(0);
        *number += 1;
        let pair = pair(self.cell(row, "pair"))?.unwrap_or(*number);
        for (arm, column) in [(Arm::Base, "base"), (Arm::Head, "head")] {
            let value = self.cell(row, column).unwrap_or_default();
            let metric = self.metric(row, name, self::number(value)?)?;
            let key = (
                Some(arm == Arm::Head),
                session.unwrap_or_default().to_owned(),
                pair.to_string(),
            );
            let place = self.place(row);
            let at = *self.places.entry(key).or_insert_with(|| {
                self.imported.runs.push(ImportedRun {
                    arm: Some(arm),
                    pair: Some(pair),
                    session: session.map(str::to_owned),
                    ..ImportedRun::new(place, name_of(session, &pair.to_string()))
                });
                self.imported.runs.len() - 1
            });
            self.imported.runs[at].add(metric)?;
        }
        Ok(())
    }

    fn runs(&mut self, rows: &[StringRecord]) -> Result<(), InterchangeError> {
        let first = self.label_column(rows);
        let label = first.filter(|_| self.names_pairs(rows));
        let mut metrics: Vec<(usize, Head<'_>)> = Vec::new();
        for (at, column) in self.columns.iter().enumerate() {
            if LABELS.contains(column) || label == Some(at) {
                continue;
            }
            let head = Head::of(column);
            if head.unit.is_some() || holds_numbers(rows, at) {
                metrics.push((at, head));
                continue;
            }
            let why = match first == Some(at) {
                true => {
                    "the lines of the two arms don't take turns under its names, so it names no pairs"
                }
                false => "it holds no numbers",
            };
            self.imported.leave(quoted(column), why);
        }
        // How often an arm had that label.
        let mut seen: BTreeMap<(Option<bool>, &str), u32> = BTreeMap::new();
        let mut numbers: BTreeMap<(String, u32), u32> = BTreeMap::new();
        for row in rows {
            let place = self.place(row);
            let labelled = label.and_then(|at| row.get(at));
            let at = |wrong: Wrong| wrong.at(&place);
            let arm = arm(self.cell(row, "arm")).map_err(at)?;
            let session = self.cell(row, "session");
            let nth = seen
                .entry((
                    arm.map(|arm| arm == Arm::Head),
                    labelled.unwrap_or_default(),
                ))
                .or_insert(0);
            *nth += 1;
            let mut found = pair(self.cell(row, "pair")).map_err(at)?;
            if let (None, Some(label)) = (found, labelled) {
                let next = numbers.len() as u32 + 1;
                found = Some(*numbers.entry((label.to_owned(), *nth)).or_insert(next));
            }
            let name = self
                .cell(row, "run")
                .map(|run| name_of(session, run))
                .or_else(|| found.map(|pair| name_of(session, &pair.to_string())))
                .unwrap_or_else(|| place.to_string());
            let mut run = ImportedRun {
                arm,
                pair: found,
                session: session.map(str::to_owned),
                ..ImportedRun::new(place.clone(), name)
            };
            for (column, head) in &metrics {
                let cell = row.get(*column).unwrap_or_default();
                // What was not measured is left empty.
                if cell.is_empty() {
                    continue;
                }
                head.metric(cell, self.better)
                    .and_then(|metric| run.add(metric))
                    .map_err(at)?;
            }
            if !run.metrics.is_empty() {
                self.imported.runs.push(run);
            }
        }
        Ok(())
    }

    /// The first column, where no column says runs or pairs and none of its cells is a number, such
    /// as dates: it may name the pairs.
    fn label_column(&self, rows: &[StringRecord]) -> Option<usize> {
        let first = self.columns.first()?;
        let is_free = !LABELS.contains(first)
            && !self.columns.contains(&"run")
            && !self.columns.contains(&"pair");
        let is_text = |row: &StringRecord| {
            let cell = row.get(0).unwrap_or_default();
            !cell.is_empty() && cell.parse::<f64>().is_err()
        };
        (is_free && rows.iter().all(is_text)).then_some(0)
    }

    /// Whether the first column names pairs, rather than commits or hosts: some of its names are in
    /// both arms, and the rows of a name take turns between the arms, so that its first of either are
    /// a pair, its second, and so on. One name for all rows says nothing.
    fn names_pairs(&self, rows: &[StringRecord]) -> bool {
        let mut ahead: BTreeMap<&str, i64> = BTreeMap::new();
        let mut has_pair = false;
        for row in rows {
            let step = match self.cell(row, "arm") {
                Some("head") => 1,
                _ => -1,
            };
            let ahead = ahead.entry(row.get(0).unwrap_or_default()).or_insert(0);
            has_pair |= *ahead == -step;
            *ahead += step;
            if ahead.abs() > 1 {
                return false;
            }
        }
        has_pair && (ahead.len() > 1 || rows.len() == 2)
    }

    /// Names the columns that nothing is made of.
    fn only_known(&mut self, known: &[&str]) {
        for column in &self.columns {
            if !known.contains(column) {
                let why = "no such column belongs to this form of a table";
                self.imported.leave(quoted(column), why);
            }
        }
    }
}

/// Whether a cell of the column is a number.
fn holds_numbers(rows: &[StringRecord], column: usize) -> bool {
    let mut cells = rows.iter().filter_map(|row| row.get(column));
    cells.any(|cell| cell.parse::<f64>().is_ok())
}

/// The head of a column of metrics: `name`, `name (unit)` or `name (unit, better)`.
struct Head<'a> {
    name: &'a str,
    unit: Option<&'a str>,
    better: Option<&'a str>,
}

impl<'a> Head<'a> {
    fn of(column: &'a str) -> Self {
        let parts = column
            .strip_suffix(')')
            .and_then(|open| open.rsplit_once(" ("));
        let Some((name, said)) = parts else {
            return Self {
                name: column,
                unit: None,
                better: None,
            };
        };
        let (unit, better) = match said.split_once(',') {
            Some((unit, better)) => (unit, Some(better.trim())),
            None => (said, None),
        };
        Self {
            name: name.trim(),
            unit: Some(unit.trim()),
            better,
        }
    }

    fn metric(&self, cell: &str, better: Option<Direction>) -> Result<Metric, Wrong> {
        let said = Said {
            unit: self.unit,
            better: direction(self.better)?.or(better),
        };
        let wrong = |wrong: Wrong| Wrong {
            remedy: match self.unit {
                None => format!(
                    "write the unit into the head of the column, as in `{} (ms)` or `{} (count, lower)`; or say --better lower",
                    self.name, self.name
                ),
                Some(_) => wrong.remedy,
            },
            what: wrong.what,
        };
        let value = number(cell)?;
        metric(self.name, &[value], said, 1).map_err(wrong)
    }
}

/// Runs of different sessions may have the same name.
fn name_of(session: Option<&str>, run: &str) -> String {
    match session {
        Some(session) => format!("{session}/{run}"),
        None => run.to_owned(),
    }
}

fn number(cell: &str) -> Result<f64, Wrong> {
    let value = cell.parse::<f64>().ok().filter(|value| value.is_finite());
    value.ok_or_else(|| {
        Wrong::new(
            format!("{} is not a finite number", quoted(cell)),
            "write numbers as in 31.28, and leave out what was not measured",
        )
    })
}

fn arm(cell: Option<&str>) -> Result<Option<Arm>, Wrong> {
    match cell {
        None => Ok(None),
        Some("base") => Ok(Some(Arm::Base)),
        Some("head") => Ok(Some(Arm::Head)),
        Some(other) => Err(Wrong::new(
            format!("the arm is {}", quoted(other)),
            "write `base` or `head`",
        )),
    }
}

fn pair(cell: Option<&str>) -> Result<Option<u32>, Wrong> {
    let number = |cell: &str| {
        cell.parse().map_err(|_| {
            Wrong::new(
                format!("the pair is {}", quoted(cell)),
                "number the pairs: 1, 2, 3",
            )
        })
    };
    cell.map(number).transpose()
}

fn direction(text: Option<&str>) -> Result<Option<Direction>, Wrong> {
    match text {
        None => Ok(None),
        Some("lower") => Ok(Some(Direction::Lower)),
        Some("higher") => Ok(Some(Direction::Higher)),
        Some(other) => Err(Wrong::new(
            format!("the direction is {}", quoted(other)),
            "write `lower` or `higher`",
        )),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    /// Arm, name, pair and the values of the runs of a table.
    fn table(text: &str) -> Result<Vec<String>, String> {
        let path = Path::new("t.csv");
        let imported = read(path, text, &Options::default()).map_err(|error| error.to_string())?;
        let show = |run: &ImportedRun| {
            let values: Vec<String> = run
                .metrics
                .values()
                .map(|metric| format!("{}={}", metric.name, metric.value().unwrap()))
                .collect();
            let arm = run.arm.map_or('-', |arm| match arm {
                Arm::Base => 'b',
                Arm::Head => 'h',
            });
            let pair = run.pair.map_or("-".to_owned(), |pair| pair.to_string());
            format!("{arm} {} {pair} {}", run.name, values.join(" "))
        };
        Ok(imported.runs.iter().map(show).collect())
    }

    #[test]
    fn three_forms() {
        let check = |text: &str, expected: &[&str]| {
            assert_eq!(table(text).unwrap(), expected, "{text}");
        };
        check(
            "arm,run,pair,session,metric,value,unit,better\n\
             base,1,1,s,p95,31,ms,lower\nbase,1,1,s,rate,5,/s,higher\nhead,1,1,s,p95,32,ms,\n",
            &["b s/1 1 p95=31000000 rate=5", "h s/1 1 p95=32000000"],
        );
        check("metric,value,unit,run\np95,3,ns,a\n", &["- a - p95=3"]);
        check(
            "pair,base,head,unit\n1,3,4,ns\n2,5,6,ns\n",
            &[
                "b 1 1 value=3",
                "h 1 1 value=4",
                "b 2 2 value=5",
                "h 2 2 value=6",
            ],
        );
        check(
            "metric,base,head,unit\na,3,4,ns\nb,5,6,ns\n",
            &["b 1 1 a=3 b=5", "h 1 1 a=4 b=6"],
        );
        check(
            "arm,p95 (ns),\"hits (ratio, higher)\"\nbase,3,.5\nhead,4,\n",
            &[
                "b t.csv, line 2 - hits=0.5 p95=3",
                "h t.csv, line 3 - p95=4",
            ],
        );
        check(
            "night,arm,a (ns)\nmon,base,1\nmon,head,2\ntue,base,3\ntue,head,4\nmon,base,5\nmon,head,6\n",
            &[
                "b 1 1 a=1",
                "h 1 1 a=2",
                "b 2 2 a=3",
                "h 2 2 a=4",
                "b 3 3 a=5",
                "h 3 3 a=6",
            ],
        );
    }

    /// The pairs of the runs of a table, and what was not used of it.
    #[test]
    fn only_a_column_of_pairs_names_pairs() {
        let check = |rows: &str, pairs: &[Option<u32>], unused: &str| {
            let text = format!("first,arm,os,a (ns)\n{rows}");
            let imported = read(Path::new("t.csv"), &text, &Options::default()).unwrap();
            let found: Vec<Option<u32>> = imported.runs.iter().map(|run| run.pair).collect();
            assert_eq!(found, pairs, "{rows}");
            let left: Vec<&str> = imported
                .unused
                .iter()
                .map(|one| one.what.as_str())
                .collect();
            assert_eq!(left.join(" "), unused, "{rows}");
        };
        let (one, two) = (Some(1), Some(2));
        check(
            "mon,base,linux,1\nmon,head,linux,2\ntue,head,linux,3\ntue,base,linux,4\n",
            &[one, one, two, two],
            "\"os\"",
        );
        check("mon,base,,1\nmon,head,,2\n", &[one, one], "\"os\"");
        // A night without its head leaves the others in pairs.
        check(
            "mon,base,,1\ntue,base,,2\ntue,head,,3\n",
            &[one, two, two],
            "\"os\"",
        );
        let none = |rows: &str| {
            let pairs = vec![None; rows.lines().count()];
            check(rows, &pairs, "\"first\" \"os\"");
        };
        // Commits: no name is in both arms.
        none("abc,base,,1\nabc,base,,2\ndef,head,,3\ndef,head,,4\n");
        none("abc,base,,1\ndef,head,,2\n");
        // Hosts: one arm after the other.
        none("h1,base,,1\nh1,base,,2\nh1,head,,3\nh1,head,,4\n");
        none("h1,base,,1\nh1,base,,2\nh2,base,,1\nh1,head,,3\nh1,head,,4\nh2,head,,1\n");
        none("h1,base,,1\nh1,head,,2\nh1,base,,3\nh1,head,,4\n");
    }

    #[test]
    fn mistakes_have_a_line_and_a_remedy() {
        let check = |text: &str, expected: &[&str]| {
            let error = table(text).unwrap_err();
            for part in expected {
                assert!(error.contains(part), "{text}: {error}");
            }
        };
        check(
            "arm,p95\nbase,3\n",
            &["line 2", "has no unit", "`p95 (ms)`"],
        );
        check(
            "arm,a (x)\nbase,3\n",
            &["line 2", "is in \"x\"", "--better"],
        );
        check(
            "arm,a (ms)\nbase,fast\n",
            &["line 2", "\"fast\" is not a finite number"],
        );
        check(
            "arm,a (ms)\nbase,1e999\n",
            &["\"1e999\" is not a finite number"],
        );
        check(
            "arm,a (ms)\nbas,3\n",
            &["line 2: the arm is \"bas\"", "`base` or `head`"],
        );
        check("arm,a (ms)\nbase,3\nbase\n", &["line 3", "as many cells"]);
        check("arm,a (ms),a (ms)\n", &["line 1", "comes twice"]);
        check(
            "arm,a (s),a (ms)\nbase,1,2\n",
            &["line 2", "comes twice in one run"],
        );
        check("metric,value,unit\np95,3,ns\n", &["line 2", "names no run"]);
        check(
            "metric,value,unit,run,better\np95,3,ns,1,faster\n",
            &["the direction is \"faster\""],
        );
        check(
            "metric,value,unit,run,pair\np95,3,ns,1,x\n",
            &["the pair is \"x\""],
        );
        check(
            "metric,value,unit,run,pair\np95,3,ns,1,1\np50,3,ns,1,2\n",
            &["line 3", "in two pairs"],
        );
        check(
            "pair,base,head,unit\n1,3,,ns\n",
            &["\"\" is not a finite number"],
        );
        check("x,y\n1,2\n", &["line 1", "no form"]);
    }
}
