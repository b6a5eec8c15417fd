# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The on-host command as one file: a zip application made from the very source that makes it.

The file is deterministic - sorted names, fixed times, nothing compressed - and named after its
content, so that making it again changes nothing. Beside each source lies its bytecode, which
Python would otherwise compile anew at every start, because it never writes into a zip.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import py_compile
import stat
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from importlib.util import MAGIC_NUMBER
from pathlib import Path, PurePosixPath
from zipimport import zipimporter

from . import durable

PACKAGE = "lifeboat"
_FIXED_TIME = (1980, 1, 1, 0, 0, 0)
_SEAL_BYTES = 64
_MODE = 0o755
_MAIN = """\
import os
import sys

# Through a link, a later version would be swapped in under a running command, whose imports would
# then read the new file with the old one's table of contents.
sys.path[0] = os.path.realpath(sys.path[0])
# Held open for as long as we run: whoever installs a later version sees that this one is in use.
in_use = os.open(sys.path[0], os.O_RDONLY | os.O_CLOEXEC)

try:
    if sys.argv[1:2] in (["archive-push"], ["archive-fetch"]):  # for every WAL file: with as little as possible
        from lifeboat.foreground import main
    else:
        from lifeboat.cli import main
    status = main()
except BaseException:
    # As cli.STOP_RECOVERY: a command that cannot even begin must not look like the end of the archive.
    sys.excepthook(*sys.exc_info())
    status = 200

sys.exit(status)
"""


def engine_sources() -> dict[str, bytes]:
    """Every file of the engine that is running now, by its path below the engine's own folder."""
    spec = sys.modules[__package__ or ""].__spec__
    loader = spec.loader if spec else None
    if isinstance(loader, zipimporter):
        folder = str(Path(__file__).parent.relative_to(loader.archive)) + "/"
        with zipfile.ZipFile(loader.archive) as archive:
            names = [name for name in archive.namelist() if name.startswith(folder) and name.endswith(".py")]
            return {name[len(folder) :]: archive.read(name) for name in sorted(names)}
    root = Path(__file__).parent
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*.py"))}


def bundle_digest(sources: dict[str, bytes], interpreter: str) -> str:
    """What the file's name carries: changes with the source, the interpreter and its bytecode's format."""
    digest = hashlib.sha256(f"{interpreter}\0{MAGIC_NUMBER.hex()}\0{_MAIN}".encode())
    for name, source in sorted(sources.items()):
        digest.update(f"\0{name}\0{len(source)}\0".encode() + source)
    return digest.hexdigest()[:16]


def _bytecode(name: str, source: bytes) -> bytes:
    """Compiled once and trusted from then on: source and bytecode are in one file that never changes."""
    with tempfile.TemporaryDirectory() as folder:
        path, compiled = Path(folder, "source.py"), Path(folder, "compiled.pyc")
        path.write_bytes(source)
        py_compile.compile(
            str(path),
            cfile=str(compiled),
            dfile=f"{PACKAGE}/{name}",
            doraise=True,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )
        return compiled.read_bytes()


def build(sources: dict[str, bytes], interpreter: str) -> bytes:
    """The application's bytes."""
    members = {"__main__.py": _MAIN.encode()}
    for name, source in sources.items():
        members[f"{PACKAGE}/{name}"] = source
        members[f"{PACKAGE}/{name}c"] = _bytecode(name, source)
    buffer = io.BytesIO()
    buffer.write(f"#!{interpreter} -I\n".encode())
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_STORED) as archive:
        for name in sorted(members):
            info = zipfile.ZipInfo(str(PurePosixPath(name)), _FIXED_TIME)
            info.external_attr = 0o100644 << 16
            archive.writestr(info, members[name])
        archive.comment = bytes(_SEAL_BYTES)
    content = buffer.getvalue()[:-_SEAL_BYTES]
    return content + _seal(content)


def _seal(content: bytes) -> bytes:
    """The archive's comment, its very end: by it, damage anywhere in the file is noticed."""
    return hashlib.sha256(content).hexdigest().encode("ascii")


@dataclass(frozen=True)
class Installation:
    """Where the command is: one file per version, and a link with the name that everybody calls."""

    prefix: Path
    interpreter: str

    @property
    def library(self) -> Path:
        """The folder with the application's versions."""
        return self.prefix / "lib/lifeboat"

    @property
    def link(self) -> Path:
        """What is called."""
        return self.prefix / "bin/lifeboat"

    def application(self, sources: dict[str, bytes]) -> Path:
        """The file for these sources."""
        return self.library / f"lifeboat-{bundle_digest(sources, self.interpreter)}.pyz"

    def is_current(self, sources: dict[str, bytes]) -> bool:
        """Whether the link leads to a whole application made from these sources."""
        application = self.application(sources)
        try:
            if os.readlink(self.link) != str(application):
                return False
            content = application.read_bytes()
            return stat.S_IMODE(application.stat().st_mode) == _MODE and content.endswith(_seal(content[:-_SEAL_BYTES]))
        except OSError:
            return False

    def install(self, sources: dict[str, bytes]) -> None:
        """Write the application, then turn the link to it. Older files stay while they may be in use."""
        application = self.application(sources)
        durable.make_directories(self.library, 0o755)
        durable.make_directories(self.link.parent, 0o755)
        durable.write_file(application, build(sources, self.interpreter), _MODE)
        temporary = durable.temporary_beside(self.link)
        temporary.symlink_to(application)
        temporary.replace(self.link)
        durable.fsync_directory(self.link.parent)
        self._remove_unused(application)

    def remove(self) -> None:
        """Take the command away."""
        for path in (self.link, *self._applications()):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.library.rmdir()

    def installed(self) -> bool:
        """Whether anything is there."""
        return self.link.is_symlink() or bool(self._applications())

    def _applications(self) -> list[Path]:
        return sorted(self.library.glob("lifeboat-*.pyz"))

    def _remove_unused(self, current: Path) -> None:
        in_use = _open_files()
        for path in self._applications():
            if path != current and str(path) not in in_use:
                path.unlink(missing_ok=True)


def _open_files() -> set[str]:
    """Every file that some process holds open."""
    held = set()
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            held.add(os.readlink(descriptor))
    return held
