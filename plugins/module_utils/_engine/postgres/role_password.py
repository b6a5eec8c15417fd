# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a role has a password already, told from what the server keeps of it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import stringprep
import unicodedata

_SCRAM = re.compile(r"SCRAM-SHA-256\$(?P<rounds>\d+):(?P<salt>[^$]+)\$(?P<stored>[^:]+):(?P<server>.+)", re.ASCII)


def matches(kept: str | None, password: str, role: str) -> bool:
    """Compare a password with pg_authid's rolpassword."""
    if kept is None:
        return False
    if kept.startswith("md5"):
        digest = hashlib.md5((password + role).encode(), usedforsecurity=False).hexdigest()
        return hmac.compare_digest(kept, f"md5{digest}")
    scram = _SCRAM.fullmatch(kept)
    if scram is None:
        return False
    salt, stored = base64.b64decode(scram["salt"]), base64.b64decode(scram["stored"])
    return any(
        hmac.compare_digest(_stored_key(each, salt, int(scram["rounds"])), stored)
        for each in dict.fromkeys((_prepared(password), password))
    )


def _stored_key(password: str, salt: bytes, rounds: int) -> bytes:
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, rounds)
    return hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()


def _prepared(password: str) -> str:
    """As SASLprep maps it. What that forbids is hashed as it is, which the caller tries too."""
    mapped = (" " if stringprep.in_table_c12(each) else each for each in password if not stringprep.in_table_b1(each))
    return unicodedata.normalize("NFKC", "".join(mapped))
