#!/bin/bash
# Compares two pgbench databases of 5 M rows: ours against two parallel sum(hashtext(t::text)) per
# table (both sides at once), interleaved. Prints two lines of JSON: time and memory.
#   bench/compare.sh [PAIRS] [SCALE]      UNDERSTUDY=build/release/understudy
# Without UNDERSTUDY_BENCH_HOST (…_PORT, …_USER) a throwaway server is started and removed, with
# fsync off and 512 MB of shared buffers (both sides only read); else both databases are made there
# and dropped at the end.
set -euo pipefail
pairs=${1:-5} scale=${2:-50}
program=${UNDERSTUDY:-build/release/understudy}
bench=$(dirname "$program")/understudy_bench
left=understudy_bench_left right=understudy_bench_right
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1 || true)
export PATH=$PATH:$bin
work=$(mktemp -d)
as_postgres() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }
own_server=
clean() {
  if [ -n "$own_server" ]; then
    (cd / && as_postgres "$bin/pg_ctl" -D "$work/data" -m immediate stop >/dev/null) || true
  else
    dropdb --if-exists "$left" || true
    dropdb --if-exists "$right" || true
  fi
  rm -rf "$work"
}
trap clean EXIT
trap 'exit 130' INT TERM
unset ${!PG*}
if [ -n "${UNDERSTUDY_BENCH_HOST:-}" ]; then
  export PGHOST=$UNDERSTUDY_BENCH_HOST PGPORT=${UNDERSTUDY_BENCH_PORT:-5432}
  export PGUSER=${UNDERSTUDY_BENCH_USER:-postgres}
else
  chmod 755 "$work"
  if [ "$(id -u)" = 0 ]; then chown postgres "$work"; fi
  (cd / && as_postgres "$bin/initdb" -D "$work/data" --no-sync -A trust -U postgres >/dev/null &&
    as_postgres "$bin/pg_ctl" -D "$work/data" -w -l "$work/log" \
      -o "-k $work -c listen_addresses='' -c port=54329 -c fsync=off -c shared_buffers=512MB" \
      start >/dev/null)
  own_server=1
  export PGHOST=$work PGPORT=54329 PGUSER=postgres
fi
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
