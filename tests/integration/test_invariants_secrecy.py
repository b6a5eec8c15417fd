# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets appear in no command line, log, result, diff, job file or world-readable file (I7).

Everything is done once with a password and a key that can be recognised, with all there is to be talkative turned on.
"""

from __future__ import annotations

import base64
import grp
import json
import os
import secrets
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

from harness import Cluster, server_user
from harness.playbooks import Ansible
from psycopg import sql
from support import Site, Task, task

CANARY = f"canary{secrets.token_hex(4)}"  # none that another run has in its files
PASSWORD = f"tea: 'n' 5%/\\ {CANARY}"
PLACES = ("/tmp", "/var/tmp", "/dev/shm", "/run/lifeboat")


class CommandLines(threading.Thread):
    """Looks at the command lines of all processes, a hundred times a second, until it is stopped."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seen: set[bytes] = set()
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.is_set():
            for process in os.listdir("/proc"):
                try:
                    self.seen.add(Path("/proc", process, "cmdline").read_bytes())
                except OSError:
                    continue
            self._stopped.wait(0.01)

    def __enter__(self) -> CommandLines:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopped.set()
        self.join()


def files_below(*places: str) -> Iterator[Path]:
    """All regular files."""
    for place in places:
        for folder, _ignored, names in os.walk(place):
            for name in names:
                path = Path(folder, name)
                if not path.is_symlink() and path.is_file():
                    yield path


def open_to_all(path: Path, since: float) -> bool:
    """Whether everybody may read a file that was written since then."""
    try:
        facts = path.stat()
    except FileNotFoundError:  # another test run's
        return False
    return bool(facts.st_mode & stat.S_IROTH) and facts.st_mtime >= since


def with_cluster(agent_task: Task, cluster: dict[str, object]) -> Task:
    """The task that describes the site, with one more cluster; for those only who need to read it."""
    (module,) = (key for key in agent_task if key.endswith("lifeboat_agent"))
    options = agent_task[module]
    group = grp.getgrgid(server_user().pw_gid).gr_name
    return {**agent_task, module: {**options, "clusters": [*options["clusters"], cluster], "group": group}}


