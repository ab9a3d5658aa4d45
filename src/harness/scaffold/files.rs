//! What is written beside the scenario, and lines for other pipelines.

use super::action::Action;

pub(super) const WORKFLOW: &str = ".github/workflows/plimsoll.yml";
pub(super) const BASELINES: &str = "baselines/README.md";
pub(super) const ROOT_MARK: &str = "plimsoll.toml";

pub(super) const ROOT_MARK_TEXT: &str = "# Marks the root of a project for Plimsoll: the commands of its scenarios start in this folder.\n";

pub(super) const BASELINES_TEXT: &str = "\
# Baselines

What later runs are compared with. `plimsoll baseline refresh` measures and writes `<machine id>/<scenario>.json` here, a line a metric:
review it and commit it. A baseline counts only on the machine whose id its folder has, and only as long as the scenario
measures the same. A gate against another revision (`plimsoll gate --against`) needs none. `waivers.toml` here excuses a
known regression until a day.
";

/// The workflow that gates pull requests on GitHub. `scenario` is its path from the top of the repository.
pub(super) fn workflow(scenario: &str, secrets: &[&str], action: &Action) -> String {
    let missing = match action.is_known() {
        true => "",
        false => {
            "      # FILL IN: where Plimsoll's repository is on GitHub, and the whole hash of the commit that you want. Until then this fails.\n"
        }
    };
    let uses = action.uses();
    let env = match secrets {
        [] => String::new(),
        secrets => {
            let lines = secrets
                .iter()
                .map(|name| format!("      {name}: ${{{{ secrets.{name} }}}}\n"));
            let lines: String = lines.collect();
            format!("    # A pull request from a fork gets none of them.\n    env:\n{lines}")
        }
    };
    format!(
        "\
# Gates pull requests: the base and the change are built, run in alternation on one runner, and judged.
name: plimsoll
on:
  pull_request:
permissions:
  contents: read
concurrency:
  group: plimsoll-${{{{ github.ref }}}}
  cancel-in-progress: true
jobs:
  gate:
    runs-on: ubuntu-24.04
    timeout-minutes: 60
{env}    steps:
      - uses: actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1
        with:
          # The change itself, not GitHub's merge of it, with all that leads to where it left its base.
          ref: ${{{{ github.event.pull_request.head.sha }}}}
          fetch-depth: 0
          persist-credentials: false
      # What your service is built with (setup-node, setup-python, …) goes here.
{missing}      - uses: {uses}
        with:
          scenarios: {scenario}
"
    )
}

/// The job that gates merge requests on GitLab. Variables of the project say which Plimsoll, as in docs/CI.md.
pub(super) fn gitlab(scenario: &str) -> String {
    format!(
        "\
plimsoll:
  image: rust:1.95
  rules:
    - if: $CI_PIPELINE_SOURCE == \"merge_request_event\"
  variables:
    GIT_DEPTH: 0
  script:
    - cargo install --locked --git \"$PLIMSOLL_GIT\" --rev \"$PLIMSOLL_COMMIT\" --bin plimsoll --no-default-features plimsoll
    - git config --global --add safe.directory \"$PWD\"
    - plimsoll gate --against \"$CI_MERGE_REQUEST_DIFF_BASE_SHA\" --worktrees \"$CI_BUILDS_DIR/plimsoll\" {scenario}
  artifacts:
    when: always
    paths: [reports]
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workflow_is_yaml_that_only_reads() {
        let wish = "acme/plimsoll@0123456789abcdef0123456789abcdef01234567";
        let action = Action::new(Some(wish)).expect("an action");
        let text = workflow("scenarios/shop.toml", &["SHOP_TOKEN"], &action);
        assert!(!text.contains("FILL IN"), "{text}");
        let read: serde_json::Value = serde_saphyr::from_str(&text).expect("YAML");
        assert_eq!(read["permissions"], serde_json::json!({"contents": "read"}));
        let gate = &read["jobs"]["gate"];
        assert_eq!(gate["env"]["SHOP_TOKEN"], "${{ secrets.SHOP_TOKEN }}");
        let steps = gate["steps"].as_array().expect("steps");
        let last = steps.last().expect("a step");
        assert_eq!(last["with"]["scenarios"], "scenarios/shop.toml");
        assert_eq!(last["uses"], action.uses());
        let checkout = steps[0]["uses"].as_str().expect("a text");
        assert_eq!(checkout.split_once('@').expect("pinned").1.len(), 40);
        let job: serde_json::Value =
            serde_saphyr::from_str(&gitlab("scenarios/shop.toml")).expect("YAML");
        assert_eq!(job["plimsoll"]["variables"]["GIT_DEPTH"], 0);
    }

    /// What nobody filled in is seen, and leads to no repository of somebody else.
    #[test]
    fn a_workflow_without_an_action_says_so() {
        let text = workflow("scenarios/shop.toml", &[], &Action::default());
        let read: serde_json::Value = serde_saphyr::from_str(&text).expect("YAML");
        let uses = &read["jobs"]["gate"]["steps"][1]["uses"];
        assert_eq!(
            uses,
            "<OWNER>/<REPOSITORY>/.github/actions/plimsoll@<COMMIT>"
        );
        assert!(text.contains("# FILL IN"), "{text}");
    }
}
