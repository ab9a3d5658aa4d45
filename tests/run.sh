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
command -v npm >/dev/null || packages+=(npm)
command -v chromium >/dev/null || command -v google-chrome >/dev/null || packages+=(chromium)
command -v python3 >/dev/null || packages+=(python3)
command -v git >/dev/null || packages+=(git)
command -v xmllint >/dev/null || packages+=(libxml2-utils)
command -v go >/dev/null || packages+=(golang-go)
command -v javac >/dev/null || packages+=(default-jdk-headless)
command -v cc >/dev/null || packages+=(build-essential)
command -v shellcheck >/dev/null || packages+=(shellcheck)
linters=target/tools/zizmor-1.32.0-check-jsonschema-0.39.0
[ -e $linters/ready ] || python3 -c "import ensurepip" 2>/dev/null || packages+=(python3-venv)
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

# What looks at the workflows is in no Debian package.
if [ ! -e $linters/ready ]; then
  python3 -m venv --clear $linters
  $linters/bin/pip install --quiet --disable-pip-version-check zizmor==1.32.0 check-jsonschema==0.39.0
  touch $linters/ready
fi

step() { echo; echo "== $* (${SECONDS} s)"; "$@"; }

# What the tests look at pages with; tests/browser/package-lock.json has the versions.
step npm ci --prefix tests/browser --ignore-scripts --no-audit --no-fund --loglevel=error
step cargo fmt --all --check
step shellcheck --severity=warning .ci/run tests/run.sh scenarios/support/*.sh .github/scripts/*.sh .github/actions/*/*.sh
step $linters/bin/check-jsonschema --builtin-schema github-workflows .github/workflows/*.yml
step $linters/bin/check-jsonschema --builtin-schema github-actions .github/actions/*/action.yml
step $linters/bin/zizmor --offline --quiet --strict-collection .github
step cargo clippy --quiet --all-targets --locked -- -D warnings

# What measures has the machine for itself. The others wait for servers and clocks more than they compute: two halves
# of them are run at a time.
measures=" against arrivals baselines bench_reader calibrate capacity datalayer docs hostile hostile_tls init journeys load outputs
  overrides pipe process progress shards site targets workflows "
measuring=() one_half=(--lib --bins) other_half=()
for file in tests/*.rs tests/*/main.rs; do
  name=${file#tests/}
  name=${name%/main.rs}
  name=${name%.rs}
  if [[ $measures =~ [[:space:]]${name}[[:space:]] ]]; then
    measuring+=(--test "$name")
  elif [ ${#one_half[@]} -lt ${#other_half[@]} ]; then
    one_half+=(--test "$name")
  else
    other_half+=(--test "$name")
  fi
done
beside() {
  cargo test --locked "${one_half[@]}" >target/one-half.log 2>&1 &
  local failed=0
  cargo test --locked "${other_half[@]}" || failed=1
  wait $! || failed=1
  cat target/one-half.log
  return $failed
}
step cargo test --locked --no-run
step cargo test --locked "${measuring[@]}"
step beside
step cargo test --locked --doc
step env RUSTDOCFLAGS="-D warnings" cargo doc --quiet --no-deps --locked
# Who installs the harness alone compiles no Redis, no moka and no axum.
step cargo check --quiet --locked --no-default-features --bin plimsoll --tests
# A package of its own, so that the peer's features are not the binaries'.
step cargo check --quiet --locked --benches --manifest-path benches/two_tiers/Cargo.toml --target-dir "${CARGO_TARGET_DIR:-target}"
echo
echo "all passed after ${SECONDS} s"
