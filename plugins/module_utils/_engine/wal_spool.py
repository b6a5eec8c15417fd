# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The folder `pg_wal/lifeboat` of a data directory: what foreground and background tell each other.

    acknowledged/FILE        the file is durable in every required repository
    acknowledged/.life       whose files these are: of the life that is claimed now, or they mean nothing
    failed/FILE              why the last attempt to archive it failed
    owed/REPOSITORY/FILE     archived, but not yet in this optional repository
    dropped/REPOSITORY/FILE  given up by the drop policy, to be noted in this repository
    fetched/LIFE/FILE        checked, waiting to be replayed
    NAME.lock, .bell, .log   of the background processes `push` and `fetch`

It lies in `pg_wal` because that is in no backup, goes with every restore, belongs to the server's
owner, and is the file system that a fetched segment has to be on.

Only what Python starts with anyway is imported here, and by nobody who reads this for
`archive_command`: PostgreSQL starts that for every segment.
"""

from __future__ import annotations

import _socket  # what `socket` begins with, and all that is needed of it
import contextlib
import os
import sys

# Says in the data directory's root which life of a stanza it archives into. It is in no backup of ours, so
# whatever was restored has none; a standby that was copied has it, and goes on where its primary ended.
CLAIM_FILE = "lifeboat.incarnation"
FOLDER = "pg_wal/lifeboat"
PUSH, FETCH = "push", "fetch"
WANTED = "\t?"  # between a greeting and the file that somebody waits for
# Answers to who waits: it lies ready, the archive has none and may end there, it must be looked for without us.
READY, MISSING, UNDECIDED = "ready", "missing", "undecided"
_LONGEST_ANSWER = 64
_CLAIM_COMMENT = (
    "# This cluster archives its WAL into this incarnation (Lifeboat). Never copy this file to another cluster.\n"
)


def life_name(system_identifier: int, incarnation: str) -> str:
    """How a life is called in the spool and in the claim."""
    return f"{system_identifier}-{incarnation}"


def claim_text(life: str) -> str:
    """What the claim file holds."""
    return f"{_CLAIM_COMMENT}{life}\n"


def claimed_life(data_directory: str) -> str | None:
    """The life that this data directory has claimed; None when it has claimed none."""
    try:
        with open(f"{data_directory}/{CLAIM_FILE}", encoding="ascii") as stream:
            return life_in(stream.read())
    except FileNotFoundError:
        return None


def life_in(text: str) -> str | None:
    """The life that a claim file's text names."""
    lines = text.splitlines()
    return lines[-1].strip() if lines and "-" in lines[-1] and not lines[-1].startswith("#") else None


# An acknowledgement's name from the data directory on, where PostgreSQL runs `archive_command`.
ACKNOWLEDGEMENT = f"{FOLDER}/acknowledged/%f"


def forget_acknowledgements(data_directory: str) -> None:
    """From now on none counts, and nobody can make one before the background has looked at the claim anew."""
    folder = f"{data_directory}/{FOLDER}/acknowledged"
    forgotten = f"{data_directory}/{FOLDER}/.forgotten-{os.getpid()}"
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        os.rename(folder, forgotten)  # all at once
        for name in os.listdir(forgotten):
            os.unlink(f"{forgotten}/{name}")
        os.rmdir(forgotten)


def fetched(incarnation: str) -> str:
    """The name, from the data directory on, of the fetched file that belongs to `%f`."""
    return f"{FOLDER}/fetched/{incarnation}/%f"


def identity(facts: os.stat_result) -> str:
    """What tells a WAL file from a later one of the same name."""
    return f"{facts.st_size} {facts.st_mtime_ns} {facts.st_ino}"


def greeting(options: list[str]) -> str:
    """What the foreground says to the background: which program it is, and called with which options."""
    return "\t".join([sys.path[0], *options]).replace("\n", " ")


