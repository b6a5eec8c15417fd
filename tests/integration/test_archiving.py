# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`pitr_configure` on real servers: it predicts, changes, proves, takes back, and leaves alone what is not its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from harness import Cluster, server_folder, server_user, wait_until
from harness.cluster import LOCAL_ADDRESS, PASSWORD, PASSWORD_ROLE
from harness.machine import CLEAN_ENVIRONMENT
from support import Result, Site, objects, task, tree

NAMES = (
    "archive_command",
    "archive_mode",
    "archive_timeout",
    "max_slot_wal_keep_size",
    "max_wal_senders",
    "summarize_wal",
    "wal_compression",
    "wal_keep_size",
    "wal_level",
)
FIRST_WITH_SUMMARIES = 17


def archiving(site: Site, names: Any = NAMES) -> dict[str, str]:
    """The settings as the server has them; numbers with their unit, as the module shows them."""
    query = """
        SELECT name, setting || CASE WHEN unit IS NOT NULL AND setting::bigint > 0 THEN unit ELSE '' END
          FROM pg_settings WHERE name = ANY(%(names)s)
    """
    return dict(site.cluster.sql(query, names=list(names)))


def all_options(site: Site) -> dict[str, Any]:
    """Every setting that the module looks after, each with another value than the server's."""
    options: dict[str, Any] = {
        "archive_timeout": "2min",
        "max_slot_wal_keep_size": "3GB",
        "max_wal_senders": 12,
        "wal_compression": "on",
        "wal_keep_size": "64MB",
        "wal_level": "logical",
    }
    if site.cluster.postgres.major >= FIRST_WITH_SUMMARIES:
        options["summarize_wal"] = True
    return options


@pytest.mark.every_version
def test_it_predicts_changes_proves_changes_nothing_and_takes_everything_back(bare_site: Site) -> None:
    site, options = bare_site, all_options(bare_site)
    before, untouched = archiving(site), (site.settings(), tree(site.repository))
    (predicted,) = site.play(task("pitr_configure", check=True, restart=True, **options))
    assert (site.settings(), tree(site.repository)) == untouched

    made, again, check_again = site.play(
        task("pitr_configure", restart=True, **options),
        task("pitr_configure", **options),
        task("pitr_configure", check=True, **options),
    )
    assert predicted["changed"] and made["changed"]
    assert as_predicted(predicted, made)
    assert made["diff"]["before"] == {**before, "archive_command": ""} == predicted["settings"]
    assert made["diff"]["after"] == archiving(site) == made["settings"]
    assert {name: made["settings"][name] for name in ("archive_timeout", "wal_keep_size", "wal_level")} == {
        "archive_timeout": "120s",
        "wal_keep_size": "64MB",
        "wal_level": "logical",
    }
    assert predicted["registered"] and made["registered"]

    assert any(made["proven_segment"] in name for name in objects(site.repository))
    assert site.lifeboat("archive-fetch", made["proven_segment"], site.folder / "fetched").returncode == 0

    assert not again["changed"] and not check_again["changed"]
    assert again["diff"]["before"] == again["diff"]["after"] == made["settings"]
    assert not again["restarted"] and not again["registered"]
    assert again["proven_segment"] == made["proven_segment"]

    back, taken_back, nothing = site.play(
        task("pitr_configure", check=True, state="absent", restart=True),
        task("pitr_configure", state="absent", restart=True),
        task("pitr_configure", state="absent"),
    )
    assert as_predicted(back, taken_back) and taken_back["restarted"]
    assert taken_back["diff"]["before"] == made["settings"]
    assert taken_back["diff"]["after"] == {**before, "archive_command": ""}
    assert site.settings() == untouched[0]
    assert not nothing["changed"] and not nothing["restart_required"]


def as_predicted(predicted: Result, made: Result) -> bool:
    """Whether a run has done what check mode said that it would (I8)."""
    names = ("changed", "diff", "registered", "restarted", "restart_required", "slot")
    return {name: predicted[name] for name in names} == {name: made[name] for name in names}


def test_settings_that_a_version_lacks_or_refuses_are_refused_before_anything_is_done(bare_site: Site) -> None:
    site = bare_site
    before = (site.settings(), tree(site.repository))
    for options in (
        {"archive_timeout": "soon"},
        {"archive_timeout": "40000d"},
        {"wal_keep_size": "3 parsecs"},
        {"max_wal_senders": 1 << 20},
        {"wal_method": "both", "max_wal_senders": 0},
        {"wal_method": "stream", "slot": "Not A Slot"},
    ):
        for check in (True, False):
            site.refused("setting_invalid", "pitr_configure", restart=True, check=check, **options)
    assert (site.settings(), tree(site.repository)) == before


