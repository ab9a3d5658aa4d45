#!/usr/bin/env bash
# Builds the harness alone from the sources that this action came with, of the very revision that its user named.
set -euo pipefail
cd "$GITHUB_ACTION_PATH/../../.."

# Where there is no rustup, the cargo that is there has to do.
if command -v rustup >/dev/null; then
  rustup toolchain install "$TOOLCHAIN" --profile minimal --no-self-update
  # Whatever toolchain the project at hand is built with.
  export RUSTUP_TOOLCHAIN=$TOOLCHAIN
fi
# A folder of its own for what is built: nothing of it belongs to the project.
cargo install --locked --path . --bin plimsoll --no-default-features \
  --root "$ROOT" --target-dir "$RUNNER_TEMP/plimsoll-build"
rm -rf "$RUNNER_TEMP/plimsoll-build"