def test_password_and_key_stay_where_they_belong(
    cluster: Cluster, ansible: Ansible, new_folder: Callable[[], Path], new_place: Callable[[], Cluster]
) -> None:
    site, restored, logs = Site(ansible, cluster, new_folder()), new_place(), new_folder()
    with cluster.connect() as connection:
        role = sql.SQL("CREATE ROLE keeper SUPERUSER LOGIN PASSWORD {}").format(sql.Literal(PASSWORD))
        connection.execute(role)
    cluster.set(log_statement="all", log_connections="on", log_replication_commands="on", log_min_messages="debug1")
    login = {
        "login_host": "127.0.0.1",
        "login_port": cluster.port,
        "login_user": "keeper",
        "login_password": "{{ lookup('env', 'CANARY') }}",
    }
    wrong = {**login, "login_password": "{{ lookup('env', 'CANARY') }}x"}
    by_url = {"database_url": "{{ lookup('env', 'URL') }}"}
    wrong_url = {"database_url": "{{ lookup('env', 'URL') | replace('127.0.0.1', 'x@127.0.0.1') }}"}
    url = f"postgresql+psycopg2://keeper:{quote(PASSWORD, safe='')}@127.0.0.1:{cluster.port}/app?schema=public"
    described = with_cluster(site.agent_task, {"name": "by_url", "repository": "local", **by_url})
    where = {"port": restored.port, "socket_directory": restored.socket_dir}
    setting_up = (
        site.agent_task,
        task("pg_backup_repository", create_key=True, **login),
        task("pitr_configure", restart=True, **login),
        task("pg_backup", **login),
        task("pg_backup", **wrong),
    )
    using = (
        described,
        {**described, "check_mode": True},
        task("pg_backup", **by_url),
        task("pg_backup", **wrong_url),
        task("pg_backup", **by_url, ssl_mode="none of them"),
        task("pg_backup", cluster="by_url", stanza="main", data_directory=cluster.data_directory),
        task("pg_backup_info", **login),
        task("backup_verify", **login),
        task("backup_verify", level="restore", scratch_directory=restored.socket_dir, **login),
        task("pg_restore", destination=restored.data_directory, **where, **login),
    )
    talkative = {"ANSIBLE_VERBOSITY": "4", "ANSIBLE_LOG_PATH": str(logs / "ansible.log")}
    talkative.update(CANARY=PASSWORD, URL=url)
    began = time.time()
    with CommandLines() as command_lines:
        plays = [site.playbook(*tasks, fails=True, progress=True, env=talkative) for tasks in (setting_up, using)]
        tcp = ("--login-host", "127.0.0.1", "--login-port", str(cluster.port), "--login-user", "keeper")
        on_host = site.lifeboat("backup", *tcp, env={"PGPASSWORD": PASSWORD})
        refused = site.lifeboat("backup", *tcp, env={"PGPASSWORD": f"{PASSWORD}x"}, check=False)
        told = site.lifeboat("backup", env={"LIFEBOAT_DATABASE_URL": url})
        wrong_told = {"LIFEBOAT_DATABASE_URL": url.replace("127.0.0.1", "x@127.0.0.1")}
        refused_url = site.lifeboat("backup", env=wrong_told, check=False)
    finished = [each for play in plays for each in play.tasks]
    output = "".join(play.output for play in plays)
    of_urls = ["ok", "ok", "ok", "failed", "failed", "ok"]
    assert [each.status for each in finished] == ["ok"] * 4 + ["failed"] + of_urls + ["ok"] * 4, output
    assert [finished[n].result["error_code"] for n in (4, 8)] == ["authentication_failed"] * 2
    assert finished[5].result["changed"] and not finished[6].result["changed"]
    assert "schema concern" in str(finished[7].result["warnings"])
    assert "value of ssl_mode must be" in finished[9].result["msg"]
    assert "authentication_failed" in refused.stderr and "authentication_failed" in refused_url.stderr
    assert "warning: database_url: schema" in told.stderr

    key_text = site.key_file.read_text().strip()
    key = base64.urlsafe_b64decode(key_text.partition(":")[2])
    wanted = [CANARY.encode(), key_text.partition(":")[2].encode(), key, key.hex().encode()]

    def leaks(content: bytes) -> bool:
        return any(secret in content for secret in wanted)

    seen = b"\n".join(command_lines.seen)
    for expected in (b"ansible-playbook", b"archive-push", b"archive-fetch", b"pg_amcheck", b"keeper"):
        assert expected in seen, f"nobody saw {expected!r}: the sampling is too slow to prove anything"
    assert not leaks(seen)
    assert "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER" in output
    said = [output, json.dumps([each.result for each in finished]), on_host.stdout, on_host.stderr]
    said += [each for run in (refused, told, refused_url) for each in (run.stdout, run.stderr)]
    assert not leaks("\n".join(said).encode())
    assert "keeper" in cluster.log_file.read_text()
    kept = set(files_below(str(site.folder), str(logs), str(restored.data_directory.parent)))
    job_files = set(files_below("/run/lifeboat"))
    assert job_files
    for path in kept | job_files | {cluster.log_file}:
        assert path in (site.key_file, site.config_file) or not leaks(path.read_bytes()), path
    assert [path for path in files_below(*PLACES) if open_to_all(path, began) and leaks(path.read_bytes())] == []
    assert stat.S_IMODE(site.key_file.stat().st_mode) == 0o400
    assert leaks(quote(PASSWORD, safe="").encode()) and url in site.config_file.read_text()
    assert stat.S_IMODE(site.config_file.stat().st_mode) == 0o640
