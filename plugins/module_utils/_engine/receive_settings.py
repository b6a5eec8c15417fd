# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a cluster's WAL leaves its server, read from flat settings: one grammar wherever they are written.

wal_method = both
slot = lifeboat_main
partial_interval = 5
spool = /var/lib/lifeboat/main
synchronous = false
"""

from __future__ import annotations

import configparser
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .errors import PreconditionError

ARCHIVE, STREAM, BOTH = "archive", "stream", "both"
WAL_METHODS = (ARCHIVE, STREAM, BOTH)
RECEIVE_KEYS = ("wal_method", "slot", "partial_interval", "spool", "synchronous")
DEFAULT_SPOOLS = Path("/var/lib/lifeboat")
DEFAULT_PARTIAL_INTERVAL = 5.0
_SLOT_NAME = re.compile(r"[a-z0-9_]{1,63}", re.ASCII)
_OTHER_CHARACTERS = re.compile(r"[^a-z0-9_]+")


@dataclass(frozen=True)
class ReceiveSpec:
    """What the streaming receiver of a cluster is to do; whether there is one at all, `wal_method` says."""

    wal_method: str = ARCHIVE
    slot: str = ""  # never empty once parsed
    spool: Path = DEFAULT_SPOOLS
    partial_interval: float | None = DEFAULT_PARTIAL_INTERVAL  # seconds; None: finished segments only
    synchronous: bool = False

    @property
    def archives(self) -> bool:
        """Whether the server runs our archive_command."""
        return self.wal_method in (ARCHIVE, BOTH)

    @property
    def streams(self) -> bool:
        """Whether a receiver takes its WAL, by way of the slot."""
        return self.wal_method in (STREAM, BOTH)


def slot_for(cluster: str) -> str:
    """The replication slot of a cluster's receiver unless another one is named."""
    return "lifeboat_" + _OTHER_CHARACTERS.sub("_", cluster.lower())[:54]


def parse(cluster: str, values: Mapping[str, str]) -> ReceiveSpec:
    """What flat settings describe."""
    method = values.get("wal_method") or ARCHIVE
    if method not in WAL_METHODS:
        raise _invalid(cluster, f"{method!r} is no way for WAL.", f"Give wal_method as {', '.join(WAL_METHODS)}.")
    slot = values.get("slot") or slot_for(cluster)
    if not _SLOT_NAME.fullmatch(slot):
        raise _invalid(
            cluster,
            f"{slot!r} is no name of a replication slot.",
            "Give slot in lower-case letters, digits and '_', at most 63.",
        )
    spool = Path(values.get("spool") or DEFAULT_SPOOLS / cluster)
    if not spool.is_absolute():
        raise _invalid(cluster, f"{str(spool)!r} is no absolute path.", "Give spool as one.")
    return ReceiveSpec(
        method,
        slot,
        spool,
        _interval(cluster, values.get("partial_interval")),
        _truth(cluster, values.get("synchronous")),
    )


def _interval(cluster: str, text: str | None) -> float | None:
    if text is None or text == "":
        return DEFAULT_PARTIAL_INTERVAL
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= 86400:
        raise _invalid(
            cluster,
            f"{text!r} is no number of seconds.",
            "Give partial_interval as one, or 0 to ship finished segments only.",
        )
    return seconds or None


def _truth(cluster: str, text: str | None) -> bool:
    states = configparser.ConfigParser.BOOLEAN_STATES
    if text and text.lower() not in states:
        raise _invalid(
            cluster, f"{text!r} is neither yes nor no.", "Give synchronous as true or false, or leave it out."
        )
    return states[text.lower()] if text else False


def _invalid(cluster: str, happened: str, remedy: str) -> PreconditionError:
    return PreconditionError(f"describing the cluster {cluster}", happened, remedy, code="setting_invalid")
