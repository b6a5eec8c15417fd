# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module pitr_configure: its options as a request, the outcome as its result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .._engine.jobs.archiving.request import NEVER, REPORT, WHEN_NEEDED, ArchivingRequest, ArchivingResult
from .._engine.jobs.archiving.settings import SettingOptions
from .._engine.specs import ClusterSpec, RepositorySpec
from . import arguments, settings

_ARCHIVE_TIMEOUT = "60"
_RESTART = {"false": REPORT, "true": WHEN_NEEDED}

OPTIONS: arguments.Spec = {
    "state": {"type": "str", "choices": ["absent", "present"], "default": "present"},
    "wal_method": arguments.RECEIVE["wal_method"],
    "slot": arguments.RECEIVE["slot"],
    "archive_timeout": {"type": "str"},
    "wal_level": {"type": "str", "choices": ["replica", "logical"]},
    "max_wal_senders": {"type": "int"},
    "wal_keep_size": {"type": "str"},
    "max_slot_wal_keep_size": {"type": "str"},
    "summarize_wal": {"type": "bool"},
    "wal_compression": {"type": "str", "choices": ["off", "on", "pglz", "lz4", "zstd"]},
    "claim": {"type": "str", "choices": ["incarnation", "timeline"]},
    "restart": {"type": "str", "choices": [NEVER, REPORT, WHEN_NEEDED, "true", "false"], "default": REPORT},
    "replace_archiver": {"type": "bool", "default": False},
    "proof_timeout": {"type": "float", "default": 60},
}


def request(params: dict[str, Any], cluster: ClusterSpec, repository: RepositorySpec) -> ArchivingRequest:
    """What the module's options ask for."""
    remote = cluster.method == "stream"
    absent = params["state"] == "absent"
    by_command = cluster.receive.archives and not remote
    options = SettingOptions(
        archive_timeout=params["archive_timeout"] or (_ARCHIVE_TIMEOUT if by_command else None),
        wal_level=params["wal_level"],
        max_wal_senders=params["max_wal_senders"],
        wal_keep_size=params["wal_keep_size"],
        max_slot_wal_keep_size=params["max_slot_wal_keep_size"],
        summarize_wal=params["summarize_wal"],
        wal_compression=params["wal_compression"],
    )
    return ArchivingRequest(
        cluster,
        repository,
        agent=Path(params["agent_command"]),
        push_options=settings.command_options(params, cluster, repository) if by_command and not absent else (),
        archive=settings.archive_spec(params, cluster, repository),
        claim=params["claim"],
        options=options,
        method_is_said="wal_method" in settings.cluster_values(params),
        restart=_RESTART.get(params["restart"], params["restart"]),
        replace_archiver=params["replace_archiver"],
        proof_timeout=params["proof_timeout"],
        absent=absent,
    )


def values(result: ArchivingResult, *, check_mode: bool) -> dict[str, Any]:
    """What the module returns."""
    slots = {"before": result.slot_before, "after": result.slot_after}
    shown = any(slots.values())
    diff = {
        when: {**settings, **({"replication slot": slots[when] or ""} if shown else {})}
        for when, settings in (("before", result.before), ("after", result.after))
    }
    return {
        "changed": result.changed,
        "restart_required": result.restart_required,
        "restarted": result.restarted,
        "registered": result.registered,
        "incarnation": result.incarnation or "",
        "proven_segment": result.proven_segment or "",
        "settings": result.before if check_mode else result.after,
        "slot": result.slot_after or "",
        "diff": diff,
    }
