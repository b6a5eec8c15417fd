# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run every check of the source, whether or not another failed.

    run.py WORK [CHECK...]      all checks, or those named

The checks look at a copy of the project's files that lies below WORK, where Ansible's tools
recognise a collection. What they keep between runs lies in WORK too. A check that passed is not
run again while nothing that it could depend on has changed.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import distributions
from pathlib import Path

from collection_tree import project_files, update_tree
from private_home import prepare_home

TOOLS = Path(__file__).resolve().parents[1]
AT_ONCE = 2  # beside the longest check, the others run one after another


def commands(work: Path, tree: Path) -> dict[str, list[str]]:
    """Return the checks' command lines by name, slow ones first; all run in *tree*."""
    python, package = sys.executable, "ansible_collections.lifeboat.postgresql"
    lint_docs = ["antsibull-docs", "lint-collection-docs", "--plugin-docs"]
    mypy = ["mypy", "--no-error-summary", f"--cache-dir={work}/mypy"]
    return {
        "sanity": [python, str(TOOLS / "lint" / "sanity.py")],
        "ansible-lint": ["ansible-lint"],
        "antsibull-docs": [*lint_docs, "--validate-collection-refs=all", "."],
        "mypy": [*mypy, f"--package={package}.plugins", f"--package={package}.tests.harness"],
        "mypy-tools": [*mypy, "tools"],
        "pages": [python, str(TOOLS / "docs" / "generate.py"), "--check", str(tree)],
        "action-group": [python, str(TOOLS / "lint" / "action_group.py")],
        "changelog": ["antsibull-changelog", "lint"],
        "python3.9": ["vermin", "--quiet", "--no-tips", "--violations", "-vvv", "--target=3.9-", "plugins"],
        "ruff": ["ruff", "check", "--output-format=concise", f"--cache-dir={work}/ruff", "."],
        "ruff-format": ["ruff", "format", "--check", "--output-format=concise", f"--cache-dir={work}/ruff", "."],
        "shellcheck": ["shellcheck", "--external-sources", *shell_scripts(tree)],
        "yamllint": ["yamllint", "--strict", "."],
    }


def shell_scripts(tree: Path) -> list[str]:
    """Return the files of *tree* that a shell runs or reads."""
    return [
        str(file.relative_to(tree))
        for file in sorted(tree.rglob("*"))
        if file.is_file() and not file.is_symlink() and (file.suffix == ".sh" or _has_shell_shebang(file))
    ]


def _has_shell_shebang(file: Path) -> bool:
    with file.open("rb") as opened:
        first_line = opened.readline(80)
    return first_line.startswith(b"#!") and first_line.split()[-1].endswith((b"/sh", b"bash"))


def fingerprint(tree: Path) -> str:
    """Return a digest of the project's files and of the linters."""
    digest = hashlib.sha256(sys.version.encode())
    for package in sorted(f"{each.name} {each.version}\n" for each in distributions()):
        digest.update(package.encode())
    for name in sorted(project_files()):
        file = tree / name
        content = os.fsencode(file.readlink()) if file.is_symlink() else file.read_bytes()
        digest.update(f"{name} {file.lstat().st_mode} {len(content)}\n".encode() + content)
    return digest.hexdigest()


class Checks:
    """Runs checks on one state of the project, and remembers which of them it passed."""

    def __init__(self, tree: Path, environment: dict[str, str], memory: Path) -> None:
        self._tree = tree
        self._environment = environment
        self._memory = memory
        self._state = fingerprint(tree)
        memory.mkdir(exist_ok=True)

    def run(self, name: str, command: list[str]) -> bool:
        """Run one check; say how it went and how long it took, and show what it printed if it failed."""
        passed_in = self._memory / name
        if passed_in.exists() and passed_in.read_text() == self._state:
            _report(name, "ok", "as before")
            return True
        started = time.monotonic()
        done = subprocess.run(
            command,
            cwd=self._tree,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        duration = f"{time.monotonic() - started:.1f} s"
        if done.returncode:
            _report(name, "FAILED", duration, done.stdout)
            return False
        passed_in.write_text(self._state)
        _report(name, "ok", duration)
        return True


def _report(name: str, verdict: str, duration: str, output: str = "") -> None:
    lines = [f"{name:<14} {verdict:<6} {duration:>9}", *(f"    {line}" for line in output.splitlines())]
    # In one piece, because two checks may end at the same time.
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def main(arguments: list[str]) -> int:
    work = Path(arguments[0]).resolve()
    root = work / "tree"
    tree = update_tree(root)
    home = work / "home"
    prepare_home(home)
    environment = {
        **os.environ,
        "HOME": str(home),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "ANSIBLE_COLLECTIONS_PATH": str(root),
        "GIT_CEILING_DIRECTORIES": str(root),  # the copy is its own, not an ignored part of the checkout
        "MYPYPATH": str(root),
        "NO_COLOR": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    known = commands(work, tree)
    chosen = arguments[1:] or list(known)
    unknown = sorted(set(chosen) - set(known))
    if unknown:
        print(f"there is no check named {', '.join(unknown)}; there are {', '.join(sorted(known))}", file=sys.stderr)
        return 2
    checks = Checks(tree, environment, work / "passed")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        passed = list(pool.map(lambda name: checks.run(name, known[name]), chosen))
    failed = [name for name, is_clean in zip(chosen, passed) if not is_clean]
    print(f"lint failed: {', '.join(failed)}" if failed else "lint passed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
