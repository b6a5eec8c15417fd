# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which package archives another release's packages are taken from."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from harness import CHECKOUT

sys.path.insert(0, str(CHECKOUT / "tools/dev"))
from debian_packages import Source, Unavailable, machine_sources, sources_for
from postgres import PROGRAMS, PostgresFinder, newest

DEB822 = """\
# The distribution
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm
 bookworm-updates
Components: main non-free-firmware
Signed-By: /usr/share/keyrings/debian.gpg

Types: deb
# a comment between the fields
URIs: http://mirror.example/security
Suites: bookworm-security
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc

Enabled: no
Types: deb
URIs: http://off.example/
Suites: bookworm
Components: main
"""

ONE_LINE = """\
deb http://mirror.example/debian bookworm main contrib # the distribution
deb [arch=amd64 signed-by=/etc/apt/keys/vendor.gpg] https://vendor.example/apt bookworm stable
# deb http://off.example/ bookworm main
deb-src http://mirror.example/debian bookworm main
"""


@pytest.fixture
def apt_folder(tmp_path: Path) -> Path:
    (tmp_path / "sources.list.d").mkdir()
    return tmp_path


def test_deb822_sources(apt_folder: Path) -> None:
    (apt_folder / "sources.list.d/debian.sources").write_text(DEB822)
    distribution, security = machine_sources(apt_folder)
    assert distribution == Source(
        uris=("http://mirror.example/debian",),
        suites=("bookworm", "bookworm-updates"),
        components=("main", "non-free-firmware"),
        signed_by="/usr/share/keyrings/debian.gpg",
    )
    assert security.suites == ("bookworm-security",)
    assert security.stanza().endswith("Components: main\nSigned-By: -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n")


def test_one_line_sources(apt_folder: Path) -> None:
    (apt_folder / "sources.list").write_text(ONE_LINE)
    distribution, vendor = machine_sources(apt_folder)
    assert distribution == Source(("http://mirror.example/debian",), ("bookworm",), ("main", "contrib"))
    assert vendor.signed_by == "/etc/apt/keys/vendor.gpg"


@pytest.mark.parametrize(
    ("suite", "expected"),
    [
        ("bookworm", ["bookworm", "bookworm-updates", "bookworm-security"]),
        ("trixie", ["trixie", "trixie-security"]),
        ("sid", ["sid"]),
    ],
)
def test_another_release_comes_from_the_same_mirrors(apt_folder: Path, suite: str, expected: list[str]) -> None:
    (apt_folder / "sources.list").write_text(ONE_LINE)  # its vendor has the same suite, but is not the distribution
    (apt_folder / "sources.list.d/debian.sources").write_text(DEB822.partition("\n\n")[2])
    (apt_folder / "sources.list.d/updates.list").write_text("deb http://mirror.example/debian bookworm-updates main")
    chosen = sources_for(suite, "bookworm", machine_sources(apt_folder))
    assert {name for source in chosen for name in source.suites} == set(expected)
    assert not [uri for source in chosen for uri in source.uris if "mirror" not in uri]
    assert {source.components for source in chosen} == {("main",)}


def test_a_named_mirror_takes_the_place_of_the_machines() -> None:
    (source,) = sources_for("trixie", "noble", [], mirror="http://elsewhere.example/debian")
    assert source.suites == ("trixie",)
    assert source.uris == ("http://elsewhere.example/debian",)


def test_an_unknown_version_is_named_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"PostgreSQL 99 .*13, 15, 17, 18"):
        PostgresFinder(tmp_path).ensure("99")


def test_the_newest_complete_installation_of_a_supported_version_is_taken(tmp_path: Path) -> None:
    for version in ("12", "15", "16", "17", "local"):
        bin_dir = tmp_path / version / "bin"
        bin_dir.mkdir(parents=True)
        for name in PROGRAMS:
            (bin_dir / name).touch(mode=0o755)
    (tmp_path / "17/bin/initdb").unlink()
    assert newest(tmp_path.glob("*/bin")) == tmp_path / "16/bin"
    assert newest(tmp_path.glob("12/bin")) is None
