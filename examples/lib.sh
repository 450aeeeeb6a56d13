# Shared by examples/demo.sh and tests/run.sh (sourced by bash): install what is missing, build, show progress.
# shellcheck shell=bash disable=SC2034
# Works as root or with sudo, with and without a terminal; says in a sentence what it cannot do.

doorstep_top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# What building Doorstep needs, by the names of Debian 12.
build_packages="g++ cmake ninja-build pkg-config ccache lld libboost1.81-dev libsodium-dev libsqlite3-dev libcereal-dev libzstd-dev
  libutf8proc-dev libcli11-dev libspdlog-dev nlohmann-json3-dev"
# Debian's default Boost is 1.74, which lacks what the relay and the driver need; hence the number in the name.

say() { printf '%s\n' "$*"; }

# need_packages NAME...: installs those that are missing. Fails, with a sentence, where it cannot.
need_packages() {
  local name missing="" as_root=""
  if ! command -v dpkg-query >/dev/null 2>&1; then
    say "This is not a Debian system: please install what corresponds to: $*" >&2
    return 1
  fi
  for name in "$@"; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || missing="$missing $name"
  done
  [ -n "$missing" ] || return 0
  if [ "$(id -u)" != 0 ]; then
    if command -v sudo >/dev/null 2>&1 && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
      as_root=sudo
    else
      say "Please install these packages and run this again (it takes root or sudo): apt-get install$missing" >&2
      return 1
    fi
  fi
  say "Installing:$missing"
  # One attempt without `update`: most machines know their packages already.
  # shellcheck disable=SC2086
  $as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -qq install -y --no-install-recommends $missing \
    >/dev/null 2>&1 && return 0
  # shellcheck disable=SC2086
  if ! { $as_root apt-get -qq update && $as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -qq install -y \
    --no-install-recommends $missing >/dev/null; }; then
    say "These packages could not be installed:$missing" >&2
    return 1
  fi
}

# build_preset PRESET [TARGET...]: configures and builds (`programs` is everything but the tests).
# On a terminal as ninja shows it, else a line for every tenth.
build_preset() {
  local preset=$1 jobs=${DOORSTEP_JOBS:-$(nproc)}
  shift
  (
    cd "$doorstep_top" || exit 1
    set -o pipefail
    mkdir -p "build/$preset" || exit 1
    if ! cmake --preset "$preset" >"build/$preset/configure.log" 2>&1; then
      cat "build/$preset/configure.log"
      exit 1
    fi
    if [ -t 1 ]; then
      ninja -C "build/$preset" -j "$jobs" "$@"
    else
      NINJA_STATUS='@%f %t ' ninja -C "build/$preset" -j "$jobs" "$@" 2>&1 | awk -v preset="$preset" '
        /^ninja: (Entering|no work)/ || /Re-checking globbed/ { next }
        /^@/ {
          tenth = int(10 * substr($1, 2) / $2)
          if (tenth != last) { printf "  build/%s: %s of %s\n", preset, substr($1, 2), $2; fflush(); last = tenth }
          next
        }
        { print; fflush() }'
    fi
  )
}
