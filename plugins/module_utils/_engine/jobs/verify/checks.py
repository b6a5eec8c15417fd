# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks and their evidence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...errors import LifeboatError


@dataclass(frozen=True)
class Check:
    """One thing that was looked at, and what was seen."""

    name: str
    ok: bool
    evidence: str


@dataclass(frozen=True)
class Assertion:
    """What the user expects of the restored data: a query's single value, or a table's row count."""

    name: str
    query: str
    database: str = "postgres"
    equals: str | None = None
    at_least: float | None = None

    def judge(self, value: Any) -> Check:
        """Compare; a value that is not there, or no number where one is needed, is a failure."""
        seen = f"{self.query} returned {value!r}"
        if self.equals is not None and (value is None or str(value) != self.equals):
            return Check(self.name, False, f"{seen}, expected {self.equals!r}")
        if self.at_least is not None:
            try:
                enough = float(value) >= self.at_least
            except (TypeError, ValueError):
                enough = False
            if not enough:
                return Check(self.name, False, f"{seen}, expected at least {self.at_least:g}")
        return Check(self.name, True, seen)


def attempt(name: str, check: Callable[[], str]) -> Check:
    """A check that reports its evidence, or fails with an error of ours."""
    try:
        return Check(name, True, check())
    except LifeboatError as exc:
        return Check(name, False, exc.message)
