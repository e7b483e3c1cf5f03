#!/bin/bash
# Compares two pgbench databases of 5 M rows: ours against two parallel sum(hashtext(t::text)) per
# table (both sides at once), interleaved. Prints two lines of JSON: time and memory.
#   bench/compare.sh [PAIRS] [SCALE]      UNDERSTUDY=build/release/understudy
# The throwaway server has fsync off and 512 MB of shared buffers: both sides only read.
set -euo pipefail
pairs=${1:-5} scale=${2:-50}
program=${UNDERSTUDY:-build/release/understudy}
bench=$(dirname "$program")/understudy_bench
left=understudy_bench_left right=understudy_bench_right
. "$(dirname "$0")/server.sh"
start_server 54329 fsync=off shared_buffers=512MB
createdb "$left"
pgbench -i -q -s "$scale" "$left" >/dev/null 2>&1
createdb -T "$left" "$right"
for database in "$left" "$right"; do psql -qd "$database" -c 'VACUUM ANALYZE'; done

seconds() { # seconds COMMAND…: how long it took
  local start end
  start=$(date +%s%N)
  "$@" >"$work/out" 2>"$work/err" || { cat "$work/out" "$work/err" >&2; return 1; }
  end=$(date +%s%N)
  awk "BEGIN { printf \"%.3f\", ($end - $start) / 1e9 }"
}
theirs_of() {
  local table
  for table in pgbench_accounts pgbench_branches pgbench_history pgbench_tellers; do
    psql -Atqd "$1" -c "SELECT count(*), sum(hashtext(t::text)::bigint) FROM $table AS t"
  done
}
theirs() {
  theirs_of "$left" >"$work/left" &
  local one=$!
  theirs_of "$right" >"$work/right"
  wait "$one"
  cmp "$work/left" "$work/right"
}
ours() {
  "$program" compare "dbname=$left" "dbname=$right" --rows-only --json
}
theirs && ours >/dev/null  # warm
for _ in $(seq "$pairs"); do
  b=$(seconds theirs)
  a=$(seconds ours)
  echo "$a $b" >>"$work/pairs"
done
"$bench" pairs compare "compare all rows of two databases ($((scale * 100000)) rows each)" \
  'two parallel sum(hashtext(t::text)) per table, by psql' 1.0 0.7 <"$work/pairs"
"$bench" memory compare-memory 'peak memory of that compare' 200 \
  "$program" compare "dbname=$left" "dbname=$right" --rows-only
