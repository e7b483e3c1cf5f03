#!/bin/bash
# Compares two pgbench databases of 5 M rows: ours against two parallel sum(hashtext(t::text)) per
# table (both sides at once), interleaved. Prints one JSON document: the ratio's median and spread.
#   bench/compare.sh [PAIRS] [SCALE]      UNDERSTUDY=build/release/understudy
# Without PGHOST a throwaway server is started and removed; else both databases are made there and
# dropped at the end.
set -euo pipefail
pairs=${1:-5} scale=${2:-50}
program=${UNDERSTUDY:-build/release/understudy}
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
if [ -z "${PGHOST:-}" ]; then
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
peak_rss() { # of our program, in bytes
  python3 - "$program" "dbname=$left" "dbname=$right" <<'PYTHON' 2>/dev/null || echo null
import resource, subprocess, sys
subprocess.run([sys.argv[1], "compare", *sys.argv[2:], "--rows-only"],
               stdout=subprocess.DEVNULL, check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
PYTHON
}
theirs && ours >/dev/null  # warm
for _ in $(seq "$pairs"); do
  b=$(seconds theirs)
  a=$(seconds ours)
  echo "$a $b" >>"$work/pairs"
done
awk -v rows=$((scale * 100011)) -v rss="$(peak_rss)" '
  { ours[NR] = $1; theirs[NR] = $2; ratio[NR] = $1 / $2 }
  function sorted(a, n,  i, j, t) {
    for (i = 2; i <= n; i++)
      for (j = i; j > 1 && a[j-1] > a[j]; j--) { t = a[j]; a[j] = a[j-1]; a[j-1] = t }
  }
  function median(a, n) { return n % 2 ? a[(n+1)/2] : (a[n/2] + a[n/2+1]) / 2 }
  END {
    sorted(ours, NR); sorted(theirs, NR); sorted(ratio, NR); m = median(ratio, NR)
    printf "{\"name\": \"compare\", \"rows\": %d, \"pairs\": %d, ", rows, NR
    printf "\"peer\": \"two parallel sum(hashtext(t::text)) per table\", "
    printf "\"ours_s\": %.3f, \"theirs_s\": %.3f, ", median(ours, NR), median(theirs, NR)
    printf "\"ratio\": %.3f, \"ratio_min\": %.3f, \"ratio_max\": %.3f, ", m, ratio[1], ratio[NR]
    printf "\"target\": 1.0, \"goal\": 0.7, \"met\": %s, ", m <= 1.0 ? "true" : "false"
    printf "\"max_rss_bytes\": %s}\n", rss
  }' "$work/pairs"
