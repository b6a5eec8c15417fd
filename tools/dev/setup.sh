#!/usr/bin/env bash
# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# setup.sh demo | test | lint
#
# Bring what a make target needs into the work folder (build/), installing nothing
# into the system. Says first what will be fetched and how large it is; when all is
# there, says nothing and takes less than a second.
#
#   demo   build/venv-demo and one PostgreSQL
#   test   build/venv, the PostgreSQL versions of $LIFEBOAT_PG (default "13 15 17 18"), an S3 server and the tree
#          of systemd hosts
#   lint   build/venv
#
# LIFEBOAT_CACHE (default build/cache) keeps unpacked components; several checkouts
# may share one.
set -euo pipefail
# shellcheck source=tools/dev/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

umask 022
case ${1:-} in
  demo) venv=venv-demo requirements=$checkout/tools/dev/requirements-demo.txt packages='Ansible and its libraries, about 40 MB' ;;
  test | lint) venv=venv requirements=$checkout/requirements.txt packages='everything that tests and checks use, about 200 MB' ;;
  *) fail "usage: setup.sh demo | test | lint" ;;
esac
case $1 in
  demo) postgres=(any) ;;
  test) read -ra postgres <<<"${LIFEBOAT_PG:-13 15 17 18}" ;;
  lint) postgres=() ;;
esac

require_system
work=$(work_folder)
export LIFEBOAT_CACHE=${LIFEBOAT_CACHE:-$work/cache}
mkdir -p "$LIFEBOAT_CACHE"
[ "$(id -u)" != 0 ] || others_can_enter "$(realpath "$LIFEBOAT_CACHE")" ||
  fail "PostgreSQL's user cannot enter $LIFEBOAT_CACHE: set LIFEBOAT_CACHE to a folder that other users can enter"
exec 9>"$work/.setup.lock" # two runs at once would build the same environment
flock 9

# The recipe of an environment: when its digest changes, the environment is made anew.
recipe=$({
  printf '%s\n' "$work/$venv"
  "$system_python" -VV
  cat "$requirements"
} | sha256sum)
stamp=$work/$venv/.recipe

plan=()
[ "$recipe" = "$(cat "$stamp" 2>/dev/null)" ] ||
  plan+=("Python packages into build/$venv: $packages")
for version in ${postgres[@]+"${postgres[@]}"}; do
  line=$("$system_python" "$checkout/tools/dev/postgres.py" plan "$version")
  [ -z "$line" ] || plan+=("$line")
done
if [ "$1" = test ]; then
  for component in ceph lab_base; do
    line=$("$system_python" "$checkout/tools/dev/$component.py" plan)
    [ -z "$line" ] || plan+=("$line")
  done
fi

if [ ${#plan[@]} != 0 ]; then
  echo 'This first run fetches, into the git-ignored folder build/:'
  printf '  - %s\n' "${plan[@]}"
fi

if [ "$recipe" != "$(cat "$stamp" 2>/dev/null)" ]; then
  rm -rf "${work:?}/$venv"
  "$system_python" -m venv "$work/$venv"
  "$work/$venv/bin/pip" install -qq --no-input --disable-pip-version-check -r "$requirements" ||
    fail "could not install the packages of ${requirements#"$checkout/"}: is the network, and pip's package index, reachable?"
  printf '%s\n' "$recipe" >"$stamp"
fi

for version in ${postgres[@]+"${postgres[@]}"}; do
  # Tests of a version that cannot be had here are skipped, with that reason.
  "$work/$venv/bin/python" "$checkout/tools/dev/postgres.py" ensure "$version" >/dev/null || [ "$1" = test ]
done
if [ "$1" = test ]; then
  for component in ceph lab_base; do
    "$work/$venv/bin/python" "$checkout/tools/dev/$component.py" ensure >/dev/null || true # likewise
  done
fi
