#!/bin/sh
# `make test` (quick) and `make test-all` (all): sets up, builds, runs, and ends with one line,
# "N passed, N failed, N skipped", that counts the tests and scenarios that really ran.
#
# `make test-asan`, `make test-tsan`: the tests that need no container and no foreign tool, and the
# quick scenarios, with the sanitizers of that preset; each report of theirs is a failure.
#
# UNDERSTUDY_REQUIRE=postgres,docker makes a missing one a failure instead of a skip.
set -u
cd "$(dirname "$0")/.." || exit 70
mode="${1:-quick}"
preset=release
case "$mode" in
  quick | all) ;;
  asan | tsan) preset="$mode" ;;
  *) echo "usage: tests/run.sh quick|all|asan|tsan" >&2; exit 64 ;;
esac
if [ "$mode" = all ]; then
  export UNDERSTUDY_REQUIRE="${UNDERSTUDY_REQUIRE:-postgres,docker}" UNDERSTUDY_TEST_ALL=1
fi
jobs="${JOBS:-$(nproc)}"
out="$PWD/build/test-results"
[ "$preset" = release ] || out="$out-$preset"
program="$PWD/build/$preset/understudy"
passed=0 failed=0 skipped=0
dockerd=""

requires() { case ",${UNDERSTUDY_REQUIRE:-}," in *",$1,"*) return 0 ;; esac; return 1; }
say() { echo "== $*"; }
stop() { echo "tests/run.sh: $*" >&2; finish 1; }

finish() {
  if [ -n "$dockerd" ]; then kill "$dockerd" 2>/dev/null && wait "$dockerd" 2>/dev/null; dockerd=""; fi
  [ "${1:-0}" -eq 0 ] || failed=$((failed + 1))
  echo "$passed passed, $failed failed, $skipped skipped"
  [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
  exit $?
}
trap 'stop interrupted' INT TERM

# Starts a Docker engine where there is none and root may; it ends with us.
start_docker() {
  command -v docker >/dev/null 2>&1 || return 1
  docker info >/dev/null 2>&1 && return 0
  [ "$(id -u)" -eq 0 ] && command -v dockerd >/dev/null 2>&1 || return 1
  # An engine that was killed leaves its pid files behind, and the next one refuses to start.
  for file in /var/run/docker.pid /var/run/docker/containerd/containerd.pid; do
    if [ -f "$file" ] && ! kill -0 "$(cat "$file")" 2>/dev/null; then rm -f "$file"; fi
  done
  dockerd >"$out/dockerd.log" 2>&1 &
  dockerd=$!
  for _ in $(seq 120); do
    docker info >/dev/null 2>&1 && return 0
    kill -0 "$dockerd" 2>/dev/null || break
    sleep 0.5
  done
  tail -5 "$out/dockerd.log" >&2
  return 1
}

# count_tests FOLDER: adds up GoogleTest's result files.
count_tests() {
  for file in "$1"/*.xml; do
    [ -f "$file" ] || continue
    # One testcase element a line; a failed one holds <failure>.
    set -- "$1" $(awk '
      /<testcase / { cases++; bad = 0; if (/result="skipped"/ || /status="notrun"/) skips++ }
      /<failure/ { if (!bad) fails++; bad = 1 }
      END { printf "%d %d %d", cases, fails, skips }' "$file")
    passed=$((passed + $2 - $3 - $4)); failed=$((failed + $3)); skipped=$((skipped + $4))
    set -- "$1"
  done
}

# count_of KEY FILE: a number of "counts" in a report.
count_of() {
  tr -d ' \n' < "$2" | sed -n 's/.*"counts":{\([^}]*\)}.*/\1/p' | tr ',' '\n' |
    sed -n "s/^\"$1\"://p"
}

# scenarios LABEL PATH OPTION...: runs them and counts their verdicts.
scenarios() {
  label="$1"; shift
  say "scenarios: $label"
  "$program" run "$@" --out "$out/scenarios-$label" --jobs "$jobs"
  status=$?
  report="$out/scenarios-$label/report.json"
  if [ ! -f "$report" ]; then
    echo "tests/run.sh: scenarios $label: exit $status and no report" >&2
    failed=$((failed + 1))
    return
  fi
  pass=$(count_of pass "$report"); fail=$(count_of fail "$report"); unknown=$(count_of unknown "$report")
  passed=$((passed + pass)); failed=$((failed + fail))
  # What could not be judged is no success: a skip, or a failure where its server is required.
  if requires postgres; then failed=$((failed + unknown)); else skipped=$((skipped + unknown)); fi
  case "$status" in 0 | 1 | 2) ;; *) failed=$((failed + 1)) ;; esac
}

