#!/usr/bin/env bash
# The test command of the README: installs by name what the tests need and what is missing, then
# checks formatting, lints and documentation and runs every test. The tests start their own
# servers on free ports in temporary folders and stop them. (What the packages start by themselves,
# PostgreSQL on port 5432, Redis on 6379 and nginx on 80, the tests leave alone.)
set -euo pipefail
cd "$(dirname "$0")/.."

packages=()
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || packages+=(postgresql)
command -v redis-server >/dev/null || packages+=(redis-server)
command -v nginx >/dev/null || [ -x /usr/sbin/nginx ] || packages+=(nginx-light)
command -v node >/dev/null || packages+=(nodejs)
command -v python3 >/dev/null || packages+=(python3)
command -v git >/dev/null || packages+=(git)
command -v cc >/dev/null || packages+=(build-essential)
command -v shellcheck >/dev/null || packages+=(shellcheck)
# The linters of the workflows are no Debian packages: actionlint is built, zizmor is a wheel.
actionlint=target/tools/actionlint-1.7.7 zizmor=target/tools/zizmor-1.32.0
[ -x $actionlint ] || command -v go >/dev/null || packages+=(golang-go)
[ -x $zizmor/bin/zizmor ] || python3 -c "import ensurepip" 2>/dev/null || packages+=(python3-venv)
if [ ${#packages[@]} -gt 0 ]; then
  sudo=""
  [ "$(id -u)" = 0 ] || sudo=sudo
  for needed in apt-get $sudo; do
    command -v "$needed" >/dev/null || { echo "no $needed here: install ${packages[*]}, then call this again" >&2; exit 1; }
  done
  echo "installing ${packages[*]}"
  $sudo apt-get update -qq
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
fi

if [ ! -x $actionlint ]; then
  # The newest that the Go of Debian 12 and Ubuntu 24.04 can build.
  GOBIN=$PWD/$actionlint.new go install github.com/rhysd/actionlint/cmd/actionlint@v1.7.7
  mv $actionlint.new/actionlint $actionlint && rmdir $actionlint.new
fi
if [ ! -x $zizmor/bin/zizmor ]; then
  rm -rf $zizmor && python3 -m venv $zizmor && $zizmor/bin/pip install --quiet zizmor==1.32.0
fi

step() { echo; echo "== $* (${SECONDS} s)"; "$@"; }

step cargo fmt --all --check
step shellcheck .ci/run tests/run.sh .github/actions/*/*.sh .github/scripts/*.sh scenarios/support/*.sh
# It doesn't know yet how an action of the same repository is named (rhysd/actionlint#711).
step $actionlint -shellcheck shellcheck -pyflakes "" -ignore 'specifying action "\$/'
step $zizmor/bin/zizmor --offline --quiet --strict-collection .github
step cargo clippy --quiet --all-targets --locked -- -D warnings
step cargo test --locked
step env RUSTDOCFLAGS="-D warnings" cargo doc --quiet --no-deps --locked
# Who installs the harness alone compiles no Redis, no moka and no axum.
step cargo check --quiet --locked --no-default-features --bin plimsoll --tests
# A package of its own, so that the peer's features are not the binaries'.
step cargo check --quiet --locked --benches --manifest-path benches/two_tiers/Cargo.toml --target-dir "${CARGO_TARGET_DIR:-target}"
echo
echo "all passed after ${SECONDS} s"
