# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checking what somebody has, without restoring it: everything is read, and held against what it says of itself."""

from __future__ import annotations

import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, cast

from ... import pipes
from ...errors import ExternalToolError, IntegrityError, LifeboatError, UnsupportedError
from ...postgres import wal_page
from ...postgres.programs import Programs
from ...process import Runner
from . import chosen_tables, directories, sqlite_check
from .description import (
    ARCHIVE,
    ARCHIVE_DIRECTORY,
    ARCHIVE_TAR,
    BASE_BACKUP,
    BASE_BACKUP_TAR,
    CSV,
    DATA_DIRECTORY,
    FILE_SET,
    SQL,
    SQLITE,
    UNKNOWN,
    WAL_ARCHIVE,
    Description,
    Payload,
)
from .dump_ends import Ends
from .opening import OpenedFile, Unlocking, opened
from .pieces import Pieces


@dataclass(frozen=True)
class Tools:
    """What checks need.

    `programs` gives a major version's programs, or with None those of the newest version there is;
    `work_directory` takes an unpacked SQLite database.
    """

    runner: Runner
    programs: Callable[[int | None], Programs]
    work_directory: Path


@dataclass(frozen=True)
class Check:
    """One question and its answer. Where there is nothing that could tell, `good` is None."""

    name: str
    good: bool | None
    said: str
    code: str = ""


@dataclass(frozen=True)
class Verification:
    """What something is, and what came out of checking it."""

    description: Description
    checks: tuple[Check, ...]

    @property
    def is_good(self) -> bool:
        """Whether no check failed."""
        return all(check.good is not False for check in self.checks)


def verify(path: Path, unlocking: Unlocking, tools: Tools, *, as_csv: bool = False) -> Verification:
    """Check a file or directory. A passphrase that is missing or wrong, or an unknown content, is an error."""
    attempted = f"verifying {path}"
    if path.is_dir():
        return _verify_directory(path, unlocking, tools, attempted)
    try:
        return _verify_file(path, unlocking, tools, attempted, as_csv)
    except IntegrityError as exc:  # it does not even begin as it should
        return Verification(Description((), Payload(UNKNOWN)), (_bad("readable", exc),))


def _verify_file(path: Path, unlocking: Unlocking, tools: Tools, attempted: str, as_csv: bool) -> Verification:
    with opened(path, tools.runner, unlocking, attempted, as_csv=as_csv) as file:
        file.require_known(attempted)
        description = Description(file.layers, file.payload)
        checks: list[Check] = []
        try:
            checks += _content_checks(file, unlocking, tools, attempted)  # keeps those before an error
            for _rest in file.pieces:  # whatever a reader of the content did not need
                pass
            checks.append(Check("readable", True, "Every layer can be read to its end."))
        except IntegrityError as exc:
            checks.append(_bad("readable", exc))
    return Verification(description, tuple(checks))


def _content_checks(file: OpenedFile, unlocking: Unlocking, tools: Tools, attempted: str) -> Iterator[Check]:
    kind = file.payload.kind
    if kind == SQL:
        yield _sql(file, attempted)
    elif kind in {ARCHIVE, ARCHIVE_TAR}:
        yield from _archive(file, unlocking, tools, attempted)
    elif kind in {FILE_SET, BASE_BACKUP_TAR}:
        yield _tar(file.pieces, attempted)
    elif kind == SQLITE:
        yield Check(*sqlite_check.integrity(file.pieces, tools.work_directory, attempted))
    elif kind == CSV:
        lines = sum(piece.count(b"\n") for piece in file.pieces)
        yield Check("content", None, f"{lines} lines; nothing in CSV tells whether that is all.")


def _sql(file: OpenedFile, attempted: str) -> Check:
    """All statements are there to their ends, and so is pg_dump's closing comment."""
    ends = Ends(file.pieces)
    pieces = iter(ends)
    try:
        inventory = chosen_tables.take_inventory(lambda: pieces, attempted)
        found = f"{sum(len(catalog.tables) for catalog in inventory.databases.values())} tables"
    except UnsupportedError:  # psql may well understand what we do not
        found = "Statements that only psql can take apart"
        for _rest in pieces:
            pass
    if ends.is_complete is False:
        return Check("complete", False, "pg_dump's closing comment is missing: it was cut short.", "dump_truncated")
    if ends.is_complete is None:
        return Check("complete", None, f"{found}. It is not pg_dump's, so nothing tells whether that is all.")
    return Check("complete", True, f"{found}, and pg_dump's closing comment.")


def _archive(file: OpenedFile, unlocking: Unlocking, tools: Tools, attempted: str) -> Iterator[Check]:
    """pg_restore lists what is in it, and reads all of that.

    It reads on for ever in a tar file that was cut short (seen with 17), so this is looked for before.
    """
    pg_restore = tools.programs(None).path("pg_restore")
    if file.payload.kind == ARCHIVE_TAR:
        tar = _tar(file.pieces, attempted)
        if not tar.good:
            yield tar
            return
    for name, option in (("contents", "--list"), ("data", "--file=-")):
        with opened(file.path, tools.runner, unlocking, attempted) as again:
            yield _pg_restore(name, [pg_restore, option], again.pieces, tools.runner, attempted)


