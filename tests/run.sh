#!/usr/bin/env bash
# Everything that is checked about Doorstep, from a fresh clone on a bare Debian 12: installs, builds, runs the tiers,
# prints each tier's time beside its budget, and ends with one line `N passed, N failed`.
#
#   tests/run.sh                every tier but hostile: tidy unit property sim fault e2e consumer fuzz tsan
#   tests/run.sh --quick        unit tests of the dev build only
#   tests/run.sh --tier NAME    one of these tiers, or hostile, which needs a quiet machine (may be repeated)
#   tests/run.sh --fuzz SECONDS only fuzz: the corpus, then a search of so many seconds for each target
#
# Being over a budget is reported and fails nothing: machines are noisy. Logs: build/<preset>/logs/.
# No `set -e`: a failed check is counted, and the next one still runs.
set -u
exec 2>&1 # one order of lines, and the last one is the last
cd "$(dirname "$0")/.." || exit 1
. examples/lib.sh

passed=0 failed=0 summary="" over="" failures=""

usage() { sed -n '2,10s/^# \{0,1\}//p' tests/run.sh; }

tiers="" fuzz_seconds=0 sim_seconds=240
while [ $# -gt 0 ]; do
  case $1 in
    --quick) tiers="$tiers unit" ;;
    --fuzz) shift; tiers="$tiers fuzz"; fuzz_seconds=${1:-0} ;;
    --tier) shift; tiers="$tiers ${1:-}" ;;
    *) usage; exit 2 ;;
  esac
  shift
done
for tier in $tiers; do
  case $tier in tidy | unit | property | sim | fault | hostile | e2e | consumer | fuzz | tsan) ;; *) usage; exit 2 ;; esac
done
[ -n "$tiers" ] || tiers="tidy unit property sim fault e2e consumer fuzz tsan"
wants() { case " $tiers " in *" $1 "*) true ;; *) false ;; esac; }

# ---- Counting

