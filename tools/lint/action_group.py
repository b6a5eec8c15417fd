# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare the action group ``lifeboat`` with the modules, in the collection that is the current folder.

Whoever sets ``module_defaults`` for the group expects them to reach every module; Ansible says
nothing about a member that does not exist.
"""

from __future__ import annotations

import sys
from pathlib import Path

import yaml


def main() -> int:
    runtime = yaml.safe_load(Path("meta/runtime.yml").read_text(encoding="utf-8"))
    members = set(runtime["action_groups"]["lifeboat"])
    modules = {file.stem for file in Path("plugins/modules").glob("*.py")}
    for name in sorted(members - modules):
        print(f"meta/runtime.yml: there is no module {name}")
    for name in sorted(modules - members):
        print(f"meta/runtime.yml: the action group lacks {name}")
    return int(members != modules)


if __name__ == "__main__":
    sys.exit(main())
