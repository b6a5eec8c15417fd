# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From where on something is a warning, and from where on it is critical.

thresholds = backup_age=26h/50h, archive_lag=5min/30min, archive_waiting=20/200, slot_lag=10GB/50GB
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, fields, replace

from .errors import PreconditionError

THRESHOLDS_KEY = "thresholds"
_ONE = re.compile(r"\s*(\w+)\s*=\s*([^/]+?)\s*/\s*([^/]+?)\s*", re.ASCII)
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", re.ASCII)
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}
_UNITS = {"backup_age": _SECONDS, "archive_lag": _SECONDS, "archive_waiting": {"": 1.0}, "slot_lag": _BYTES}


@dataclass(frozen=True)
class Threshold:
    """A number that is fine below `warning`, and bad from `critical` on."""

    warning: float
    critical: float

    def level(self, value: float) -> int:
        """0 fine, 1 warning, 2 critical."""
        return 2 if value >= self.critical else 1 if value >= self.warning else 0


@dataclass(frozen=True)
class Thresholds:
    """Of one cluster; the defaults suit a backup a day."""

    backup_age: Threshold = Threshold(26 * 3600.0, 50 * 3600.0)  # seconds since the newest backup's end
    archive_lag: Threshold = Threshold(300.0, 1800.0)  # seconds that the oldest segment waits
    archive_waiting: Threshold = Threshold(20, 200)  # segments that wait
    slot_lag: Threshold = Threshold(10e9, 50e9)  # bytes that a slot without a limit holds


def parse(cluster: str, text: str | None) -> Thresholds:
    """What a setting says; whatever it leaves out has its default."""
    found = Thresholds()
    for part in filter(str.strip, (text or "").split(",")):
        match = _ONE.fullmatch(part)
        if match is None or match[1] not in {each.name for each in fields(Thresholds)}:
            raise _invalid(cluster, part)
        warning, critical = (_number(cluster, part, match[1], word) for word in (match[2], match[3]))
        if not warning <= critical:
            raise _invalid(cluster, part)
        found = replace(found, **{match[1]: Threshold(warning, critical)})
    return found


def _number(cluster: str, part: str, name: str, word: str) -> float:
    if word == "never":
        return math.inf
    match, units = _AMOUNT.fullmatch(word), _UNITS[name]
    if match is None or match[2] not in units:
        raise _invalid(cluster, part)
    return float(match[1]) * units[match[2]]


def _invalid(cluster: str, part: str) -> PreconditionError:
    return PreconditionError(
        f"describing the cluster {cluster}",
        f"{part.strip()!r} is no threshold.",
        "Give NAME=WARNING/CRITICAL, such as backup_age=26h/50h (also archive_lag; s, min, h, d),"
        " archive_waiting=20/200 or slot_lag=10GB/50GB, the lower one first; or never.",
        code="setting_invalid",
        setting=THRESHOLDS_KEY,
    )
