# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a retention run has done or would do: as plain values, as lines for people, and as a diff."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from ...report.wording import size_text
from .expire import ExpireResult
from .plan import Verdict

_AMOUNTS = (
    ("condemned", "marked now, because nobody needs them"),
    ("deleted", "deleted, because nobody has needed them for long enough"),
    ("waiting", "waiting to be deleted when the grace period is over"),
)


def _backup(verdict: Verdict) -> dict[str, Any]:
    header = verdict.backup
    return {
        "id": header.backup_id,
        "class": header.backup_class,
        "finished": header.finished,
        "reasons": verdict.reasons,
    }


def values(result: ExpireResult) -> dict[str, Any]:
    """What modules return and `lifeboat --json` prints."""
    return {
        "changed": result.changed,
        "kept": [_backup(verdict) for verdict in result.verdicts if verdict.keep],
        "expired": [_backup(verdict) for verdict in result.expired],
        "wal": [asdict(each) for each in result.wal],
        "condemned": asdict(result.condemned),
        "waiting": asdict(result.waiting),
        "deleted": asdict(result.deleted),
        "forgotten": [{"id": backup_id, "reason": reason} for backup_id, reason in sorted(result.forgotten.items())],
        "withdrawn": result.withdrawn,
        "unfinished": result.unfinished,
    }


def lines(result: dict[str, Any]) -> list[str]:
    """A line for every backup, in order, and one for every kind of garbage."""
    verdicts = [("keep  ", each) for each in result["kept"]] + [("expire", each) for each in result["expired"]]
    verdicts.sort(key=lambda item: str(item[1]["id"]))
    found = [f"{what}  {_described(each)}" for what, each in verdicts] + list(_garbage(result))
    return found or ["there is nothing to keep and nothing to remove"]


def diff(result: dict[str, Any], stanza: str) -> dict[str, str]:
    """Backups that go and garbage that is marked or deleted are lines that vanish, with their reasons."""
    every = {each["id"]: _described(each) for each in [*result["kept"], *result["expired"]]}
    kept = {each["id"] for each in result["kept"]}
    garbage = list(_garbage({**result, "waiting": {"objects": 0}}))
    header = f"backups of {stanza}"
    return {
        "before_header": header,
        "after_header": header,
        "before": "".join(f"{line}\n" for line in [*(every[each] for each in sorted(every)), *garbage]),
        "after": "".join(f"{every[each]}\n" for each in sorted(kept)),
    }


def _described(backup: dict[str, Any]) -> str:
    return f"{backup['id']} ({backup['class']}): {'; '.join(backup['reasons'])}"


def _garbage(result: dict[str, Any]) -> Iterator[str]:
    for each in result["forgotten"]:
        yield f"{each['id']}, which was never finished: {each['reason']}"
    for each in result["withdrawn"]:
        yield f"{each}, which became visible after it had been given up"
    for each in result["wal"]:
        yield (
            f"WAL of timeline {each['timeline']} from {each['first']} to {each['last']} ({each['files']} files):"
            " no kept backup needs it"
        )
    if result["unfinished"]:
        yield f"{result['unfinished']} writes that were begun long ago and never finished"
    for name, text in _AMOUNTS:
        amount = result[name]
        if amount["objects"]:
            yield f"{amount['objects']} objects ({size_text(amount['bytes'])}) {text}"
