#!/usr/bin/env bash
# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# bench.sh [ARGUMENT...]
#
# Set up what the benchmarks need and run them with these arguments: see __main__.py.
# SCALE, RUNS, ONLY and PG of the environment stand for the options of these names.
set -euo pipefail
# shellcheck source=tools/dev/lib.sh
. "$(dirname "$(realpath "$0")")/../dev/lib.sh"

options=()
for name in SCALE RUNS ONLY PG; do
  [ -z "${!name:-}" ] || options+=("--${name,,}" "${!name}")
done

LIFEBOAT_PG=${PG:-17} "$checkout/tools/dev/setup.sh" test
work=$(realpath "$checkout/build")
collections=$work/collections/ansible_collections/lifeboat
mkdir -p "$collections"
[ -e "$collections/postgresql" ] || ln -sfn "$checkout" "$collections/postgresql"
export LIFEBOAT_CACHE=${LIFEBOAT_CACHE:-$work/cache}
export PYTHONPATH=$work/collections:$checkout/tools:$checkout/tools/dev
cd "$checkout"
exec "$work/venv/bin/python" -m bench "${options[@]}" "$@"
