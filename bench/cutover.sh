#!/bin/bash
# What production feels of a table swap's cutover: the longest stall of clients that write to 50
# tables, and the time under lock of 1,000 tables. Prints two lines of JSON.
#   bench/cutover.sh [RUNS] [SECONDS]     that the clients are watched without a cutover; UNDERSTUDY=build/release/understudy
# The server is a throwaway one with durable settings and 512 MB of shared buffers.
set -euo pipefail
runs=${1:-5} seconds=${2:-6}
program=${UNDERSTUDY:-build/release/understudy}
bench=$(dirname "$program")/understudy_bench
. "$(dirname "$0")/server.sh"
start_server 54333 shared_buffers=512MB max_wal_size=4GB max_locks_per_transaction=512
for database in stall source target; do createdb "$database"; done
endpoint="host=$work port=$PGPORT user=postgres dbname"
"$bench" stall "$endpoint=stall" "$runs" "$seconds" "$settings"
dropdb stall
"$bench" thousand-tables "$endpoint=source" "$endpoint=target" "$runs" "$settings"
