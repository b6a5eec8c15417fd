# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shape of the code: rooms whose arrows point one way, and rules that no linter knows."""

from __future__ import annotations

import ast
import builtins
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from graphlib import TopologicalSorter

import pytest
from imports import ENGINE, Import, all_imports, imports_of, our_imports, reached_from, sources

# What each room may import besides itself.
ARROWS = {
    "events": set(),
    "base": {"events"},
    "report": {"base", "events"},
    "store": {"base"},
    "repository": {"base", "store"},
    "postgres": {"base"},
    "sources": {"base", "events", "postgres", "repository"},
    "jobs": {"base", "events", "report", "postgres", "repository", "store", "sources"},
    "doors": {"base", "report", "repository", "jobs"},
    "adapter": {"base", "events", "report", "repository", "jobs", "doors"},
    "modules": {"base", "jobs", "doors", "adapter"},
    "controller": {"events", "report"},
    "documentation": set(),
}
DOORS = {
    *("foreground", "cli", "cli_dump_options", "cli_dumps", "cli_jobs", "cli_status"),
    *("contents", "as_owner", "agent_bundle"),
}
LONGEST_FILE = 450

LICENCE = re.compile(
    r"(#!.*\n)?"
    r"# Copyright \(c\) 2026, Lifeboat contributors\n"
    r"# GNU General Public License v3\.0\+ \(see LICENSE or https://www\.gnu\.org/licenses/gpl-3\.0\.txt\)\n"
    r"# SPDX-License-Identifier: GPL-3\.0-or-later\n"
)

Finder = Callable[[ast.AST], Iterator[ast.AST]]
each_rule = pytest.mark.parametrize(
    "rule",
    [
        pytest.param(LICENCE.match, id="it begins with the licence"),
        pytest.param(lambda text: len(text.splitlines()) < LONGEST_FILE, id="it is short"),
    ],
)


def room_of(module: str) -> str:
    folder, *below = module.removeprefix("module_utils.").split(".")
    if folder != "_engine":
        return {
            "modules": "modules",
            "_ansible": "adapter",
            "action": "controller",
            "plugin_utils": "controller",
            "doc_fragments": "documentation",
        }[folder]
    if below == ["report", "events"]:
        return "events"
    if below and (len(below) > 1 or below[0] in ARROWS):
        return below[0]
    return "doors" if below and below[0] in DOORS else "base"


def engine_imports() -> Iterator[tuple[str, Import]]:
    for module, imports in all_imports().items():
        if module.startswith(ENGINE):
            for each in imports:
                yield module, each


def is_standard(name: str) -> bool:
    return name.partition(".")[0] in sys.stdlib_module_names


def test_arrows_point_one_way() -> None:
    against = [
        f"{module} ({room_of(module)}), line {each.line}: {each.name} ({room_of(each.name)})"
        for module, imports in all_imports().items()
        for each in imports
        if each.name in sources() and room_of(each.name) not in {room_of(module), *ARROWS[room_of(module)]}
    ]
    assert against == []


def test_the_arrows_lead_nowhere_back() -> None:
    TopologicalSorter(ARROWS).prepare()  # raises when they go round in a circle


def test_no_module_imports_itself_by_way_of_others() -> None:
    TopologicalSorter({module: our_imports(module) for module in sources()}).prepare()


def test_the_engine_knows_nothing_of_ansible() -> None:
    assert [
        module for module, each in engine_imports() if each.name.startswith(("ansible", "ansible_collections"))
    ] == []


def test_the_engine_imports_itself_by_relative_names_only() -> None:
    assert [
        f"{module}, line {each.line}: {each.name}"
        for module, each in engine_imports()
        if not each.relative and not is_standard(each.name) and not each.for_types_only
    ] == []
    assert [module for module, each in engine_imports() if each.relative and not each.name.startswith(ENGINE)] == []


def test_a_host_gets_the_whole_engine_with_the_module_that_installs_the_command() -> None:
    engine = {module for module in sources() if module.startswith(ENGINE)}
    assert reached_from(f"{ENGINE}.contents") == engine
    assert reached_from("modules.lifeboat_agent") >= engine


