# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of the server's settings have to change, decided before anything does.

What was changed is noted on the server, with what ALTER SYSTEM had written there before. So what
is not wanted any more can be taken back without touching what others have set, then or since.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...errors import PreconditionError, UnsupportedError
from ...postgres.settings import Setting, is_amount, number_of

ARCHIVE_SETTINGS = ("archive_command", "archive_library", "archive_mode", "archive_timeout")
MANAGED = (
    *ARCHIVE_SETTINGS,
    "max_replication_slots",
    "max_slot_wal_keep_size",
    "max_wal_senders",
    "summarize_wal",
    "wal_compression",
    "wal_keep_size",
    "wal_level",
)
# Our own part of a command line, however it is quoted.
OURS = " archive-push "
_LEVELS = ("minimal", "replica", "logical")
_DEFAULT_NUMBER = "10"  # PostgreSQL's own for senders and slots
_SUMMARIES_SINCE = 17
_COMPRESSION_METHODS_SINCE = 15
_OLDEST_COMPRESSION = "pglz"  # which `on` means


@dataclass(frozen=True)
class SettingOptions:
    """What the user says about settings; None leaves one as it is."""

    archive_timeout: str | None = None
    wal_level: str | None = None
    max_wal_senders: int | None = None
    wal_keep_size: str | None = None
    max_slot_wal_keep_size: str | None = None
    summarize_wal: bool | None = None
    wal_compression: str | None = None

    def any(self) -> bool:
        """Whether anything is said."""
        return any(value is not None for value in vars(self).values())


@dataclass(frozen=True)
class Noted:
    """A setting that was changed: to what, and what ALTER SYSTEM had there before (None: nothing)."""

    made: str
    before: str | None


Record = Mapping[str, Noted]


@dataclass(frozen=True)
class SettingsPlan:
    """What is there, what is to be, and how to come from one to the other."""

    before: dict[str, str] = field(default_factory=dict)
    after: dict[str, str] = field(default_factory=dict)
    writes: dict[str, str | None] = field(default_factory=dict)  # None: ALTER SYSTEM RESET
    restart: list[str] = field(default_factory=list)  # what only a restart brings into effect
    record: dict[str, Noted] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def wanted(
    options: SettingOptions, found: Mapping[str, Setting], major: int, *, command: str | None, streams: bool
) -> dict[str, str]:
    """The values that settings shall have. `command` is given where the server's own archiving is looked after."""
    values: dict[str, str] = {}
    if command is not None:
        values["archive_command"] = command
        values["archive_mode"] = "always" if found["archive_mode"].configured == "always" else "on"
        if "archive_library" in found and found["archive_library"].configured:
            values["archive_library"] = ""
    if options.archive_timeout is not None:
        values["archive_timeout"] = _amount("archive_timeout", options.archive_timeout, "s")
    level = options.wal_level or "replica"
    needs = (streams, options.wal_level, options.max_wal_senders, options.summarize_wal)
    if command is not None or any(needs):  # never lowered: somebody else needs the higher one
        values["wal_level"] = max(level, found["wal_level"].configured, key=_LEVELS.index)
    if options.max_wal_senders is not None:
        values["max_wal_senders"] = str(options.max_wal_senders)
    for name in ("wal_keep_size", "max_slot_wal_keep_size"):
        given = getattr(options, name)
        if given is not None:
            values[name] = _amount(name, given, "MB")
    if streams:
        for name in ("max_wal_senders", "max_replication_slots"):
            if name not in values and found[name].configured == "0":
                values[name] = _DEFAULT_NUMBER
    if options.summarize_wal is not None:
        if major >= _SUMMARIES_SINCE:
            values["summarize_wal"] = "on" if options.summarize_wal else "off"
        elif options.summarize_wal:
            raise UnsupportedError(
                "setting summarize_wal",
                f"PostgreSQL {major} does not know it.",
                f"Leave summarize_wal out before PostgreSQL {_SUMMARIES_SINCE}; Lifeboat's incremental backups do not"
                " need it.",
                code="setting_unknown_to_server",
                setting="summarize_wal",
            )
    if options.wal_compression is not None:
        values["wal_compression"] = _compression(options.wal_compression, found["wal_compression"], major)
    if streams and values.get("max_wal_senders") == "0":
        raise _invalid("max_wal_senders", "0", "The streaming receiver needs one; give it a higher number.")
    return {name: _within(found[name], found[name].canonical(value)) for name, value in values.items()}


