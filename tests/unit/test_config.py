# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""lifeboat.conf: what was written is read, and everything that is not understood is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import expect
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine import (
    config,
    connection_settings,
    receive_settings,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.specs import (
    ClusterSpec,
    ConnectionSpec,
    KeySpec,
    RepositorySpec,
)

REPOSITORIES = {"local": {"url": "/srv/100% #1; x", "key_file": "/etc/key"}, "unused": {"url": "/x", "key_file": "/y"}}
CLUSTERS = {
    "main": {
        "repository": "local",
        "stanza": "db1-main",
        "data_directory": "/var/lib/postgresql/15/main",
        "bin_dir": "/usr/lib/postgresql/15/bin",
        "login_host": "db1",
        "login_port": "5433",
        "login_user": "backup = user",
        "login_unix_socket": "/run/postgresql",
        "login_db": "app",
        "ssl_mode": "verify-full",
        "ca_cert": "/etc/ca.pem",
        "wal_method": "both",
        "partial_interval": "2",
    },
    "other one": {"repository": "unused", "retention": "short"},
}
RETENTIONS = {"long": {"keep_last": "7, pre_migration=2", "keep_days": "30"}, "short": {"keep_days": "1"}}
GOOD = config.render(REPOSITORIES, CLUSTERS, RETENTIONS)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "lifeboat.conf").write_text(GOOD, encoding="utf-8")
    return tmp_path / "lifeboat.conf"


def test_what_was_written_is_read(file: Path) -> None:
    settings = config.read(file)
    assert (settings.repositories, settings.clusters, settings.retentions) == (REPOSITORIES, CLUSTERS, RETENTIONS)


def test_the_text_depends_on_the_settings_only() -> None:
    def turned(described: dict[str, Any]) -> dict[str, Any]:
        return {name: dict(reversed(values.items())) for name, values in reversed(described.items())}

    assert config.render(turned(REPOSITORIES), turned(CLUSTERS), turned(RETENTIONS)) == GOOD


def test_a_clusters_settings_become_typed_values(file: Path) -> None:
    values = config.cluster_settings(config.read(file), file, "main")
    cluster, repository = config.specs("main", values, "secret")
    assert repository == RepositorySpec("/srv/100% #1; x", KeySpec(key_file=Path("/etc/key")))
    assert cluster == ClusterSpec(
        "main",
        "db1-main",
        ConnectionSpec("db1", 5433, "backup = user", "secret", "/run/postgresql", "app", "verify-full", "/etc/ca.pem"),
        Path("/var/lib/postgresql/15/main"),
        Path("/usr/lib/postgresql/15/bin"),
        receive=receive_settings.parse("main", {"wal_method": "both", "partial_interval": "2"}),
    )


def test_what_is_left_out_has_the_usual_value(file: Path) -> None:
    values = config.cluster_settings(config.read(file), file, "other one")
    cluster, _repository = config.specs("other one", values)
    assert cluster == ClusterSpec(
        "other one", "other one", ConnectionSpec(), receive=receive_settings.parse("other one", {})
    )


def test_a_clusters_retention_policy_is_beside_its_settings(file: Path) -> None:
    settings = config.read(file)
    assert config.cluster_settings(settings, file, "other one")["keep_days"] == "1"
    assert "keep_days" not in config.cluster_settings(settings, file, "main")
    file.write_text(GOOD.replace("retention = short", "retention = forever"))
    with expect.failure("config_invalid") as failure:
        config.cluster_settings(config.read(file), file, "other one")
    assert "forever" in failure.value.message


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[repository]\nurl = /x\n", "[repository]"),
        ("[storage main]\n", "[storage main]"),
        ("[DEFAULT]\nurl = /x\n", "[DEFAULT]"),
        ("[cluster main]\nport = 5432\n", "port"),
        ("[repository main]\nstanza = x\n", "stanza"),
        ("[cluster main]\nrepository = a\nrepository = b\n", "repository"),
        ("[cluster main]\n[cluster main]\n", "cluster main"),
        ("[cluster main]\n[cluster  main]\n", "[cluster main]"),
        ("url = /x\n", "url = /x"),
        ("[cluster main\n", "[cluster main"),
        ("[cluster main]\nrepository\n", "repository"),
    ],
)
def test_what_is_not_understood_is_named(file: Path, text: str, named: str) -> None:
    file.write_text(text)
    with expect.failure("config_invalid") as failure:
        config.read(file)
    assert named in failure.value.message
    assert str(file) in failure.value.message


def test_a_file_that_cannot_be_read_is_explained(file: Path) -> None:
    with expect.failure("config_missing"):
        config.read(file.parent / "nowhere")
    with expect.failure("config_not_readable"):
        config.read(file.parent)
    file.write_bytes(b"[cluster \xff]\n")
    with expect.failure("config_invalid"):
        config.read(file)


@pytest.mark.parametrize(
    ("text", "code", "named"),
    [
        ("[cluster other]\n[cluster third]\n", "cluster_unknown", "other, third"),
        ("", "cluster_unknown", "none"),
        ("[cluster main]\n", "config_invalid", "''"),
        ("[cluster main]\nrepository = local\n", "config_invalid", "'local'"),
        ("[cluster main]\nrepository = r\n[repository r]\nkey_file = /k\n", "config_invalid", "lacks url"),
        ("[cluster main]\nrepository = r\n[repository r]\nurl = /u\n", "config_invalid", "lacks key_file"),
    ],
)
def test_what_a_cluster_lacks_is_named(file: Path, text: str, code: str, named: str) -> None:
    file.write_text(text)
    with expect.failure(code) as failure:
        config.cluster_settings(config.read(file), file, "main")
    assert named in failure.value.message


@pytest.mark.parametrize(
    "values", [{}, {"key_file": "/k"}, {"repository": "/srv"}, {"repository": "", "key_file": "/k"}]
)
def test_without_a_repository_and_its_key_nothing_can_be_done(values: dict[str, str]) -> None:
    with expect.failure("setting_missing"):
        config.specs("main", values)


@pytest.mark.parametrize("port", ["0", "65536", "-1", "x", "5432.0", "²"])
def test_a_port_is_a_port(port: str) -> None:
    with expect.failure("setting_invalid"):
        config.specs("main", {"repository": "/srv", "key_file": "/k", "login_port": port})


def test_what_is_given_wins_one_by_one_but_what_opens_the_repository_as_a_whole() -> None:
    below = {"repository": "/a", "key_file": "/k", "stanza": "s"}
    assert config.overlaid(below, {}) == below
    assert config.overlaid(below, {"stanza": "t"}) == {**below, "stanza": "t"}
    assert config.overlaid(below, {"key_command": "c"}) == {"repository": "/a", "key_command": "c", "stanza": "s"}


def test_a_url_with_a_password_is_for_those_only_who_need_it(file: Path) -> None:
    file.write_text("[cluster main]\ndatabase_url = postgres://u:100%25#;@h/d?sslmode=require\n", encoding="utf-8")
    for mode in (0o644, 0o642, 0o641):
        file.chmod(mode)
        with expect.failure("config_readable_by_others") as failure:
            config.read(file)
        assert "#;" not in failure.value.message
    file.chmod(0o640)
    (url,) = (values["database_url"] for values in config.read(file).clusters.values())
    assert connection_settings.parse("main", {"database_url": url}).password == "100%#;"
    file.write_text("[cluster main]\ndatabase_url = postgres://u@h/d\n", encoding="utf-8")
    file.chmod(0o644)
    config.read(file)
