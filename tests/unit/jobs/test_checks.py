# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What users assert of restored data, and how failures become evidence."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.errors import PreconditionError
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.verify.checks import (
    Assertion,
    Check,
    attempt,
)


@pytest.mark.parametrize(
    ("expected", "value", "good"),
    [
        ({}, "whatever", True),
        ({"equals": "3"}, 3, True),
        ({"equals": "3"}, "3", True),
        ({"equals": "3"}, 4, False),
        ({"equals": "3"}, None, False),
        ({"equals": "None"}, None, False),
        ({"equals": "0"}, None, False),
        ({"at_least": 3}, 3, True),
        ({"at_least": 3}, Decimal("3.5"), True),
        ({"at_least": 3}, 2.9, False),
        ({"at_least": 0}, None, False),
        ({"at_least": 3}, "many", False),
        ({"at_least": 3}, float("nan"), False),
        ({"at_least": 3, "equals": "5"}, 5, True),
        ({"at_least": 3, "equals": "2"}, 2, False),
    ],
)
def test_an_assertion_judges(expected: dict[str, Any], value: Any, good: bool) -> None:
    check = Assertion("name", "SELECT 1", **expected).judge(value)
    assert (check.name, check.ok) == ("name", good)
    assert repr(value) in check.evidence


def test_a_failure_of_ours_is_evidence_and_a_defect_is_not() -> None:
    def refuse() -> str:
        raise PreconditionError("looking", "it is dark.", "Make light.", code="dark")

    assert attempt("name", lambda: "seen") == Check("name", True, "seen")
    assert attempt("name", refuse) == Check("name", False, "looking: it is dark. Make light.")
    with pytest.raises(ZeroDivisionError):
        attempt("name", lambda: str(1 // 0))
