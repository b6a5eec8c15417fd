# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the secret that opens a repository comes from: a file, a passphrase or a command."""

from __future__ import annotations

import os
import shlex

from ..errors import ExternalToolError, PreconditionError
from ..ports import ProcessRunner
from ..specs import KeySpec
from .key_files import parse_key, read_key_file
from .keys import KeyHolder, WrappingKey
from .passphrases import Passphrase, read_passphrase_file

_COMMAND_SECONDS = 30.0
# How systemd tells a unit's programs where its credentials are.
_PASSED_ON = ("CREDENTIALS_DIRECTORY",)


def holder_of(spec: KeySpec, runner: ProcessRunner | None = None) -> KeyHolder:
    """Fetch the secret from the one place that is given."""
    spec.require_one("opening the repository")
    if spec.key_file is not None:
        return read_key_file(spec.key_file)
    if spec.passphrase_file is not None:
        return read_passphrase_file(spec.passphrase_file)
    if spec.key_command is not None:
        return _key_of_command(spec.key_command, runner or _system_runner())
    return Passphrase(spec.passphrase or "")


def _system_runner() -> ProcessRunner:
    from ..process import Runner  # only here: archiving a file starts programs for nothing else

    return Runner({name: os.environ[name] for name in _PASSED_ON if name in os.environ})


def _key_of_command(command: str, runner: ProcessRunner) -> WrappingKey:
    """Run a command and read the key that it prints. What it prints is in no message, whatever happens."""
    argv = _split(command)
    attempted = f"getting the repository's key from the command {argv[0]}"
    completed = runner.run(argv, timeout=_COMMAND_SECONDS, check=False, attempted=attempted)
    if completed.returncode != 0:
        complaint = completed.stderr.strip()[-2000:] or "it gave no reason"
        raise ExternalToolError(
            attempted,
            f"it ended with status {completed.returncode}: {complaint}.",
            "Run it as the user that owns the data directory, without a terminal and with few variables in its"
            " environment, and see why.",
            code="key_command_failed",
            returncode=completed.returncode,
        )
    key = parse_key(completed.stdout.encode("utf-8", "surrogateescape"), "command")
    if key is None:
        raise PreconditionError(
            attempted,
            "what it prints does not begin with a Lifeboat key (one line, as in a key file).",
            "Let it print the content of the key file and nothing else.",
            code="key_command_no_key",
        )
    return key


def _split(command: str) -> list[str]:
    try:
        argv = shlex.split(command)
    except ValueError as exc:
        raise _command_invalid(f"{exc}") from exc
    if not argv:
        raise _command_invalid("it is empty")
    return argv


def _command_invalid(happened: str) -> PreconditionError:
    return PreconditionError(
        "reading key_command",
        f"{happened}.",
        "Write a program and its arguments as in a shell, quoted where needed; no shell is run.",
        code="key_command_invalid",
    )
