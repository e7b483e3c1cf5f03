#!/bin/sh
# PID 1 of our image: gives the superuser the password that a file holds, then becomes the server.
# The variables are those of the well-known image `postgres`, so that either can be used alike.
set -eu
data=/var/lib/postgresql/data
if [ -n "${POSTGRES_PASSWORD_FILE:-}" ] && [ ! -e "$data/password-is-set" ]; then
  # By the server's single-user mode: it costs a tenth of a second and listens nowhere. The
  # password never stands on a command line or in the environment.
  {
    printf 'ALTER ROLE postgres PASSWORD %s\n' "'$(sed "s/'/''/g" "$POSTGRES_PASSWORD_FILE")'"
  } | setpriv --reuid=postgres --regid=postgres --init-groups \
        "$PGBIN/postgres" --single -D "$data" -c fsync=off postgres >/dev/null
  : > "$data/password-is-set"
fi
exec setpriv --reuid=postgres --regid=postgres --init-groups "$PGBIN/postgres" -D "$data" "$@"
