# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of clusters as plain values, and as one screen for whoever has been woken by it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from ...errors import LifeboatError
from ...report.wording import duration_text, size_text
from .diagnosis import CRITICAL, STATES, Finding, archive_lag, judge, level_of
from .facts import ClusterFacts

_WIDTH = 110


def values(facts: ClusterFacts) -> dict[str, Any]:
    """What modules return and `lifeboat status --json` prints of a cluster."""
    findings, lag, host, server = judge(facts), archive_lag(facts), facts.host, facts.server
    return {
        "cluster": facts.name,
        "stanza": facts.stanza,
        **_verdict(findings),
        "server": {
            "running": host.running if host is not None else server is not None,
            "reachable": server is not None,
            "error": facts.server_error or "",
            "major_version": server.major if server else None,
            "in_recovery": server.in_recovery if server else None,
        },
        "archive": {
            "wal_method": facts.wal_method,
            "lag_segments": lag.segments,
            "lag_seconds": lag.seconds,
            "last_archived": server.last_archived if server else None,
            "last_archived_age": server.last_archived_age if server else None,
            "failing": server.failing if server else None,
            "last_failed": server.last_failed if server else None,
            "last_failed_age": server.last_failed_age if server else None,
            "last_failure": (host.own_failure if host else None) or "",
            "server_log": host.log if host else [],
            "background_alive": host.pusher_alive if host else None,
            "owed": host.owed if host else {},
        },
        "slot": _slot(facts),
        "receiver": asdict(facts.receiver) if facts.receiver else {},
        "repositories": [asdict(repository) for repository in facts.repositories],
    }


def failed(name: str, error: LifeboatError) -> dict[str, Any]:
    """The same of a cluster that could not even be looked at."""
    finding = Finding(CRITICAL, error.code, f"{error.attempted}: {error.happened}", error.remedy)
    return {"cluster": name, "stanza": "", **_verdict([finding]), "repositories": []}


def _verdict(findings: list[Finding]) -> dict[str, Any]:
    level = level_of(findings)
    found = [{**asdict(finding), "state": STATES[finding.level]} for finding in findings]
    return {"level": level, "state": STATES[level], "findings": found}


def _slot(facts: ClusterFacts) -> dict[str, Any]:
    slot = facts.server.slot if facts.server else None
    if not facts.by_slot:
        return {}
    return {
        "name": facts.slot_name,
        "exists": slot is not None,
        "received": slot is not None and slot.active_pid is not None,
        "wal_status": slot.wal_status if slot else None,
        "lag_bytes": slot.retained_bytes if slot else None,
        "limit_bytes": slot.limit_bytes if slot else None,
        "left_bytes": slot.safe_bytes if slot else None,
    }


# --- the screen


def lines(status: dict[str, Any]) -> Iterator[str]:
    """A cluster for people: the verdict, what is wrong and what to do, then how things stand."""
    server = status.get("server", {})
    what = ", ".join(_about(status["stanza"], server))
    yield f"{status['cluster']}: {status['state'].upper()}{f'   ({what})' if what else ''}"
    for finding in status["findings"]:
        yield from _wrapped(f"  {finding['state'].upper():<9}", finding["what"])
        yield from _wrapped("        -> ", finding["todo"])
    for title, text in _standing(status):
        yield from _wrapped(f"  {title:<9}", text)


def _about(stanza: str, server: dict[str, Any]) -> Iterator[str]:
    if stanza:
        yield f"stanza {stanza}"
    if server.get("major_version"):
        yield f"PostgreSQL {server['major_version']} {'standby' if server['in_recovery'] else 'primary'}"


def _wrapped(prefix: str, text: str) -> list[str]:
    # Names and messages of others may be among it: nothing gets through that a terminal would obey.
    shown = "".join(character if character.isprintable() else " " for character in text)
    return textwrap.wrap(
        shown,
        _WIDTH,
        initial_indent=prefix,
        subsequent_indent=" " * len(prefix),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _standing(status: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for repository in status["repositories"]:
        yield "stored" if repository["required"] else "optional", _stored(repository)
    archive, slot = status.get("archive"), status.get("slot")
    if archive and archive["wal_method"] != "stream":
        yield "archive", _archived(archive)
    if slot:
        yield "stream", _received(slot, status["receiver"])


def _stored(repository: dict[str, Any]) -> str:
    where = f"{repository['name']} ({repository['url']}): "
    if repository["error"]:
        return f"{where}cannot be read"
    newest = repository["newest"]
    if newest is None:
        backups = "no backups"
    else:
        backups = (
            f"{repository['backups']} backup{'' if repository['backups'] == 1 else 's'}, the newest"
            f" {duration_text(newest['age'])} old ({newest['backup_id']}); recoverable from {repository['earliest']}"
        )
    gaps = f"; WAL given up: {'; '.join(repository['gaps'])}" if repository["gaps"] else ""
    return f"{where}{backups}; newest WAL {repository['last_segment'] or 'none'}{gaps}"


def _archived(archive: dict[str, Any]) -> str:
    if archive["lag_segments"] is None:
        return "what waits is not known"
    parts = [f"{archive['lag_segments']} files wait"]
    if archive["lag_seconds"]:
        parts[0] += f", the oldest for {duration_text(archive['lag_seconds'])}"
    if archive["last_archived"]:
        ago = archive["last_archived_age"]
        parts.append(f"last archived {archive['last_archived']}{f' {duration_text(ago)} ago' if ago else ''}")
    if archive["background_alive"] is not None:
        parts.append(f"background {'at work' if archive['background_alive'] else 'idle'}")
    parts += [f"{name} is owed {files} files" for name, files in archive["owed"].items() if files]
    return "; ".join(parts)


def _received(slot: dict[str, Any], receiver: dict[str, Any]) -> str:
    if not slot["exists"]:
        return f"slot {slot['name']} is not there"
    limit = f" of {size_text(slot['limit_bytes'])} that it may keep" if slot["limit_bytes"] else ""
    who = "a receiver is connected" if slot["received"] else "no receiver is connected"
    spool = f", {receiver['waiting']} files in its spool" if receiver.get("alive") else ""
    gaps = f"; gaps: {', '.join(receiver['gaps'])}" if receiver.get("gaps") else ""
    kept = f"{size_text(slot['lag_bytes'] or 0)}{limit} ({slot['wal_status']})"
    return f"slot {slot['name']} keeps {kept}; {who}{spool}{gaps}"
