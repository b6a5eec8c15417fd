# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the files under plugins/ import, read from their source as Ansible does when it sends a module to a host."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from harness import CHECKOUT

PLUGINS = CHECKOUT / "plugins"
ENGINE = "module_utils._engine"
_COLLECTION = "ansible_collections.lifeboat.postgresql.plugins."


@dataclass(frozen=True)
class Import:
    """One name that a file imports. Names of our own modules begin below plugins/."""

    name: str
    line: int
    relative: bool
    for_types_only: bool


@cache
def sources() -> dict[str, Path]:
    """Every Python file under plugins/, by its module's name; a package's is that of its folder."""
    found = {}
    for path in sorted(PLUGINS.rglob("*.py")):
        parts = path.relative_to(PLUGINS).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(source: str, package: str, known: Iterable[str]) -> list[Import]:
    """What a file of `package` imports, wherever in it. `known` tells modules from what is in them."""
    found: list[Import] = []
    for node, for_types_only in _walk(ast.parse(source), False):
        if isinstance(node, ast.Import):
            names, level = [alias.name for alias in node.names], 0
        elif isinstance(node, ast.ImportFrom):
            level, module = node.level, node.module or ""
            if level:
                above = package.split(".")
                module = ".".join([*above[: len(above) + 1 - level], *filter(None, [module])])
            names = list(dict.fromkeys(_module(f"{module}.{alias.name}", module, known) for alias in node.names))
        else:
            continue
        found += [Import(name.removeprefix(_COLLECTION), node.lineno, level > 0, for_types_only) for name in names]
    return found


def _module(name: str, parent: str, known: Iterable[str]) -> str:
    return name if name.removeprefix(_COLLECTION) in known else parent


def _walk(node: ast.AST, for_types_only: bool) -> Iterator[tuple[ast.AST, bool]]:
    for field, value in ast.iter_fields(node):
        guarded = isinstance(node, ast.If) and field == "body" and "TYPE_CHECKING" in ast.unparse(node.test)
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield child, for_types_only or guarded
                yield from _walk(child, for_types_only or guarded)


@cache
def all_imports() -> Mapping[str, list[Import]]:
    """The imports of every file under plugins/."""
    files = sources()
    return {
        module: imports_of(path.read_text(), module if path.name == "__init__.py" else module.rpartition(".")[0], files)
        for module, path in files.items()
    }


def our_imports(module: str) -> set[str]:
    """The modules of ours that `module` imports."""
    return {each.name for each in all_imports()[module] if each.name in sources() and not each.for_types_only}


def reached_from(start: str) -> set[str]:
    """Everything of ours that is imported with `start` when all its functions are called."""
    reached: set[str] = set()
    ahead = {start}
    while ahead:
        reached |= ahead
        imported = {other for module in ahead for other in our_imports(module)}
        packages = {module.rpartition(".")[0] for module in ahead} & sources().keys()
        ahead = (imported | packages) - reached
    return reached
