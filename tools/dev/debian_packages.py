# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs from Debian packages, run beside the system: nothing is installed, nothing of apt's state is touched.

A private apt configuration (its own lists, status, cache and sources; the machine's mirrors and keys) downloads the
packages of a program and every shared library below them, down to libc. They are unpacked, and the paths of that loader
and those libraries are written into the programs. So a program of any release runs on this machine, as any user.

The library path is an RPATH on purpose: unlike a RUNPATH it also holds for libraries of libraries and for plugins, and
unlike LD_LIBRARY_PATH it is not inherited by what the program starts.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

ELF_MAGIC = b"\x7fELF"
DEBIAN_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

# In a private apt's folder, for other programs that fetch packages the same way:
SOURCES = "sources/private.sources"  # the archives
TRANSPORT = "transport.conf"  # how this machine reaches them


class Unavailable(Exception):
    """A component cannot be had on this machine; the message says why and what would help."""


@dataclass(frozen=True)
class Source:
    """One package archive as apt knows it."""

    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str = ""

    def stanza(self) -> str:
        """In the deb822 style of apt's *.sources files."""
        fields = {
            "Types": "deb",
            "URIs": " ".join(self.uris),
            "Suites": " ".join(self.suites),
            "Components": " ".join(self.components),
            "Signed-By": self.signed_by,
        }
        return "".join(f"{name}: {value}\n" for name, value in fields.items() if value)


def parse_deb822(text: str) -> Iterator[Source]:
    """The enabled binary archives of a *.sources file."""
    for paragraph in re.split(r"\n\s*\n", re.sub(r"(?m)^#.*\n?", "", text)):
        fields = {
            match[1].lower(): match[2].strip()
            for match in re.finditer(r"(?m)^([A-Za-z-]+):[ \t]*(.*(?:\n[ \t]+.*)*)", paragraph)
        }
        if "deb" in fields.get("types", "").split() and fields.get("enabled", "yes").lower() != "no":
            yield Source(
                uris=tuple(fields.get("uris", "").split()),
                suites=tuple(fields.get("suites", "").split()),
                components=tuple(fields.get("components", "").split()),
                signed_by=fields.get("signed-by", ""),
            )


def parse_one_line(text: str) -> Iterator[Source]:
    """The binary archives of a sources.list."""
    for line in text.splitlines():
        options = r"(?:\[(?P<options>[^]]*)\]\s*)?"
        match = re.match(rf"deb\s+{options}(?P<uri>\S+)\s+(?P<suite>\S+)(?P<components>[^#]*)", line)
        if match:
            signed_by = re.search(r"signed-by=(\S+)", match["options"] or "")
            yield Source(
                uris=(match["uri"],),
                suites=(match["suite"],),
                components=tuple(match["components"].split()),
                signed_by=signed_by[1] if signed_by else "",
            )


def machine_sources(apt_folder: Path = Path("/etc/apt")) -> list[Source]:
    """All package archives of this machine, in apt's order."""
    found: list[Source] = []
    for path in [apt_folder / "sources.list", *sorted((apt_folder / "sources.list.d").glob("*"))]:
        if path.suffix == ".sources":
            found += parse_deb822(path.read_text())
        elif path.suffix == ".list" and path.is_file():
            found += parse_one_line(path.read_text())
    return found


def os_release() -> dict[str, str]:
    """The operating system's description of itself."""
    lines = Path("/etc/os-release").read_text().splitlines()
    return {name: value.strip('"') for name, _ignored, value in (line.partition("=") for line in lines)}


def sources_for(suite: str, own_suite: str, sources: Iterable[Source], mirror: str = "") -> list[Source]:
    """The archives of a suite: the machine's own, or its mirrors asked for another release of the same distribution.

    *mirror* replaces the machine's main archive; it is how another distribution reaches Debian's.
    """
    if mirror:
        return [Source((mirror,), (suite,), ("main",), str(DEBIAN_KEYRING))]
    chosen = []
    for source in sources:
        for kind in ("", "-updates", "-security"):
            moving = suite in ("sid", "experimental") or (kind == "-updates" and suite != own_suite)
            if own_suite + kind in source.suites and "main" in source.components and not (kind and moving):
                chosen.append(replace(source, suites=(suite + kind,), components=("main",)))
    return chosen


class PrivateApt:
    """An apt of our own for one suite, its state in a folder."""

    def __init__(self, suite: str, folder: Path) -> None:
        """Fetch the package lists of *suite*; raise Unavailable when there is no archive for it."""
        if not shutil.which("apt-get"):
            raise Unavailable("this machine has no apt: install PostgreSQL by its own package manager")
        system = os_release()
        mirror = os.environ.get("LIFEBOAT_DEBIAN_MIRROR", "")
        own_suite = system.get("VERSION_CODENAME", "")
        other_release = suite != own_suite
        if other_release and system.get("ID") != "debian" and not (mirror and DEBIAN_KEYRING.exists()):
            raise Unavailable(
                f"Debian's {suite} cannot be reached from {system.get('PRETTY_NAME')}: install debian-archive-keyring "
                "and set LIFEBOAT_DEBIAN_MIRROR to the address of a Debian mirror"
            )
        archives = sources_for(suite, own_suite, machine_sources(), mirror if other_release else "")
        if not archives:
            raise Unavailable(f"no package archive of {own_suite or 'this system'} is configured in /etc/apt: add one")
        self._environment = os.environ | {"APT_CONFIG": str(self._configure(folder, archives)), "LC_ALL": "C"}
        self._run(["apt-get", "update", "-q", "-o", "APT::Update::Error-Mode=any"], folder)

    @staticmethod
    def _configure(folder: Path, archives: list[Source]) -> Path:
        for name in ("lists/partial", "cache/archives/partial", "sources", "parts"):
            (folder / name).mkdir(parents=True)
        (folder / "status").touch()
        (folder / SOURCES).write_text("\n".join(source.stanza() for source in archives))
        dump = subprocess.run(["apt-config", "dump"], check=True, capture_output=True, text=True).stdout
        transport = re.findall(r"(?m)^Acquire::(?:http|https|Check-[A-Za-z-]+)(?:::\S+)? .*$", dump)
        transport.append('Acquire::Retries "3";')
        (folder / TRANSPORT).write_text("\n".join([*transport, ""]))
        settings = {
            "Dir::Etc::main": "/dev/null",
            "Dir::Etc::parts": folder / "parts",
            "Dir::Etc::sourcelist": "/dev/null",
            "Dir::Etc::sourceparts": folder / "sources",
            "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": folder / "parts",
            "Dir::State::lists": folder / "lists",
            "Dir::State::status": folder / "status",
            "Dir::Cache": folder / "cache",
            "Acquire::Languages": "none",
            "APT::Sandbox::User": "root",
        }
        configuration = folder / "apt.conf"
        ours = [f'{name} "{value}";' for name, value in settings.items()]
        configuration.write_text("\n".join([*ours, *transport, ""]))
        return configuration

    def _run(self, command: list[str], folder: Path) -> str:
        done = subprocess.run(
            command,
            cwd=folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if line.startswith(("E:", "W:"))]
            raise Unavailable(f"{command[0]} {command[1]} failed ({'; '.join(said[:2])}): are the mirrors reachable?")
        return done.stdout

    def preferred(self, package: str) -> str:
        """The package that the meta-package *package* stands for in this release."""
        return self._depends(package).partition("Depends: ")[2].split()[0]

    def libraries(self, package: str) -> set[str]:
        """All shared libraries that *package* needs, directly or through others."""
        below = re.findall(r"(?m)^([a-z0-9.+-]+)$", self._depends(package, "--recurse"))
        return {name for name in below if re.match(r"lib[a-z0-9]|zlib1g$", name)}

    def _depends(self, package: str, *options: str) -> str:
        weaker = ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")
        return self._run(["apt-cache", "depends", *options, *(f"--no-{kind}" for kind in weaker), package], Path("/"))

    def download(self, packages: Iterable[str], folder: Path) -> list[Path]:
        """Put the packages' files into *folder*."""
        folder.mkdir()
        self._run(["apt-get", "download", "-q", *sorted(packages)], folder)
        return sorted(folder.glob("*.deb"))


def unpack(apt: PrivateApt, packages: list[str], without: str, folder: Path) -> Path:
    """Unpack *packages* and their libraries, except those matching *without*, and return the tree's root."""
    wanted = set(packages)
    for package in packages:
        wanted.update(name for name in apt.libraries(package) if not re.search(f"perl|debconf|dpkg|{without}", name))
    root = folder / "root"
    root.mkdir()
    for deb in apt.download(wanted, folder / "debs"):
        subprocess.run(["dpkg-deb", "-x", str(deb), str(root)], check=True)
    return root


def make_runnable(root: Path, final_root: Path, programs: Iterable[Path], patchelf: Path) -> None:
    """Point *programs* at the loader and the libraries of their own tree, which will lie at *final_root*."""

    def run(*arguments: str | Path) -> str:
        return subprocess.run([patchelf, *arguments], check=True, capture_output=True, text=True).stdout.strip()

    def is_elf(path: Path) -> bool:
        if path.is_symlink() or not path.is_file():
            return False
        with path.open("rb") as opened:
            return opened.read(4) == ELF_MAGIC

    folders = [folder for place in ("usr/lib", "lib") for folder in root.glob(f"{place}/*-linux-gnu*")]
    loader = next(path for folder in folders for path in folder.glob("ld-linux*.so.*"))
    # A library with a RUNPATH of its own ignores the program's RPATH: take it away, let the program's cover that too.
    for library in root.rglob("*.so*"):
        if is_elf(library):
            own = run("--print-rpath", library)
            if own.startswith("/"):
                run("--remove-rpath", library)
                folders += [root / part.lstrip("/") for part in own.split(":")]
    path = ":".join(dict.fromkeys(str(final_root / folder.relative_to(root)) for folder in folders))
    interpreter = final_root / loader.resolve().relative_to(root.resolve())
    for program in programs:
        if is_elf(program):
            run("--set-interpreter", interpreter, "--force-rpath", "--set-rpath", path, program)
