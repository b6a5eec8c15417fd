# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting until WAL is durable in the repository, with the server's own reason when it is not."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...clock import Clock
from ...errors import PreconditionError
from ...repository.wal import WalArchive

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
_SOON_SECONDS = 5.0


def wait_for_segments(
    archive: WalArchive,
    segments: Sequence[str],
    why: Callable[[], str],
    clock: Clock,
    timeout: float,
    still: Callable[[str], None] = lambda _segment: None,
) -> None:
    """Return when every segment is in the repository; look there, not at what the server believes.

    `why` gives the server's own reason, as far as it tells one, when they do not come. `still` is told once, and
    soon, that the first of them has not come yet: somebody may be able to help.
    """
    began = clock.monotonic()
    deadline, told = began + timeout, False
    pause = _FIRST_PAUSE
    missing = list(segments)
    while True:
        missing = [segment for segment in missing if archive.find(segment) is None]
        if not missing:
            return
        if clock.monotonic() >= deadline:
            raise PreconditionError(
                f"waiting for WAL segment {missing[0]} in the repository",
                f"it has not arrived within {timeout:g} s. {why()}",
                "See the server's log for what archive_command printed; give archive_wait more time if the"
                " archive is only slow.",
                code="wal_not_archived",
                missing=missing,
            )
        if not told and clock.monotonic() >= began + _SOON_SECONDS:
            told = True
            still(missing[0])
        clock.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)
