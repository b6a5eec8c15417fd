# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How users name files of a backup: a path, a directory with everything below it, or a pattern.

`*` and `?` stand for characters of one name and `[...]` for one of several characters, as in a
shell; `**` crosses directories.
"""

from __future__ import annotations

import re

from ...errors import PreconditionError

_WILDCARD = re.compile(r"(\*\*/?|\*|\?|\[!?\]?[^\]]*\])")


class PathPattern:
    """One path or pattern, relative to the data directory."""

    def __init__(self, text: str) -> None:
        self.text = text
        path = text[2:] if text.startswith("./") else text
        path = path.rstrip("/")
        try:
            if not path or path.startswith("/") or ".." in path.split("/"):
                raise ValueError("it is not a path relative to the data directory.")
            parts = (_translated(part) for part in _WILDCARD.split(path))
            self._expression = re.compile("".join(parts) + r"(?:/.*)?\Z", re.DOTALL)
        except (ValueError, re.error) as exc:
            raise PreconditionError(
                f"reading the path {text!r}",
                str(exc),
                "Write it as PostgreSQL does, such as postgresql.conf or base/16384/16385.",
                code="path_invalid",
            ) from exc

    def matches(self, path: str) -> bool:
        """Whether the path is meant, by itself or through a directory above it."""
        return self._expression.match(path) is not None


def _translated(part: str) -> str:
    if part == "**/":
        return "(?:.*/)?"
    if part == "**":
        return ".*"
    if part == "*":
        return "[^/]*"
    if part == "?":
        return "[^/]"
    if _WILDCARD.fullmatch(part):
        inside = part[1:-1].replace("\\", "\\\\").replace("[", "\\[")
        return f"(?!/)[{'^' + inside[1:] if inside.startswith('!') else inside}]"
    return re.escape(part)
