//! Which variables of the environment a plan mentions, and which one is nobody else's.

use std::collections::BTreeSet;

use crate::harness::scenario::{FlowPlan, Part, Plan, ProcessPlan, Template};

/// Where plimsoll's own store is, maybe with a password: no program that is started here inherits it.
pub(super) const STORE_VARIABLE: &str = "PLIMSOLL_STORE";

/// The variables that a plan mentions as `{$env.NAME}`. Their values are secrets; whoever reads the
/// environment hands them to the engine before anything starts.
pub fn secret_names(plan: &Plan) -> BTreeSet<String> {
    let of_processes = plan.processes.iter().flat_map(of_process);
    let flows = plan.flows.values().chain(&plan.setup).chain(&plan.teardown);
    let of_flows = flows.flat_map(FlowPlan::templates).chain(&plan.http.proxy);
    of_processes
        .chain(of_flows)
        .flat_map(|template| &template.parts)
        .filter_map(|part| match part {
            Part::Env(name) => Some(name.clone()),
            _ => None,
        })
        .collect()
}

fn of_process(process: &ProcessPlan) -> impl Iterator<Item = &Template> {
    [&process.build, &process.prepare]
        .into_iter()
        .flatten()
        .chain([&process.start])
        .flat_map(|command| &command.words)
        .chain(process.env.values())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;
    use crate::harness::scenario::{
        AuthPlan, BodyPlan, ConditionPlan, PartContent, PartPlan, RequestPlan, StepPlan, TestPlan,
        parse,
    };

    fn env(name: &str) -> Template {
        Template {
            parts: vec![Part::Env(name.into())],
        }
    }

    #[test]
    fn every_place_that_can_mention_a_variable_is_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let text = "schema = 1\nname = \"s\"\n\
                    [[process]]\nname = \"p\"\nstart = \"p {port} {$env.START}\"\n\
                    [[flow.home.step]]\nget = \"/{$env.PATH_OF}\"\n\
                    [load.home]\nclosed = { users = 1 }\n";
        let scenario = parse(text, &folder.path().join("s.toml")).unwrap();
        let mut plan = scenario.plans.into_iter().next().unwrap();
        plan.http.proxy = Some(env("PROXY"));
        let mut login = RequestPlan::get("/");
        login.address.query = vec![("q".into(), env("QUERY"))];
        login.address.auth = Some(AuthPlan::Basic {
            user: env("USER_OF"),
            password: env("PASSWORD"),
        });
        login.body = Some(BodyPlan::Multipart(vec![PartPlan {
            name: "a".into(),
            filename: None,
            content_type: None,
            content: PartContent::Text(env("PART")),
        }]));
        let asked = StepPlan::If {
            condition: ConditionPlan::Value {
                value: env("VALUE"),
                test: TestPlan::IsNot(env("OTHER")),
            },
            then: vec![StepPlan::Send(env("MESSAGE"))],
            otherwise: vec![],
        };
        plan.setup = Some(FlowPlan::new(vec![login.into(), asked]));
        let mut logout = RequestPlan::get("/");
        logout.address.auth = Some(AuthPlan::Bearer(env("TOKEN")));
        plan.teardown = Some(FlowPlan::new(vec![logout.into()]));
        let found: Vec<_> = secret_names(&plan).into_iter().collect();
        let expected = [
            "MESSAGE", "OTHER", "PART", "PASSWORD", "PATH_OF", "PROXY", "QUERY", "START", "TOKEN",
            "USER_OF", "VALUE",
        ];
        assert_eq!(found, expected);
    }
}
