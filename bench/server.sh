# Sourced by the measurements that need a server: a throwaway one that ends with the script. After
#   start_server PORT [SETTING=VALUE…]
# $work is a folder that is removed at the end, PGHOST, PGPORT and PGUSER are set, the server's
# programs are in PATH, and $settings says in words what the server's durability is. Beside the
# settings given it has PostgreSQL's own: fsync, synchronous_commit and full_page_writes on.
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1 || true)
export PATH=$PATH:$bin
work=$(mktemp -d)
as_postgres() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }
stop_server() {
  if [ -e "$work/data/postmaster.pid" ]; then
    (cd / && as_postgres "$bin/pg_ctl" -D "$work/data" -m immediate stop >/dev/null) || true
  fi
  rm -rf "$work"
}
trap stop_server EXIT
trap 'exit 130' INT TERM
unset ${!PG*}
start_server() {
  local port=$1 options="-k $work -c listen_addresses='' -c port=$1" setting
  shift
  for setting; do options+=" -c $setting"; done
  chmod 755 "$work"
  if [ "$(id -u)" = 0 ]; then chown postgres "$work"; fi
  (cd / && as_postgres "$bin/initdb" -D "$work/data" --no-sync -A trust -U postgres >/dev/null &&
    as_postgres "$bin/pg_ctl" -D "$work/data" -w -l "$work/log" -o "$options" start >/dev/null)
  export PGHOST=$work PGPORT=$port PGUSER=postgres
  settings=$(psql -AtXd postgres -c "SELECT string_agg(name || '=' || setting, ', ' ORDER BY name)
    FROM pg_settings WHERE name IN ('fsync', 'synchronous_commit', 'full_page_writes', 'wal_level')")
}
