#!/bin/sh
# A writer that has never heard of Understudy: the sqlite3 shell in a loop. It prints `wrote N` for
# every row that sqlite3 took, and ends with 75 when a write is refused.
#   ./plain-writer.sh school-0123456789abcdef.sqlite 1000
n=0
while [ "$n" -lt "$2" ]; do
  n=$((n + 1))
  if ! why=$(sqlite3 -cmd '.timeout 10000' "$1" \
    "INSERT INTO journal (at, what, amount) VALUES ('plain', 'by sqlite3', $$ * 1000000 + $n);" 2>&1); then
    echo "refused: $why"
    exit 75
  fi
  echo "wrote $(($$ * 1000000 + n))"
done
