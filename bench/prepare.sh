#!/bin/bash
# Prepares a table swap of 5 M rows (pgbench, vacuumed and analysed) from another database of the same
# server: ours against the better of `pgcopydb clone` and `pg_dump -Fd | pg_restore`, two jobs each,
# interleaved. Prints a line of JSON.
#   bench/prepare.sh [PAIRS] [SCALE]      UNDERSTUDY=build/release/understudy
# The server is a throwaway one with durable settings: fsync and synchronous_commit on, wal_level
# replica, 512 MB of shared buffers, max_wal_size 8 GB; a checkpoint before each run.
set -euo pipefail
pairs=${1:-5} scale=${2:-50}
program=${UNDERSTUDY:-build/release/understudy}
bench=$(dirname "$program")/understudy_bench
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1 || true)
export PATH=$PATH:$bin
work=$(mktemp -d)
as_postgres() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }
clean() {
  (cd / && as_postgres "$bin/pg_ctl" -D "$work/data" -m immediate stop >/dev/null) || true
  rm -rf "$work"
}
trap clean EXIT
trap 'exit 130' INT TERM
unset ${!PG*}
chmod 755 "$work"
if [ "$(id -u)" = 0 ]; then chown postgres "$work"; fi
(cd / && as_postgres "$bin/initdb" -D "$work/data" --no-sync -A trust -U postgres >/dev/null &&
  as_postgres "$bin/pg_ctl" -D "$work/data" -w -l "$work/log" \
    -o "-k $work -c listen_addresses='' -c port=54331 -c shared_buffers=512MB -c max_wal_size=8GB" \
    start >/dev/null)
export PGHOST=$work PGPORT=54331 PGUSER=postgres
createdb source
pgbench -i -q -s "$scale" source >/dev/null 2>&1
psql -qd source -c 'VACUUM ANALYZE'

endpoint="host=$work port=54331 user=postgres dbname"
cat >"$work/swap.json" <<JSON
{"strategy": "table-swap", "source": "$endpoint=source", "target": "$endpoint=target",
 "schema": {"from": "source"}, "limits": {"jobs": 2}}
JSON
by_dump() {
  rm -rf "$work/dump"
  pg_dump -Fd -j2 -f "$work/dump" source
  pg_restore -j2 -d target "$work/dump"
}
by_pgcopydb() {
  pgcopydb clone --source "$endpoint=source" --target "$endpoint=target" --table-jobs 2 \
    --index-jobs 2 --dir "$work/pgcopydb" --restart
}
by_us() { "$program" migrate prepare "$work/swap.json"; }
seconds() { # seconds COMMAND: how long it took to fill an empty database
  local start end
  dropdb --if-exists --force target 2>/dev/null
  createdb target
  psql -qd source -c CHECKPOINT
  start=$(date +%s%N)
  "$@" >"$work/out" 2>&1 || { cat "$work/out" >&2; return 1; }
  end=$(date +%s%N)
  awk "BEGIN { printf \"%.3f\", ($end - $start) / 1e9 }"
}
peers=by_dump
if command -v pgcopydb >/dev/null; then peers="by_dump by_pgcopydb"; fi
for _ in $(seq "$pairs"); do
  best=
  for peer in $peers; do
    took=$(seconds "$peer")
    best=$(awk "BEGIN { print (\"$best\" == \"\" || $took < \"$best\" + 0) ? $took : \"$best\" }")
  done
  echo "$(seconds by_us) $best"
done >"$work/pairs"
rows=$(psql -Atd target -c 'SELECT count(*) FROM understudy_shadow_public.pgbench_accounts')
[ "$rows" = $((scale * 100000)) ] || { echo "the shadow holds $rows rows" >&2; exit 1; }
"$bench" pairs prepare "prepare of a table swap, $((scale / 10)).$((scale % 10)) M rows, 2 jobs" \
  "the better of: ${peers//by_/}" 1.15 1.0 <"$work/pairs"
