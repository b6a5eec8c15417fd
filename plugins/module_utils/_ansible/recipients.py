# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option `recipients` of `pg_backup_repository`, and what it shows of them: never more than fingerprints."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .._engine.jobs.repository.recipients import Described, RecipientsResult, WantedRecipient
from .._engine.specs import KeySpec

OPTION: dict[str, Any] = {
    "type": "list",
    "elements": "dict",
    "default": [],
    "options": {
        "label": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["absent", "present"], "default": "present"},
        "key_file": {"type": "path", "no_log": False},
        "passphrase_file": {"type": "path", "no_log": False},
        "passphrase": {"type": "str", "no_log": True},
        "access": {"type": "str", "choices": ["full", "metadata"], "default": "full"},
    },
}


def wanted(given: Iterable[dict[str, Any]]) -> list[WantedRecipient]:
    """The option's value, typed."""
    return [
        WantedRecipient(
            label=each["label"],
            key=KeySpec(
                key_file=Path(each["key_file"]) if each["key_file"] else None,
                passphrase_file=Path(each["passphrase_file"]) if each["passphrase_file"] else None,
                passphrase=each["passphrase"] or None,
            ),
            access=each["access"],
            present=each["state"] == "present",
        )
        for each in given
    ]


def result(url: str, found: RecipientsResult) -> dict[str, Any]:
    """What the module returns about them."""
    known = {each.label for each in found.before}
    header = f"recipients of {url}"
    return {
        "recipients": [asdict(each) for each in found.after],
        "recipient_key_files": found.made_key_files,
        "diff": {
            "before_header": header,
            "after_header": header,
            "before": _text(found.before, known),
            "after": _text(found.after, known),
        },
    }


def _text(recipients: Iterable[Described], known: set[str]) -> str:
    """One line each. The fingerprint of a new one is left out, so that check mode shows the same."""
    return "".join(
        f"{each.label}: {each.key_id if each.label in known else 'new'} ({each.provider}, {each.access})\n"
        for each in recipients
    )