sections="build server test"
[ "$preset" = release ] && requires docker && sections="$sections docker"
[ "$mode" = all ] && sections="$sections tools"
# shellcheck disable=SC2086
cmake/install-packages.sh $sections || stop "packages are missing"

rm -rf "$out"; mkdir -p "$out/gtest"
say "build"
build() {
  cmake --preset "$1" -DUNDERSTUDY_TESTS=ON >"$out/configure.log" 2>&1 ||
    { tail -20 "$out/configure.log" >&2; stop "cmake failed"; }
  cmake --build --preset "$@" -- -j"$jobs" || stop "the build failed"
}
build "$preset"

if [ "$preset" != release ]; then
  # Every process of ours writes its findings to a file of its own, the engine's child too; what is
  # undefined ends it.
  mkdir "$out/findings"
  chmod 1777 "$out/findings"
  logs="log_path=$out/findings/report"
  supp="$PWD/tests/sanitizers"
  export ASAN_OPTIONS="$logs" UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1"
  export LSAN_OPTIONS="suppressions=$supp/lsan.supp:print_suppressions=0"
  export TSAN_OPTIONS="$logs:suppressions=$supp/tsan.supp:second_deadlock_stack=1"
elif requires docker && ! start_docker; then
  stop "a container engine is required and cannot be had"
fi

say "tests"
cases=20; [ "$mode" = all ] && cases=200
without=""; [ "$preset" = release ] || without="-LE docker|tools"
# shellcheck disable=SC2086
RC_PARAMS="max_success=$cases seed=20260" GTEST_OUTPUT="xml:$out/gtest/" \
  ctest --test-dir "build/$preset" -j "$jobs" --output-on-failure --no-tests=error $without
ctest_status=$?
before=$failed
count_tests "$out/gtest"
# A program that crashed or ran into its deadline leaves no result to count.
if [ "$ctest_status" -ne 0 ] && [ "$failed" -eq "$before" ]; then failed=$((failed + 1)); fi

if [ "$preset" != release ]; then
  scenarios local scenarios/sql scenarios/negative --tag quick --provision local
  say "findings of the sanitizers"
  for file in "$out"/findings/report.*; do
    [ -f "$file" ] || continue
    failed=$((failed + 1))
    cat "$file" >&2
  done
  finish 0
fi

# The demo's red scenarios are red for good: it judges them itself.
suites="scenarios/sql scenarios/negative scenarios/tools"
say "demo"
if "$program" demo --out "$out/demo"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
# shellcheck disable=SC2086
if [ "$mode" = quick ]; then
  scenarios local $suites scenarios/table-swap scenarios/hot-copy --tag quick --provision local
else
  scenarios local $suites scenarios/table-swap scenarios/hot-copy --provision local
  # PostGIS, which the tes-* scenarios need, is in our image of 15 alone.
  for version in 13 15 17; do
    scenarios "docker-$version" $suites scenarios/table-swap/swap-*.json --provision docker \
      --pg "$version"
  done
  say "deliberate wrongs"
  build sabotage --target understudy sabotage_test
  rm -rf "$out/gtest"; mkdir "$out/gtest"
  GTEST_OUTPUT="xml:$out/gtest/" build/sabotage/tests/sabotage/sabotage_test
  sabotage_status=$?
  before=$failed
  count_tests "$out/gtest"
  if [ "$sabotage_status" -ne 0 ] && [ "$failed" -eq "$before" ]; then failed=$((failed + 1)); fi
fi
finish 0
