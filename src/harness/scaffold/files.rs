//! What is written beside the scenario, and lines for other pipelines.

/// Where the composite action is, as GitHub names repositories, until `repository` of Cargo.toml says it.
const ACTION_REPOSITORY: &str = "plimsoll-dev/plimsoll";
const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");
/// The version of this program, as its releases are tagged.
const TAG: &str = concat!("v", env!("CARGO_PKG_VERSION"));

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

/// `owner/name` of Plimsoll, and whether that is only a stand-in.
pub(super) fn repository() -> (&'static str, bool) {
    let path = REPOSITORY.strip_prefix("https://github.com/");
    match path.map(|path| path.trim_end_matches('/').trim_end_matches(".git")) {
        Some(path) if !path.is_empty() => (path, false),
        _ => (ACTION_REPOSITORY, true),
    }
}

/// The workflow that gates pull requests on GitHub. `scenario` is its path from the top of the repository.
pub(super) fn workflow(scenario: &str, secrets: &[&str]) -> String {
    let (repository, _) = repository();
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
      # Pin it: write the commit of {TAG} in the place of the tag.
      - uses: {repository}/.github/actions/plimsoll@{TAG}
        with:
          scenarios: {scenario}
"
    )
}

/// The job that gates merge requests on GitLab.
pub(super) fn gitlab(scenario: &str) -> String {
    let (repository, _) = repository();
    format!(
        "\
plimsoll:
  image: rust:1.95
  rules:
    - if: $CI_PIPELINE_SOURCE == \"merge_request_event\"
  variables:
    GIT_DEPTH: 0
  script:
    - cargo install --locked --git https://github.com/{repository} --tag {TAG} plimsoll --no-default-features
    - plimsoll gate --against \"$CI_MERGE_REQUEST_DIFF_BASE_SHA\" {scenario}
  artifacts:
    when: always
    paths: [reports/]
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workflow_is_yaml_that_only_reads() {
        let text = workflow("scenarios/shop.toml", &["SHOP_TOKEN"]);
        let read: serde_json::Value = serde_saphyr::from_str(&text).expect("YAML");
        assert_eq!(read["permissions"], serde_json::json!({"contents": "read"}));
        let gate = &read["jobs"]["gate"];
        assert_eq!(gate["env"]["SHOP_TOKEN"], "${{ secrets.SHOP_TOKEN }}");
        let steps = gate["steps"].as_array().expect("steps");
        let action = steps.last().expect("a step");
        assert_eq!(action["with"]["scenarios"], "scenarios/shop.toml");
        assert!(
            action["uses"]
                .as_str()
                .is_some_and(|uses| uses.starts_with(repository().0))
        );
        let checkout = steps[0]["uses"].as_str().expect("a text");
        assert_eq!(checkout.split_once('@').expect("pinned").1.len(), 40);
        let job: serde_json::Value =
            serde_saphyr::from_str(&gitlab("scenarios/shop.toml")).expect("YAML");
        assert_eq!(job["plimsoll"]["variables"]["GIT_DEPTH"], 0);
    }
}
