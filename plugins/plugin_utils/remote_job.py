# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shell commands with which the controller watches, and if need be stops, a job on a host.

A job is a module that Ansible's `async_wrapper` runs. Its processes are known by the temporary
directory that they were started from: that name is never used twice and can be found in their
command lines, whereas a process number may be somebody else's by the time it is used.

Every command is one line (some login shells cannot quote line breaks) of plain `sh`.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import PurePosixPath

from ..module_utils._engine.report.events import Event
from ..module_utils._engine.report.job_file import SUFFIX, parse_line

_BORDER = "--lifeboat--"
# Where job_file.job_directory() may have put it. The shell asks again, because a module's user and
# environment are only known on the host.
_JOB_DIRECTORIES = (
    "/run/lifeboat/jobs",
    '"${XDG_RUNTIME_DIR:-/nonexistent}/lifeboat/jobs"',
    '"${HOME:-/nonexistent}/.local/state/lifeboat/jobs"',
)
_STOP_PATIENCE_SECONDS = 30  # more than the engine gives its own worker to clean up


@dataclass(frozen=True)
class Sighting:
    """What one look at a job has shown."""

    has_result: bool
    is_alive: bool
    lines: list[str]
    """The job file's lines from the asked-for one on, whole ones only."""

    @property
    def events(self) -> list[Event]:
        """The events on those lines."""
        return [event for event in map(parse_line, self.lines) if event is not None]


@dataclass(frozen=True)
class RemoteJob:
    """One run of a module on a host."""

    job_id: str
    directory: str
    """Ansible's temporary directory for this run."""
    results_file: str = ""
    """Where `async_wrapper` writes the module's result."""

    def look_command(self, first_line: int) -> str:
        """Show whether there is a result, whether anything of the job lives, and its news.

        In this order: what is seen first is the oldest, so a result never hides news.
        """
        return (
            f"cat {shlex.quote(self.results_file)} 2>/dev/null; echo; echo {_BORDER};"
            f" grep -qs -e {self._pattern} /proc/[0-9]*/cmdline && echo alive || echo gone; echo {_BORDER};"
            f" for d in {' '.join(_JOB_DIRECTORIES)}; do"
            f' if [ -f "$d"/{self._file_name} ]; then tail -n +{first_line} "$d"/{self._file_name}; break; fi;'
            " done"
        )

    @staticmethod
    def sighting(output: str) -> Sighting:
        """Understand what `look_command` printed. A terminal in between may have added carriage returns."""
        result, alive, news, *_more = [*output.replace("\r", "").split(f"\n{_BORDER}\n"), "", ""]
        *whole_lines, _unfinished = news.split("\n")
        return Sighting(_is_result(result), alive == "alive", whole_lines)

    def forget_command(self) -> str:
        """Remove a job file that an earlier run with the same id has left."""
        return "; ".join(f"rm -f {directory}/{self._file_name}" for directory in _JOB_DIRECTORIES)

    def tidy_command(self) -> str:
        """Remove the result, which has been fetched."""
        return f"rm -f {shlex.quote(self.results_file)}"

    def stop_command(self, patience_seconds: int = _STOP_PATIENCE_SECONDS) -> str:
        """Ask the job to stop, wait until it has, kill what is left, and remove its files.

        The directory goes first: what has not been started from it by then cannot be started any more,
        what has can be seen. `async_wrapper` makes a session, by which all of the job is known; its
        process group is not enough, for a module that starts quickly may be left out of it.
        """
        parent, name = str(PurePosixPath(self.directory).parent), PurePosixPath(self.directory).name
        hidden_name = f"{shlex.quote(name[0])}''{shlex.quote(name[1:])}"  # or this command would find itself
        remove = f"rm -rf {shlex.quote(parent)}/{hidden_name}"
        # After its name in parentheses, a process's stat has: state, parent, group, session.
        look_at = "look_at() { read -r line 2>/dev/null <$1/stat && set -- ${line##*) } && state=$1 session=$4; }"
        find = (
            "look_at /proc/$$; own=$session; sessions=' ';"  # 0 would be one from outside this container
            f" for f in $(grep -ls -e {self._pattern} /proc/[0-9]*/cmdline); do"
            " look_at ${f%/cmdline} && case $session in $own|0) ;; *) sessions="
            '"$sessions$session ";; esac; done'
        )
        members = (
            "members() { for p in /proc/[0-9]*; do"
            ' if look_at $p && [ $state != Z ]; then case "$sessions" in *" $session "*) echo ${p#/proc/};; esac; fi;'
            " done; }"
        )
        end = (
            'all=$(members); [ -z "$all" ] || kill -s TERM $all; n=0;'
            f' while [ -n "$(members)" ] && [ $n -lt {patience_seconds * 5} ]; do sleep 0.2; n=$((n + 1)); done;'
            ' all=$(members); [ -z "$all" ] || kill -s KILL $all'
        )
        return "; ".join((remove, look_at, find, members, end, self.tidy_command()))

    @property
    def _file_name(self) -> str:
        return shlex.quote(self.job_id + SUFFIX)

    @property
    def _pattern(self) -> str:
        """A regular expression for the directory's name that does not match the command it stands in."""
        name = PurePosixPath(self.directory).name
        return shlex.quote(f"[{name[0]}]{name[1:]}")


def _is_result(text: str) -> bool:
    """Whether `async_wrapper` has replaced its own note about the start by the module's result.

    Either is one line; a login may have written others before it.
    """
    try:
        return "started" not in json.loads(text.strip().rpartition("\n")[2])
    except ValueError:
        return False
