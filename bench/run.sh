#!/bin/bash
# `make bench`: builds, measures everything in one run, writes build/bench/bench.json and a table.
#   bench/run.sh [PAIRS]      at least 5 interleaved pairs each
# Exit: 0 all targets met, 1 one is missed (the table says MISSED), 130 interrupted, else it broke.
# What it makes it removes, also after a failure or Ctrl-C; the cache is its own and goes too.
set -euo pipefail
cd "$(dirname "$0")/.."
pairs=${1:-5}
folder=$PWD/build/bench
program=$PWD/build/release/understudy
bench=$PWD/build/release/understudy_bench
scratch=$(mktemp -d)
mkdir -p "$folder"
lines=$folder/results.jsonl

child=
finish() {
  status=$?
  if [ -n "$child" ]; then  # INT it ignores, as all that a script starts beside itself
    kill -TERM "$child" 2>/dev/null || true
    wait "$child" 2>/dev/null || true
  fi
  rm -rf "$scratch"
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

cmake --preset release -DUNDERSTUDY_BENCH=ON -DUNDERSTUDY_TESTS=OFF >/dev/null
cmake --build --preset release --target understudy understudy_bench -- -j"${JOBS:-$(nproc)}" \
  >"$scratch/build.log" 2>&1 || { cat "$scratch/build.log" >&2; exit 1; }

export UNDERSTUDY=$program
export XDG_CACHE_HOME=$scratch/cache
: >"$lines"
# In the background and waited for: so a signal's trap runs at once, and the child is asked to end.
measure() { # measure NAME COMMAND…
  local name=$1 status=0
  shift
  echo "bench: $name …" >&2
  "$@" >>"$lines" &
  child=$!
  wait "$child" || status=$?
  child=
  if [ "$status" != 0 ]; then
    echo "bench: $name broke (status $status)" >&2
    exit 70
  fi
}

measure 'compare, 5 M rows' bench/compare.sh "$pairs" "${COMPARE_SCALE:-50}"
measure 'prepare of a table swap' bench/prepare.sh "${PREPARE_PAIRS:-3}" "${PREPARE_SCALE:-50}"
measure 'cutover' bench/cutover.sh "$pairs" 5
measure 'world, clone' "$bench" world "$pairs"
measure 'container' "$bench" container "$pairs"
measure 'capture and replay' "$bench" capture "$pairs"
measure 'hot copy' "$bench" hot-copy "$pairs" 1
measure 'fixture' "$bench" fixture "$pairs" 40
measure 'overhead of run' "$bench" overhead "$pairs" "$program" "$scratch"
measure 'memory of run' "$bench" memory run-memory \
  'peak memory of `run` with a table of 400,000 rows' 200 \
  "$program" run bench/scenarios/large.json --out "$scratch/large"
met=0
"$bench" report "$lines" "$folder/bench.json" || met=1
echo "The numbers: build/bench/bench.json"
exit $met
