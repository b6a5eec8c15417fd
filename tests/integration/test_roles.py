# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Roles and playbooks as a user runs them: by their names, from the installed collection, with an inventory."""

from __future__ import annotations

import grp
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.config import CLUSTER_KEYS, REPOSITORY_KEYS
from harness import CHECKOUT, PROGRAMS, Cluster, Postgres, cannot_be_had, server_user, wait_until
from harness.playbooks import HOST, Ansible, PlaybookRun
from support import tree

CLUSTER_ROLES = ("agent", "archiving", "drill", "restore")
LOCAL = f"ansible_connection=local ansible_python_interpreter={PROGRAMS}/python"


@dataclass(frozen=True)
class Host:
    """A host with one cluster, described as an inventory does, and with its places in a folder of its own."""

    ansible: Ansible
    cluster: Cluster
    folder: Path

    @property
    def variables(self) -> dict[str, Any]:
        """The host's variables."""
        return {
            "agent_install_packages": False,
            "agent_interpreter": PROGRAMS / "python",
            "drill_report_directory": self.folder / "reports",
            "drill_report_name": "drill",
            "drill_scratch_directory": self.cluster.data_directory.parent,
            "lifeboat_config_file": self.folder / "etc/lifeboat.conf",
            "lifeboat_prefix": self.folder / "usr",
            "lifeboat_repositories": [
                {"name": "local", "url": self.folder / "backups", "key_file": self.folder / "keys/local.key"}
            ],
            "lifeboat_clusters": [
                {
                    "name": "main",
                    "data_directory": self.cluster.data_directory,
                    "bin_dir": self.cluster.postgres.bin_dir,
                }
            ],
        }

    def play(self, name: str, *, fails: bool = False, inventory: str | None = None, **how: Any) -> PlaybookRun:
        """Run one of the collection's playbooks."""
        finished = self.ansible.playbook(
            f"lifeboat.postgresql.{name}",
            inventory=inventory,
            must_succeed=not fails,
            **{**self.variables, **how},
        )
        assert bool(finished.rc) == fails, finished.output
        return finished

    @property
    def report(self) -> dict[str, Any]:
        """The newest drill's report."""
        found: dict[str, Any] = json.loads((self.folder / "reports/drill.json").read_text())
        return found

    @property
    def page(self) -> str:
        """The newest drill's report for people, once it is known to be well-formed."""
        text = (self.folder / "reports/drill.html").read_text()
        assert_well_formed(text)
        return text


def assert_well_formed(page: str) -> None:
    """Every element is closed where it should be, and nothing comes from elsewhere."""
    open_elements: list[str] = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            assert not {"href", "src"} & {name for name, _value in attrs}
            if tag not in {"meta", "br"}:
                open_elements.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert open_elements.pop() == tag

    Parser().feed(page)
    assert not open_elements


@pytest.fixture
def empty_host(cluster: Cluster, ansible: Ansible, tmp_folder: Path) -> Host:
    """A host with PostgreSQL and nothing of Lifeboat."""
    return Host(ansible, cluster, tmp_folder)


@pytest.fixture
def tmp_folder(new_folder: Callable[[], Path]) -> Path:
    """A folder that belongs to the server's user."""
    return new_folder()


@pytest.fixture(scope="module")
def host(postgres: Postgres, ansible: Ansible, new_folder: Callable[[], Path]) -> Iterator[Host]:
    """A host that `configure` has set up. The tests of this module share it."""
    with postgres.clone("roles") as cluster:
        made = Host(ansible, cluster, new_folder())
        made.play("configure", archiving_restart=True)
        yield made


# configure


def test_configure_does_what_check_mode_predicts_and_then_nothing_more(empty_host: Host) -> None:
    untouched = state(empty_host)
    predicted = empty_host.play("configure", check=True, diff=True, archiving_restart=True)
    assert state(empty_host) == untouched
    done = empty_host.play("configure", archiving_restart=True)
    assert [found.task for found in predicted.changed] == [found.task for found in done.changed]
    assert f"{HOST}:{empty_host.folder}/keys/local.key" in done.output
    assert f"stanza = {HOST}-main" in (empty_host.folder / "etc/lifeboat.conf").read_text()
    assert empty_host.cluster.sql("SHOW archive_mode") == [("on",)]
    assert empty_host.cluster.sql("SELECT archived_count > 0, failed_count FROM pg_stat_archiver") == [(True, 0)]
    again = empty_host.play("configure", archiving_restart=True)
    assert not again.changed
    assert "recovery key was made" not in again.output


def test_all_repositories_get_the_wal_and_the_first_one_the_backups(empty_host: Host) -> None:
    names, folder = ("first", "second", "spare"), empty_host.folder
    (cluster,) = empty_host.variables["lifeboat_clusters"]
    described = {
        "lifeboat_repositories": [
            {"name": name, "url": folder / name, "key_file": folder / f"keys/{name}.key"} for name in names
        ],
        "lifeboat_clusters": [{**cluster, "repositories": ["first", "second"], "optional_repositories": ["spare"]}],
    }
    done = empty_host.play("configure", archiving_restart=True, **described)
    assert all(f"{HOST}:{folder}/keys/{name}.key" in done.output for name in names)

    def segments(name: str) -> set[str]:
        return {path.name[:24] for path in (folder / name).glob("stanzas/*/wal/*/*/*")}

    assert segments("first") & segments("second")
    wait_until(lambda: segments("spare") >= segments("first"), "the optional repository has what the first has")
    assert {name for name in names if list((folder / name).glob("stanzas/*/backups/*"))} == {"first"}
    assert not empty_host.play("configure", archiving_restart=True, **described).changed


