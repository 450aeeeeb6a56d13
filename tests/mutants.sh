#!/usr/bin/env bash
# Does the lab bite? Runs every planted bug of tests/mutants.txt against the suite that must notice it.
#
#   tests/mutants.sh [NAME...]     all of them, or these
#
# Each command is first run without a bug, and must be green. A bug is killed if its command then ends with a failure; one that runs into
# the time limit counts as killed too (and is said to hang). Ends in the line `N planted, N killed`.
set -u
cd "$(dirname "$0")/.." || exit 1
. examples/lib.sh

list=tests/mutants.txt bin=build/lab/bin logs=build/lab/logs limit=${DOORSTEP_MUTANT_SECONDS:-300}
lines() { sed 's/#.*//; /^[[:space:]]*$/d' "$list"; }

# What stands in the sources and what is listed must be the same.
planted=$(grep -rhoE 'DOORSTEP_PLANTED\([a-z_]+\)' sync sdk server --include='*.cpp' --include='*.hpp' |
  sed 's/.*(//; s/)//' | grep -vx bug | sort -u)
listed=$(lines | awk '{ print $1 }' | sort -u)
if [ "$planted" != "$listed" ]; then
  say "The sources and $list differ:"
  diff <(printf '%s\n' "$planted") <(printf '%s\n' "$listed")
  exit 1
fi

# shellcheck disable=SC2086
need_packages $build_packages libgtest-dev libgmock-dev librapidcheck-dev || exit 1
programs=$(lines | awk '{ print $2 }' | sort -u)
# shellcheck disable=SC2086
build_preset lab $programs doorstep-relay || exit 1
mkdir -p "$logs"

fixed=""
setarch "$(uname -m)" -R true 2>/dev/null && fixed="setarch $(uname -m) -R"
# go NAME COMMAND...: with this bug planted, in a folder of its own.
go() {
  local name=$1 program=$2 folder code
  shift 2
  folder=$(mktemp -d) || exit 1
  TMPDIR=$folder DOORSTEP_PLANT=$name timeout "$limit" $fixed "$bin/$program" "$@" >"$logs/mutant.$name.log" 2>&1 </dev/null
  code=$?
  rm -rf "$folder"
  # A filter that matches no test is as green as it is empty.
  ! grep -q '^\[==========\] Running 0 tests' "$logs/mutant.$name.log" || return 125
  return $code
}

total=0 killed=0 green=""
while read -r name command; do
  if [ $# -gt 0 ] && ! printf '%s\n' "$@" | grep -qx "$name"; then continue; fi
  total=$((total + 1))
  # shellcheck disable=SC2086
  if ! printf '%s' "$green" | grep -qxF "$command"; then
    if ! go nothing $command; then
      tail -n 20 "$logs/mutant.nothing.log"
      say "NOT GREEN without a bug: $command"
      continue
    fi
    green="$green$command
"
  fi
  # shellcheck disable=SC2086
  go "$name" $command
  case $? in
    0) say "SURVIVED: $name ($command)" ;;
    125) say "NO TEST RAN: $name ($command)" ;;
    124) killed=$((killed + 1)); say "killed: $name (it hangs)" ;;
    *) killed=$((killed + 1)); say "killed: $name" ;;
  esac
done < <(lines)
say "$total planted, $killed killed"
[ "$total" = "$killed" ]
