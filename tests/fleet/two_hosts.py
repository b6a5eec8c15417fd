# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A primary and a second host, both with a receiver of the primary's WAL, set up by the collection's own playbook."""

from __future__ import annotations

import json
from typing import Any

from harness import wait_until
from harness.lab import Host, Lab
from harness.playbooks import NAMESPACE, Ansible, PlaybookRun
from receiving import partials, wal_files
from support import objects

UNIT = "lifeboat-receive-main.service"
DATA = "/var/lib/postgresql/15/main"
SERVER_UNIT = "postgresql@15-main.service"
KEY = "/etc/lifeboat/keys/shared.key"
ROLE, PASSWORD = "receiver", "only-to-receive"
SPOOL = "/var/lib/lifeboat/main"
SLOTS = {"db1": "lifeboat_main", "db2": "lifeboat_db2"}


class TwoHosts:
    """db1 has the server, archives and receives; db2 receives too, and knows of the server only its address."""

    def __init__(self, lab: Lab, ansible: Ansible) -> None:
        self.lab = lab
        self.ansible = ansible
        self.primary, self.second = lab["db1"], lab["db2"]
        self.rows = 0
        common = {
            "archiving_restart": "when_needed",
            "lifeboat_repositories": [{"name": "shared", "url": "/srv/shared/backups"}],
        }
        here = {"name": "main", "stanza": "shop", "wal_method": "both", "partial_interval": 1, "data_directory": DATA}
        elsewhere = {
            "name": "main",
            "stanza": "shop",
            "method": "stream",
            "wal_method": "stream",
            "partial_interval": 1,
            "slot": SLOTS["db2"],
            "bin_dir": "/usr/lib/postgresql/15/bin",
            "login_host": "db1",
            "login_port": 5432,
            "login_user": ROLE,
        }
        self._inventory = lab.inventory(
            db1={**common, "lifeboat_clusters": [here]},
            db2={**common, "lifeboat_clusters": [elsewhere], "lifeboat_login_password": PASSWORD},
        )

    def configure(self, *hosts: str, check: bool = False, by: Ansible | None = None, **how: Any) -> PlaybookRun:
        """Run the playbook `configure` for some of the hosts, or for all."""
        how["lifeboat_hosts"] = ",".join(hosts or ("all",))
        return self._play("lifeboat.postgresql.configure", by, check=check, diff=check, **how)

    def take_away(self, *hosts: str) -> PlaybookRun:
        """Run the role archiving for hosts that shall archive and receive no more."""
        play = {"hosts": ",".join(hosts), "gather_facts": False, "roles": [NAMESPACE + "archiving"]}
        return self._play(json.dumps([play], indent=1), archiving_state="absent")

    def play_agent(self, by: Ansible) -> PlaybookRun:
        """Run the role agent for all hosts, from another release of the collection."""
        play = {"hosts": "all", "gather_facts": False, "roles": [NAMESPACE + "agent"]}
        return self._play(json.dumps([play], indent=1), by)

    def module(self, host: str, name: str, **options: Any) -> PlaybookRun:
        """Run one module on one host."""
        play = {"hosts": host, "gather_facts": False, "tasks": [{"name": name, NAMESPACE + name: options}]}
        return self._play(json.dumps([play], indent=1))

    def _play(self, playbook: str, by: Ansible | None = None, **how: Any) -> PlaybookRun:
        ansible = by or self.ansible
        return ansible.playbook(playbook, inventory=self._inventory, env={"ANSIBLE_PIPELINING": "1"}, **how)

    # What has to be there before

    def furnish(self) -> None:
        """What users do themselves: the server lets the second host in, the repository has a place."""
        primary, second = self.primary, self.second
        self.lab.shared.chmod(0o755)
        primary.run("install", "-d", "-o", "postgres", "-m", "0700", "/srv/shared/backups")
        primary.sql(f"CREATE ROLE {ROLE} LOGIN SUPERUSER PASSWORD '{PASSWORD}'")
        primary.sql("ALTER SYSTEM SET listen_addresses = '*'")
        access = f"host all,replication {ROLE} {second.address}/32 scram-sha-256"
        primary.run("sh", "-c", f"echo '{access}' >>/etc/postgresql/15/main/pg_hba.conf")
        primary.run("systemctl", "restart", SERVER_UNIT)
        primary.sql("CREATE TABLE written (n int PRIMARY KEY)")
        login = f"db1:5432:*:{ROLE}:{PASSWORD}"
        second.run("sh", "-c", f"umask 077; echo '{login}' >~postgres/.pgpass; chown postgres: ~postgres/.pgpass")

    def share_key(self) -> None:
        """What users do themselves: the key that the first host has made comes to the second."""
        key = self.primary.run("base64", "-w0", KEY).stdout
        folder = "install -d -m 0755 /etc/lifeboat && install -d -o postgres -m 0700 /etc/lifeboat/keys"
        file = f"umask 077; echo {key} | base64 -d >{KEY} && chown postgres: {KEY}"
        self.second.run("sh", "-c", f"{folder} && {file}")

    # What is seen

    def write(self, rows: int = 10) -> None:
        """Commit some rows, and end a segment."""
        first, self.rows = self.rows + 1, self.rows + rows
        self.primary.sql(f"INSERT INTO written SELECT generate_series({first}, {self.rows})")
        self.primary.sql("SELECT pg_switch_wal()")

    def archived(self) -> set[str]:
        """The names of WAL segments in the repository."""
        return {name for name in wal_files(objects(self.lab.shared / "backups")) if len(name) == 24}

    def wait_until_archived(self) -> None:
        """Wait until all that has been written is in the repository: segments without a gap, and a partial's worth."""
        where = "SELECT file_name || ' ' || file_offset FROM pg_walfile_name_offset(pg_current_wal_flush_lsn())"
        segment, offset = self.primary.sql(where).split()

        def there() -> bool:
            shipped = partials(objects(self.lab.shared / "backups"))
            enough = any(name == segment and length >= int(offset) - 8 for name, length in shipped)
            return segment in self.archived() or enough

        wait_until(there, f"{segment} was shipped up to {offset}")
        numbers = sorted(int(name[8:16], 16) * 256 + int(name[16:], 16) for name in self.archived())
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
        newest = int(segment[8:16], 16) * 256 + int(segment[16:], 16)
        assert numbers[-1] in (newest, newest - 1)

    def receiver(self, host: Host) -> dict[str, str]:
        """How systemd sees a host's receiver."""
        return host.unit(UNIT, "ActiveState", "SubState", "MainPID", "NRestarts", "UnitFileState", "Result")

    def pid(self, host: Host) -> int:
        """The receiver's process."""
        return int(self.receiver(host)["MainPID"])

    def receives(self, host: Host) -> bool:
        """Whether it runs, and the server knows it."""
        state = f"SELECT active FROM pg_replication_slots WHERE slot_name = '{SLOTS[host.name]}'"
        return self.receiver(host)["SubState"] == "running" and self.primary.sql(state) == "t"

    def wait_until_receives(self, host: Host, after: int = 0) -> None:
        """Wait until it does, by another process than *after*."""
        wait_until(
            lambda: self.pid(host) != after and self.receives(host), f"{host.name} received by a new process", pause=0.5
        )

    def status(self, host: Host) -> dict[str, Any]:
        """What the receiver says of itself."""
        found: dict[str, Any] = json.loads(host.run("cat", f"{SPOOL}/status.json").stdout)
        return found
