# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a stream's content is, told from its beginning."""

from __future__ import annotations

import codecs
import re

from . import compression, dump_ends, dump_header, openpgp, openssl_enc
from .description import ARCHIVE, ARCHIVE_TAR, BASE_BACKUP_TAR, FILE_SET, SQL, SQLITE, UNKNOWN, Payload

SIZE = 1 << 16  # of the beginning that is looked at

_SQLITE = b"SQLite format 3\x00"
_TAR_BLOCK = 512
_SURELY_NO_NOISE = 1024
_WIDE_TEXT = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_STATEMENT = re.compile(
    r"\s*(?:SET|CREATE|INSERT|COPY|BEGIN|START|ALTER|DROP|SELECT|TRUNCATE|UPDATE|DELETE|GRANT|REVOKE|COMMENT|WITH|DO"
    r"|\\[a-z])\b",
    re.I,
)
_REMARK = re.compile(r"\s*(?:--[^\n]*(?:\n|\Z)|/\*.*?\*/)", re.S)
_OTHER_SQL = re.compile(rb"^-- (?:MySQL|MariaDB) dump", re.M)


def payload_of(head: bytes) -> Payload:
    """The content that begins so."""
    if head.startswith(_SQLITE):
        return Payload(SQLITE)
    archive = dump_header.parse(head)
    if archive:
        return _archive(archive, ARCHIVE)
    if is_tar(head):
        return _tar(head)
    if head.startswith(_WIDE_TEXT):
        return Payload(UNKNOWN, note="It is text in UTF-16, as a redirection in Windows PowerShell writes it; pg_dump"
                       " writes a file that can be restored with --file.")  # fmt: skip
    return _sql(head)


def is_known(head: bytes) -> bool:
    """Whether this begins like anything that we know, another layer included; or is text, at least.

    A few bytes of noise may pass for text in some encoding, but not in UTF-8.
    """
    if compression.recognised(head) or openpgp.recognised(head) or head.startswith(openssl_enc.MAGIC):
        return True
    if payload_of(head).kind != UNKNOWN:
        return True
    return _is_text(head) and (len(head) >= _SURELY_NO_NOISE or _is_utf8(head))


def _is_utf8(head: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # the last letter may be cut
    except UnicodeDecodeError:
        return False
    return True


def is_tar(head: bytes) -> bool:
    """Whether the first block is a tar header whose checksum holds."""
    block = head[:_TAR_BLOCK]
    if len(block) < _TAR_BLOCK or not block[0]:
        return False
    try:
        claimed = int(block[148:156].strip(b" \0") or b"x", 8)
    except ValueError:
        return False
    return claimed == sum(block[:148]) + sum(block[156:]) + 8 * 0x20


def _tar(head: bytes) -> Payload:
    first = head[:100].rstrip(b"\0").removeprefix(b"./")
    if first == b"toc.dat":
        inner = dump_header.parse(head[_TAR_BLOCK:])
        return _archive(inner, ARCHIVE_TAR) if inner else Payload(ARCHIVE_TAR)
    return Payload(BASE_BACKUP_TAR if first == b"backup_label" else FILE_SET)


def _archive(header: dump_header.ArchiveHeader, kind: str) -> Payload:
    return Payload(kind, header.server_version, header.program_version, header.database, header.made_at)


def _sql(head: bytes) -> Payload:
    if not _is_text(head):
        return Payload(UNKNOWN)
    opening = dump_ends.opening(head[: dump_ends.SIZE])
    if opening:
        return Payload(SQL, opening.server_version, opening.program_version, of_cluster=opening.of_cluster)
    if _OTHER_SQL.search(head):
        return Payload(UNKNOWN, note="It is a dump of MySQL or MariaDB.")
    text = head.decode("utf-8", "replace").lstrip("\ufeff")
    while True:
        remark = _REMARK.match(text)
        if not remark:
            break
        text = text[remark.end() :]
    return Payload(SQL) if _STATEMENT.match(text) else Payload(UNKNOWN)


def _is_text(head: bytes) -> bool:
    """Whether this may be text in an encoding that has ASCII in it."""
    return bool(head.strip()) and not _CONTROL.search(head)
