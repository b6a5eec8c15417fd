# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make docs/error-codes.md from the errors that the source raises.

A code stands in the source as `code="..."`: where an error is made, or where a helper that makes
one is told. Then the helper's file makes errors of one kind only.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PAGE = Path("docs/error-codes.md")
SOURCE = Path("plugins/module_utils")
ERRORS = SOURCE / "_engine/errors.py"
HEAD = """\
<!-- Made by `make docs` from the errors in plugins/module_utils; edit those instead. -->

# Error codes

Every failure carries a code that never changes between releases: as `error_code` in a module's result, beside its kind
in `error_kind`, and in brackets in what the command `lifeboat` prints. The message says what was attempted, what
happened and what to do. A play can decide by the code:

```yaml
- block:
    - lifeboat.postgresql.pg_restore:
        destination: /var/lib/postgresql/15/rescued
        target_time: "{{ wanted }}"
  rescue:
    - ansible.builtin.fail:
        msg: There is no backup from before {{ wanted }}.
      when: ansible_failed_result.error_code == "target_before_first_backup"
```

`backup_verify` fails with `verification_failed` and no kind when a check was not good; its result says which.
"""


@dataclass(frozen=True)
class Kind:
    """A class of errors: its name for users, and its meaning."""

    name: str
    meaning: str


def kinds(tree: Path) -> dict[str, Kind]:
    """Return the kinds of errors by their classes' names."""
    found = {}
    for node in ast.parse((tree / ERRORS).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef):
            for line in node.body:
                if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "kind":
                    found[node.name] = Kind(ast.literal_eval(line.value), ast.get_docstring(node) or "")
    return found


def codes(tree: Path) -> dict[Kind, dict[str, list[Path]]]:
    """Return each kind's codes, and the files that raise them."""
    known = kinds(tree)
    found: dict[Kind, dict[str, list[Path]]] = {kind: defaultdict(list) for kind in known.values()}
    for file in sorted((tree / SOURCE).rglob("*.py")):
        for kind, code in _raised(file, known):
            if file not in found[kind][code]:
                found[kind][code].append(file)
    return found


def _raised(file: Path, known: dict[str, Kind]) -> Iterator[tuple[Kind, str]]:
    told: list[str] = []
    makers: set[Kind] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        kind = known.get(ast.unparse(node.func))
        for value in (keyword.value for keyword in node.keywords if keyword.arg == "code"):
            if isinstance(value, ast.Constant) and kind:
                yield kind, str(value.value)
            elif isinstance(value, ast.Constant):
                told.append(str(value.value))
            elif kind:
                makers.add(kind)
    if told:
        (kind,) = makers
        yield from ((kind, code) for code in told)


def page(tree: Path) -> str:
    """Return the text of the page about the source in *tree*."""
    sections = [HEAD]
    for kind, found in codes(tree).items():
        if found:
            rows = (f"| `{code}` | {', '.join(_link(tree, file) for file in found[code])} |" for code in sorted(found))
            sections.append(
                "\n".join([f"## {kind.name}", "", kind.meaning, "", "| code | raised in |", "| --- | --- |", *rows])
            )
    return "\n\n".join(section.strip("\n") for section in sections) + "\n"


def _link(tree: Path, file: Path) -> str:
    below = file.relative_to(tree)
    return f"[{below.relative_to(SOURCE)}](../{below})".replace("[_engine/", "[")
