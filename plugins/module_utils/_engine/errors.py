# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one exception tree, by cause.

Every message answers three questions: what was attempted, what happened, what to do next.
`code` is stable: users and tests match on it, so it never changes once released.
"""

from __future__ import annotations

from typing import Any


class LifeboatError(Exception):
    """Base of everything the engine raises on purpose."""

    kind = "error"

    def __init__(self, attempted: str, happened: str, remedy: str, *, code: str, **details: Any) -> None:
        self.attempted = attempted
        self.happened = happened
        self.remedy = remedy
        self.code = code
        self.details = details
        super().__init__(self.message)

    @property
    def message(self) -> str:
        """One paragraph for people: attempt, cause and remedy."""
        return f"{self.attempted}: {self.happened} {self.remedy}".strip()

    def as_dict(self) -> dict[str, Any]:
        """A form that crosses process borders and goes into results and job files."""
        return {
            "kind": self.kind,
            "code": self.code,
            "attempted": self.attempted,
            "happened": self.happened,
            "remedy": self.remedy,
            "details": self.details,
        }


class PreconditionError(LifeboatError):
    """The world is not as the task needs it; nothing was changed."""

    kind = "precondition"


class UnsupportedError(LifeboatError):
    """What was asked for cannot be done with this server, file or version."""

    kind = "unsupported"


class IntegrityError(LifeboatError):
    """Bytes are not what they must be: damaged, swapped, missing or from somebody else."""

    kind = "integrity"


class ExternalToolError(LifeboatError):
    """A program we started failed."""

    kind = "external_tool"


class StorageError(LifeboatError):
    """Bytes could not be stored or fetched."""

    kind = "storage"


class InterruptedJobError(LifeboatError):
    """The job was stopped before its end: by a signal, a vanished server, a lost session."""

    kind = "interrupted"


_KINDS: dict[str, type[LifeboatError]] = {
    cls.kind: cls
    for cls in (
        LifeboatError,
        PreconditionError,
        UnsupportedError,
        IntegrityError,
        ExternalToolError,
        StorageError,
        InterruptedJobError,
    )
}


def from_dict(data: dict[str, Any]) -> LifeboatError:
    """Rebuild an error that another process sent with `as_dict`."""
    cls = _KINDS.get(str(data.get("kind")), LifeboatError)
    return cls(
        str(data["attempted"]),
        str(data["happened"]),
        str(data["remedy"]),
        code=str(data["code"]),
        **dict(data.get("details") or {}),
    )
