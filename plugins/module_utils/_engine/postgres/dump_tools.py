# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pg_dump, pg_dumpall, pg_restore and psql, connected to a server. What they read and write streams through us."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from .. import pipes
from ..dump_selection import Selection
from ..errors import ExternalToolError
from ..process import Runner
from ..specs import ConnectionSpec
from .connection import connect_options
from .programs import Programs
from .tool_causes import explained

_VARIABLES = {
    "host": "PGHOST",
    "port": "PGPORT",
    "user": "PGUSER",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "connect_timeout": "PGCONNECT_TIMEOUT",
    "application_name": "PGAPPNAME",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
}


class DumpTools:
    """One version's programs and one server. Database names and passwords go by environment, never by argument."""

    def __init__(self, programs: Programs, spec: ConnectionSpec, data_directory: Path | None, runner: Runner) -> None:
        self.programs = programs
        self._runner = runner
        options = connect_options(spec, data_directory)
        self._environment = {name: str(options[key]) for key, name in _VARIABLES.items() if key in options}
        self._secrets = {"PGPASSWORD": options["password"]} if "password" in options else {}

    def dump(self, database: str, form: str, selection: Selection, snapshot: str, compress: str) -> Iterator[bytes]:
        """A database's dump, piece by piece; whoever comes to the end has all of it."""
        words = [f"--format={form}", f"--snapshot={snapshot}", *selection.options()]
        if form != "plain" or compress != "0":
            words.append(f"--compress={compress}")
        return self._read("pg_dump", words, database, f"dumping the database {database}")

    def dump_globals(self, database: str, *, passwords: bool) -> Iterator[bytes]:
        """Roles and tablespaces, as SQL."""
        words = ["--globals-only", *([] if passwords else ["--no-role-passwords"])]
        return self._read("pg_dumpall", [*words, f"--database={database}"], database, "dumping roles and tablespaces")

    def restore(self, database: str, options: Iterable[str], dump: Iterable[bytes]) -> None:
        """Bring a custom-format dump into a database."""
        attempted = f"restoring into the database {database}"
        # pg_restore takes a name with an equals sign for a connection string, so that it is given one.
        words = [f"--dbname={conninfo(database)}", "--exit-on-error", *options]
        self._write("pg_restore", words, database, attempted, dump)

    def restore_file(self, database: str, options: Iterable[str], path: Path) -> None:
        """The same from a file, which several processes can read."""
        self.restore(database, [*options, str(path)], ())

    def execute(self, database: str, options: Iterable[str], script: Iterable[bytes]) -> None:
        """Run SQL in a database; the first error ends it."""
        words = ["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", *options]
        self._write("psql", words, database, f"running the dump's SQL in the database {database}", script)

    def script(self, options: Iterable[str], dump: Iterable[bytes]) -> Iterator[bytes]:
        """A custom-format dump, or a part of it, as SQL; no server is asked."""
        argv = [self.programs.path("pg_restore"), *options, "--file=-"]
        return self._pieces(argv, "reading a dump", {}, dump)

    def _read(self, program: str, words: list[str], database: str, attempted: str) -> Iterator[bytes]:
        argv = [self.programs.path(program), "--no-password", *words]
        return self._pieces(argv, attempted, {**self._environment, "PGDATABASE": database})

    def _pieces(
        self, argv: list[str], attempted: str, env: dict[str, str], given: Iterable[bytes] | None = None
    ) -> Iterator[bytes]:
        start = partial(pipes.start, self._runner, argv, attempted=attempted, env=env, secrets=self._secrets)
        with _named(), start(stdin=given) as program:
            while piece := program.read():
                yield piece
            program.finish()

    def _write(self, program: str, words: list[str], database: str, attempted: str, pieces: Iterable[bytes]) -> None:
        argv = [self.programs.path(program), "--no-password", *words]
        env = {**self._environment, "PGDATABASE": database}
        start = partial(pipes.start, self._runner, argv, attempted=attempted, env=env, secrets=self._secrets)
        with _named(), start(stdin=pieces, output=False) as running:
            running.finish()


def conninfo(database: str) -> str:
    """A database's name as a connection string, whatever is in it."""
    return "dbname='" + database.replace("\\", "\\\\").replace("'", "\\'") + "'"


@contextlib.contextmanager
def _named() -> Iterator[None]:
    """A program's failure is told by its cause."""
    try:
        yield
    except ExternalToolError as error:
        named = explained(error)
        if named is error:
            raise
        raise named from error
