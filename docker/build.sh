#!/bin/sh
# Makes the image of one PostgreSQL major without an image registry, from Debian's packages:
#
#   docker/build.sh 15            builds what is missing, prints the image's name as its last line
#   docker/build.sh 15 postgis    the same with PostGIS
#   docker/build.sh --name 15     prints the name only; exit 1 when the image is not built yet
#
# The name's tag is a digest of the recipe (these files, the suite, the packages): a second run
# builds nothing, a changed recipe builds anew. Needs root, docker and mmdebstrap.
# The mirror is DEBIAN_MIRROR, else the first http(s) one in /etc/apt, else deb.debian.org.
set -eu
here=$(cd "$(dirname "$0")" && pwd)

fail() { echo "docker/build.sh: $1" >&2; exit "${2:-69}"; }

name_only=no
if [ "${1:-}" = --name ]; then name_only=yes; shift; fi
major=${1:-}
variant=${2:-}
case "$major" in
  13) suite=bullseye ;;
  15) suite=bookworm ;;
  17) suite=trixie ;;
  *) fail "which version? usage: build.sh [--name] 13|15|17 [postgis]" 64 ;;
esac
packages=postgresql-$major
case "$variant" in
  '') tag=$major ;;
  postgis)
    [ "$major" = 15 ] || fail "PostGIS is built for 15 only" 64
    packages="$packages,postgresql-$major-postgis-3"
    tag=$major-postgis
    ;;
  *) fail "unknown variant '$variant'; allowed: postgis" 64 ;;
esac

digest=$( { cat "$here/Dockerfile" "$here/entrypoint.sh"; echo "$suite $packages recipe 1"; } |
  sha256sum | cut -c1-12)
image=understudy-postgres:$tag-$digest
base=understudy-base:$tag-$(echo "$suite $packages base 1" | sha256sum | cut -c1-12)

if docker image inspect "$image" >/dev/null 2>&1; then
  echo "$image"
  exit 0
fi
if [ "$name_only" = yes ]; then
  echo "$image"
  exit 1
fi

docker version >/dev/null 2>&1 ||
  fail "no container engine answers: install the package docker.io, start it (service docker start)"

# Two runs at once must not both build it. The lock is on this file: none is left behind.
exec 9<"$0"
flock 9
if docker image inspect "$image" >/dev/null 2>&1; then
  echo "$image"
  exit 0
fi

if ! docker image inspect "$base" >/dev/null 2>&1; then
  [ "$(id -u)" = 0 ] || fail "making the base $base needs root: sudo docker/build.sh $major $variant"
  command -v mmdebstrap >/dev/null || fail "mmdebstrap is missing: apt-get install mmdebstrap"
  # Where this machine's apt fetches Debian from; its proxies are found by apt itself.
  mirror=${DEBIAN_MIRROR:-}
  if [ -z "$mirror" ]; then
    mirror=$(apt-get indextargets --format '$(REPO_URI) $(ORIGIN) $(LABEL)' 'Created-By: Packages' \
      2>/dev/null | awk '$2 == "Debian" && $3 == "Debian" && $1 ~ /^https?:/ {print $1; exit}')
  fi
  [ -n "$mirror" ] || mirror=http://deb.debian.org/debian
  keyring=/usr/share/keyrings/debian-archive-keyring.gpg
  [ -e "$keyring" ] || fail "the keys of Debian's archive are missing: apt-get install debian-archive-keyring"
  work=$(mktemp -d "${TMPDIR:-/tmp}/understudy-base-$$-XXXXXX")
  trap 'rm -rf "$work"' EXIT
  trap 'exit 130' INT TERM
  echo "making $base from $mirror ($suite, once)" >&2
  # What a server does not need stays out: manuals, translations. Its cluster is ours to make, and
  # no service may start in the root that is being made.
  TMPDIR=$work mmdebstrap --quiet --variant=minbase --mode=root --keyring="$keyring" \
    --include="$packages,ca-certificates" \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --essential-hook='mkdir -p "$1/etc/postgresql-common" && echo "create_main_cluster = false" > "$1/etc/postgresql-common/createcluster.conf"' \
    --aptopt='Acquire::Check-Valid-Until "false"' \
    "$suite" "$work/base.tar" "deb [signed-by=$keyring] $mirror $suite main" >&2 ||
    fail "cannot make the base from $mirror: see above; another mirror: DEBIAN_MIRROR=http://… docker/build.sh $major $variant"
  docker import "$work/base.tar" "$base" >/dev/null
  rm -rf "$work"
fi
DOCKER_BUILDKIT=0 docker build -q --label understudy.recipe="$digest" \
  --build-arg BASE="$base" --build-arg MAJOR="$major" -t "$image" "$here" >&2 ||
  fail "docker build of $image failed: see above"
echo "$image"
