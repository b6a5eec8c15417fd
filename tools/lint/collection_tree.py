# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copy the project's files to where Ansible's tools look for a collection.

ansible-test, ansible-doc and the import system know a collection only as
``.../ansible_collections/<namespace>/<name>``, and a symbolic link does not do: the path is
resolved first. The copy holds what git knows or would add, never what is ignored, so that
what is linted and packaged does not depend on what else lies in the checkout.

    collection_tree.py ROOT     makes or updates ROOT/ansible_collections/..., prints its path
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import yaml

CHECKOUT = Path(__file__).resolve().parents[2]


def project_files(checkout: Path = CHECKOUT) -> set[Path]:
    """Return the files that git tracks or would add, relative to the checkout."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=checkout,
        check=False,
        stdout=subprocess.PIPE,
        text=True,
    )
    if listed.returncode:
        raise SystemExit(f"cannot list the project's files: {checkout} has to be a clone made by git")
    names = {Path(name) for name in listed.stdout.split("\0") if name}
    return {name for name in names if (checkout / name).is_symlink() or (checkout / name).is_file()}


def update_tree(root: Path, checkout: Path = CHECKOUT) -> Path:
    """Make the copy below *root* equal to the project and return its folder.

    Files keep their times and unchanged ones are left alone, so that the tools' caches hold;
    whatever else is in the copy, such as the output of an earlier run, is removed.
    """
    galaxy: dict[str, str] = yaml.safe_load((checkout / "galaxy.yml").read_text(encoding="utf-8"))
    tree = root / "ansible_collections" / galaxy["namespace"] / galaxy["name"]
    tree.mkdir(parents=True, exist_ok=True)
    wanted = project_files(checkout)
    for present in sorted(tree.rglob("*"), reverse=True):
        if present.is_dir() and not present.is_symlink():
            if not any(present.iterdir()):
                present.rmdir()
        elif present.relative_to(tree) not in wanted:
            present.unlink()
    for name in wanted:
        source, copy = checkout / name, tree / name
        if not _same(source, copy):
            copy.unlink(missing_ok=True)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, copy, follow_symlinks=False)
    return tree


def _same(source: Path, copy: Path) -> bool:
    try:
        theirs = copy.lstat()
    except FileNotFoundError:
        return False
    ours = source.lstat()
    return (ours.st_mode, ours.st_size, ours.st_mtime_ns) == (theirs.st_mode, theirs.st_size, theirs.st_mtime_ns)


if __name__ == "__main__":
    print(update_tree(Path(sys.argv[1]).resolve()))
