# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`pitr_configure` on real servers: it predicts, changes, proves, and leaves alone what is not its own."""

from __future__ import annotations

import pytest
from support import Site, objects, task, tree

SETTINGS = {"archive_command", "archive_mode", "archive_timeout", "wal_level"}


def archiving(site: Site) -> dict[str, str]:
    """The settings as the server has them."""
    names = sorted(SETTINGS)
    return dict(site.cluster.sql("SELECT name, setting FROM pg_settings WHERE name = ANY(%(names)s)", names=names))


@pytest.mark.every_version
def test_it_predicts_changes_proves_and_then_changes_nothing(bare_site: Site) -> None:
    site = bare_site
    before, untouched = archiving(site), (site.settings(), tree(site.repository))
    (predicted,) = site.play(task("pitr_configure", check=True, restart=True))
    assert (site.settings(), tree(site.repository)) == untouched

    made, again, check_again = site.play(
        task("pitr_configure", restart=True), task("pitr_configure"), task("pitr_configure", check=True)
    )
    assert predicted["changed"] and made["changed"]
    assert predicted["diff"] == made["diff"]
    assert made["diff"]["before"] == before == predicted["settings"]
    assert made["diff"]["after"] == archiving(site) == made["settings"]
    assert (predicted["restarted"], predicted["restart_required"]) == (made["restarted"], made["restart_required"])
    assert predicted["registered"] and made["registered"]

    assert any(made["proven_segment"] in name for name in objects(site.repository))
    assert site.lifeboat("archive-fetch", made["proven_segment"], site.folder / "fetched").returncode == 0

    assert not again["changed"] and not check_again["changed"]
    assert again["diff"]["before"] == again["diff"]["after"] == made["settings"]
    assert not again["restarted"] and not again["registered"]


@pytest.mark.one_version
def test_without_permission_to_restart_it_says_that_one_is_needed(bare_site: Site) -> None:
    site = bare_site
    started = "SELECT pg_postmaster_start_time()"
    before = site.cluster.sql(started)
    predicted, made = site.play(task("pitr_configure", check=True), task("pitr_configure"))
    for result in (predicted, made):
        assert (result["restart_required"], result["restarted"], result["proven_segment"]) == (True, False, "")
    assert predicted["diff"] == made["diff"]
    assert site.cluster.sql(started) == before
    assert archiving(site)["archive_mode"] == "off"
    before_backup = tree(site.repository)
    site.refused("archiving_off", "pg_backup")
    assert tree(site.repository) == before_backup

    site.cluster.restart()
    (proof,) = site.play(task("pitr_configure"))
    assert not proof["changed"] and not proof["restart_required"]
    assert any(proof["proven_segment"] in name for name in objects(site.repository))


@pytest.mark.one_version
def test_another_archiver_is_replaced_only_when_that_is_wanted(bare_site: Site) -> None:
    site = bare_site
    site.cluster.set(archive_mode="on", archive_command="cp %p /somewhere/%f")
    site.cluster.restart()
    before = (site.settings(), tree(site.repository))
    refusal = site.refused("foreign_archiver", "pitr_configure", restart=True)
    assert "cp %p /somewhere/%f" in refusal["happened"]
    site.refused("foreign_archiver", "pitr_configure", restart=True, check=True)
    assert (site.settings(), tree(site.repository)) == before

    (made,) = site.play(task("pitr_configure", replace_archiver=True))
    assert made["changed"] and not made["restarted"]
    assert any(made["proven_segment"] in name for name in objects(site.repository))
