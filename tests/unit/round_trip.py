# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading files into a repository and writing them back, for tests."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres.pg_manifest import ManifestFile
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres.wal_summaries import ChangedBlocks
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.digests import Digester
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.manifest import (
    FileEntry,
    parse_entry,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.packs import PackReader, PackWriter
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.stanza import Stanza
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.sources.cluster_reader import (
    Findings,
    Reading,
    SourceFile,
    Worker,
    read_files,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.sources.cluster_writer import (
    Destination,
    write_files,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.sources.entry_spool import EntrySpool
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.sources.file_reader import FileReader
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.sources.page_check import PageCheck
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.sources.tally import ByteTally
from fakes import Collector

GENERATION = "generation"


class Backup:
    """What reading some files has given."""

    def __init__(self, entries: list[FileEntry], findings: Findings, done_bytes: int, sink: Collector) -> None:
        self.by_name = {entry.path: entry for entry in entries}
        self.findings = findings
        self.done_bytes = done_bytes
        self.sink = sink


def read(
    stanza: Stanza,
    sources: Sequence[SourceFile],
    *,
    jobs: int = 2,
    refers_to_previous: bool = False,
    start_lsn: int = 1 << 40,
    trusts_previous: bool = False,
    changed_blocks: ChangedBlocks | None = None,
) -> Backup:
    """Read the files as a backup does."""
    repository = stanza.repository

    def name_of(pack_id: str) -> str:
        return stanza.pack_name(GENERATION, pack_id)

    def writer(role: str) -> PackWriter:
        return PackWriter(repository.store, repository.keys, role, name_of, 3)

    sink = Collector()
    tally = ByteTally(sink, 0)
    reading = Reading(
        PageCheck(checksums=False, start_lsn=start_lsn, trusts_previous=trusts_previous),
        Digester(repository.keys.digest_seed),
        refers_to_previous=refers_to_previous,
        journal=lambda lines: None,
        journal_every=1 << 40,
        changed_blocks=changed_blocks,
    )
    with EntrySpool() as spool:
        findings = Findings(spool, sink)
        old_maps = PackReader(repository.store, repository.keys_of, "metadata", name_of)
        crew = [
            Worker(writer("data"), writer("metadata"), old_maps, reading, tally, findings) for _ignored in range(jobs)
        ]
        read_files(sources, crew)
        entries = [entry for line in spool.lines() if isinstance(entry := parse_entry(line), FileEntry)]
    return Backup(entries, findings, tally.done, sink)


def readers(stanza: Stanza, jobs: int = 2) -> list[FileReader]:
    return [FileReader(stanza, GENERATION, jobs) for _ignored in range(jobs)]


def content(stanza: Stanza, entry: FileEntry) -> bytes:
    return b"".join(map(bytes, readers(stanza)[0].pieces(entry)))


def write(stanza: Stanza, backup: Backup, folder: Path) -> list[ManifestFile]:
    """Write all files as a restore does."""
    for name in backup.by_name:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
    destinations = [Destination(entry, folder / name) for name, entry in backup.by_name.items()]
    return write_files(destinations, readers(stanza), ByteTally(Collector(), 0))


def sources_in(folder: Path) -> list[SourceFile]:
    """All files below a folder, numbered in the order of their names."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [SourceFile(number, path, os.path.relpath(path, folder)) for number, path in enumerate(files)]
