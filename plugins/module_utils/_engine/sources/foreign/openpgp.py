# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `gpg --symmetric` encrypted, decrypted by the program gpg.

It gets a home of its own, which goes with it, so that it neither reads nor changes anybody's keys
and settings, and needs no agent. The passphrase reaches it by a pipe.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator

from ... import pipes
from ...errors import ExternalToolError, IntegrityError, LifeboatError, PreconditionError, UnsupportedError
from ...process import Runner

ARMOUR = b"-----BEGIN PGP MESSAGE-----"

_FOR_PASSPHRASE, _FOR_KEY = 3, 1  # packets that hold a message's key
_WRONG = ("Bad session key", "Bad passphrase", "bad passphrase")


def recognised(head: bytes) -> bool:
    """Whether this is how an encrypted OpenPGP message begins, in binary or as text."""
    return head.lstrip().startswith(ARMOUR) or _first_packet(head) is not None


def needs_private_key(head: bytes) -> bool:
    """Whether the message is for somebody's key rather than a passphrase, as far as that shows."""
    return _first_packet(head) == _FOR_KEY


def _first_packet(head: bytes) -> int | None:
    """The kind of the first packet, if it is one of those that an encrypted message begins with."""
    if len(head) < 4 or not head[0] & 0x80:
        return None
    if head[0] & 0x40:  # the newer form of packets
        tag, length = head[0] & 0x3F, head[1]
        body = head[2:]
    else:
        tag, form = (head[0] >> 2) & 0x0F, head[0] & 3
        length = head[1] if form == 0 else int.from_bytes(head[1:3], "big")
        body = head[2:] if form == 0 else head[3:]
        if form > 1:
            return None
    if tag == _FOR_PASSPHRASE:  # version, cipher (1 to 13), how the key is derived (0 to 4)
        return tag if 4 <= length < 192 and len(body) > 2 and body[0] in (4, 5, 6) and body[1] <= 13 else None
    if tag == _FOR_KEY:
        return tag if length > 10 and body[0] in (3, 6) else None
    return None


def decrypted(
    source: int | Iterable[bytes], head: bytes, passphrase: str, runner: Runner, attempted: str
) -> Iterator[bytes]:
    """The content. `source` is an open file, or what comes in pieces; gpg has checked it when the end is reached."""
    if needs_private_key(head):
        raise UnsupportedError(
            attempted,
            "it is encrypted for a private key, not with a passphrase.",
            "Decrypt it with gpg where the key is, then use what comes out.",
            code="foreign_key_needed",
        )
    home = tempfile.mkdtemp(prefix="lifeboat-gpg-")  # only we can enter it
    try:
        reader, writer = os.pipe()
        try:
            os.write(writer, passphrase.encode() + b"\n")
        finally:
            os.close(writer)
        try:
            program = pipes.start(
                runner,
                _command(home, reader),
                stdin=source,
                hidden=[passphrase],
                pass_fds=[reader],
                attempted=attempted,
            )
        finally:
            os.close(reader)
        with program:
            yield from iter(program.read, b"")
            program.finish()
    except ExternalToolError as exc:
        raise _explained(exc, attempted) from exc
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _command(home: str, passphrase_fd: int) -> list[str]:
    return [
        "gpg",
        "--homedir",
        home,
        "--no-options",
        "--no-autostart",
        "--batch",
        "--quiet",
        "--pinentry-mode",
        "loopback",
        "--passphrase-fd",
        str(passphrase_fd),
        "--decrypt",
    ]


def _explained(exc: ExternalToolError, attempted: str) -> LifeboatError:
    said = str(exc.details.get("stderr", ""))
    if any(words in said for words in _WRONG):
        return PreconditionError(
            attempted,
            "gpg cannot decrypt it with this passphrase.",
            "Give the passphrase that it was encrypted with.",
            code="foreign_passphrase_wrong",
        )
    if "No secret key" in said:
        return UnsupportedError(
            attempted,
            "it is encrypted for a private key, not with a passphrase.",
            "Decrypt it with gpg where the key is, then use what comes out.",
            code="foreign_key_needed",
        )
    return IntegrityError(
        attempted,
        f"gpg does not get through it: {exc.happened}",
        "The file was cut short or damaged, when it was made or copied. Take another copy, or another backup.",
        code="foreign_file_damaged",
    )
