#!/usr/bin/env bash
# usage: refresh.sh FOLDER
# Measures baselines anew; the folder then has the change of baselines/ as a patch, and old against new as text.
# How it ended is an output: what could be renewed is proposed also where something else drifted.
set -euo pipefail
folder=$1
mkdir -p "$folder"

args=(baseline refresh --output "$folder/text.md")
# Blanks and line ends part the words; a * in them is plimsoll's, not the shell's.
read -r -d '' -a accepted <<< "$ACCEPT" || true
for metric in ${accepted[@]+"${accepted[@]}"}; do args+=("--accept=$metric"); done
[ -z "$REASON" ] || args+=("--reason=$REASON")
read -r -d '' -a scenarios <<< "$SCENARIOS" || true

code=0
plimsoll "${args[@]}" -- ${scenarios[@]+"${scenarios[@]}"} || code=$?
[ ! -f "$folder/text.md" ] || cat "$folder/text.md" >> "$GITHUB_STEP_SUMMARY"

git add --all baselines
git diff --cached --binary -- baselines > "$folder/baselines.patch"
changed=false
[ ! -s "$folder/baselines.patch" ] || changed=true
{
  echo "exit-code=$code"
  echo "changed=$changed"
} >> "$GITHUB_OUTPUT"
