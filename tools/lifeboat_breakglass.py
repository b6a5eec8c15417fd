# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restore from a Lifeboat repository with nothing of Lifeboat.

This file alone, Python 3.9 or newer, and the packages cryptography and zstandard (python3-cryptography
and python3-zstandard) are enough. It reads a repository in a local directory, which may be a bucket
that was downloaded as it is. Keep a copy of it with the recovery key. To list, then to restore:

    lifeboat_breakglass.py /srv/lifeboat --key-file main.key
    lifeboat_breakglass.py /srv/lifeboat --key-file main.key /var/lib/postgresql/15/rescued

Without --key-file or --passphrase-file it asks for a passphrase. A restore makes the data directory of one backup,
or of a logical one, given with --backup, a directory with its dumps, for pg_restore and psql.
With --wal DIRECTORY it also exports the archived WAL and sets the server up to replay it, to --target-time or to
its end. Run it as the user that will run the server. Every byte that is used is authenticated. The digests that
backups also record only tell pages apart, and are not looked at. docs/repository-format.md explains the rest.
"""

from __future__ import annotations

import argparse
import base64
import getpass
import hashlib
import hmac
import json
import os
import re
import shlex
import struct
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import lru_cache
from itertools import accumulate, chain, islice
from pathlib import Path
from typing import Any

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

FORMAT, DUMPS, PAGE, COMPRESSED, LAST, DIFFERENCES = 1, 2, 8192, 1, 2, 4
MAGIC, ROLE_CODES = b"LBT\x01", {"data": 1, "metadata": 2}
HEADER, FRAME = struct.Struct(">4sBI32s"), struct.Struct(">BI")
KEY_DOCUMENT = re.compile(r"keys/[0-9]{6}-[0-9]{6}\.json")
PLAIN = re.compile(rb'(\{"document":(\{.*\})(?:,"seal":"([0-9a-f]{64})")?),"sha256":"([0-9a-f]{64})"\}\n', re.DOTALL)
ORIGINAL_PLACES = re.compile(rb"(?m)^(?=[ \t]*(?:data_directory|hba_file|ident_file|external_pid_file)\b)")


class Refused(Exception):
    """Something that the user has to know; nothing is done beyond it."""


def hkdf(secret: bytes, salt: bytes, info: str) -> bytes:
    """RFC 5869 with SHA-256, one block of output."""
    extracted = hmac.new(salt, secret, hashlib.sha256).digest()
    return hmac.new(extracted, info.encode() + b"\x01", hashlib.sha256).digest()


class Repository:
    """A repository, opened with a key or a passphrase."""

    def __init__(self, root: Path, key: bytes | None, passphrase: str | None) -> None:
        self.root = root
        identity = self._plain("lifeboat-repository.json")[0]
        if identity["format"] != FORMAT:
            raise Refused(f"{root}: its format is {identity['format']}, this script knows {FORMAT}")
        self.id = identity["repository_id"]
        # Of an epoch's revisions the last one counts.
        newest = {int(name[5:11]): name for name in self.names("keys") if KEY_DOCUMENT.fullmatch(name)}
        if not newest:
            raise Refused(f"{root}: there are no key documents below keys/")
        self.keys = {epoch: self._open(name, epoch, key, passphrase) for epoch, name in newest.items()}

    def _plain(self, name: str) -> tuple[Any, bytes, str]:
        """A document that is not encrypted: its content, the bytes of that, and its seal."""
        form = PLAIN.fullmatch((self.root / name).read_bytes())
        if form is None or hashlib.sha256(form[1]).hexdigest().encode() != form[4]:
            raise Refused(f"{self.root / name} is damaged")
        return json.loads(form[2]), form[2], (form[3] or b"").decode()

    def _open(self, name: str, epoch: int, key: bytes | None, passphrase: str | None) -> dict[str, bytes]:
        """An epoch's keys by role."""
        document, raw, seal = self._plain(name)
        for recipient in document["recipients"]:
            secret = key
            if "scrypt" in recipient and passphrase is not None:
                cost = {name: recipient["scrypt"][name] for name in ("n", "r", "p")}
                text, salt = unicodedata.normalize("NFC", passphrase), base64.b64decode(recipient["scrypt"]["salt"])
                secret = hashlib.scrypt(text.encode(), salt=salt, **cost, maxmem=256 << 20, dklen=32)
            if secret is not None and hkdf(secret, b"lifeboat/1", "key id").hex()[:16] == recipient["key_id"]:
                break
        else:
            known = ", ".join(f"{each['label']} {each['key_id']}" for each in document["recipients"])
            raise Refused(f"this key or passphrase is none of the repository's recipients ({known})")
        keys = {}
        for role, wrapped in recipient["wrapped"].items():
            sealed, context = base64.b64decode(wrapped), f"lifeboat/1/wrap/{self.id}/{epoch}/{role}"
            try:
                keys[role] = AESGCM(secret).decrypt(sealed[:12], sealed[12:], context.encode())
            except (InvalidTag, ValueError) as error:
                raise Refused(f"{name}: the {role} key is damaged or of another repository") from error
        place = f"lifeboat/1/key document/{self.id}/{epoch}/{int(name[12:18])}"
        expected = hmac.new(hkdf(keys.get("data", b""), b"lifeboat/1", place), raw, hashlib.sha256).hexdigest()
        if "data" in keys and not hmac.compare_digest(expected, seal):
            raise Refused(f"{name} was altered by somebody who does not have the repository's keys")
        return keys

    def names(self, folder: str) -> list[str]:
        """The objects below a folder, sorted; hidden files are of interrupted writers."""
        found = (self.root / folder).rglob("[!.]*")
        return sorted(str(path.relative_to(self.root)) for path in found if path.is_file())

    def cipher(self, name: str, header: bytes, role: str, identity: str) -> AESGCM:
        """What opens the frames of the object that begins with this header."""
        magic, code, epoch, salt = HEADER.unpack(header) if len(header) == HEADER.size else (b"", 0, 0, b"")
        if magic != MAGIC or code != ROLE_CODES[role] or epoch not in self.keys:
            raise Refused(f"{name} is damaged, or not sealed as {role}")
        if role not in self.keys[epoch]:
            raise Refused(f"{name}: this key opens metadata only, not the data in backups")
        return AESGCM(hkdf(self.keys[epoch][role], salt, f"lifeboat/1/object/{identity}"))

    def stream(self, name: str, role: str, identity: str) -> Iterator[bytes]:
        """A sealed object from its first frame to its last, which nothing may follow."""
        with (self.root / name).open("rb") as file:
            header, number, last = file.read(HEADER.size), 0, False
            cipher = self.cipher(name, header, role, identity)
            while not last:
                flags, length = FRAME.unpack(file.read(FRAME.size).ljust(FRAME.size, b"\0"))  # cut, it opens nothing
                raw, last = opened(name, cipher, header, number, flags, file.read(length))
                number += 1
                yield raw
            if file.read(1):
                raise Refused(f"{name} is damaged: bytes follow its last frame")


