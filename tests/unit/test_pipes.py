# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that stream: all that they are given and say goes through, and what broke off is not taken for whole."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine import pipes
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.errors import (
    ExternalToolError,
    IntegrityError,
    PreconditionError,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.pipes import WRITTEN, PipedProcess
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.process import Runner
from harness import wait_until

MUCH = 3_000_000  # more than pipes hold


def shell(script: str, **options: object) -> PipedProcess:
    return pipes.start(Runner(), ["sh", "-c", script], attempted="streaming", **options)  # type: ignore[arg-type]


def everything(program: PipedProcess) -> bytes:
    output = b"".join(iter(program.read, b""))
    program.finish()
    return output


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def is_gone(pid: int) -> bool:
    """Whether the process is dead, buried or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_output_is_read_in_pieces() -> None:
    with pipes.start(Runner(), [sys.executable, "-c", f"print('x' * {MUCH}, end='')"], attempted="") as program:
        assert program.read(7) == b"x" * 7
        assert len(everything(program)) == MUCH - 7


def test_pieces_go_in_while_output_is_read() -> None:
    with shell("cat", stdin=(b"x" * 1000 for _rest in range(MUCH // 1000))) as program:
        assert everything(program) == b"x" * MUCH


def test_a_program_reads_a_file_by_itself(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"skipped read")
    with (tmp_path / "file").open("rb") as stdin:
        os.lseek(stdin.fileno(), 8, os.SEEK_SET)
        with shell("cat", stdin=stdin.fileno()) as program:
            assert everything(program) == b"read"


def test_what_is_written_arrives(tmp_path: Path) -> None:
    with shell("cat >written", stdin=WRITTEN, output=False, cwd=tmp_path) as program:
        for _rest in range(3):
            program.write(b"x" * (MUCH // 3))
        program.finish()
    assert (tmp_path / "written").stat().st_size == MUCH


def test_without_input_there_is_nothing_to_read() -> None:
    with shell("cat; echo end") as program:
        assert everything(program) == b"end\n"


def test_a_failure_shows_what_was_said_last_and_no_secret() -> None:
    script = 'echo part; seq 100000 >&2; echo "no $WORD, no s3cret" >&2; exit 3'
    with shell(script, secrets={"WORD": "passw0rd"}, hidden=["s3cret"]) as program:
        with pytest.raises(ExternalToolError, match=r"no \*\*\*, no \*\*\*") as caught:
            everything(program)
        assert (caught.value.code, caught.value.details["returncode"]) == ("tool_failed", 3)
        assert caught.value.attempted == "streaming"


def test_a_program_that_fails_while_it_is_written_to_says_why() -> None:
    with shell("echo no room >&2; exit 1", stdin=WRITTEN) as program, pytest.raises(ExternalToolError, match="no room"):
        while True:
            program.write(b"x" * MUCH)


@pytest.mark.parametrize("stdin", [WRITTEN, [b"x" * MUCH]])
def test_a_program_that_wants_only_a_part_has_not_succeeded(stdin: object) -> None:
    with shell("head -c 1", stdin=stdin) as program:
        with pytest.raises(ExternalToolError) as caught:
            if stdin is WRITTEN:
                program.write(b"x" * MUCH)
            everything(program)
        assert caught.value.code == "tool_stopped_reading"


def test_input_that_breaks_off_is_not_taken_for_whole(tmp_path: Path) -> None:
    broken = IntegrityError("reading", "it is damaged.", "Take another.", code="damaged")

    def breaking_off() -> Iterator[bytes]:
        yield b"half"
        raise broken

    with shell("cat && touch committed", stdin=breaking_off(), cwd=tmp_path) as program:
        with pytest.raises(IntegrityError) as caught:
            everything(program)
        assert caught.value is broken
    assert not (tmp_path / "committed").exists()


def test_an_abandoned_program_is_killed_and_nothing_stays_open() -> None:
    before = open_files()
    with shell("sleep 1000 & echo $!; exec sleep 1000", stdin=WRITTEN) as program:
        child = int(program.read())
    wait_until(lambda: is_gone(child), "what the program had started was gone")
    assert open_files() <= before


def test_nothing_stays_open_after_an_end_or_a_failed_start() -> None:
    before = open_files()
    with shell("cat", stdin=[b"x"]) as program:
        everything(program)
    with pytest.raises(PreconditionError):
        pipes.start(Runner(), ["/does/not/exist"], attempted="", stdin=WRITTEN)
    assert open_files() <= before


def test_a_secret_can_come_by_a_pipe_of_its_own() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"secret")
    os.close(writer)
    with shell(f"cat /proc/self/fd/{reader}", pass_fds=[reader]) as program:
        os.close(reader)
        assert everything(program) == b"secret"
