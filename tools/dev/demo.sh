#!/usr/bin/env bash
# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# demo.sh [ARGUMENT...]
#
# Set up what the demo needs and hand over to tools/demo/run, with the same
# arguments and these exported, all of them absolute paths that other users can enter:
#
#   LIFEBOAT_HOME     the work folder, that is build/
#   LIFEBOAT_VENV     a Python environment with Ansible and the engine's libraries
#   LIFEBOAT_PG_BIN   the folder of PostgreSQL's programs
#
# Sockets do not belong below LIFEBOAT_HOME: a checkout's path may be longer than
# the 107 characters of a socket's. Take a folder of `mktemp -d /tmp/lb-demo-XXXXXX`.
set -euo pipefail
# shellcheck source=tools/dev/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

"$checkout/tools/dev/setup.sh" demo
LIFEBOAT_HOME=$(realpath "$checkout/build")
LIFEBOAT_VENV=$LIFEBOAT_HOME/venv-demo
LIFEBOAT_PG_BIN=$("$LIFEBOAT_VENV/bin/python" "$checkout/tools/dev/postgres.py" ensure any)
export LIFEBOAT_HOME LIFEBOAT_VENV LIFEBOAT_PG_BIN
exec "$checkout/tools/demo/run" "$@"
