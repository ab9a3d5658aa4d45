#!/usr/bin/env bash
# Gates, and leaves what came of it in a folder. How the gate ended is an output: the step itself
# fails only where there was none, so that what was measured is uploaded first.
set -euo pipefail

fail() {
  echo "::error title=plimsoll::$1"
  exit 1
}

# Outside of the project: what lies there is no change of it.
folder=$RUNNER_TEMP/plimsoll-gate
rm -rf "$folder"
mkdir -p "$folder"

args=(gate --format github --reports "$folder/reports")
for written in json=verdicts.jsonl junit=junit.xml sarif=plimsoll.sarif; do
  args+=(--write "${written%%=*}=$folder/${written#*=}")
done

against=$AGAINST
if [ -z "$against" ] && [ -n "$BASE_SHA" ]; then
  # What others brought to the base meanwhile is not this change's doing.
  against=$(git merge-base HEAD "$BASE_SHA") ||
    fail "the clone doesn't hold the base of this pull request; check out with fetch-depth: 0"
fi
case $against in
  "" | baseline) [ -z "$BUDGET" ] || fail "a budget is for pairs of runs; a stored baseline has none" ;;
  *)
    args+=("--against=$against")
    [ -z "$BUDGET" ] || args+=("--budget=$BUDGET")
    ;;
esac
case $STRICT in
  true) args+=(--strict) ;;
  false) ;;
  *) fail "strict is true or false" ;;
esac
# Blanks and line ends part the names; nothing else in them means anything.
read -r -d '' -a scenarios <<< "$SCENARIOS" || true

code=0
"$PLIMSOLL" "${args[@]}" -- ${scenarios[@]+"${scenarios[@]}"} || code=$?
{
  echo "exit-code=$code"
  echo "folder=$folder"
} >> "$GITHUB_OUTPUT"
