//! Benches: which executables are built and invoked.

use toml::de::DeTable;

use super::policies::positive;
use super::syntax::regex_groups;
use super::{SECOND_NS, unique};
use crate::harness::model::INVOCATIONS_NEEDED;
use crate::harness::scenario::plan::BenchPlan;
use crate::harness::scenario::problem::{Code, Problems};
use crate::harness::scenario::raw::{self, Text};

pub(super) fn read(table: &DeTable<'_>, problems: &mut Problems<'_>) -> Vec<BenchPlan> {
    raw::tables(table, "bench")
        .into_iter()
        .map(|(table, _)| bench(table, problems))
        .collect()
}

fn bench(table: &DeTable<'_>, problems: &mut Problems<'_>) -> BenchPlan {
    let targets = raw::texts(table, "targets");
    unique("targets", &targets, problems);
    let features = raw::texts(table, "features");
    for feature in &features {
        // A feature reaches cargo as an argument: it may not look like an option, nor hold a
        // separator.
        let is_feature = feature
            .text
            .starts_with(|char: char| char.is_alphanumeric())
            && feature
                .text
                .chars()
                .all(|char| char.is_alphanumeric() || "_-+./".contains(char));
        if !is_feature {
            problems.report(
                Code::BadName,
                feature.span.clone(),
                format!("`{}` can't be a feature", feature.text),
                "not a feature",
                "name it as Cargo.toml does: letters, digits, `_`, `-`, `+`, `.` and `/`",
            );
        }
    }
    let filter = raw::text(table, "filter");
    if let Some(filter) = &filter {
        regex_groups(filter, problems);
    }
    let owned = |texts: &[Text<'_>]| texts.iter().map(|text| text.text.to_owned()).collect();
    BenchPlan {
        targets: owned(&targets),
        package: raw::text(table, "package").map(|package| package.text.to_owned()),
        features: owned(&features),
        filter: filter.map(|filter| filter.text.to_owned()),
        invocations: raw::integer_at(table, "invocations")
            .and_then(|number| u32::try_from(number).ok())
            .unwrap_or(INVOCATIONS_NEEDED),
        timeout_ns: positive(table, "timeout", problems).unwrap_or(300 * SECOND_NS),
    }
}