@pytest.mark.every_version
def test_summaries_are_refused_where_the_server_cannot_make_them(site: Site) -> None:
    if site.cluster.postgres.major >= FIRST_WITH_SUMMARIES:
        (predicted,) = site.play(task("pitr_configure", archive_timeout=0, summarize_wal=True, check=True))
        assert predicted["diff"]["after"]["summarize_wal"] == "on"
        return
    refusal = site.refused("setting_unknown_to_server", "pitr_configure", archive_timeout=0, summarize_wal=True)
    assert f"PostgreSQL {site.cluster.postgres.major}" in refusal["happened"]
    assert not site.module("pitr_configure", archive_timeout=0, summarize_wal=False)["changed"]


@pytest.mark.every_version
def test_recovery_replays_wal_that_the_server_has_compressed(bare_site: Site, new_place: Callable[[], Cluster]) -> None:
    site, cluster = bare_site, bare_site.cluster
    site.play(task("pitr_configure", restart=True, archive_timeout=0), task("pg_backup"))
    (choices,) = cluster.sql("SELECT enumvals FROM pg_settings WHERE name = 'wal_compression'")[0]
    methods = [each for each in ("pglz", "lz4", "zstd") if each in (choices or ["pglz"])]
    for method in {"lz4", "zstd"} - set(methods):
        for check in (True, False):
            said = site.refused(
                "setting_unknown_to_server", "pitr_configure", archive_timeout=0, wal_compression=method, check=check
            )
            assert method in said["attempted"] and (choices or "can only compress with pglz" in said["happened"])
    for method in methods:
        changed, again = site.play(*[task("pitr_configure", archive_timeout=0, wal_compression=method)] * 2)
        assert (changed["changed"], again["changed"]) == (True, False)
        cluster.sql("CHECKPOINT")  # the next change of each page is written in full
        cluster.sql("UPDATE orders SET customer = customer || 'x'")
        segment = site.archive_everything()
        site.lifeboat("archive-fetch", segment, site.folder / segment)
        shown = cluster.run("pg_waldump", "--bkp-details", site.folder / segment, check=False).stdout
        assert "compression saved" in shown and (not choices or f"method: {method}" in shown)
    wanted, place = cluster.sql("SELECT * FROM orders ORDER BY id"), new_place()
    site.module("pg_restore", destination=place.data_directory, port=place.port, socket_directory=place.socket_dir)
    assert place.sql("SELECT * FROM orders ORDER BY id") == wanted
    assert not site.module("pitr_configure", archive_timeout=0)["changed"]  # nobody said anything of it
    back = site.module("pitr_configure", state="absent", restart=True)
    assert (back["diff"]["after"]["wal_compression"], archiving(site)["wal_compression"]) == ("off", "off")


def test_a_restart_is_refused_reported_or_done_as_the_user_says(bare_site: Site) -> None:
    site = bare_site
    started = "SELECT pg_postmaster_start_time()"
    before = site.cluster.sql(started)
    untouched = (site.settings(), tree(site.repository))
    for check in (True, False):
        refusal = site.refused("restart_needed", "pitr_configure", restart="never", check=check)
        assert "archive_mode" in refusal["attempted"]
    assert (site.settings(), tree(site.repository)) == untouched

    predicted, made, again = site.play(
        task("pitr_configure", check=True), task("pitr_configure"), task("pitr_configure", restart="report")
    )
    for result in (predicted, made, again):
        assert (result["restart_required"], result["restarted"], result["proven_segment"]) == (True, False, "")
    assert as_predicted(predicted, made)
    assert (made["changed"], again["changed"]) == (True, False)
    assert again["diff"]["before"] == again["diff"]["after"] == made["diff"]["after"]
    assert site.cluster.sql(started) == before
    assert archiving(site)["archive_mode"] == "off"
    before_backup = tree(site.repository)
    site.refused("archiving_off", "pg_backup")
    assert tree(site.repository) == before_backup

    site.cluster.restart()
    (proof,) = site.play(task("pitr_configure", restart="never"))
    assert not proof["changed"] and not proof["restart_required"]
    assert any(proof["proven_segment"] in name for name in objects(site.repository))