def state(host: Host) -> tuple[Any, ...]:
    """What is in the host's folder, and the server's settings."""
    return tree(host.folder), host.cluster.sql("SELECT name, setting FROM pg_settings ORDER BY 1")


def test_without_leave_to_restart_the_role_says_so_and_goes_on_when_it_has_happened(empty_host: Host) -> None:
    assert "has to be restarted" in empty_host.play("configure").output
    assert empty_host.cluster.sql("SHOW archive_mode") == [("off",)]
    empty_host.cluster.restart()
    second = empty_host.play("configure")
    assert "has to be restarted" not in second.output
    (proof,) = second.task("lifeboat.postgresql.archiving : Archive WAL, and prove it").result["results"]
    assert proof["proven_segment"]
    assert not empty_host.play("configure", check=True).changed


# backup


def test_backup_makes_one_and_a_young_enough_one_does(host: Host) -> None:
    made = host.play("backup").task("Back the clusters up").result["results"][0]["backup"]["id"]
    found = host.play("backup", lifeboat_max_age=1)
    assert not found.changed
    assert found.task("Back the clusters up").result["results"][0]["backup"]["id"] == made


# status


def test_status_is_about_every_host_and_fails_where_it_is_critical(host: Host) -> None:
    well = host.play("status")
    assert "1 of 1 clusters are well" in well.output
    assert not well.changed
    broken = "broken ansible_connection=local ansible_python_interpreter=/nowhere/python"
    inventory = f"""
away ansible_connection=ssh ansible_host=127.0.0.1 ansible_port=1
{broken}
{HOST} {LOCAL}
"""
    found = host.play("status", fails=True, inventory=inventory)
    assert "1 of 2 clusters are well; not well: broken/main (critical); not reached: away" in found.output
    assert found.totals["broken"]["failures"] and not found.totals[HOST]["failures"]
    never = host.play("status", inventory=f"{broken}\n", lifeboat_fail_at="never")
    assert "0 of 1 clusters are well" in never.output


# pitr


def test_pitr_brings_the_moment_before_the_accident_back(host: Host, new_place: Callable[[], Cluster]) -> None:
    host.cluster.sql("CREATE TABLE precious AS SELECT generate_series(1, 77) AS id")
    ((moment,),) = host.cluster.sql("SELECT clock_timestamp()")
    host.cluster.sql("DROP TABLE precious")
    ((segment,),) = host.cluster.sql("SELECT pg_walfile_name(pg_switch_wal())")
    archived = "SELECT last_archived_wal >= %(segment)s FROM pg_stat_archiver"
    wait_until(lambda: host.cluster.sql(archived, segment=segment) == [(True,)], f"{segment} was archived")
    place = new_place()
    wanted = {
        "lifeboat_hosts": HOST,
        "confirm": f"{HOST}/main",
        "restore_destination": place.data_directory,
        "restore_port": place.port,
        "restore_socket_directory": place.socket_dir,
        "restore_target_time": moment.isoformat(),
    }
    host.play("pitr", check=True, **wanted)
    assert not place.data_directory.exists()
    host.play("pitr", **wanted)
    assert place.sql("SELECT count(*) FROM precious") == [(77,)]
    assert host.cluster.sql("SELECT to_regclass('precious')") == [(None,)]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"confirm": f"{HOST}/main"}, "lifeboat_hosts=HOST"),
        ({"lifeboat_hosts": HOST}, f"confirm={HOST}/main"),
        ({"lifeboat_hosts": HOST, "confirm": "another/main"}, f"confirm={HOST}/main"),
        ({"lifeboat_hosts": HOST, "confirm": f"{HOST}/other", "restore_cluster": "other"}, "no cluster other"),
    ],
    ids=["no hosts", "no confirmation", "another host's confirmation", "unknown cluster"],
)
def test_pitr_refuses_what_was_not_confirmed_and_touches_nothing(
    host: Host, new_place: Callable[[], Cluster], given: dict[str, Any], says: str
) -> None:
    place = new_place()
    refused = host.play("pitr", fails=True, restore_destination=place.data_directory, **given)
    assert says in " ".join(refused.output.split())
    assert not place.data_directory.exists()
    assert not refused.changed


# drill

ORDERS = {"name": "the orders are there", "database": "app", "table": "orders", "equals": "5000"}


