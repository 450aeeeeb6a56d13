#!/usr/bin/env bash
# The village workload: 2,000 persons and 20,000 visits, between two devices and a relay, with plain SQLite run beside it. Prints every
# measure with its goal and its limit; NUMBERS of one run compare with each other, not with another day's.
#
#   tests/bench/village.sh [--data FILE.jsonl] [--only w1,w2,r1,rest,s1,s2,s3,e1,prose] [--reps N] [OUT.json]
#
# FILE: one JSON object a line, persons first; without it the same village is made here. OUT.json has the shape of the peers' results.
# Builds the release programs first, unless DOORSTEP_BIN_DIR names a folder that has them. Takes about two minutes on a quiet machine.
# Its files stand in build/bench-village (on a disk: in a tmpfs an fsync would cost nothing) and go away at the end.
set -u
case "${1:-}" in
  -h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
esac
from=$PWD
cd "$(dirname "$0")/../.." || exit 1
. examples/lib.sh

# Names on the command line are the caller's.
arguments=()
while [ $# -gt 0 ]; do
  case $1 in
    --data)
      [ -r "${2:-}" ] || { say "village.sh: cannot read \"${2:-}\"" >&2; exit 2; }
      arguments+=(--data "$(realpath "$2")")
      shift
      ;;
    --only | --reps)
      [ -n "${2:-}" ] || { say "village.sh: $1 needs a value" >&2; exit 2; }
      arguments+=("$1" "$2")
      shift
      ;;
    -*) sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    /*) arguments+=("$1") ;;
    *) arguments+=("$from/$1") ;;
  esac
  shift
done

if [ -z "${DOORSTEP_BIN_DIR:-}" ]; then
  # shellcheck disable=SC2086,SC2154
  need_packages $build_packages libgtest-dev libgmock-dev librapidcheck-dev libbenchmark-dev || exit 1
  build_preset release doorstep-relay doorstep-bench-village || exit 1
  DOORSTEP_BIN_DIR=$PWD/build/release/bin
fi
export DOORSTEP_BIN_DIR
mkdir -p build || exit 1
work=$PWD/build/bench-village
rm -rf "$work"
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# The relay and the plain runs share the machine with whoever else is on it: say so beside the figures.
say "machine: $(nproc) cores, load $(cut -d' ' -f1-3 /proc/loadavg)"
"$DOORSTEP_BIN_DIR/doorstep-bench-village" --work "$work" "${arguments[@]}"
code=$?

# What an app carries: one program with the whole SDK and what it needs, without what it does not use.
libraries=(build/release/lib/libdoorstep.a build/release/lib/libdoorstep_sync.a)
if [ -r "${libraries[0]}" ] && [ "${#arguments[@]}" -eq 0 ]; then
  cat >"$work.cpp" <<'PROBE'
#include "doorstep/doorstep.hpp"
int main(int count, char** words) {
  using namespace doorstep;
  auto replica = Replica::open({.directory = words[0]}, words[count - 1]);
  if (!replica) return 1;
  const SpaceId space = (*replica->spaces()).front().id;
  (void)replica->transact(space, [](Write& write) -> Status { return write.set_json(write.create("person"), "{}"), Status(); });
  (void)replica->query(space, {.kind = "person"});
  (void)replica->join(words[0], words[0]);
  SyncService service(*replica, {});
  return sync(*replica) ? 0 : 1;
}
PROBE
  if g++ -std=c++20 -Os -ffunction-sections -fdata-sections -I sdk/include -I . "$work.cpp" -o "$work.program" "${libraries[@]}" \
    -Wl,--gc-sections -Wl,-Bstatic -lsqlite3 -lsodium -lzstd -lutf8proc -Wl,-Bdynamic -lpthread -ldl -lm -s 2>"$work.log"; then
    size=$(stat -c %s "$work.program")
    say "stripped program with the whole SDK, SQLite, sodium, zstd and Asio inside: $size bytes (goal 2.5 MB for a library)"
  else
    say "the size of the SDK was not measured: $(head -n 1 "$work.log")"
  fi
  rm -f "$work.cpp" "$work.program" "$work.log"
fi
exit "$code"
