# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every byte read from a repository is authenticated before use; damage is an error that names the object (I3).

Each kind of object is damaged in a copy of a real repository: one bit, cut short, grown, exchanged with another of its
kind, removed. The engine's own reading of a backup is asked many times, the modules and the command once each.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine import config
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.errors import LifeboatError
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.verify import content as verify_content
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.wal import fetch
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.report.events import Event
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.access import stanza_of
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.store.local import LocalStore
from harness import Cluster, run
from support import STANZA, Site, assert_refused, objects, task

STOPS_POSTGRESQL = 200  # PostgreSQL takes a status above 125 for fatal, and any other for the end of the archive
HEADER_BYTES = 41


class Silence:
    """A progress sink."""

    def emit(self, event: Event) -> None:
        """Nobody listens."""


class Copy:
    """A copy of a site's repository that may be damaged, and what the engine says when it reads it."""

    def __init__(self, site: Site, root: Path) -> None:
        self.site = site
        self.root = root
        run(["cp", "-a", site.repository, root])
        values = config.cluster_settings(config.read(site.config_file), site.config_file, STANZA)
        _ignored, self.repository = config.specs(STANZA, {**values, "repository": str(root)})
        self.backup = site.backup_ids()[0]
        self.segments = sorted(name for name in objects(root) if "/wal/" in name and "history" not in name)

    def complaint(self) -> str:
        """Read the whole backup: the first complaint, or nothing."""
        try:
            stanza = stanza_of(self.repository, STANZA)
            checks = verify_content.verify(stanza, stanza.header(self.backup), 2, Silence())
        except LifeboatError as error:
            return error.message
        return "; ".join(check.evidence for check in checks if not check.ok)

    def complaint_about_wal(self, name: str) -> str:
        """Fetch a segment by its object's name: the complaint, or nothing. What is refused is not written."""
        destination = self.root.with_name("segment")
        request = fetch.FetchRequest(self.repository, STANZA, Path(name).name[:24], destination)
        try:
            fetch.fetch(request)
        except LifeboatError as error:
            assert not destination.exists()
            return error.message
        destination.unlink()
        return ""

    @contextlib.contextmanager
    def changed(self, contents: dict[str, bytes | None]) -> Iterator[None]:
        """Objects with another content, or (None) without them, for a while."""
        paths = {self.root / name: content for name, content in contents.items()}
        before = {path: path.read_bytes() if path.exists() else None for path in paths}
        try:
            put(paths)
            yield
        finally:
            put(before)


def put(contents: dict[Path, bytes | None]) -> None:
    for path, content in contents.items():
        path.parent.mkdir(exist_ok=True)
        if content is None:
            path.unlink(missing_ok=True)
        else:
            path.write_bytes(content)


@pytest.fixture(scope="module")
def copy(site: Site, new_folder: Callable[[], Path]) -> Copy:
    site.archive_everything()
    site.archive_everything()
    return Copy(site, new_folder() / "copy")


@pytest.fixture(scope="module")
def needed(copy: Copy) -> dict[str, list[str]]:
    """The objects that reading the backup reads, by kind; so nothing that is damaged below is idle."""
    names: set[str] = set()

    def watch(method: str) -> None:
        original = getattr(LocalStore, method)

        def watched(self: LocalStore, name: str, *arguments: object) -> bytes:
            names.add(name)
            content: bytes = original(self, name, *arguments)
            return content

        patch.setattr(LocalStore, method, watched)

    with pytest.MonkeyPatch.context() as patch:
        watch("get")
        watch("get_range")
        assert copy.complaint() == ""
    kinds = {"lifeboat-repository.json": "document", "keys": "keys"}
    by_kind: dict[str, list[str]] = {}
    for name in sorted(names):
        first, *rest = name.split("/")
        kind = rest[1] if first == "stanzas" else kinds[first]
        by_kind.setdefault("pack lists" if name.endswith("/pack-list") else kind, []).append(name)
    assert set(by_kind) == {"document", "keys", "incarnations", "backups", "pack lists", "generations", "wal"}
    assert len(by_kind["generations"]) >= 2
    return by_kind


def flipped(content: bytes, position: int) -> bytes:
    """One bit is another."""
    return bytes([*content[:position], content[position] ^ 0x10, *content[position + 1 :]])


def frames(content: bytes) -> list[tuple[int, int]]:
    """Where the frames of a sealed object begin and end."""
    found, start = [], HEADER_BYTES
    while start < len(content):
        _flags, length = struct.unpack_from(">BI", content, start)
        found.append((start, start + struct.calcsize(">BI") + length))
        start = found[-1][1]
    return found


