#!/usr/bin/env bash
# How much of sync/ and of the sealing store the tests run through, by line and by branch; files below 95 % are marked.
# tests/README.md tells why they are. Not part of the suite: instrumented code is slow.
#
#   tests/coverage.sh              builds build/coverage, runs what tests them, prints a table; about six minutes from nothing
set -u
cd "$(dirname "$0")/.." || exit 1
. examples/lib.sh

# shellcheck disable=SC2086
need_packages $build_packages libgtest-dev libgmock-dev librapidcheck-dev gcovr || exit 1
build_preset coverage tests_sync tests_sdk tests_fault tests_fuzz doorstep-sim || exit 1
find build/coverage -name '*.gcda' -delete
run() {
  local program=$1
  shift
  say "running $program"
  TMPDIR=$(mktemp -d) "build/coverage/bin/$program" "$@" >"build/coverage/$program.log" 2>&1 ||
    { tail -n 20 "build/coverage/$program.log"; say "$program failed: its coverage counts all the same"; }
}
{ run tests_sync; run tests_fuzz; run doorstep-sim --level sqlite --from 1 --count 30; } &
run tests_sdk
wait
run tests_fault --gtest_filter='StoreDamage.*:FailedSync.*:FullDisk.*:*DiskFault.Store/*_once:*Memory*'
gcovr --root . --object-directory build/coverage --filter 'sync/' --filter 'sdk/store/' \
  --exclude-throw-branches --exclude-unreachable-branches --csv build/coverage/coverage.csv >/dev/null || exit 1
# filename, line_total, line_covered, line_percent, branch_total, branch_covered, branch_percent, …
awk -F, '
  NR == 1 || $1 !~ /\.cpp$/ { next }
  {
    lines += $2; run += $3; branches += $5; taken += $6
    line = $2 ? 100 * $3 / $2 : 100; branch = $5 ? 100 * $6 / $5 : 100
    printf "%-32s lines %5.1f %%  branches %5.1f %%%s\n", $1, line, branch, line < 95 || branch < 95 ? "   below 95" : ""
  }
  END { printf "%-32s lines %5.1f %%  branches %5.1f %%\n", "together", 100 * run / lines, 100 * taken / branches }
' build/coverage/coverage.csv
