# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plain documents: the few objects that must be readable without a key, because they lead to it.

    {"document":DOCUMENT,"seal":"SEAL","sha256":"CHECKSUM"}

The checksum is over every byte before `,"sha256"` and shows damage to anybody. The seal, in key
documents only, is over the bytes of DOCUMENT and shows alteration to those who have the key.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from ..errors import IntegrityError
from ..store.base import Store

_FORM = re.compile(
    rb'(?P<checked>\{"document":(?P<document>\{.*\})(?:,"seal":"(?P<seal>[0-9a-f]{64})")?)'
    rb',"sha256":"(?P<checksum>[0-9a-f]{64})"\}\n',
    re.DOTALL,
)


@dataclass(frozen=True)
class PlainDocument:
    """What such an object holds: `content` as written in `raw`, and its seal, if it has one."""

    content: dict[str, Any]
    raw: bytes
    seal: str = ""


def encode(content: dict[str, Any]) -> bytes:
    """The bytes of a document, over which its seal is."""
    return json.dumps(content, sort_keys=True, indent=1).encode("ascii")


def render(raw: bytes, seal: str = "") -> bytes:
    """The object's bytes."""
    checked = b'{"document":' + raw + (b',"seal":"' + seal.encode("ascii") + b'"' if seal else b"")
    return checked + b',"sha256":"' + hashlib.sha256(checked).hexdigest().encode("ascii") + b'"}\n'


def read(store: Store, name: str) -> PlainDocument:
    """Read an object and check that it is undamaged."""
    form = _FORM.fullmatch(store.get(name))
    try:
        if form is None:
            raise ValueError("it is not a document of Lifeboat's")
        if hashlib.sha256(form["checked"]).hexdigest().encode("ascii") != form["checksum"]:
            raise ValueError("its checksum does not match")
        content: dict[str, Any] = json.loads(form["document"])
    except ValueError as exc:
        raise damaged(store, name, str(exc)) from exc
    return PlainDocument(content, form["document"], (form["seal"] or b"").decode("ascii"))


def damaged(store: Store, name: str, happened: str) -> IntegrityError:
    """The error for a document that is not what was written."""
    return IntegrityError(
        f"reading {name} in {store.url}",
        f"the object is damaged ({happened}).",
        "Restore it from another copy of the repository.",
        code="object_damaged",
        object=name,
    )