def test_programs_are_started_in_one_place() -> None:
    starting = {module for module, imports in all_imports().items() for each in imports if each.name == "subprocess"}
    assert starting == {f"{ENGINE}.process"}
    calls = re.compile(r"\bos\.(system|popen|exec\w+|spawn\w+|posix_spawn\w*|fork\w*)\(")
    assert {path.name for path in sources().values() if calls.search(path.read_text())} == {
        "privileges.py",
        "detached.py",  # what archive_command starts must import as little as possible
    }


# --- rules for each file


def forbidden(tree: ast.AST) -> Iterator[ast.AST]:
    """What would disturb a module's output, end its process or vanish under `python -O`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert):
            yield node
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"print", "exit", "quit", "sys.exit", "SystemExit"}:
            yield node


def unions_at_run_time(tree: ast.AST) -> Iterator[ast.AST]:
    """`X | Y` of types where it is evaluated: Python 3.9 cannot."""
    for node in ast.walk(without_annotations(tree)):
        if (
            isinstance(node, ast.BinOp)
            and isinstance(node.op, ast.BitOr)
            and (is_type(node.left) or is_type(node.right))
        ):
            yield node


def is_type(node: ast.expr) -> bool:
    if isinstance(node, ast.Subscript):
        return is_type(node.value)
    if isinstance(node, ast.Attribute):
        return bool(re.match(r"[A-Z][a-z]", node.attr))
    if isinstance(node, ast.Name):
        return isinstance(getattr(builtins, node.id, None), type) or bool(re.match(r"_?[A-Z][a-z]", node.id))
    return isinstance(node, ast.Constant) and node.value is None


def without_annotations(tree: ast.AST) -> ast.AST:
    for node in ast.walk(tree):
        for field in ("annotation", "returns"):
            if hasattr(node, field):
                setattr(node, field, None)
    return tree


def test_python_3_9_understands_every_file() -> None:
    trees = {name: ast.parse(path.read_text(), str(path), feature_version=(3, 9)) for name, path in sources().items()}
    assert offences(trees, unions_at_run_time) == []


def test_nothing_prints_or_exits_or_asserts() -> None:
    assert offences({name: ast.parse(path.read_text()) for name, path in sources().items()}, forbidden) == []


def offences(trees: Mapping[str, ast.AST], finder: Finder) -> list[str]:
    return [f"{name}: {ast.unparse(node)}" for name, tree in trees.items() for node in finder(tree)]


@each_rule
def test_every_file_keeps_to_the_rule(rule: Callable[[str], object]) -> None:
    assert [name for name, path in sources().items() if not rule(path.read_text())] == []


# --- the tests above see what they look for


def test_imports_are_found_wherever_they_are() -> None:
    source = """
import os.path
from typing import TYPE_CHECKING
from . import keys, nothing
from ..errors import LifeboatError
from .. import durable
if TYPE_CHECKING:
    import numpy
def late():
    from .sealed import Frame
    from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine import cli
"""
    known = {f"{ENGINE}.{name}" for name in ("durable", "errors", "cli", "repository.keys", "repository.sealed")}
    found = {
        (each.name, each.relative, each.for_types_only) for each in imports_of(source, f"{ENGINE}.repository", known)
    }
    assert found == {
        ("os.path", False, False),
        ("typing", False, False),
        (f"{ENGINE}.repository.keys", True, False),
        (f"{ENGINE}.repository", True, False),
        (f"{ENGINE}.errors", True, False),
        (f"{ENGINE}.durable", True, False),
        ("numpy", False, True),
        (f"{ENGINE}.repository.sealed", True, False),
        (f"{ENGINE}.cli", False, False),
    }


@pytest.mark.parametrize(
    ("finder", "guilty", "innocent"),
    [
        (unions_at_run_time, "Item = dict[str, int] | None", "x: int | None = os.O_RDONLY | os.O_CREAT"),
        (unions_at_run_time, "isinstance(x, Path | str)", "flags = COMPRESSED | LAST"),
        (forbidden, "assert x", "y = 'assert x'"),
        (forbidden, "sys.exit(1)", "sys.stdout.write('x')"),
        (forbidden, "print(1)", "self.print(1)"),
    ],
)
def test_offences_are_told_from_what_looks_like_them(finder: Finder, guilty: str, innocent: str) -> None:
    assert list(finder(ast.parse(guilty)))
    assert not list(finder(ast.parse(innocent)))
