# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What compressors wrote, read in bounded memory and to its real end.

Files of several members, as `cat a.gz b.gz` or parallel compressors make them, are read through.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn

from ... import pipes, thirdparty
from ...errors import ExternalToolError, IntegrityError
from ...process import Runner
from .pieces import SIZE

GZIP, ZSTD, BZIP2, XZ, LZ4 = "gzip", "zstd", "bzip2", "xz", "lz4"

_MAGIC = {
    GZIP: (b"\x1f\x8b\x08",),
    ZSTD: (b"\x28\xb5\x2f\xfd",),
    XZ: (b"\xfd7zXZ\x00",),
    BZIP2: tuple(b"BZh%d1AY&SY" % level for level in range(1, 10)),
    LZ4: (b"\x04\x22\x4d\x18",),
}
_FEW, _MORE = 1 << 6, 1 << 10  # bytes of zstd, whose output cannot be limited: zeros shrink to a 30000th


def recognised(head: bytes) -> str | None:
    """The compressor that wrote this beginning."""
    for name, beginnings in _MAGIC.items():
        if head.startswith(beginnings):
            # gzip's flags have three bits that nothing sets
            return None if name == GZIP and len(head) > 3 and head[3] & 0xE0 else name
    return None


def decompressed(name: str, pieces: Iterable[bytes], runner: Runner, attempted: str) -> Iterator[bytes]:
    """The content of what the compressor `name` wrote."""
    if name == ZSTD:
        return _unzstd(pieces, attempted)
    if name == LZ4:
        return _unlz4(pieces, runner, attempted)
    makers: dict[str, Callable[[], Any]] = {
        GZIP: _Gunzip,
        BZIP2: bz2.BZ2Decompressor,
        XZ: lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ),
    }
    return _members(name, makers[name], pieces, attempted)


class _Gunzip:
    """zlib's decompressor, used as those of bz2 and lzma are."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)

    @property
    def needs_input(self) -> bool:
        return not self._zlib.unconsumed_tail

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data


def _members(name: str, make: Callable[[], Any], pieces: Iterable[bytes], attempted: str) -> Iterator[bytes]:
    """One compressed stream after the other; zeros behind the last one are padding."""
    member, begun = make(), False
    for piece in pieces:
        data = piece
        while True:
            if not begun:
                data = data.lstrip(b"\0") if name != XZ else data
                if not data:
                    break
                begun = True
            try:
                yield member.decompress(data, SIZE)
            except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError) as exc:
                _damaged(name, str(exc), attempted)
            data = b""
            if member.eof:
                data, member, begun = member.unused_data, make(), False
            elif member.needs_input:
                break
    # What a decompressor still holds back comes without more input.
    while begun and not member.eof:
        try:
            rest = member.decompress(b"", SIZE)
        except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError):
            rest = b""
        if not rest and not member.eof:
            _broken_off(name, attempted)
        yield rest


def _unzstd(pieces: Iterable[bytes], attempted: str) -> Iterator[bytes]:
    zstandard = thirdparty.require("zstandard")
    make = zstandard.ZstdDecompressor().decompressobj
    frame, begun, step = make(), False, _FEW
    for piece in pieces:
        at = 0
        while at < len(piece):
            some = piece[at : at + step]
            try:
                output = frame.decompress(some)
            except zstandard.ZstdError as exc:
                _damaged(ZSTD, str(exc), attempted)
            at += len(some)
            begun = True
            step = _FEW if len(output) > SIZE else min(step * 2, _MORE)
            if frame.eof:
                at -= len(frame.unused_data)
                frame, begun = make(), False
            yield output
    if begun:
        _broken_off(ZSTD, attempted)


def _unlz4(pieces: Iterable[bytes], runner: Runner, attempted: str) -> Iterator[bytes]:
    try:
        with pipes.start(runner, ["lz4", "-d", "-c"], stdin=pieces, attempted=attempted) as program:
            yield from iter(program.read, b"")
            program.finish()
    except ExternalToolError as exc:
        _damaged(LZ4, exc.happened, attempted)


def _broken_off(name: str, attempted: str) -> NoReturn:
    raise IntegrityError(
        attempted,
        f"its {name} data end too early.",
        "The file was cut short, when it was made or copied. Take another copy, or another backup.",
        code="foreign_file_truncated",
    )


def _damaged(name: str, reason: str, attempted: str) -> NoReturn:
    raise IntegrityError(
        attempted,
        f"its {name} data are damaged: {reason.rstrip('.')}.",
        "Take another copy, or another backup.",
        code="foreign_file_damaged",
    )
