#!/usr/bin/env bash
# Says where plimsoll is to be, by which key it is kept between runs, and which toolchain builds it.
set -euo pipefail
cd "$GITHUB_ACTION_PATH/../../.."

toolchain=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
# Everything that the program is made of.
sources=$(find Cargo.toml Cargo.lock src -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum)
root=$RUNNER_TEMP/plimsoll
{
  echo "root=$root"
  echo "plimsoll=$root/bin/plimsoll"
  echo "toolchain=$toolchain"
  echo "key=plimsoll-$RUNNER_OS-$RUNNER_ARCH-$toolchain-${sources%% *}"
} >> "$GITHUB_OUTPUT"
