# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers that belong to Patroni: it owns their settings and slots, and would undo what is changed behind its back."""

from __future__ import annotations

import json
from collections.abc import Mapping

from ..errors import PreconditionError
from .connection import Connection

# It keeps a copy of its configuration in the data directory, and names itself in its sessions.
_LOOK = """
SELECT (pg_stat_file('patroni.dynamic.json', true)).size IS NOT NULL
    OR EXISTS (SELECT FROM pg_stat_activity WHERE application_name LIKE 'Patroni%%')
 WHERE %s
"""


def governs(connection: Connection) -> bool:
    """Whether the server is a member of a Patroni cluster."""
    return bool(connection.row("asking whether Patroni runs the server", _LOOK, True)[0])


def refusal(settings: Mapping[str, str | None], slot: str | None) -> PreconditionError:
    """What to tell Patroni instead; None takes a setting away."""
    parts = []
    if settings:
        parts.append(f"postgresql: {{parameters: {json.dumps(dict(settings))}}}")
    if slot is not None:
        parts.append(f"slots: {{{slot}: {{type: physical}}}}")
    return PreconditionError(
        "changing the server's settings",
        "the server is run by Patroni, which owns its settings and its replication slots.",
        f"Nothing was changed. Run patronictl edit-config, merge this, then run this again for the proof:"
        f" {{{', '.join(parts)}}}",
        code="settings_of_patroni",
        settings=dict(settings),
        slot=slot,
    )
