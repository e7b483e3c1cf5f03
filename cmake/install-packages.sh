#!/bin/sh
# Installs what is missing of the given sections of packages.txt (default: build). Where nothing is
# missing it does nothing and needs no network.
set -eu
list="$(dirname "$0")/packages.txt"
[ $# -gt 0 ] || set -- build

if ! command -v dpkg-query >/dev/null 2>&1; then
  echo "install-packages: this is neither Debian nor Ubuntu; what is needed stands in $list" >&2
  exit 0
fi

installed() {
  [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# satisfied PACKAGE|PACKAGE COMMAND
satisfied() {
  if [ -n "$2" ] && command -v "$2" >/dev/null 2>&1; then return 0; fi
  for package in $(echo "$1" | tr '|' ' '); do
    if installed "$package"; then return 0; fi
  done
  return 1
}

missing=""
for section in "$@"; do
  while read -r of packages command rest; do
    case "$of" in "$section") ;; *) continue ;; esac
    satisfied "$packages" "${command:-}" || missing="$missing $packages"
  done < "$list"
done
[ -n "$missing" ] || exit 0

sudo=""
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null 2>&1; then
    echo "install-packages: missing:$missing. Install them as root, or install sudo." >&2
    exit 69
  fi
  sudo="sudo"
fi
as_root() { $sudo env DEBIAN_FRONTEND=noninteractive "$@"; }

as_root apt-get update -q
wanted=""
for packages in $missing; do
  for package in $(echo "$packages" | tr '|' ' '); do
    if apt-cache show "$package" >/dev/null 2>&1; then
      wanted="$wanted $package"
      continue 2
    fi
  done
  echo "install-packages: this distribution has none of $packages" >&2
  exit 69
done

# Debian's package makes and starts a cluster of its own on first installation. We need the server's
# programs only, so a machine that never had PostgreSQL is left without a running server.
defaults=/etc/postgresql-common/createcluster.conf
quiet=""
case "$wanted" in *postgresql*)
  if ! installed postgresql-common && [ ! -e "$defaults" ]; then
    quiet=yes
    as_root mkdir -p "$(dirname "$defaults")"
    echo "create_main_cluster = false" | as_root tee "$defaults" >/dev/null
  fi ;;
esac
# shellcheck disable=SC2086
as_root apt-get install -y -q --no-install-recommends -o Dpkg::Options::=--force-confold $wanted
if [ -n "$quiet" ]; then
  echo "#create_main_cluster = true" | as_root tee "$defaults" >/dev/null
fi
