# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Walking through a data directory and deciding, file by file, what must be read."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

from ...ports import ProgressSink
from ...postgres import data_directory
from ...postgres.config_files import ConfigFile
from ...postgres.data_directory import EntryKind
from ...report.events import Warned
from ...repository import manifest
from ...sources.cluster_reader import Findings, SourceFile
from ...sources.entry_spool import EntrySpool
from ...sources.previous import Previous, Resumed
from ...sources.tally import ByteTally


class Walk:
    """Numbers everything in the manifest's order; notes in passing what need not be read."""

    def __init__(
        self,
        directory: Path,
        config: Iterable[ConfigFile],
        previous: Previous | None,
        resumed: Resumed,
        spool: EntrySpool,
        tally: ByteTally,
        findings: Findings,
        sink: ProgressSink,
        *,
        takes_over: bool,
    ) -> None:
        self._directory = directory
        self._config = list(config)
        self._previous = previous
        self._resumed = resumed
        self._spool = spool
        self._tally = tally
        self._findings = findings
        self._sink = sink
        self._takes_over = takes_over  # an incremental takes unchanged files over, a full one reads them
        self.tablespaces: dict[str, str] = {}

    def sources(self) -> Iterator[SourceFile]:
        """The files to be read."""
        numbers = itertools.count()
        for file in self._config:
            yield SourceFile(next(numbers), file.path, file.name, "config")
        in_use_elsewhere = {file.name for file in self._config}
        for entry in data_directory.scan(self._directory):
            if entry.path in in_use_elsewhere:
                continue  # the server does not read this one, and a restore brings both to the same place
            number = next(numbers)
            if entry.kind is EntryKind.DIRECTORY:
                self._spool.add(number, manifest.render_entry(manifest.DirectoryEntry(entry.path, entry.mode)))
            elif entry.kind is EntryKind.FILE:
                source = self._file(number, entry)
                if source is not None:
                    yield source
            elif entry.path.startswith(f"{data_directory.TABLESPACES}/"):
                self.tablespaces[Path(entry.path).name] = entry.target or ""
            else:
                self._sink.emit(Warned(f"the symbolic link {entry.path} is not included"))

    def _file(self, number: int, entry: data_directory.Entry) -> SourceFile | None:
        """The file to be read; None when it was taken over as it is."""
        known = self._previous.file(entry.path) if self._previous else None
        same = self._previous is not None and known is not None and self._previous.seems_same(entry, known)
        begun = self._resumed.file(entry)
        taken = begun or (known if same and self._takes_over else None)
        if taken is not None:
            self._findings.finished(number, taken)
            self._tally.skip(entry.size)
            return None
        return SourceFile(number, self._directory / entry.path, entry.path, "data", known, same, size=entry.size)
