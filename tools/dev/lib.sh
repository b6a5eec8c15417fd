# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash
#
# What the development scripts share; to be sourced. Sets $checkout and offers
#   fail MESSAGE         one line on standard error, exit 1
#   require_system       the few things that must come from the operating system
#   work_folder          make the work folder and print its real path
#   out_of_tree_folder   where the work folder lies if it cannot be in the checkout

checkout=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../..")

# Never an interpreter of one user's home: servers and modules run as other users.
system_python=/usr/bin/python3

fail() {
  printf 'lifeboat: %s\n' "$*" >&2
  exit 1
}

require_system() {
  local missing=() privilege=
  command -v git >/dev/null || missing+=(git)
  command -v make >/dev/null || missing+=(make)
  "$system_python" -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
  [ "$(id -u)" = 0 ] || privilege='sudo '
  [ ${#missing[@]} = 0 ] ||
    fail "this machine lacks ${missing[*]}; install with: ${privilege}apt-get install -y ${missing[*]}"
  "$system_python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$system_python is $("$system_python" -V); Lifeboat's controller needs Python 3.11 or newer (Debian 12, Ubuntu 24.04)"
}

others_can_enter() {
  local folder=$1
  while :; do
    (($((0$(stat -Lc %a "$folder"))) & 1)) || return 1
    [ "$folder" != / ] || return 0
    folder=$(dirname "$folder")
  done
}

out_of_tree_folder() {
  printf '/var/tmp/lifeboat-%s-%s\n' "$(id -u)" "$(printf %s "$checkout" | sha256sum | cut -c1-12)"
}

# The work folder is build/ in the checkout. A root whose checkout nobody else can
# enter (a clone under /root) gets it under /var/tmp, with build a link to it: what
# lies there is executed by the unprivileged users that PostgreSQL insists on.
work_folder() {
  local build=$checkout/build outside
  if [ "$(id -u)" != 0 ] || others_can_enter "$checkout"; then
    [ -d "$build" ] || { rm -f "$build" && mkdir -m 755 "$build"; }
    [ -O "$build" ] || fail "build/ is $(stat -Lc %U "$build")'s, from an earlier run: remove it (sudo rm -rf build), then run this again"
  else
    outside=$(out_of_tree_folder)
    [ -e "$outside" ] || [ -L "$outside" ] || mkdir -m 755 "$outside"
    if [ -L "$outside" ] || [ ! -d "$outside" ] || [ ! -O "$outside" ]; then
      fail "$outside is not a folder of $(id -un); remove it, then run this again"
    fi
    [ -L "$build" ] || [ ! -e "$build" ] ||
      fail "other users cannot enter $checkout, so build/ cannot stay in it; run 'make clean', then this again"
    ln -sfn "$outside" "$build"
  fi
  realpath "$build"
}