def positions(name: str, content: bytes) -> dict[str, int]:
    """One byte of each part of an object."""
    if name.endswith(".json"):
        return {"first": 0, "middle": len(content) // 2, "last": len(content) - 1}
    all_frames = frames(content)
    middle = all_frames[len(all_frames) // 2]
    chosen = {"first frame": all_frames[0], "middle frame": middle, "last frame": all_frames[-1]}
    found = {"magic": 1, "role": 4, "epoch": 8, "salt": 20}
    for which, (start, end) in chosen.items():
        parts = {"flags": start, "length": start + 3, "bytes": (start + end) // 2, "tag": end - 1}
        found |= {f"{which}'s {part}": at for part, at in parts.items() if at not in found.values()}
    return found


def named(complaint: str, name: str) -> bool:
    return name in complaint and "foresaw" not in complaint


@pytest.mark.parametrize("kind", ["document", "keys", "incarnations", "backups", "pack lists", "generations"])
def test_one_flipped_bit(copy: Copy, needed: dict[str, list[str]], kind: str) -> None:
    name = needed[kind][0]
    content = (copy.root / name).read_bytes()
    unnoticed = {}
    for part, position in positions(name, content).items():
        with copy.changed({name: flipped(content, position)}):
            complaint = copy.complaint()
        if not named(complaint, name):
            unnoticed[part] = complaint
    assert unnoticed == {}


@pytest.mark.parametrize("kind", ["document", "keys", "incarnations", "backups", "pack lists", "generations", "wal"])
def test_an_object_that_is_cut_empty_gone_or_grown(copy: Copy, needed: dict[str, list[str]], kind: str) -> None:
    name = needed[kind][-1]
    content = (copy.root / name).read_bytes()
    changes: dict[str, bytes | None] = {"cut": content[:-1], "empty": b"", "gone": None, "grown": content + b"\n"}
    if not name.endswith(".json"):
        changes["cut between frames"] = content[: frames(content)[-1][0]]
    if kind == "generations":
        del changes["grown"]  # the manifest says which bytes of a pack are read; others are not
    if kind == "pack lists":
        del changes["gone"]  # what it says is in the manifest too: backups of before there were lists have none
    unnoticed = {}
    for change, changed in changes.items():
        with copy.changed({name: changed}):
            complaint = copy.complaint()
        if not complaint or "foresaw" in complaint:
            unnoticed[change] = complaint
    assert unnoticed == {}


def test_objects_exchanged_with_others_of_their_kind(copy: Copy, needed: dict[str, list[str]]) -> None:
    """A true object in a false place opens no more than a forged one."""

    def content(name: str) -> bytes:
        return (copy.root / name).read_bytes()

    one, other, *_ignored = needed["generations"]
    with copy.changed({one: content(other), other: content(one)}):
        assert named(copy.complaint(), one) or named(copy.complaint(), other)
    (manifest,) = needed["backups"]
    impostor = manifest.replace(copy.backup, "20260101T000000Z-full-000000")
    with copy.changed({impostor: content(manifest)}), pytest.raises(LifeboatError, match=impostor):
        stanza_of(copy.repository, STANZA).headers()
    (incarnation,) = needed["incarnations"]
    later = incarnation.replace("000001", "000002")
    with copy.changed({later: content(incarnation)}):
        assert named(copy.complaint(), later)
    one, other, *_ignored = copy.segments
    with copy.changed({one: content(other), other: content(one)}):
        assert named(copy.complaint_about_wal(one), one) and named(copy.complaint_about_wal(other), other)


def test_archived_wal(copy: Copy) -> None:
    """A segment that no backup needs is authenticated too, when it is fetched."""
    name = copy.segments[-1]
    content = (copy.root / name).read_bytes()
    assert copy.complaint_about_wal(name) == ""
    changes = {part: flipped(content, position) for part, position in positions(name, content).items()}
    changes |= {"cut": content[:-1], "empty": b"", "grown": content + b"x"}
    unnoticed = {}
    for change, changed in changes.items():
        with copy.changed({name: changed}):
            complaint = copy.complaint_about_wal(name)
        if not named(complaint, name):
            unnoticed[change] = complaint
    assert unnoticed == {}


def test_the_modules_and_the_command_say_so(
    copy: Copy, needed: dict[str, list[str]], new_place: Callable[[], Cluster]
) -> None:
    pack, archived, place = needed["generations"][0], copy.segments[-1], new_place()
    changes = {name: flipped((copy.root / name).read_bytes(), 100) for name in (pack, archived)}
    where = {"repository": copy.root, "backup": copy.backup}
    with copy.changed({pack: changes[pack]}):
        proof, restore = copy.site.play(
            task("backup_verify", **where), task("pg_restore", **where, destination=place.data_directory), fails=True
        )
    assert (proof["failed"], proof["error_code"]) == (True, "verification_failed")
    assert named(proof["msg"], pack) and copy.backup in proof["msg"]
    assert named(assert_refused("object_damaged", restore)["msg"], pack)

    segment = Path(archived).name[:24]
    fetch_it = ("archive-fetch", "--repository", copy.root, segment, place.socket_dir / "fetched")
    with copy.changed({archived: changes[archived]}):
        said = copy.site.command_refused("object_damaged", *fetch_it, status=STOPS_POSTGRESQL)
    assert named(said, archived)
    assert list(place.socket_dir.iterdir()) == []
    assert copy.site.lifeboat(*fetch_it).returncode == 0


def test_postgresql_stops_at_damaged_wal(copy: Copy, new_place: Callable[[], Cluster]) -> None:
    """It does not take it for the end of the archive and open a database that lacks what came after."""
    archived, place = copy.segments[-1], new_place()
    content = (copy.root / archived).read_bytes()
    with copy.changed({archived: flipped(content, len(content) // 2)}):
        refusal = copy.site.refused(
            "wal_fetch_failed",
            "pg_restore",
            repository=copy.root,
            backup=copy.backup,
            destination=place.data_directory,
            port=place.port,
            socket_directory=place.socket_dir,
        )
    assert Path(archived).name[:24] in refusal["msg"]
    assert not place.is_running()
    state = place.postgres.run("pg_controldata", place.data_directory).stdout
    assert "in production" not in state and "Database cluster state:               shut down\n" not in state