class WalSpool:
    """One data directory's folder, for one life."""

    def __init__(self, data_directory: str, life: str) -> None:
        self.data_directory = data_directory
        self.life = life
        self.wal = f"{data_directory}/pg_wal"
        self.folder = f"{data_directory}/{FOLDER}"
        self.acknowledged = f"{self.folder}/acknowledged"
        self.failed = f"{self.folder}/failed"
        self.fetched = f"{self.folder}/fetched/{life}"

    def bell(self, name: str) -> str:
        """The socket that wakes a background process."""
        return f"{self.folder}/{name}.bell"

    def lock(self, name: str) -> str:
        """What a background process holds as long as it lives."""
        return f"{self.folder}/{name}.lock"

    def log(self, name: str) -> str:
        """What it says."""
        return f"{self.folder}/{name}.log"

    def owed(self, repository: str) -> str:
        """What an optional repository lacks."""
        return f"{self.folder}/owed/{repository}"

    def owe(self, repository: str, file_name: str) -> None:
        """An optional repository lacks this file from now on, until somebody has brought it."""
        os.makedirs(self.owed(repository), 0o700, exist_ok=True)
        with open(f"{self.owed(repository)}/{file_name}", "w", encoding="ascii"):
            pass

    def dropped(self, repository: str) -> str:
        """What a repository will never get."""
        return f"{self.folder}/dropped/{repository}"

    def keep_acknowledgements_of_this_life(self) -> None:
        """Begin anew where those that are there are another life's. No links: other tools copy this directory too."""
        said = f"{self.acknowledged}/.life"
        if _read(said) == self.life:
            return
        forget_acknowledgements(self.data_directory)
        os.makedirs(self.acknowledged, 0o700, exist_ok=True)
        with open(said, "w", encoding="ascii") as stream:
            stream.write(self.life)

    def is_ready(self, file_name: str) -> bool:
        """Whether the server waits for this file to be archived."""
        return os.path.exists(f"{self.wal}/archive_status/{file_name}.ready")

    def ready(self) -> list[str]:
        """All files that the server waits for: histories first, then the oldest, as the server goes."""
        status = f"{self.wal}/archive_status"
        names = [name[:-6] for name in os.listdir(status) if name.endswith(".ready")]
        return sorted(names, key=lambda name: (not name.endswith(".history"), name))

    def acknowledge(self, file_name: str, facts: os.stat_result) -> None:
        """Only ever called when the file is durable in every required repository (I4)."""
        with open(f"{self.acknowledged}/{file_name}", "w", encoding="ascii") as stream:
            stream.write(f"{self.life} {identity(facts)}")

    def is_acknowledged(self, file_name: str, facts: os.stat_result) -> bool:
        """Whether this very file is; one of an earlier file under its name, or of another life, does not count."""
        return _read(f"{self.acknowledged}/{file_name}") == f"{self.life} {identity(facts)}"

    def fail(self, file_name: str, message: str) -> None:
        """Leave word for the foreground."""
        temporary = f"{self.failed}/.{file_name}"
        with open(temporary, "w", encoding="utf-8") as stream:
            stream.write(message)
        os.replace(temporary, f"{self.failed}/{file_name}")

    def failure(self, file_name: str) -> str | None:
        """What went wrong with a file."""
        return _read(f"{self.failed}/{file_name}")

    def forget_failure(self, file_name: str) -> None:
        """From now on only later attempts count."""
        with contextlib.suppress(OSError):
            os.unlink(f"{self.failed}/{file_name}")


class BellAddress:
    """A bell's address while it is used: by its folder, as the path of a data directory may be too long for one."""

    def __init__(self, bell: str) -> None:
        self._folder, self._name = os.path.split(bell)

    def __enter__(self) -> str:
        self._handle = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return f"/proc/self/fd/{self._handle}/{self._name}"

    def __exit__(self, *_ignored: object) -> None:
        os.close(self._handle)


def ring(bell: str, message: str) -> bool:
    """Wake the background process; False when nobody listens."""
    with contextlib.closing(_socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_NONBLOCK)) as sender:
        try:
            with BellAddress(bell) as address:
                sender.sendto(message.encode(), address)
        except BlockingIOError:
            return True  # it has plenty of reasons to wake up already
        except OSError:
            return False
    return True


def ask(bell: str, message: str, seconds: float) -> str:
    """Ring with a question and wait for its answer. Empty when nobody listens or answers in time.

    The answer comes by a socket of this question's own. So it is never an earlier one's, and if the background ends,
    however it does, that is known at once.
    """
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
    with contextlib.closing(ours):
        sender = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM)
        with contextlib.closing(sender), contextlib.closing(theirs):
            sender.settimeout(seconds)
            handle = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, theirs.fileno().to_bytes(4, sys.byteorder))
            try:
                with BellAddress(bell) as address:
                    sender.sendmsg([message.encode()], [handle], 0, address)
            except OSError:
                return ""
        ours.settimeout(seconds)
        try:
            return ours.recv(_LONGEST_ANSWER).decode("ascii")
        except OSError:
            return ""


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read()
    except OSError:
        return None