def test_another_archiver_is_replaced_only_when_that_is_wanted_and_comes_back(bare_site: Site) -> None:
    site = bare_site
    site.cluster.set(archive_mode="on", archive_command="cp %p /somewhere/%f", archive_timeout=300, wal_keep_size="8MB")
    site.cluster.restart()
    before = (site.settings(), tree(site.repository))
    refusal = site.refused("foreign_archiver", "pitr_configure", restart=True)
    assert "cp %p /somewhere/%f" in refusal["happened"] and "postgresql.auto.conf" in refusal["happened"]
    site.refused("foreign_archiver", "pitr_configure", restart=True, check=True)
    assert (site.settings(), tree(site.repository)) == before

    (made,) = site.play(task("pitr_configure", replace_archiver=True, wal_keep_size="32MB", max_slot_wal_keep_size=99))
    assert made["changed"] and not made["restarted"]
    assert any(made["proven_segment"] in name for name in objects(site.repository))

    site.cluster.set(wal_keep_size="16MB")  # somebody else, since
    back, taken_back = site.play(
        task("pitr_configure", state="absent", check=True), task("pitr_configure", state="absent")
    )
    assert as_predicted(back, taken_back) and not taken_back["restart_required"]
    wanted = {name: value for name, value, _pending in before[0][:-1] if name in NAMES}
    found = {name: value for name, value, _pending in site.settings()[:-1] if name in NAMES}
    assert found == {**wanted, "wal_keep_size": "16"}


def test_what_overrides_a_setting_is_named(bare_site: Site) -> None:
    site = bare_site
    with (site.cluster.data_directory / "postgresql.conf").open("a") as configuration:
        configuration.write("archive_timeout = 45\n")
    site.cluster.stop()
    site.cluster.start("-c max_slot_wal_keep_size=77MB")
    before = site.settings()
    for check in (True, False):
        refusal = site.refused(
            "setting_not_effective", "pitr_configure", max_slot_wal_keep_size="99MB", restart=True, check=check
        )
        assert "the server's command line" in refusal["happened"]
    assert site.settings() == before

    site.module("pitr_configure", archive_timeout=45, max_slot_wal_keep_size="77MB", restart="report")
    assert "archive_timeout" not in site.settings()[-1][0]  # it is so already, by somebody else
    site.module("pitr_configure", archive_timeout="46s", max_slot_wal_keep_size="77MB", restart="report")
    taken_back = site.module("pitr_configure", state="absent")
    assert taken_back["diff"]["after"]["archive_timeout"] == "45s"
    assert not [line for line in site.settings()[-1][0].splitlines() if line.startswith("archive_")]


def test_settings_that_somebody_else_looks_after_are_not_changed(bare_site: Site) -> None:
    site = bare_site
    before = site.settings()
    note = site.cluster.data_directory / "patroni.dynamic.json"
    note.write_text("{}")
    for check in (True, False):
        refusal = site.refused("settings_of_patroni", "pitr_configure", restart=True, check=check, wal_method="both")
        assert '"archive_mode": "on"' in refusal["remedy"] and "slots: {lifeboat_main: " in refusal["remedy"]
    note.unlink()
    with (site.cluster.data_directory / "postgresql.conf").open("a") as configuration:
        configuration.write("allow_alter_system = off\n")
    site.cluster.reload()
    for check in (True, False):
        site.refused("alter_system_not_allowed", "pitr_configure", restart=True, check=check)
    assert [each for each in site.settings() if each[0] != "allow_alter_system"] == [
        each for each in before if each[0] != "allow_alter_system"
    ]


def test_a_proof_that_fails_brings_everything_together_that_is_known(bare_site: Site) -> None:
    site = bare_site
    site.module("pitr_configure", restart=True)
    folder = next(path for path in site.repository.rglob("wal") if path.is_dir())
    for place in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
        place.chmod(0o500)
    try:
        refusal = site.refused("wal_not_archived", "pitr_configure", archive_timeout=61, proof_timeout=8)
    finally:
        for place in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
            place.chmod(0o700)
    for words in ("The server last failed to archive", "Lifeboat said: error [", "archive command failed"):
        assert words in refusal["happened"], refusal
    (proof,) = site.play(task("pitr_configure", archive_timeout=61))
    assert proof["proven_segment"]


