# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server's settings, and where each comes from.

What a setting is now, what it will be after a restart, and what it would be without the entry that
ALTER SYSTEM has made are three things. All three are known from the server: `pg_settings` has the
first, the entries of the configuration files the others. The last entry of a name wins, and those
of postgresql.auto.conf come last; only the command line wins over them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from .connection import Connection

AUTO_FILE = "postgresql.auto.conf"
_COMMAND_LINE = ("command line", "environment variable")
_AMOUNT = re.compile(r"([-+]?\d+(?:\.\d+)?)\s*([A-Za-z]*)", re.ASCII)
_FACTORS: Mapping[str, Mapping[str, float]] = {
    "s": {"us": 1e-6, "ms": 1e-3, "s": 1, "min": 60, "h": 3600, "d": 86400},
    "MB": {"B": 2**-20, "kB": 2**-10, "MB": 1, "GB": 2**10, "TB": 2**20},
}
_TRUTHS = {"on": "on", "true": "on", "yes": "on", "1": "on", "off": "off", "false": "off", "no": "off", "0": "off"}
# What `pg_settings` shows in place of a value that has no effect at present.
_HIDDEN = "(disabled)"


@dataclass(frozen=True)
class Entry:
    """A line of a configuration file."""

    text: str
    file: str
    line: int

    @property
    def is_own(self) -> bool:
        """Whether ALTER SYSTEM has made it, and can take it away."""
        return self.file.rpartition("/")[2] == AUTO_FILE


@dataclass(frozen=True)
class Setting:
    """One setting. Values are as `canonical` writes them."""

    name: str
    effective: str
    unit: str = ""
    kind: str = "string"
    context: str = "sighup"
    default: str = ""
    source: str = "default"
    pending_restart: bool = False
    entries: tuple[Entry, ...] = ()
    limits: tuple[int, int] | None = None  # of a number, in its unit
    choices: tuple[str, ...] = ()  # of an enum, those that this server was built for

    @property
    def needs_restart(self) -> bool:
        """Whether a change takes effect only with a restart."""
        return self.context == "postmaster"

    @property
    def is_overridden(self) -> bool:
        """Whether the server was started with it, so that no configuration file counts."""
        return self.source in _COMMAND_LINE

    @property
    def configured(self) -> str:
        """What it is after the next restart, as things are written now."""
        if self.is_overridden or not (self.pending_restart or self.effective == _HIDDEN):
            return self.effective
        return self.canonical(self.entries[-1].text) if self.entries else self.default

    @property
    def own_text(self) -> str | None:
        """What ALTER SYSTEM has written."""
        own = [entry.text for entry in self.entries if entry.is_own]
        return own[-1] if own else None

    @property
    def beneath(self) -> str:
        """What it would be without ALTER SYSTEM's entry."""
        if self.is_overridden:
            return self.effective
        others = [entry for entry in self.entries if not entry.is_own]
        return self.canonical(others[-1].text) if others else self.default

    @property
    def origin(self) -> str:
        """Where its value comes from, for people."""
        if self.is_overridden:
            return f"the server's {self.source}"
        if not self.entries:
            return "the server's defaults"
        return f"{self.entries[-1].file}, line {self.entries[-1].line}"

    @property
    def origin_beneath(self) -> str:
        """Where its value would come from without ALTER SYSTEM's entry."""
        return replace(self, entries=tuple(entry for entry in self.entries if not entry.is_own)).origin

    def canonical(self, text: str) -> str:
        """A value in the one way that it is compared and shown: `60s` for `1min`, `on` for `yes`."""
        if self.kind == "integer":
            return amount_text(text, self.unit)
        lowered = text.strip().lower()
        if self.kind == "bool" or (self.name == "archive_mode" and lowered in _TRUTHS):
            return _TRUTHS.get(lowered, lowered)
        if self.name == "wal_compression":
            said = _TRUTHS.get(lowered, lowered)
            return "pglz" if said == "on" else said
        return lowered if self.kind == "enum" else text


def amount_text(text: str, unit: str) -> str:
    """A number in a setting's own unit, as in `60s`; what is no such number is left as it is."""
    match = _AMOUNT.fullmatch(text.strip())
    factors = _FACTORS.get(unit, {})
    if match is None or (match[2] and match[2] not in factors):
        return text
    number = round(float(match[1]) * (factors[match[2]] if match[2] else 1))
    return f"{number}{unit}" if number > 0 else str(number)


def number_of(value: str) -> int | None:
    """The number of a canonical value; None when it is none."""
    match = _AMOUNT.fullmatch(value)
    return int(float(match[1])) if match else None


def is_amount(text: str, unit: str) -> bool:
    """Whether this is a number, with or without one of the units that PostgreSQL knows beside `unit`."""
    match = _AMOUNT.fullmatch(text.strip())
    return match is not None and (not match[2] or match[2] in _FACTORS[unit])


def read(connection: Connection, names: Iterable[str]) -> dict[str, Setting]:
    """The settings of these names that the server's version knows. Only a superuser sees the files' entries."""
    wanted = list(names)
    attempted = "reading the server's settings"
    entries: dict[str, list[Entry]] = {}
    for name, text, file, line in connection.rows(
        attempted,
        "SELECT name, setting, sourcefile, sourceline FROM pg_file_settings WHERE name = ANY(%s) ORDER BY seqno",
        wanted,
    ):
        entries.setdefault(name, []).append(Entry(text or "", file, line))
    found = {}
    for name, value, unit, kind, context, default, source, pending, lowest, highest, choices in connection.rows(
        attempted,
        "SELECT name, setting, unit, vartype, context, boot_val, source, pending_restart, min_val, max_val, enumvals"
        " FROM pg_settings WHERE name = ANY(%s)",
        wanted,
    ):
        bare = Setting(name, "", unit or "", kind)
        found[name] = Setting(
            name,
            bare.canonical(value),
            bare.unit,
            kind,
            context,
            bare.canonical(default or ""),
            source,
            pending,
            tuple(entries.get(name, ())),
            (int(lowest), int(highest)) if kind == "integer" else None,
            tuple(choices or ()),
        )
    return found