pass() { passed=$((passed + 1)); }
fail() { failed=$((failed + 1)); failures="$failures
  $*"; say "FAILED: $*"; }
# check NAME COMMAND...: one check that is a command; its output is shown only if it fails.
check() {
  local name=$1 log=build/logs/check.$$.log
  shift
  mkdir -p build/logs
  if "$@" >"$log" 2>&1 </dev/null; then pass; else tail -n 60 "$log"; fail "$name"; fi
  rm -f "$log"
}
finish() {
  say ""
  note_times
  printf '%-22s %8s %8s %8s\n' step seconds cpu budget
  printf '%s' "$summary"
  printf '%-22s %8s %8s %8s\n' total "$SECONDS" "$(cpu_seconds)" 1740
  [ "$SECONDS" -le 1740 ] || over="$over total,"
  [ -z "$over" ] || say "Over budget:${over%,}"
  [ -z "$failures" ] || say "Failed:$failures"
  say "$passed passed, $failed failed"
  [ "$failed" = 0 ] && exit 0
  exit 1
}

has_tests() { set -- "tests/$1"/*_test.cpp; [ -e "$1" ]; }

# What our children have used so far, both cores together: on a busy machine it says more than the clock.
# (`times` must run in this shell, as a subshell has no children yet.)
note_times() { mkdir -p build/logs && times >build/logs/times; }
cpu_seconds() {
  awk 'NR == 2 { for (i = 1; i <= 2; i++) { split($i, t, /[ms]/); sum += 60 * t[1] + t[2] } print int(sum) }' build/logs/times
}

# step NAME BUDGET COMMAND...: runs it, and notes its time beside its budget in seconds.
step() {
  local name=$1 budget=$2 start=$SECONDS took code cpu
  shift 2
  note_times
  cpu=$(cpu_seconds)
  say "== $name"
  "$@"
  code=$?
  took=$((SECONDS - start))
  note_times
  summary="$summary$(printf '%-22s %8s %8s %8s' "$name" "$took" "$(($(cpu_seconds) - cpu))" "$budget")
"
  [ "$took" -le "$budget" ] || over="$over $name,"
  return $code
}

# build PRESET [programs] [tests_FOLDER...]: all, if nothing is named.
build() {
  local preset=$1 target targets=""
  shift
  for target in "$@"; do
    case $target in tests_*) has_tests "${target#tests_}" || continue ;; esac
    targets="$targets $target"
  done
  # shellcheck disable=SC2086
  build_preset "$preset" $targets || { fail "build of $preset"; return 1; }
}

# ---- GoogleTest

export ASAN_OPTIONS=strict_string_checks=1:detect_stack_use_after_return=1:${ASAN_OPTIONS:-}
export UBSAN_OPTIONS=print_stacktrace=1:${UBSAN_OPTIONS:-}
export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1:${TSAN_OPTIONS:-}
# The sanitizers of g++ 12 cannot live with as many random bits in addresses as newer kernels give.
fixed_addresses=""
setarch "$(uname -m)" -R true 2>/dev/null && fixed_addresses="setarch $(uname -m) -R"

# run_tests PRESET FOLDER [FILTER]: runs build/PRESET/bin/tests_FOLDER in as many shards as there are cores, each with a
# temporary directory of its own, and counts its tests. A test that began and did not end (a crash, a hang) is a failed one.
run_tests() {
  local preset=$1 folder=$2 filter=${3:-*} program=build/$1/bin/tests_$2 logs=build/$1/logs shards shard pids="" codes=0 counts
  if ! [ -x "$program" ]; then
    has_tests "$folder" && fail "tests_$folder ($preset) was not built"
    return 0
  fi
  mkdir -p "$logs"
  shards=$(nproc)
  for ((shard = 0; shard < shards; shard++)); do
    (
      TMPDIR=$(mktemp -d) || exit 1
      export TMPDIR GTEST_TOTAL_SHARDS=$shards GTEST_SHARD_INDEX=$shard
      timeout -k 10 900 $fixed_addresses "$program" --gtest_color=no --gtest_filter="$filter" \
        >"$logs/tests_$folder.$shard.log" 2>&1 </dev/null
      code=$?
      rm -rf "$TMPDIR"
      exit "$code"
    ) &
    pids="$pids $!"
  done
  for pid in $pids; do wait "$pid" || codes=$((codes + 1)); done
  counts=$(
    for ((shard = 0; shard < shards; shard++)); do
      # Prints "passed failed" and, to stderr, what the failed tests said.
      awk -v program="$program" '
        /^\[ RUN      \]/ { running = $4; text = ""; next }
        /^\[       OK \]/ { passed++; running = ""; next }
        /^\[  SKIPPED \] / && / ms\)$/ { print "skipped: " $4 ": " text > "/dev/stderr"; running = ""; next }
        /^\[  FAILED  \] / && / ms\)$/ { report($4); next }
        running != "" { if (length(text) < 20000) text = text $0 "\n" }
        function report(name) {
          failed++
          sub(/,$/, "", name)
          printf "%s--gtest_filter=%s\n%s", (reported++ ? "\n" : "") program " ", name, text > "/dev/stderr"
          running = ""
        }
        END {
          if (running != "") { text = text "(it crashed; the tests after it in this shard did not run)\n"; report(running) }
          print passed + 0, failed + 0
        }' "$logs/tests_$folder.$shard.log"
    done | awk '{ p += $1; f += $2 } END { print p + 0, f + 0 }'
  )
  passed=$((passed + ${counts% *}))
  if [ "${counts#* }" != 0 ]; then
    failed=$((failed + ${counts#* }))
    failures="$failures
  tests_$folder ($preset): ${counts#* }"
  elif [ "$codes" != 0 ]; then
    tail -n 30 "$logs/tests_$folder".*.log
    fail "tests_$folder ($preset) ended badly outside of a test"
  fi
  say "  tests_$folder: ${counts% *} passed, ${counts#* } failed"
}

# Which folder below tests/ belongs to which tier; a folder not named here holds unit tests.
folders_of() {
  local folder
  for folder in $(find tests -mindepth 2 -maxdepth 2 -name '*_test.cpp' | cut -d/ -f2 | sort -u); do
    case $folder in
      tidy | fault | hostile | e2e) [ "$1" = "$folder" ] && say "$folder" ;;
      *) [ "$1" = unit ] && say "$folder" ;;
    esac
  done
}
# Property tests are the suites whose names say so.
properties='*Property*:*Properties*:*Laws*'

# ---- The tiers

# Names the files that clang-format would change. One process for each core, as this is most of the time of the tier.
formatting() {
  ! find sync sdk server examples tests '(' -name '*.[ch]pp' -o -name '*.h' ')' -print0 |
    xargs -0 -r -P "$(nproc)" -n 20 clang-format-14 --dry-run -Werror 2>&1 |
    sed -n 's/:[0-9]*:[0-9]*: error: .*//p' | sort -u | grep .
}
tidy() {
  local file
  run_tests dev tidy
  if command -v clang-format-14 >/dev/null 2>&1; then
    check "formatting: clang-format-14 -i FILE mends it" formatting
  fi
  for file in $(find . -path ./build -prune -o -name '*.sh' -print) .ci/run; do
    check "syntax of $file" bash -n "$file"
  done
}
wasm() { check "sync/ compiles for wasm32" tests/tidy/wasm.sh; }

unit() { local folder; for folder in $(folders_of unit); do run_tests dev "$folder" "*-$properties"; done; }
property() { local folder; for folder in $(folders_of unit); do run_tests dev "$folder" "$properties"; done; }
# In an optimized build, as there are very many moments at which the power can go.
fault() {
  local states
  run_tests lab fault
  states=$(awk '/^fault lab: states/ { gsub(",", ""); n += $4 } END { print n + 0 }' build/lab/logs/tests_fault.*.log)
  say "  $states states of disks and heaps"
  if [ "$states" -ge 100000 ]; then pass; else fail "the fault lab tries 100000 states or more"; fi
}
hostile() { run_tests lab hostile; }

# The simulator: seeds that failed once, 1,000 seeds twice, then as many as fit; one level on each core.
sim() { timeout 600 build/lab/bin/doorstep-sim "$@"; }
simulate() {
  local logs=build/lab/logs level seed what log
  mkdir -p "$logs"
  while read -r level seed what; do
    case $level in memory | sqlite) check "seed $seed ($level): $what" sim --level "$level" --seed "$seed" ;; esac
  done <tests/sim/seeds.txt
  sim --level memory --from 1 --count 1000 --twice >"$logs/sim.twice" 2>&1 &
  sim --level sqlite --from 1 --budget "$sim_seconds" >"$logs/sim.sqlite" 2>&1 &
  wait %1
  sim --level memory --from 1001 --budget "$((sim_seconds * 3 / 4))" >"$logs/sim.memory" 2>&1 &
  wait
  for log in twice memory sqlite; do
    say "  $log: $(tail -n 1 "$logs/sim.$log")"
    if grep -q '^seeds .* failures 0,' "$logs/sim.$log"; then pass; else head -n 60 "$logs/sim.$log"; fail "simulator ($log)"; fi
  done
}

