#!/bin/bash
# Prepares a table swap of 5 M rows (pgbench, vacuumed and analysed) from another database of the same
# server: ours against the better of `pgcopydb clone` and `pg_dump -Fd | pg_restore`, two jobs each,
# interleaved; each leaves it vacuumed and analysed. Then the peak memory of that, beside a tenth of
# the rows. Prints two lines of JSON.
#   bench/prepare.sh [PAIRS] [SCALE]      UNDERSTUDY=build/release/understudy
# The server is a throwaway one with durable settings, 512 MB of shared buffers and max_wal_size
# 8 GB; a checkpoint before each run.
set -euo pipefail
pairs=${1:-5} scale=${2:-50}
program=${UNDERSTUDY:-build/release/understudy}
bench=$(dirname "$program")/understudy_bench
. "$(dirname "$0")/server.sh"
start_server 54331 shared_buffers=512MB max_wal_size=8GB
createdb source
pgbench -i -q -s "$scale" source >/dev/null 2>&1
psql -qd source -c 'VACUUM ANALYZE'

endpoint="host=$work port=$PGPORT user=postgres dbname"
cat >"$work/swap.json" <<JSON
{"strategy": "table-swap", "source": "$endpoint=source", "target": "$endpoint=target",
 "schema": {"from": "source"}, "limits": {"jobs": 2}}
JSON
by_dump() {
  rm -rf "$work/dump"
  pg_dump -Fd -j2 -f "$work/dump" source
  pg_restore -j2 -d target "$work/dump"
  vacuumdb -j2 --analyze -q target
}
by_pgcopydb() { # vacuums and analyses each table by itself
  pgcopydb clone --source "$endpoint=source" --target "$endpoint=target" --table-jobs 2 \
    --index-jobs 2 --dir "$work/pgcopydb" --restart
}
by_us() { "$bench" peak "$work/peak" "$program" migrate prepare "$work/swap.json"; }
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
  "the better of: ${peers//by_/}; vacuumed and analysed both; $settings" 1.15 1.0 <"$work/pairs"
mv "$work/peak" "$work/peak-of-all"
psql -qd source -c "DELETE FROM pgbench_accounts WHERE aid % 10 <> 0" -c 'VACUUM FULL' -c 'VACUUM ANALYZE'
seconds by_us >/dev/null
"$bench" flat prepare-memory 'peak memory of that prepare' 'the same with a tenth of the rows' 1.2 \
  "$work/peak-of-all" "$work/peak"