def opened(name: str, cipher: AESGCM, header: bytes, number: int, flags: int, sealed: bytes) -> tuple[bytes, bool]:
    """A frame's raw bytes, and whether it is its object's last."""
    try:
        payload = cipher.decrypt(number.to_bytes(12, "big"), sealed, header + bytes([flags]))
    except (InvalidTag, ValueError) as error:
        raise Refused(f"{name} is damaged or altered: frame {number} fails its authentication") from error
    if flags & ~(COMPRESSED | LAST | DIFFERENCES):
        raise Refused(f"{name}: a newer Lifeboat has written frame {number}")
    raw = zstandard.ZstdDecompressor().decompress(payload) if flags & COMPRESSED else payload
    return added_up(raw) if flags & DIFFERENCES else raw, bool(flags & LAST)


def added_up(raw: bytes) -> bytes:
    """What these differences are of: each word of 32 bits to the fourth before it."""
    words = struct.unpack(f"<{len(raw) // 4}I", raw)
    lanes = [accumulate(words[lane::4], lambda sum, word: (sum + word) & 0xFFFFFFFF) for lane in range(4)]
    return struct.pack(f"<{len(words)}I", *chain.from_iterable(zip(*lanes)))


class Backup:
    """One backup of a stanza."""

    def __init__(self, repository: Repository, stanza: str, backup_id: str) -> None:
        self.repository, self.stanza, self.id = repository, stanza, backup_id
        self.header: dict[str, Any] = next(self.lines())
        if self.header["format"] not in (FORMAT, DUMPS):
            raise Refused(f"{backup_id}: its format is {self.header['format']}, this script knows {FORMAT} and {DUMPS}")
        self.is_physical = self.header["format"] == FORMAT
        self._frame = lru_cache(64)(self._read_frame)  # many files share a frame of about a mebibyte

    def lines(self) -> Iterator[Any]:
        """The manifest: its header, then directories and files."""
        name, rest = f"stanzas/{self.stanza}/backups/{self.id}/manifest", b""
        for piece in self.repository.stream(name, "metadata", f"stanza/{self.stanza}/backup/{self.id}/manifest"):
            *lines, rest = (rest + piece).split(b"\n")
            yield from map(json.loads, lines)

    def content(self, entry: dict[str, Any]) -> Iterator[bytes]:
        """A file's bytes in order. A part is a frame's place (pack, number, offset, length), a start and a length."""
        packs, written = entry["p"], 0
        chunks = (((packs[pack], *place), start, length) for pack, *place, start, length in entry.get("c", ()))
        parts = self._mapped(entry) if "b" in entry else chunks
        for frame, start, length in parts:
            raw = self._frame(frame, "data")[start : start + length]
            written += len(raw)
            yield raw
        if written != entry["s"]:
            raise Refused(f"{entry['f']}: the backup has {written} bytes of {entry['s']}")

    def _mapped(self, entry: dict[str, Any]) -> Iterator[tuple[Any, int, int]]:
        """The pages that a block map names, or changes to it."""
        pages: list[Any] = []
        for field, expected, row in (("b", b"LBM1", "<III"), ("n", b"LBC1", "<IIII"))[: 2 if "n" in entry else 1]:
            text = b"".join(self._frame((entry["p"][pack], *place), "metadata") for pack, *place in entry[field])
            magic, count, packs, frames, runs = struct.unpack_from("<4sIIII", text)
            frames_at, runs_at = 20 + packs * 16, 20 + packs * 16 + frames * 20
            ids = [text[at : at + 16].hex() for at in range(20, frames_at, 16)]
            places = [(ids[pack], *place) for pack, *place in struct.iter_unpack("<IIQI", text[frames_at:runs_at])]
            pages, page = pages[:count] + [None] * (count - len(pages)), 0
            for *first, length, frame, start in struct.iter_unpack(row, text[runs_at:][: runs * struct.calcsize(row)]):
                page = first[0] if first else page
                pages[page : page + length] = [(places[frame], start + number * PAGE) for number in range(length)]
                page += length
            if magic != expected or None in pages or len(text) < runs_at + runs * struct.calcsize(row):
                raise Refused(f"{self.id} has a block map that is none")
        for number, (place, start) in enumerate(pages):
            yield place, start, min(PAGE, entry["s"] - number * PAGE)

    def _read_frame(self, place: tuple[Any, ...], role: str) -> bytes:
        pack, number, offset, length = place
        name = f"stanzas/{self.stanza}/generations/{self.header['generation']}/packs/{pack}"
        with (self.repository.root / name).open("rb") as file:
            header = file.read(HEADER.size)
            file.seek(offset)
            frame = file.read(length)
        cipher = self.repository.cipher(name, header, role, f"pack/{pack}")
        return opened(name, cipher, header, number, frame[0] if frame else 0, frame[FRAME.size :])[0]

    def wal(self) -> dict[str, str]:
        """The archived WAL of the backup's incarnation: objects by file name."""
        names = self.repository.names(f"stanzas/{self.stanza}/wal/{self.header['incarnation']}")
        found = {name.rpartition("/")[2].rpartition("-")[0]: name for name in names}
        if len(found) < len(names):
            raise Refused(f"archived with two contents: {(set(names) - set(found.values())).pop()} and another")
        return found

    def wal_content(self, file_name: str, name: str) -> bytes:
        """An archived file, of the content that its name says."""
        identity = f"stanza/{self.stanza}/wal/{self.header['incarnation']}/{file_name}"
        content = b"".join(self.repository.stream(name, "data", identity))
        naming = self.repository.keys[max(self.repository.keys)]["naming"]
        tag = AESGCM(hkdf(naming, b"lifeboat/1", "contents")).encrypt(bytes(12), b"", content)
        if not name.endswith("-" + hmac.new(naming, tag, hashlib.sha256).hexdigest()[:32]):
            raise Refused(f"{name} is damaged or altered: its content does not match its name")
        return content

    def needed_wal(self) -> list[str]:
        """The segments without which the backup is not consistent."""
        size, timeline = self.header["wal_segment_bytes"], self.header["timeline"]
        numbers = range(self.header["start_lsn"] // size, -(-self.header["stop_lsn"] // size))
        return ["{:08X}{:08X}{:08X}".format(timeline, *divmod(number, (1 << 32) // size)) for number in numbers]


def stanzas(repository: Repository) -> dict[str, list[Backup]]:
    """The clusters in the repository, each with its backups, oldest first."""
    found: dict[str, list[Backup]] = {}
    for parts in (name.split("/") for name in repository.names("stanzas")):
        backups = found.setdefault(parts[1], [])
        if parts[2] == "backups" and parts[4:] == ["manifest"]:
            backups.append(Backup(repository, parts[1], parts[3]))
    return found


def write(path: Path, pieces: Iterable[bytes], mode: int = 0o600) -> None:
    """Write a file that must not exist, and follow no link."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as stream:
        os.fchmod(stream.fileno(), mode)
        stream.writelines(pieces)


def write_entries(backup: Backup, root: Path, tablespaces: dict[str, Path]) -> set[str]:
    """All directories and files; returns which configuration had its place outside the data directory."""
    config: set[str] = set()
    for entry in islice(backup.lines(), 1, None):  # the first is the header
        relative = str(entry.get("d") or entry["f"])
        if relative.startswith("/") or ".." in relative.split("/"):
            raise Refused(f"the manifest names {relative!r}, which leaves the data directory; do not use this backup")
        path = root / relative
        if "d" in entry:
            path.mkdir(exist_ok=True)
            path.chmod(entry["o"])
            if relative == "pg_tblspc":  # what is in tablespaces comes after, through these links
                for oid, place in tablespaces.items():
                    (path / oid).symlink_to(place)
        elif relative not in {*config, "recovery.signal", "standby.signal"}:
            write(path, backup.content(entry), entry["o"])
            if entry.get("a") == "config":
                config.add(relative)
    return config


def write_directory(backup: Backup, root: Path, tablespaces: dict[str, Path], settings: dict[str, str]) -> None:
    """The data directory; what would let a server start in it comes last."""
    for directory in (root, *tablespaces.values()):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
    config = write_entries(backup, root, tablespaces)
    archived = backup.wal()
    for segment in backup.needed_wal():
        if segment not in archived:
            raise Refused(f"the WAL segment {segment}, without which the backup is not consistent, is missing")
        write(root / "pg_wal" / segment, [backup.wal_content(segment, archived[segment])])
    main = root / "postgresql.conf"
    if "postgresql.conf" in config:
        main.write_bytes(ORIGINAL_PLACES.sub(b"# of the original place: ", main.read_bytes()))
    elif not main.exists():
        write(main, [b"# the backup holds no configuration file\n"])
    with (root / "postgresql.auto.conf").open("a") as stream:  # the last setting of a name wins
        stream.write("\n# written by lifeboat_breakglass.py\n")
        stream.writelines(f"{name} = '" + value.replace("'", "''") + "'\n" for name, value in settings.items())
    write(root / "backup_label", [backup.header["backup_label"].encode()])
    write(root / "recovery.signal", [])
    os.sync()
    write(root / "global/pg_control", [base64.b64decode(backup.header["control_file"])])
    os.sync()


def show(repository: Repository) -> None:
    """What can be restored."""
    for stanza, backups in stanzas(repository).items():
        print(stanza)
        for backup in backups:
            if not backup.is_physical:
                names = ", ".join(member["name"] or member["kind"] for member in backup.header["members"])
                print(f"  {backup.id}  {backup.header['kind']}: {names}  {backup.header['raw_bytes'] / 1e6:.1f} MB")
                continue
            header, segments = backup.header, [name for name in backup.wal() if len(name) == 24]
            print(f"  {backup.id}  PostgreSQL {header['major_version']}  {header['raw_bytes'] / 1e6:.1f} MB")
            print(f"    recoverable from {header['stop_time']}, WAL archived up to {max(segments, default='nothing')}")
            print("".join(f"    tablespace {location}\n" for location in header["tablespaces"].values()), end="")


def moment(text: str) -> datetime:
    """A time with its zone."""
    time = datetime.fromisoformat(text.replace("Z", "+00:00"))
    if time.tzinfo is None:
        raise ValueError("it has no zone")
    return time


def chosen(arguments: argparse.Namespace, repository: Repository) -> Backup:
    """The backup that is asked for, or the newest one that ended before the target."""
    found, target = stanzas(repository), arguments.target_time
    stanza = arguments.stanza or (next(iter(found)) if len(found) == 1 else "")
    if stanza not in found:
        raise Refused(f"say which cluster with --stanza; there are: {', '.join(found) or 'none'}")
    latest = arguments.backup == "latest"  # only physical ones: of dumps there may be several kinds
    backups = [each for each in found[stanza] if (each.is_physical if latest else each.id == arguments.backup)]
    if target:
        backups = [each for each in backups if each.is_physical and moment(each.header["stop_time"]) <= target]
    if not backups:
        raise Refused(f"{stanza} has no backup {arguments.backup}" + (f" that ended before {target}" if target else ""))
    return backups[-1]


def restore(arguments: argparse.Namespace, repository: Repository) -> None:
    """Restore one backup, with WAL if asked."""
    backup, root, wal = chosen(arguments, repository), arguments.destination.absolute(), arguments.wal
    if not backup.is_physical:
        if os.path.lexists(root):
            raise Refused(f"{root} is there already")
        write_entries(backup, root, {})
        print(f"done; the files in {root} are for pg_restore (.dump) and psql (.sql)")
        return
    new_places = dict(text.split("=", 1) for text in arguments.tablespace if "=" in text)
    missing = [old for old in backup.header["tablespaces"].values() if old not in new_places]
    if missing:
        raise Refused(f"the tablespace {missing[0]} needs a new place: --tablespace {missing[0]}=NEW")
    tablespaces = {oid: Path(new_places[old]).absolute() for oid, old in backup.header["tablespaces"].items()}
    summaries = {"summarize_wal": "off"} if backup.header["major_version"] >= 17 else {}  # recovery would wait for them
    fetch = f"cp {shlex.quote(str(wal.absolute())).replace('%', '%%')}/%f %p" if wal else "false"
    settings = {"archive_mode": "off", "restore_command": fetch, **summaries}
    if arguments.target_time:
        if not wal:
            raise Refused("--target-time needs --wal: the WAL to replay has to be somewhere")
        time = arguments.target_time.isoformat(sep=" ")
        settings |= {"recovery_target_time": time, "recovery_target_action": "promote"}
    for directory in (root, *tablespaces.values(), *([wal] if wal else [])):
        if os.path.lexists(directory) and not (directory.is_dir() and not any(directory.iterdir())):
            raise Refused(f"{directory} is there already and is no empty directory")
    print(f"restoring {backup.id} of {backup.stanza} into {root}")
    for file_name, name in backup.wal().items() if wal else ():  # of every timeline, from the backup's start on
        if file_name.endswith(".history") or file_name[8:24] >= backup.needed_wal()[0][8:24]:
            write(wal / file_name, [backup.wal_content(file_name, name)])
    write_directory(backup, root, tablespaces, settings)
    print(f"done; look at port and paths in postgresql.conf, then: pg_ctl -D {shlex.quote(str(root))} start")


def secret(arguments: argparse.Namespace) -> tuple[bytes | None, str | None]:
    """The key, or the passphrase."""
    if arguments.key_file:
        text = arguments.key_file.read_text().strip()
        if not re.fullmatch("lifeboat-key-1:[A-Za-z0-9_-]{43}=", text):
            raise Refused(f"{arguments.key_file} is no Lifeboat key file")
        return base64.urlsafe_b64decode(text[15:]), None
    file = arguments.passphrase_file
    return None, file.read_text().split("\n")[0].rstrip("\r") if file else getpass.getpass(
        "Passphrase of the repository: "
    )


def main() -> None:
    """Run one command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository", type=Path, help="the repository's directory")
    parser.add_argument("destination", type=Path, nargs="?", help="the directory to be made; without it, list")
    parser.add_argument("--key-file", type=Path, help="the file with the key of a recipient")
    parser.add_argument("--passphrase-file", type=Path, help="the file with the passphrase of a recipient")
    parser.add_argument("--stanza", help="the cluster, where the repository has several")
    parser.add_argument("--backup", default="latest", help="the backup's id (latest)")
    parser.add_argument("--tablespace", action="append", default=[], metavar="OLD=NEW", help="a tablespace's new place")
    parser.add_argument("--wal", type=Path, help="export archived WAL to this new directory, and replay it")
    parser.add_argument("--target-time", type=moment, help="replay to this time, such as 2026-11-21T14:30:00+01:00")
    arguments = parser.parse_args()
    try:
        repository = Repository(arguments.repository, *secret(arguments))
        restore(arguments, repository) if arguments.destination else show(repository)
    except (Refused, OSError, ValueError, struct.error, zstandard.ZstdError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