e2e() {
  run_tests release e2e
  if [ -x examples/demo.sh ]; then check "examples/demo.sh" env CI=true examples/demo.sh; fi
}

# The package, as somebody else's project sees it.
consumer() {
  rm -rf build/consumer build/installed
  check "install" cmake --install build/release --prefix "$PWD/build/installed"
  check "consumer: configure" cmake -G Ninja -S tests/consumer -B build/consumer -DCMAKE_BUILD_TYPE=Release \
    -DCMAKE_PREFIX_PATH="$PWD/build/installed"
  check "consumer: build" cmake --build build/consumer
  check "consumer: run" build/consumer/consumer
}

# Replays the corpus: each target by itself, under libFuzzer's limits, and all together against the verdicts of other builds. Then searches
# on if it was given time.
replay() {
  local name=$1 corpus=tests/fuzz/corpus/$1 found=build/fuzz/findings/$1/
  # A parser that allocates 64 MB for one input trusts a size that it read.
  local limits="-timeout=10 -rss_limit_mb=2048 -malloc_limit_mb=64 -artifact_prefix=$found"
  mkdir -p "$found" "$corpus"
  # shellcheck disable=SC2086
  $fixed_addresses "build/fuzz/bin/fuzz_$name" $limits -runs=0 "$corpus"
}
fuzz() {
  local file name log
  mkdir -p build/fuzz/logs
  for file in tests/fuzz/*_fuzz.cpp; do
    name=$(basename "$file" _fuzz.cpp)
    log=build/fuzz/logs/$name
    rm -f "$log.ok"
    while [ "$(jobs -pr | wc -l)" -ge "$(nproc)" ]; do wait -n; done
    { replay "$name" >"$log.log" 2>&1 && : >"$log.ok"; } &
  done
  wait
  for file in tests/fuzz/*_fuzz.cpp; do
    name=$(basename "$file" _fuzz.cpp)
    log=build/fuzz/logs/$name
    if [ -e "$log.ok" ]; then pass; else tail -n 40 "$log.log"; fail "fuzz_$name"; fi
  done
  # shellcheck disable=SC2086
  check "fuzz verdicts of clang" $fixed_addresses build/fuzz/bin/fuzz_verdicts
  [ "$fuzz_seconds" -le 0 ] || check "fuzz campaign" tests/fuzz/campaign --budget "${fuzz_seconds}s"
}

# What has threads: suites whose names say so, in one process, and the programs as processes, driven by the release tests.
threads='*Thread*:*Driver*:*Relay*:*SyncTest*'
threaded_folders() {
  local folder
  for folder in $(folders_of unit); do
    grep -qE '^TEST(_F|_P)?\(\w*(Thread|Driver|Relay(Test|Process)|SyncTest)' "tests/$folder"/*_test.cpp && say "$folder"
  done
}
build_tsan() {
  # shellcheck disable=SC2046
  build tsan programs $(threaded_folders | sed 's/^/tests_/')
}
tsan() {
  local folder
  for folder in $(threaded_folders); do run_tests tsan "$folder" "$threads"; done
  DOORSTEP_BIN_DIR=$PWD/build/tsan/bin run_tests release e2e "$threads"
}

# ---- All of it

say "== packages"
# shellcheck disable=SC2086
if ! need_packages $build_packages libgtest-dev libgmock-dev librapidcheck-dev libbenchmark-dev sqlite3; then
  fail "packages that the build needs"
  finish
fi

dev=true
if wants tidy || wants unit || wants property; then
  if [ "$tiers" = " tidy" ]; then step "build dev" 60 build dev tests_tidy || dev=false
  else step "build dev" 420 build dev programs $(for folder in $(folders_of unit); do say "tests_$folder"; done) tests_tidy || dev=false; fi
fi
if wants tidy; then
  need_packages clang-format-14 || say "skipped: clang-format-14 is not to be had, so formatting is not checked"
  if $dev; then step tidy 5 tidy; fi
  if need_packages clang-19 lld-19 libc++-19-dev-wasm32 libc++abi-19-dev-wasm32 libclang-rt-19-dev-wasm32 wasi-libc; then
    step "tidy: wasm32" 60 wasm
  else
    say "skipped: sync/ is not compiled for wasm32, as clang-19 and wasi-libc are not to be had"
  fi
fi
if $dev; then
  wants unit && step unit 100 unit
  wants property && step property 60 property
fi
if wants sim || wants fault || wants hostile; then
  if step "build lab" 180 build lab doorstep-sim tests_fault $(wants hostile && say tests_hostile doorstep-relay); then
    wants sim && step sim 300 simulate
    wants fault && step fault 150 fault
    wants hostile && step hostile 120 hostile
  fi
fi
if wants e2e || wants consumer || wants tsan; then
  if step "build release" 150 build release programs tests_e2e; then
    wants e2e && step e2e 120 e2e
    wants consumer && step consumer 60 consumer
  fi
fi
if wants fuzz; then
  if need_packages clang-14 libclang-rt-14-dev; then
    step "build fuzz" 150 build fuzz fuzzers fuzz_verdicts && step fuzz 20 fuzz
  else
    say "skipped: nothing is fuzzed, as clang-14 and libclang-rt-14-dev are not to be had"
  fi
fi
if wants tsan; then
  step "build tsan" 120 build_tsan && step tsan 90 tsan
fi
finish