def test_over_tcp_a_slot_and_settings_are_looked_after_and_nothing_that_takes_files(bare_site: Site) -> None:
    site = bare_site
    remote = {
        "method": "stream",
        "login_host": LOCAL_ADDRESS,
        "login_port": site.cluster.port,
        "login_user": PASSWORD_ROLE,
        "login_password": PASSWORD,
    }
    streamed = {**remote, "wal_method": "stream", "wal_keep_size": "80MB", "max_slot_wal_keep_size": "1GB"}
    before = (site.settings(), tree(site.repository), tree(site.cluster.data_directory / "pg_replslot"))
    (predicted,) = site.play(task("pitr_configure", check=True, **streamed))
    site.refused("archiving_needs_the_host", "pitr_configure", check=True, **remote, archive_timeout=60)
    now = (site.settings(), tree(site.repository), tree(site.cluster.data_directory / "pg_replslot"))
    assert now == before

    run = site.playbook(task("pitr_configure", **streamed))
    made = run.tasks[0].result
    assert as_predicted(predicted, made)
    assert (made["slot"], made["registered"], made["proven_segment"]) == ("lifeboat_main", True, "")
    assert made["diff"]["after"] == {
        "max_slot_wal_keep_size": "1024MB",
        "replication slot": "lifeboat_main",
        "wal_keep_size": "80MB",
        "wal_level": "replica",
    }
    assert "nobody receives from the replication slot lifeboat_main yet" in " ".join(made["warnings"])
    refusal = site.refused("receiver_not_connected", "pitr_configure", **streamed)
    assert "lifeboat receive --cluster main" in refusal["remedy"]
    assert archiving(site)["archive_mode"] == "off"

    waiting = site.module("pitr_configure", **streamed, max_wal_senders=14, restart=True, check=True)
    assert (waiting["restart_required"], waiting["restarted"]) == (True, False)

    back, taken_back = site.play(
        task("pitr_configure", **remote, state="absent", check=True), task("pitr_configure", **remote, state="absent")
    )
    assert as_predicted(back, taken_back) and taken_back["slot"] == ""
    assert site.settings() == before[0]
    assert site.cluster.sql("SELECT count(*) FROM pg_replication_slots") == [(0,)]


def test_both_ways_make_a_slot_and_one_way_alone_takes_the_other_back(bare_site: Site) -> None:
    site, slots = bare_site, "SELECT slot_name FROM pg_replication_slots"
    (predicted,) = site.play(task("pitr_configure", wal_method="both", restart=True, check=True))
    made = site.module("pitr_configure", wal_method="both", restart=True)
    assert as_predicted(predicted, made)
    assert (site.cluster.sql(slots), bool(made["proven_segment"])) == ([("lifeboat_main",)], True)
    assert not site.module("pitr_configure")["changed"]  # nobody has said that there is no receiver any more
    assert site.cluster.sql(slots) == [("lifeboat_main",)]
    with in_use(site, "lifeboat_main"):
        for check in (True, False):
            site.refused("slot_in_use", "pitr_configure", wal_method="archive", check=check)
            site.refused("slot_in_use", "pitr_configure", state="absent", check=check)
    (predicted, alone) = site.play(
        task("pitr_configure", wal_method="archive", check=True), task("pitr_configure", wal_method="archive")
    )
    assert as_predicted(predicted, alone) and alone["changed"]
    assert site.cluster.sql(slots) == []
    predicted, streamed = site.play(
        task("pitr_configure", wal_method="stream", check=True), task("pitr_configure", wal_method="stream")
    )
    assert as_predicted(predicted, streamed) and streamed["restart_required"]
    assert not [line for line in site.settings()[-1][0].splitlines() if line.startswith("archive_")]


def test_a_receiver_elsewhere_comes_and_goes_beside_what_the_servers_own_host_does(bare_site: Site) -> None:
    site, slots = bare_site, "SELECT slot_name FROM pg_replication_slots ORDER BY 1"
    here = {"wal_method": "both", "restart": True}
    elsewhere = {
        "method": "stream",
        "wal_method": "stream",
        "slot": "elsewhere",
        "login_host": LOCAL_ADDRESS,
        "login_port": site.cluster.port,
        "login_user": PASSWORD_ROLE,
        "login_password": PASSWORD,
    }
    site.module("pitr_configure", **here)
    site.module("pitr_configure", **elsewhere)
    assert site.cluster.sql(slots) == [("elsewhere",), ("lifeboat_main",)]
    assert not site.module("pitr_configure", **here)["changed"]
    assert site.cluster.sql(slots) == [("elsewhere",), ("lifeboat_main",)]
    settings = site.settings()
    site.module("pitr_configure", **elsewhere, state="absent")
    assert (site.settings(), site.cluster.sql(slots)) == (settings, [("lifeboat_main",)])
    site.module("pitr_configure", wal_method="archive")
    assert site.cluster.sql(slots) == []


@contextlib.contextmanager
def in_use(site: Site, slot: str) -> Iterator[None]:
    """Somebody receives from the slot."""
    folder = server_folder(site.folder / "received", 0o700)
    receiver = subprocess.Popen(
        [site.cluster.postgres.bin_dir / "pg_receivewal", "--directory", folder, "--slot", slot, "--no-loop"],
        env={**CLEAN_ENVIRONMENT, **site.cluster.client_environment},
        user=server_user().pw_uid if os.geteuid() == 0 else None,
    )
    query = "SELECT count(*) FROM pg_replication_slots WHERE active"
    try:
        wait_until(lambda: site.cluster.sql(query) == [(1,)], "the slot was in use")
        yield
    finally:
        receiver.terminate()
        receiver.wait()
        wait_until(lambda: site.cluster.sql(query) == [(0,)], "the slot was free again")
