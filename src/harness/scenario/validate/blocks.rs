//! Steps that hold others: groups, loops, conditions, choices.

use toml::de::DeTable;

use super::extent::performed;
use super::outline::Step;
use super::steps::{Context, build};
use super::syntax::regex_groups;
use super::values::{self, Scope};
use crate::harness::scenario::plan::{
    BranchPlan, ConditionPlan, StepPlan, Template, TestPlan, TimesPlan,
};
use crate::harness::scenario::problem::{Code, Problems};
use crate::harness::scenario::raw;

/// An iteration that may perform more steps than this has loops within loops by mistake.
const MAX_PERFORMED: u64 = 1_000_000;

pub(super) fn group(
    step: &Step<'_>,
    cx: &mut Context<'_>,
    problems: &mut Problems<'_>,
) -> StepPlan {
    let name = raw::text(step.table, "group");
    if let Some(name) = &name {
        cx.names.group(name);
    }
    StepPlan::Group {
        name: name.map(|name| name.text.to_owned()).unwrap_or_default(),
        steps: build(step.inside(0), cx, problems),
    }
}

pub(super) fn repeat(
    step: &Step<'_>,
    cx: &mut Context<'_>,
    problems: &mut Problems<'_>,
) -> StepPlan {
    let times = times(step.table, problems);
    let steps = build(step.inside(0), cx, problems);
    // It is looked at after a pass, and knows what the steps of one extract.
    let until = raw::table(step.table, "until")
        .map(|(table, _)| condition(table, &mut cx.scope(step.end), problems));
    let once = performed(&steps).max(1);
    if let Some(value) = step.table.get("repeat")
        && once <= MAX_PERFORMED
        && once.saturating_mul(times.max.into()) > MAX_PERFORMED
    {
        problems.report(
            Code::OutOfRange,
            value.span(),
            format!("an iteration may have more than {MAX_PERFORMED} steps"),
            format!("{once} steps, {} times", times.max),
            "repeat it less often, or end iterations earlier: a user begins another one",
        );
    }
    StepPlan::Repeat {
        times,
        until,
        steps,
    }
}

pub(super) fn if_else(
    step: &Step<'_>,
    cx: &mut Context<'_>,
    problems: &mut Problems<'_>,
) -> StepPlan {
    let condition = raw::table(step.table, "if")
        .map_or(ConditionPlan::Chance(1.0), |(table, _)| {
            condition(table, &mut cx.scope(step.number), problems)
        });
    StepPlan::If {
        condition,
        then: build(step.inside(0), cx, problems),
        otherwise: build(step.inside(1), cx, problems),
    }
}

pub(super) fn choice(
    step: &Step<'_>,
    cx: &mut Context<'_>,
    problems: &mut Problems<'_>,
) -> StepPlan {
    let mut branches = Vec::new();
    for (index, (table, _)) in raw::tables(step.table, "choice").into_iter().enumerate() {
        let weight = raw::number_at(table, "weight");
        if let Some(value) = table.get("weight")
            && weight.is_some_and(|weight| weight <= 0.0)
        {
            problems.report(
                Code::OutOfRange,
                value.span(),
                "a weight must be above 0",
                "never performed",
                "write a number above 0, or remove the branch",
            );
        }
        branches.push(BranchPlan {
            weight: weight.unwrap_or(1.0),
            steps: build(step.inside(index), cx, problems),
        });
    }
    let sum: f64 = branches.iter().map(|branch| branch.weight).sum();
    if let Some(value) = step.table.get("choice")
        && !sum.is_finite()
    {
        problems.report(
            Code::OutOfRange,
            value.span(),
            "the weights are too large to be added up",
            "no finite sum",
            "write smaller weights; only their ratios count",
        );
    }
    StepPlan::Choose(branches)
}

fn times(table: &DeTable<'_>, problems: &mut Problems<'_>) -> TimesPlan {
    let whole = |number: Option<i64>| number.and_then(|number| u32::try_from(number).ok());
    if let Some((table, span)) = raw::table(table, "repeat") {
        let min = whole(raw::integer_at(table, "min")).unwrap_or(1);
        let max = whole(raw::integer_at(table, "max")).unwrap_or(min);
        if min > max {
            problems.report(
                Code::OutOfRange,
                span,
                "`min` is more than `max`",
                "the bounds are swapped",
                "write the smaller number as `min`",
            );
        }
        return TimesPlan { min, max };
    }
    let times = whole(raw::integer_at(table, "repeat")).unwrap_or(1);
    TimesPlan {
        min: times,
        max: times,
    }
}

fn condition(
    table: &DeTable<'_>,
    scope: &mut Scope<'_>,
    problems: &mut Problems<'_>,
) -> ConditionPlan {
    if let Some(chance) = raw::share(table, "chance") {
        if !(chance > 0.0 && chance <= 1.0)
            && let Some(value) = table.get("chance")
        {
            problems.report(
                Code::OutOfRange,
                value.span(),
                "`chance` must be above 0 % and at most 100 %",
                "not a chance",
                "write a share such as `\"30%\"`",
            );
        }
        return ConditionPlan::Chance(chance);
    }
    let before = problems.count();
    let value = raw::text(table, "value").map(|value| values::template(&value, scope, problems));
    let test = if let Some(other) = raw::text(table, "is") {
        TestPlan::Is(values::template(&other, scope, problems))
    } else if let Some(other) = raw::text(table, "is_not") {
        TestPlan::IsNot(values::template(&other, scope, problems))
    } else if let Some(pattern) = raw::text(table, "matches") {
        regex_groups(&pattern, problems);
        TestPlan::Matches(pattern.text.to_owned())
    } else if let Some(bound) = raw::number_at(table, "above") {
        TestPlan::Above(bound)
    } else {
        TestPlan::Below(raw::number_at(table, "below").unwrap_or(f64::INFINITY))
    };
    let condition = ConditionPlan::Value {
        value: value.unwrap_or_else(|| Template::literal("")),
        test,
    };
    let mut templates = condition.templates().into_iter();
    if let Some(value) = table.get("value")
        && problems.count() == before
        && templates.all(|template| template.as_literal().is_some())
    {
        problems.report(
            Code::OutOfRange,
            value.span(),
            "the condition is always the same",
            "holds no value",
            "name a value in it, such as `{state}`",
        );
    }
    condition
}
