#!/usr/bin/env bash
# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Remove the work folder, wherever it lies, and what Python and the checkers left
# in the checkout. A cache that LIFEBOAT_CACHE puts elsewhere stays.
set -euo pipefail
# shellcheck source=tools/dev/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

outside=$(out_of_tree_folder)
[ ! -d "$outside" ] || [ -L "$outside" ] || [ ! -O "$outside" ] || rm -rf "$outside"
rm -rf "$checkout/build"
find "$checkout" -path "$checkout/.git" -prune -o \
  \( -name __pycache__ -o -name '.*_cache' \) -type d -prune -exec rm -rf {} +
