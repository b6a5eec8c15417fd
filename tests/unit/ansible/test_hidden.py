# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is inside of a URL is hidden too, wherever the URL comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._ansible import hidden
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine import config


class Module:
    """As much of AnsibleModule as is needed."""

    def __init__(self, **params: Any) -> None:
        self.params = params
        self.no_log_values: set[str] = set()
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def hidden_by(**params: Any) -> set[str]:
    module = Module(**params)
    hidden.hide(module)  # type: ignore[arg-type]
    return module.no_log_values


@pytest.fixture(autouse=True)
def no_usual_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "DEFAULT_PATH", tmp_path / "none")


def test_the_modules_own_url() -> None:
    url = "postgres://u:a%2Fb@h/d"
    assert hidden_by(database_url=url) == {url, "a%2Fb", "a/b"}
    assert hidden_by(database_url=None) == set()


def test_urls_of_clusters_that_are_described() -> None:
    clusters = [{"name": "a", "database_url": "postgres://u:one@h"}, {"name": "b", "database_url": None}]
    assert "one" in hidden_by(clusters=clusters)


@pytest.mark.parametrize("broken", ["", "\n[unknown]\nwhat ="])
def test_urls_of_the_file_even_if_it_is_refused(tmp_path: Path, broken: str) -> None:
    path = tmp_path / "lifeboat.conf"
    path.write_text(
        f"[cluster a]\ndatabase_url = postgres://u:one@h\n[cluster b]\n DATABASE_URL=postgres://u:two@h \n{broken}"
    )
    assert {"one", "two", "postgres://u:two@h"} <= hidden_by(config_file=str(path))


@pytest.mark.parametrize("in_cluster", [False, True])
def test_what_is_not_used_is_told_once(in_cluster: bool) -> None:
    options = {"database_url": "postgres://h/d?schema=x&sslcert=/c", "ssl_mode": "require"}
    module = Module(clusters=[options]) if in_cluster else Module(**options)
    hidden.warn(module)  # type: ignore[arg-type]
    assert len(module.warnings) == 1 and "schema" in module.warnings[0]
