# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors: three answers in each message, a code that never changes, and a form that crosses processes."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine import errors
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.errors import (
    LifeboatError,
    StorageError,
)
from harness import CHECKOUT

TOOL = runpy.run_path(str(CHECKOUT / "tools/docs/error_codes.py"))

every_class = pytest.mark.parametrize("cls", [LifeboatError, *LifeboatError.__subclasses__()])


@every_class
def test_an_error_survives_the_way_through_json(cls: type[LifeboatError]) -> None:
    sent = cls("doing it", "it failed.", "Do it again.", code="some_code", file="a", count=3)
    received = errors.from_dict(json.loads(json.dumps(sent.as_dict())))
    assert received.__class__ is cls
    assert received.as_dict() == sent.as_dict()
    assert received.message == sent.message == str(sent)


def test_an_error_of_a_kind_that_a_later_version_knows_is_still_an_error() -> None:
    received = errors.from_dict({**StorageError("a", "b.", "C.", code="c").as_dict(), "kind": "of tomorrow"})
    assert received.__class__ is LifeboatError
    assert received.code == "c"


def test_the_message_says_what_was_attempted_what_happened_and_what_to_do() -> None:
    error = LifeboatError("copying a file", "the disk is full.", "Make room.", code="storage_full")
    assert error.message == "copying a file: the disk is full. Make room."


def test_kinds_are_told_apart() -> None:
    kinds = [cls.kind for cls in (LifeboatError, *LifeboatError.__subclasses__())]
    assert len(set(kinds)) == len(kinds)


# --- the codes


def test_a_code_is_of_one_kind_and_reads_like_one() -> None:
    codes = [code for found in TOOL["codes"](CHECKOUT).values() for code in found]
    assert len(codes) == len(set(codes)) > 50
    assert [code for code in codes if not re.fullmatch(r"[a-z]+(_[a-z]+)*", code)] == []


def test_the_page_of_codes_is_what_the_source_says() -> None:
    assert (CHECKOUT / TOOL["PAGE"]).read_text() == TOOL["page"](CHECKOUT), "run: make docs"


def test_codes_are_found_where_errors_are_made_and_where_helpers_are_told(tmp_path: Path) -> None:
    source = tmp_path / TOOL["SOURCE"]
    (source / "_engine").mkdir(parents=True)
    (source / "_engine/errors.py").write_text('class E(Exception):\n    """Meant."""\n    kind = "sort"\n')
    (source / "here.py").write_text('raise E("a", "b", "c", code="made_here")\n')
    (source / "there.py").write_text('def f(code):\n    return E("a", "b", "c", code=code)\nraise f(code="told")\n')
    ((kind, found),) = TOOL["codes"](tmp_path).items()
    assert (kind.name, kind.meaning) == ("sort", "Meant.")
    assert {code: [file.name for file in files] for code, files in found.items()} == {
        "made_here": ["here.py"],
        "told": ["there.py"],
    }