def _pg_restore(name: str, argv: list[str], pieces: Pieces | None, runner: Runner, attempted: str) -> Check:
    lines, entries = 0, 0
    try:
        with pipes.start(runner, argv, stdin=pieces, partial=True, attempted=attempted) as program:
            rest = b""
            for piece in iter(program.read, b""):
                lines += piece.count(b"\n")
                if name == "contents":
                    *whole, rest = (rest + piece).split(b"\n")
                    entries += sum(not line.startswith(b";") for line in whole)
            program.finish()
    except ExternalToolError as exc:
        if "unsupported version" in str(exc.details.get("stderr")):
            raise UnsupportedError(
                attempted,
                f"this machine's pg_restore is too old for it: {exc.details['stderr']}",
                "Install the client programs of the version that dumped it, or a newer one.",
                code="pg_restore_too_old",
            ) from exc
        return _bad(name, exc)
    said = f"pg_restore lists {entries} entries." if name == "contents" else f"pg_restore reads {lines} lines of SQL."
    return Check(name, True, said)


class _TarSource:
    """What the tar reader reads, with an eye on how it ends."""

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = pieces
        self.tail = b""

    def read(self, size: int) -> bytes:
        data = self._pieces.read(size)
        self.tail = (self.tail + data)[-tarfile.BLOCKSIZE :]
        return data


def _tar(pieces: Pieces, attempted: str) -> Check:
    """Every member is there, and the mark at the end."""
    source, members = _TarSource(pieces), 0
    try:
        with tarfile.open(fileobj=cast(IO[bytes], source), mode="r|") as archive:
            for _rest in archive:
                cast(Any, archive).members = []  # they would be kept, all of them
                members += 1
    except (tarfile.TarError, EOFError) as exc:
        return Check("content", False, f"The tar file ends or is damaged after {members} members: {exc}.", _DAMAGED)
    while source.read(1 << 18):
        pass
    if source.tail.strip(b"\0") or not source.tail:
        return Check("content", False, "The mark at the end of the tar file is missing: it was cut short.", _TRUNCATED)
    return Check("content", True, f"{members} members, and the mark at the end.")


_DAMAGED = "foreign_file_damaged"
_TRUNCATED = "foreign_file_truncated"


def _verify_directory(path: Path, unlocking: Unlocking, tools: Tools, attempted: str) -> Verification:
    description = directories.describe_directory(path, attempted)
    kind = description.payload.kind
    if kind == ARCHIVE_DIRECTORY:
        pg_restore = tools.programs(None).path("pg_restore")
        checks = [
            _pg_restore(name, [pg_restore, option, str(path)], None, tools.runner, attempted)
            for name, option in (("contents", "--list"), ("data", "--file=-"))
        ]
    elif kind == BASE_BACKUP:
        checks = [*_tar_files(path, unlocking, tools, attempted)]
    elif kind == DATA_DIRECTORY:
        checks = [_data_directory(path, description, tools, attempted)]
    elif kind == WAL_ARCHIVE:
        checks = [*_wal(path, unlocking, tools)]
    else:
        raise UnsupportedError(
            attempted,
            f"{path} is none of: a dump in directory format, a base backup, a data directory, an archive of WAL.",
            "Give the directory that pg_dump, pg_basebackup or archive_command wrote, or one of its files.",
            code="foreign_format_unknown",
        )
    return Verification(description, tuple(checks))


def _tar_files(path: Path, unlocking: Unlocking, tools: Tools, attempted: str) -> Iterator[Check]:
    for name in directories.tar_files(entry.name for entry in path.iterdir()):
        try:
            with opened(path / name, tools.runner, unlocking, attempted) as file:
                yield replace(_tar(file.pieces, attempted), name=name)
        except IntegrityError as exc:
            yield _bad(name, exc)


def _data_directory(path: Path, description: Description, tools: Tools, attempted: str) -> Check:
    if not (path / "backup_manifest").exists():
        return Check("manifest", None, "Without a backup_manifest there is nothing to hold the files against.")
    version = description.payload.server_version or ""
    program = tools.programs(int(version) if version.isdigit() else None).path("pg_verifybackup")
    try:
        said = tools.runner.run([program, str(path)], attempted=attempted).stdout.strip()
    except ExternalToolError as exc:
        return _bad("manifest", exc)
    return Check("manifest", True, said or "pg_verifybackup found nothing wrong.")


def _wal(path: Path, unlocking: Unlocking, tools: Tools) -> Iterator[Check]:
    """Every segment is whole and what its name says; gaps are named."""
    servers: Counter[tuple[int, int]] = Counter()
    expected, bad = None, 0
    segments = directories.wal_paths(path)
    for name, file_path in segments:
        try:
            header = _segment(name, file_path, unlocking, tools)
        except LifeboatError as exc:
            bad += 1
            yield _bad(name, exc)
            expected = None
            continue
        servers[header.version, header.system_identifier] += 1
        number = header.address // header.segment_size
        if expected and expected[0] == header.timeline and number > expected[1]:
            yield Check("gap", False, f"{number - expected[1]} segments are missing before {name}.", "wal_gap")
        expected = (header.timeline, number + 1)
    if len(servers) > 1:
        yield Check("one server", False, f"The WAL is of {len(servers)} different servers or versions.", "wal_mixed")
    yield Check("segments", not bad, f"{len(segments) - bad} of {len(segments)} segments are whole.")


def _segment(name: str, path: Path, unlocking: Unlocking, tools: Tools) -> wal_page.WalPageHeader:
    attempted = f"reading the WAL segment {path}"
    with opened(path, tools.runner, unlocking, attempted) as file:
        header = wal_page.parse(file.pieces.peek(wal_page.HEADER_BYTES), name)
        size = sum(len(piece) for piece in file.pieces)
    if size != header.segment_size:
        raise IntegrityError(
            attempted,
            f"it has {size} bytes instead of {header.segment_size}.",
            "It was copied before it was whole. Look for another copy of it.",
            code="foreign_file_truncated",
        )
    return header


def _bad(name: str, exc: LifeboatError) -> Check:
    return Check(name, False, exc.happened, exc.code)
