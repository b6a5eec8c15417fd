# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the pages that are made from the source: docs/modules/*.md, roles/*/README.md and docs/error-codes.md.

    generate.py TREE FOLDER     write the pages of the collection at TREE into FOLDER
    generate.py --check TREE    say which pages of TREE are not what would be written

TREE is a collection tree (tools/lint/collection_tree.py), because ansible-doc finds nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import error_codes
from markup import COLLECTION
from pages import module_page, modules_index, role_page

MODULE_PAGES = Path("docs/modules")


def described(tree: Path, kind: str, names: list[str]) -> dict[str, Any]:
    """Return what ansible-doc says of the named plugins, by their names without the collection's."""
    if not names:
        return {}
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("ansible-doc")),
            "--json",
            "--type",
            kind,
            *(f"{COLLECTION}.{name}" for name in names),
        ],
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(tree.parents[2])},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    found = {fqcn.rpartition(".")[2]: each for fqcn, each in json.loads(done.stdout).items()}
    missing = sorted(set(names) - set(found))
    if missing:
        raise SystemExit(f"ansible-doc has no documentation for the {kind} {', '.join(missing)}")
    return found


def pages(tree: Path) -> dict[Path, str]:
    """Return what the generated pages should contain."""
    modules = described(tree, "module", sorted(file.stem for file in tree.glob("plugins/modules/*.py")))
    roles = described(tree, "role", sorted(folder.name for folder in tree.glob("roles/*")))
    wanted = {MODULE_PAGES / f"{name}.md": module_page(name, each) for name, each in modules.items()}
    wanted |= {Path("roles", name, "README.md"): role_page(name, each["entry_points"]) for name, each in roles.items()}
    if modules:
        wanted[MODULE_PAGES / "README.md"] = modules_index(modules)
    wanted[error_codes.PAGE] = error_codes.page(tree)
    return wanted


def stale(folder: Path, wanted: dict[Path, str]) -> list[Path]:
    """Return the pages in *folder* that differ from the *wanted* ones, are missing or are left over."""
    differing = [page for page, text in wanted.items() if _read(folder / page) != text]
    left_over = [
        page.relative_to(folder)
        for page in folder.glob(f"{MODULE_PAGES}/*.md")
        if page.relative_to(folder) not in wanted
    ]
    return sorted(differing + left_over)


def _read(page: Path) -> str | None:
    return page.read_text(encoding="utf-8") if page.exists() else None


def write(folder: Path, wanted: dict[Path, str]) -> None:
    """Make the pages in *folder* the *wanted* ones, and say which changed."""
    for page in stale(folder, wanted):
        target = folder / page
        if page in wanted:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(wanted[page], encoding="utf-8")
            print(f"wrote {page}")
        else:
            target.unlink()
            print(f"removed {page}")


def main() -> int:
    parser = argparse.ArgumentParser(description="Make the reference pages of modules and roles.")
    parser.add_argument("--check", action="store_true", help="compare with the pages in TREE, write nothing")
    parser.add_argument("tree", type=Path, help="the collection tree whose documentation is read")
    parser.add_argument("folder", type=Path, nargs="?", help="where to write the pages (default: TREE)")
    options = parser.parse_args()
    wanted = pages(options.tree.resolve())
    if not options.check:
        write(options.folder or options.tree, wanted)
        return 0
    outdated = stale(options.tree, wanted)
    if outdated:
        print(f"not what `make docs` makes: {', '.join(map(str, outdated))}")
    return 1 if outdated else 0


if __name__ == "__main__":
    sys.exit(main())
