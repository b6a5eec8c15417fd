# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files with keys and passphrases: for their owner's eyes only, and never overwritten."""

from __future__ import annotations

import base64
import binascii
import os
import secrets
import stat
from pathlib import Path

from .. import durable
from ..errors import PreconditionError
from .keys import KEY_BYTES, WrappingKey

_KEY_PREFIX = "lifeboat-key-1:"
_LONGEST_FILE = 4096


def generate_key_file(path: Path) -> WrappingKey:
    """Write a new random key, readable by its owner only. A key that exists is never overwritten."""
    key = WrappingKey(secrets.token_bytes(KEY_BYTES))
    text = _KEY_PREFIX + base64.urlsafe_b64encode(key.secret).decode("ascii") + "\n"
    try:
        durable.write_file(path, text.encode("ascii"), 0o400, replace=False)
    except FileExistsError as exc:
        raise PreconditionError(
            f"writing the key file {path}",
            "there is one already.",
            "Use it, or move it away; a repository that was made with it can be read with nothing else.",
            code="key_file_exists",
        ) from exc
    except OSError as exc:
        raise PreconditionError(
            f"writing the key file {path}",
            f"{exc.strerror}.",
            "Create its directory, writable by the user that owns the data directory.",
            code="key_file_not_writable",
        ) from exc
    return key


def read_key_file(path: Path) -> WrappingKey:
    """Read a key file; refuse one that other users can read."""
    key = parse_key(read_private_file(path, "key file"))
    if key is None:
        raise PreconditionError(
            f"reading the key file {path}",
            f"it is not a Lifeboat key (one line, {_KEY_PREFIX}<44 characters>).",
            "Restore the file from where the recovery key is kept.",
            code="key_file_invalid",
        )
    return key


def parse_key(text: bytes, provider: str = "file") -> WrappingKey | None:
    """The key in its line of text; None when that is no such line."""
    if not text.startswith(_KEY_PREFIX.encode("ascii")):
        return None
    try:
        secret = base64.urlsafe_b64decode(text[len(_KEY_PREFIX) :].strip())
    except (ValueError, binascii.Error):
        return None
    return WrappingKey(secret, provider) if len(secret) == KEY_BYTES else None


def read_private_file(path: Path, kind: str) -> bytes:
    """A secret's file; `kind` says which for messages. Other users must not be able to read or change it."""
    attempted = f"reading the {kind} {path}"
    try:
        with path.open("rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            text = stream.read(_LONGEST_FILE)
    except FileNotFoundError as exc:
        raise PreconditionError(
            attempted,
            "it does not exist.",
            "Bring it back from where the recovery key is kept; without it the backups cannot be read.",
            code="key_file_missing",
        ) from exc
    except OSError as exc:
        raise PreconditionError(
            attempted,
            f"{exc.strerror}.",
            "Let the user that owns the data directory read it (owner and mode 0400).",
            code="key_file_not_readable",
        ) from exc
    if mode & (stat.S_IRWXO | stat.S_IWGRP | stat.S_IXGRP):
        raise PreconditionError(
            attempted,
            f"its mode {stat.S_IMODE(mode):04o} lets other users read or change it.",
            f"Run: chmod 0400 {path}; if other users may have read it, make a new repository with a new key.",
            code="key_file_permissions",
        )
    return text
