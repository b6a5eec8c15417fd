# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inline options win over lifeboat.conf, one by one; and the on-host command is told the very same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import expect
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._ansible import settings
from ansible_collections.lifeboat.postgresql.plugins.module_utils._ansible.arguments import SHARED
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine import cli, config, receive_settings
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.specs import (
    ClusterSpec,
    ConnectionSpec,
    KeySpec,
    RepositorySpec,
)

REPOSITORY = {"url": "/srv/filed", "key_file": "/etc/filed.key"}
CLUSTER = {
    "repository": "local",
    "stanza": "filed",
    "data_directory": "/filed/data",
    "bin_dir": "/filed/bin",
    "login_host": "filed",
    "login_port": "1",
    "login_user": "filed",
    "login_unix_socket": "/filed",
    "login_db": "filed",
    "ssl_mode": "require",
    "ca_cert": "/filed.pem",
}


@pytest.fixture(autouse=True)
def usual_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the host's configuration is, in this test."""
    monkeypatch.setattr(config, "DEFAULT_PATH", tmp_path / "lifeboat.conf")
    return tmp_path / "lifeboat.conf"


@pytest.fixture
def written(usual_file: Path) -> Path:
    usual_file.write_text(config.render({"local": REPOSITORY}, {"main": CLUSTER}))
    return usual_file


def params(**given: Any) -> dict[str, Any]:
    """What AnsibleModule makes of the options given."""
    return {name: given.get(name, spec.get("default")) for name, spec in SHARED.items()}


INLINE = {
    "repository": "/srv/inline",
    "key_file": "/etc/inline.key",
    "stanza": "inline",
    "data_directory": "/inline/data",
    "bin_dir": "/inline/bin",
    "login_host": "inline",
    "login_port": 2,
    "login_user": "inline",
    "login_unix_socket": "/inline",
    "login_db": "inline",
    "ssl_mode": "disable",
    "ca_cert": "/inline.pem",
}


def expected(values: dict[str, Any], password: str | None = None) -> tuple[ClusterSpec, RepositorySpec]:
    connection = ConnectionSpec(
        values["login_host"],
        int(values["login_port"]),
        values["login_user"],
        password,
        values["login_unix_socket"],
        values["login_db"],
        values["ssl_mode"],
        values["ca_cert"],
    )
    cluster = ClusterSpec(
        "main",
        values["stanza"],
        connection,
        Path(values["data_directory"]),
        Path(values["bin_dir"]),
        receive=receive_settings.parse("main", {}),
    )
    return cluster, RepositorySpec(values["repository"], KeySpec(Path(values["key_file"])))


FILED = {**CLUSTER, "repository": REPOSITORY["url"], "key_file": REPOSITORY["key_file"]}


def test_without_a_file_everything_can_be_given_inline() -> None:
    assert settings.specs(params(**INLINE, login_password="secret")) == expected(INLINE, "secret")


def test_without_options_everything_comes_from_the_file(written: Path) -> None:
    assert settings.specs(params()) == expected(FILED)


@pytest.mark.parametrize("name", INLINE)
def test_an_inline_option_wins_alone(written: Path, name: str) -> None:
    assert settings.specs(params(**{name: INLINE[name]})) == expected({**FILED, name: INLINE[name]})


def test_a_url_takes_the_place_of_the_files_whole_connection(written: Path) -> None:
    spec = settings.specs(params(database_url="postgres://u:p@h", login_db="inline"))[0].connection
    assert spec == ConnectionSpec("h", None, "u", "p", None, "inline", "prefer", None)


def test_an_option_wins_over_the_url_of_the_file(usual_file: Path) -> None:
    described = {"repository": "local", "database_url": "postgres://u:p@h:1/d"}
    usual_file.write_text(config.render({"local": REPOSITORY}, {"main": described}))
    usual_file.chmod(0o600)
    assert settings.specs(params())[0].connection == ConnectionSpec("h", 1, "u", "p", None, "d")
    assert settings.specs(params(login_db="x", login_user="y"))[0].connection == ConnectionSpec(
        "h", 1, "y", database="x"
    )


def test_the_command_finds_a_url_in_its_own_variable_only(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def found(*options: str) -> ConnectionSpec:
        return cli._specs(cli._parser().parse_args(["info", "--cluster", "main", "--config", str(written), *options]))[
            0
        ].connection

    monkeypatch.setenv("DATABASE_URL", "mysql://elsewhere")
    assert found().host == "filed"
    monkeypatch.setenv("LIFEBOAT_DATABASE_URL", "postgres://u:p@h:1/d?schema=x")
    assert found() == ConnectionSpec("h", 1, "u", "p", None, "d", notes=found().notes)
    assert "schema" in found().notes[0]
    assert found("--login-host", "x").host == "x"


def test_a_file_that_was_not_named_needs_not_have_the_cluster(written: Path) -> None:
    assert settings.specs(params(cluster="other", repository="/r", key_file="/k"))[0].stanza == "other"
    with expect.failure("setting_missing"):
        settings.specs(params(cluster="other"))


def test_a_file_that_was_named_must_have_it(written: Path) -> None:
    with expect.failure("cluster_unknown"):
        settings.specs(params(cluster="other", config_file=str(written), **INLINE))
    with expect.failure("config_missing"):
        settings.specs(params(config_file="/nowhere", **INLINE))


# --- the on-host command


def told(options: list[str]) -> tuple[str, RepositorySpec]:
    """What the command makes of its options."""
    arguments = cli._parser().parse_args(["info", *options])
    cluster, repository = cli._specs(arguments)
    return cluster.stanza, repository


@pytest.mark.parametrize(
    "given", [{}, *({name: INLINE[name]} for name in ("repository", "key_file", "stanza")), INLINE]
)
@pytest.mark.parametrize("named", [True, False], ids=["file named", "file found"])
def test_the_command_is_told_what_the_module_was(written: Path, given: dict[str, Any], named: bool) -> None:
    asked = params(**given, **({"config_file": str(written)} if named else {}))
    cluster, repository = settings.specs(asked)
    options = settings.command_options(asked, cluster, repository)
    assert told(options) == (cluster.stanza, repository)
    assert ("--cluster" in options) is (not given)


def test_the_command_finds_the_usual_file_itself(written: Path, tmp_path: Path) -> None:
    assert settings.command_options(params(), *settings.specs(params())) == ["--cluster", "main"]
    elsewhere = tmp_path / "other.conf"
    written.rename(elsewhere)
    asked = params(config_file=str(elsewhere))
    options = settings.command_options(asked, *settings.specs(asked))
    assert options == ["--config", str(elsewhere), "--cluster", "main"]


def test_no_password_is_ever_among_the_options(written: Path) -> None:
    for given in ({}, INLINE):
        asked = params(**given, login_password="hunter2")
        assert "hunter2" not in " ".join(settings.command_options(asked, *settings.specs(asked)))