def plan(
    values: Mapping[str, str], taken_back: Iterable[str], found: Mapping[str, Setting], record: Record
) -> SettingsPlan:
    """Compare; refuse what no configuration file can change."""
    made = SettingsPlan(record=dict(record))
    for name, value in sorted(values.items()):
        setting = found[name]
        _show(made, setting, value)
        if setting.configured != value:
            _require_not_overridden(setting, value)
            made.writes[name] = value
            made.record[name] = Noted(value, _text_before(setting, record.get(name)))
    for name in sorted(set(taken_back) & set(found) - set(values)):
        noted = made.record.pop(name, None)
        setting = found[name]
        if noted is None or not _is_still_there(setting, noted):
            continue
        made.writes[name] = noted.before
        value = setting.beneath if noted.before is None else setting.canonical(noted.before)
        _show(made, setting, setting.effective if setting.is_overridden else value)
        if value == setting.configured and noted.before is None:
            made.warnings.append(f"{name} stays {value}: {setting.origin_beneath} says so")
    return made


def archives_elsewhere(found: Mapping[str, Setting]) -> str | None:
    """The program that archives at present, unless it is ours."""
    library = found["archive_library"].effective if "archive_library" in found else ""
    command = found["archive_command"].effective
    return library or (command if command not in ("", "(disabled)") and OURS not in command else None)


def legacy_record(found: Mapping[str, Setting]) -> Record:
    """What must have been changed on a server that archives with our command and has no note of it."""
    if OURS not in (found["archive_command"].own_text or ""):
        return {}
    names = ("archive_command", "archive_mode", "archive_timeout")
    texts = {name: found[name].own_text for name in names}
    return {name: Noted(text, None) for name, text in texts.items() if text is not None}


def record_text(record: Record, slot: str | None) -> str:
    """As it stands in the note."""
    settings = {name: {"made": noted.made, "before": noted.before} for name, noted in sorted(record.items())}
    return json.dumps({"settings": settings, "slot": slot})


def parse_record(text: str | None) -> tuple[dict[str, Noted] | None, str | None]:
    """The settings and the slot of a note; None where there is no note."""
    if not text or not text.strip():
        return None, None
    document: Any = json.loads(text)
    settings = {name: Noted(each["made"], each["before"]) for name, each in document.get("settings", {}).items()}
    return settings, document.get("slot")


def _show(made: SettingsPlan, setting: Setting, value: str) -> None:
    made.before[setting.name] = setting.configured
    made.after[setting.name] = value
    if setting.needs_restart and setting.effective != value:
        made.restart.append(setting.name)


def _is_still_there(setting: Setting, noted: Noted) -> bool:
    """Whether nobody has set it to something else since."""
    return setting.own_text is not None and setting.canonical(setting.own_text) == setting.canonical(noted.made)


def _text_before(setting: Setting, noted: Noted | None) -> str | None:
    """What to go back to: what was there before our first change, unless somebody else has changed it since."""
    if noted is not None and _is_still_there(setting, noted):
        return noted.before
    return setting.own_text


def _require_not_overridden(setting: Setting, value: str) -> None:
    if setting.is_overridden:
        raise PreconditionError(
            f"setting {setting.name} to {value}",
            f"it is {setting.effective!r}, and {setting.origin} says so, which wins over every configuration file.",
            f"Start the server without {setting.name} there, or give it this value; nothing was changed.",
            code="setting_not_effective",
            setting=setting.name,
            source=setting.source,
        )


def _compression(wanted: str, setting: Setting, major: int) -> str:
    """The server's own word: before 15 it only knows whether, later also how, as far as it was built to."""
    if setting.kind == "bool":
        if wanted in ("off", "on", _OLDEST_COMPRESSION):
            return "off" if wanted == "off" else "on"
        happened = f"PostgreSQL {major} can only compress with {_OLDEST_COMPRESSION}."
        remedy = f"Give on or off; {wanted} takes PostgreSQL {_COMPRESSION_METHODS_SINCE} or newer."
    else:
        value = setting.canonical(wanted)
        if value in setting.choices:
            return value
        happened = f"this server was built without {wanted}: it takes {', '.join(setting.choices)}."
        remedy = "Give one of these, or install packages of PostgreSQL that have it."
    raise UnsupportedError(
        f"setting wal_compression to {wanted}",
        happened,
        remedy,
        code="setting_unknown_to_server",
        setting="wal_compression",
    )


def _within(setting: Setting, value: str) -> str:
    """Refuse what the server would refuse, before the first setting is written."""
    number = number_of(value)
    if setting.limits is None or (number is not None and setting.limits[0] <= number <= setting.limits[1]):
        return value
    lowest, highest = setting.limits
    raise _invalid(setting.name, value, f"The server takes {lowest} to {highest}{setting.unit}.")


def _amount(name: str, text: str, unit: str) -> str:
    if is_amount(text, unit):
        return text
    examples = "90s or 5min" if unit == "s" else "512MB or 10GB"
    raise _invalid(name, text, f"Give a number, or one with a unit that PostgreSQL knows, such as {examples}.")


def _invalid(name: str, value: str, remedy: str) -> PreconditionError:
    return PreconditionError(
        f"setting {name}", f"{value!r} is not possible.", remedy, code="setting_invalid", setting=name
    )
