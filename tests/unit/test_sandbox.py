# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A program that can write to its own directories only, and sees other places under some names."""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine import sandbox
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.privileges import Owner, account, run_as
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.process import Runner
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.sandbox import REFUSED, Sandbox
from harness import cannot_be_had, server_user

KINDS = ["mount namespace", "user namespace"]
# Everything an intruder might try, each on a line of its own: what could be written.
SCRIPT = """
cd /
for place in own mapped new outside other; do
    eval "path=\\$$place"
    if { echo changed > "$path/file"; } 2> /dev/null; then echo "$place"; fi
done
cat "$mapped/file"
if touch /dev/shm/mine; then echo shared memory; fi
: > /dev/null && echo devices
grep -c . /proc/self/status > /dev/null && echo processes
grep CapEff /proc/self/status
mount -t tmpfs none "$outside" 2> /dev/null && echo mounted
mount -o remount,rw / 2> /dev/null && echo remounted
id -u
"""


class Silent:
    """A sink that nobody listens to."""

    def emit(self, event: Any) -> None:
        """Nothing."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """Directories that the server's user may all write to, were it not for the sandbox."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    for name in ("own", "place", "new_place", "literal", "outside", "parent/sibling"):
        (path / name).mkdir(parents=True)
    (path / "parent/note").write_text("of production")
    (path / "parent/link").symlink_to("note")
    for found in (path, *path.rglob("*")):
        if os.geteuid() == 0:
            os.chown(found, server_user().pw_uid, server_user().pw_gid, follow_symlinks=False)
    yield path
    shutil.rmtree(path)


def run_inside(kind: str, box: Sandbox, environment: dict[str, str], script: str = SCRIPT) -> dict[str, Any]:
    """Run a script in the sandbox as the server's user; whether that was possible, and what it said."""
    owner = Owner(server_user().pw_uid, server_user().pw_gid, server_user().pw_name)
    if kind == "mount namespace" and os.geteuid() != 0:
        cannot_be_had("only root's workers may mount")

    def task(_sink: Any) -> dict[str, Any]:
        done = Runner().run(["/bin/sh", "-c", script], env=environment, inside=box, check=False)
        return {"kind": box.kind(), "status": done.returncode, "said": done.stdout.split("\n"), "error": done.stderr}

    result = run_as(owner, task, Silent(), may_mount=kind == "mount namespace")
    if result["status"] == REFUSED:
        cannot_be_had(f"this machine allows no {kind}: {result['error']}")
    assert result["kind"] == kind
    return result


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("old_kernel", [False, True])
def test_it_can_write_to_its_own_places_only(
    kind: str, old_kernel: bool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if old_kernel:
        monkeypatch.setattr(sandbox, "_SYS_MOUNT_SETATTR", 9999)
    new = folder / "parent/new/below"
    box = Sandbox([folder / "own"], {folder / "literal": folder / "place", new: folder / "new_place"})
    places = {
        "own": folder / "own",
        "mapped": folder / "literal",
        "new": new,
        "outside": folder / "outside",
        "other": folder / "parent/sibling",
    }
    result = run_inside(kind, box, {name: str(path) for name, path in places.items()})
    effective = "CapEff:\t0000000000000000"
    assert result["said"] == [
        "own",
        "mapped",
        "new",
        "changed",
        "shared memory",
        "devices",
        "processes",
        effective,
        str(server_user().pw_uid),
        "",
    ], result
    written = {str(path.relative_to(folder)) for path in folder.rglob("file")}
    assert written == {"own/file", "place/file", "new_place/file"}
    assert {path.name for path in (folder / "parent").iterdir()} == {"sibling", "note", "link"}
    assert not Path("/dev/shm/mine").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_beside_a_made_up_directory_everything_is_as_before(kind: str, folder: Path) -> None:
    box = Sandbox([folder / "own"], {folder / "parent/new": folder / "place"})
    script = 'ls "$parent"; cat "$parent/link"; echo x >> "$parent/note"'
    result = run_inside(kind, box, {"parent": str(folder / "parent")}, script)
    assert result["said"] == ["link", "new", "note", "sibling", "of production"]
    assert (folder / "parent/note").read_text() == "of production"


@pytest.mark.parametrize("kind", KINDS)
def test_a_view_that_cannot_be_made_is_refused_with_the_reason(kind: str, folder: Path) -> None:
    owner = account(server_user().pw_uid)
    box = Sandbox([folder / "own"], {Path("/lifeboat-nowhere"): folder / "place"})

    def task(_sink: Any) -> dict[str, Any]:
        done = Runner().run(["/bin/true"], inside=box, check=False)
        return {"status": done.returncode, "error": done.stderr}

    result = run_as(owner, task, Silent(), may_mount=kind == "mount namespace")
    assert result["status"] == REFUSED
    assert not Path("/lifeboat-nowhere").exists()


def test_a_worker_keeps_one_right_and_only_when_it_is_meant_to() -> None:
    if os.geteuid() != 0:
        cannot_be_had("only root can give rights away")
    owner = account(pwd.getpwnam(server_user().pw_name).pw_uid)

    def task(_sink: Any) -> dict[str, Any]:
        status = dict(line.split(":\t") for line in Path("/proc/self/status").read_text().split("\n") if ":\t" in line)
        return {name: int(status[name], 16) for name in ("CapPrm", "CapEff", "CapInh", "CapAmb")}

    none = {"CapPrm": 0, "CapEff": 0, "CapInh": 0, "CapAmb": 0}
    assert run_as(owner, task, Silent()) == none
    assert run_as(owner, task, Silent(), may_mount=True) == {**none, "CapPrm": 1 << 21}