def test_a_drill_proves_measures_and_reports(host: Host) -> None:
    finished = host.play("drill", drill_assertions=[ORDERS], drill_rto_target=600, drill_rpo_target=86400)
    assert f"good   {HOST}/main: " in finished.output
    assert not finished.changed
    (result,) = host.report["results"]
    assert (host.report["ok"], result["ok"], result["host"], result["cluster"]) == (True, True, HOST, "main")
    assert {"pg_verifybackup", "recovery", "amcheck", "page checksums", "the orders are there", "RTO", "RPO"} == {
        check["name"] for check in result["checks"]
    }
    assert 0 < result["rto_seconds"] < 600
    assert "Every backup was restored and proven" in host.page


def test_a_failed_assertion_and_a_missed_target_fail_the_play_after_the_report(host: Host) -> None:
    evil = {"name": "<script>alert(1)</script>", "database": "app", "table": "orders", "equals": "1"}
    finished = host.play("drill", fails=True, drill_assertions=[ORDERS, evil], drill_rto_target=0.001)
    assert f"FAILED {HOST}/main: " in finished.output
    (result,) = host.report["results"]
    assert [check["name"] for check in result["checks"] if not check["ok"]] == [evil["name"], "RTO"]
    assert "missed" in host.page
    assert "&lt;script&gt;" in host.page
    assert "<script>" not in host.page


def test_broken_and_unreachable_hosts_do_not_keep_others_from_being_proven(host: Host) -> None:
    if not shutil.which("ssh"):
        cannot_be_had("a host that cannot be reached needs the program ssh")
    inventory = f"""
away ansible_connection=ssh ansible_host=127.0.0.1 ansible_port=1
broken {LOCAL} drill_backup=20000101T000000Z-full-000000
misspelt {LOCAL} drill_jobs=many
{HOST} {LOCAL}
"""
    finished = host.play("drill", fails=True, inventory=inventory)
    found = {result["host"]: result["ok"] for result in host.report["results"]}
    assert found == {"away": False, "broken": False, "misspelt": False, HOST: True}
    assert [result["host"] for result in host.report["results"]] == ["away", "broken", "misspelt", HOST]
    assert {name for name, totals in finished.totals.items() if totals["failures"]} == {"away", "broken", "misspelt"}
    assert "3 of 4 failed" in host.page


# What is wrong is refused


@pytest.mark.parametrize(
    ("playbook", "wrong", "says"),
    [
        ("configure", {"lifeboat_clusters": [{"name": "main"}]}, "data_directory"),
        ("configure", {"lifeboat_clusters": [{"name": "main", "data_directory": "/x", "rto_targt": 1}]}, "rto_targt"),
        ("configure", {"lifeboat_repositories": []}, "lifeboat_repositories"),
        ("configure", {"archiving_timeout": "soon"}, "soon"),
        ("configure", {"archiving_restart": "perhaps"}, "when_needed"),
        ("drill", {"drill_rto_target": "quickly"}, "drill_rto_target"),
        ("pitr", {"lifeboat_hosts": HOST, "confirm": f"{HOST}/main"}, "restore_destination"),
    ],
)
def test_wrong_variables_are_refused(host: Host, playbook: str, wrong: dict[str, Any], says: str) -> None:
    refused = host.play(playbook, fails=True, **wrong)
    assert says in refused.output
    assert "Traceback" not in refused.output
    assert not refused.changed


def test_all_roles_describe_a_cluster_alike_and_as_the_configuration_file_has_it() -> None:
    options = {role: role_options(role) for role in CLUSTER_ROLES}
    shapes = [options[role][f"{role}_clusters"]["options"] for role in CLUSTER_ROLES]
    assert all(shape == shapes[0] for shape in shapes)
    assert set(shapes[0]) - {"assertions", "name", "rpo_target", "rto_target"} == set(CLUSTER_KEYS) - {"database_url"}
    assert set(options["agent"]["agent_repositories"]["options"]) - {"name"} == set(REPOSITORY_KEYS)


def test_a_url_with_a_password_goes_into_the_file_and_nowhere_else(empty_host: Host) -> None:
    """URLs are beside the clusters, because Ansible shows what a role loops over."""
    url = f"postgres://keeper:hunter2%21@127.0.0.1:{empty_host.cluster.port}/app?schema=public"
    group = grp.getgrgid(server_user().pw_gid).gr_name
    play = [{"hosts": HOST, "gather_facts": False, "roles": ["lifeboat.postgresql.agent"]}]
    run = empty_host.ansible.playbook(
        json.dumps(play, indent=1),
        env={"ANSIBLE_VERBOSITY": "4", "ANSIBLE_DIFF_ALWAYS": "yes", "URL": url},
        **{
            **empty_host.variables,
            "agent_group": group,
            "lifeboat_database_urls": {"main": "{{ lookup('env', 'URL') }}"},
        },
    )
    config_file = empty_host.folder / "etc/lifeboat.conf"
    assert f"database_url = {url}" in config_file.read_text()
    assert config_file.stat().st_mode & 0o777 == 0o640
    assert "hunter2" not in run.output


def role_options(role: str) -> dict[str, Any]:
    """The documented variables of a role."""
    specs = yaml.safe_load((CHECKOUT / "roles" / role / "meta/argument_specs.yml").read_text())
    options: dict[str, Any] = specs["argument_specs"]["main"]["options"]
    return options
