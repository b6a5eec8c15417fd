#!/usr/bin/env bash
# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# test.sh [PYTEST ARGUMENT...]
#
# Set up what the tests need and run them, with as many workers as there are processors
# (at most four; LIFEBOAT_WORKERS says otherwise, 0 is none beside pytest). Tests that act as another
# user read the checkout as that user: where others cannot enter it (see work_folder in lib.sh), a copy that they can is
# tested instead.
set -euo pipefail
# shellcheck source=tools/dev/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

"$checkout/tools/dev/setup.sh" test
work=$(realpath "$checkout/build")
tested=$checkout
if [ -L "$checkout/build" ]; then
  tested=$work/checkout
  rm -rf "$tested"
  mkdir -m 755 "$tested"
  tar -C "$checkout" --exclude=./build -cf - . | tar -C "$tested" --no-same-owner -xf -
  chmod -R a+rX "$tested"
  ln -s "$work" "$tested/build"
fi
processors=$(nproc)
workers=${LIFEBOAT_WORKERS:-$((processors < 4 ? processors : 4))}
cd "$tested"
exec "$work/venv/bin/python" -m pytest --numprocesses "$workers" --dist loadscope "$@"
