# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the collection's artifact, and refuse one that lacks or holds what it should not.

artifact.py FOLDER      build into FOLDER and print the artifact's path
"""

from __future__ import annotations

import fnmatch
import subprocess
import sys
import tarfile
from pathlib import Path

from collection_tree import project_files, update_tree

MADE_BY_ANSIBLE = {"FILES.json", "MANIFEST.json"}
USED_BY_USERS = ("docs", "examples", "extensions", "meta", "playbooks", "plugins", "roles")
REQUIRED = {"CHANGELOG.md", "LICENSE", "README.md", "meta/runtime.yml"}
NEVER = (".*", "*/.*", "*.key", "*.pem", "*.pyc", "build/*", "galaxy.yml", "tests/output/*", "tools/lint/*")


def build(folder: Path) -> Path:
    """Build the artifact from the project's files alone, whatever else lies in the checkout."""
    tree = update_tree(folder / "tree")
    for old in folder.glob("*.tar.gz"):
        old.unlink()
    galaxy = Path(sys.executable).with_name("ansible-galaxy")
    subprocess.run(
        [galaxy, "collection", "build", tree, "--output-path", folder], check=True, stdout=subprocess.DEVNULL
    )
    (artifact,) = folder.glob("*.tar.gz")
    return artifact


def complaints(artifact: Path) -> list[str]:
    """Return what is wrong with the artifact's contents."""
    with tarfile.open(artifact) as opened:
        packed = {member.name for member in opened.getmembers() if not member.isdir()}
    project = {name.as_posix() for name in project_files()}
    wanted = REQUIRED | {name for name in project if name.startswith(tuple(f"{folder}/" for folder in USED_BY_USERS))}
    unwanted = {name for name in packed if any(fnmatch.fnmatch(name, pattern) for pattern in NEVER)}
    return [
        *(f"{name} is missing" for name in sorted(wanted - packed)),
        *(f"{name} does not belong there" for name in sorted(unwanted | (packed - project - MADE_BY_ANSIBLE))),
    ]


def main(arguments: list[str]) -> int:
    artifact = build(Path(arguments[0]).resolve())
    wrong = complaints(artifact)
    if wrong:
        artifact.unlink()
        print(f"{artifact.name} is not as it should be, and was removed:", *wrong, sep="\n    ", file=sys.stderr)
        return 1
    print(artifact)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
