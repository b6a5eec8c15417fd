# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tar archives made by Python's own tarfile, cut into any pieces."""

from __future__ import annotations

import io
import random
import tarfile
from collections.abc import Iterator

RANDOM = random.Random(5)


def archive(*members: tuple[str, bytes | None, str | None], format: int = tarfile.USTAR_FORMAT) -> bytes:
    """An archive without an end, made by Python's own tarfile: files, directories and links."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=format) as tar:
        for name, content, target in members:
            info = tarfile.TarInfo(name)
            info.mode, info.mtime = 0o640, 1_700_000_000
            if target is not None:
                info.type, info.linkname = tarfile.SYMTYPE, target
            elif content is None:
                info.type = tarfile.DIRTYPE
            else:
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content or b""))
        length = made.tell()
    return made.getvalue()[:length]


def pieces(data: bytes, longest: int = 0) -> Iterator[memoryview]:
    """The data cut anywhere."""
    position = 0
    while position < len(data):
        length = RANDOM.randint(1, longest) if longest else len(data)
        yield memoryview(data)[position : position + length]
        position += length
