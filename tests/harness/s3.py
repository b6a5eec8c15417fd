# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real S3 server: Ceph's object gateway on one monitor and one object store in memory, all on loopback.

Unlike a mock it refuses wrong secrets and damaged bodies, enforces policies and quotas, and takes its time.
"""

from __future__ import annotations

import itertools
import json
import os
import secrets
import socket
import subprocess
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import botocore.session
from botocore.config import Config

from .certificates import make_certificates
from .cluster import LOCAL_ADDRESS, free_port
from .guard import wait_until
from .machine import CHECKOUT, CLEAN_ENVIRONMENT, CommandFailed, cannot_be_had, run, server_folder, server_user
from .run_folder import RunFolder

REGION = "us-east-1"
DOMAIN = "s3.localhost"  # a bucket may be addressed as a host below it, by those who can resolve that
ACCOUNT = "lifeboat"

CONFIGURATION = """\
[global]
fsid = {fsid}
mon host = [v2:{address}:{mon_v2},v1:{address}:{mon_v1}]
public network = 127.0.0.0/8
ms bind port min = {first_port}
ms bind port max = {last_port}
run dir = {folder}
admin socket = {folder}/$name.asok
keyring = {folder}/keyring
log file = {folder}/$name.log
mon cluster log to file = false
mon data = {folder}/mon
osd data = {folder}/osd
plugin dir = {libraries}/ceph
erasure code dir = {libraries}/ceph/erasure-code
osd class dir = {libraries}/rados-classes
# the daemons trust one another; S3 clients need their keys
auth cluster required = none
auth service required = none
auth client required = none
# one object store in memory, one copy of everything
osd objectstore = memstore
memstore device bytes = {bytes}
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
rgw rados pool pg num min = 8
mon allow pool size one = true
mon max pg per osd = 1000
mon data avail crit = 0
[client.rgw]
auth client required = none
ms mon client mode = crc
rgw frontends = beast endpoint={address}:{port} ssl_endpoint={address}:{tls_port} ssl_certificate={certificate} \
ssl_private_key={key}
rgw dns name = {domain}
# so that listings come in pages
rgw max listing results = 25
# so that a quota counts at once
rgw bucket quota ttl = 0
"""

# What the program `ceph` does for us, run by the unpacked Python, whose libraries are those of the unpacked Ceph.
MONITOR_COMMAND = """
import json, rados, sys
options = {"rados_mon_op_timeout": "5", "client_mount_timeout": "5"}
with rados.Rados(conffile=sys.argv[1], conf=options) as cluster:
    status, answer, error = cluster.mon_command(json.dumps({**json.loads(sys.argv[2]), "format": "json"}), b"")
    print(answer.decode() or error)
    sys.exit(status != 0)
"""


@dataclass(frozen=True)
class Account:
    """Who may use the server."""

    access_key: str
    secret_key: str = field(repr=False)

    @property
    def environment(self) -> dict[str, str]:
        """As the variables that S3 clients read."""
        return {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}

    def write(self, path: Path, mode: int = 0o600, profile: str = "default") -> Path:
        """As a credentials file of the server's user."""
        text = f"[{profile}]\naws_access_key_id = {self.access_key}\naws_secret_access_key = {self.secret_key}\n"
        path.write_text(text)
        path.chmod(mode)
        if os.geteuid() == 0:
            os.chown(path, server_user().pw_uid, server_user().pw_gid)
        return path


@dataclass(frozen=True)
class Place:
    """A prefix of a bucket."""

    bucket: str
    prefix: str

    @property
    def url(self) -> str:
        """As repositories are named."""
        return f"s3://{self.bucket}/{self.prefix}"


class S3Server:
    """The gateway, by http and by https. Its processes work in the run's folder and end with the run."""

    def __init__(self, run_folder: RunFolder) -> None:
        """Find Ceph, fetching it when needed, and start it; skip the test where it cannot be had."""
        finder = [sys.executable, str(CHECKOUT / "tools/dev/ceph.py"), "ensure"]
        done = subprocess.run(finder, capture_output=True, text=True, check=False)
        if done.returncode:
            cannot_be_had(done.stderr.strip().splitlines()[-1])
        self._bin_dir = Path(done.stdout.strip())
        self._folder = server_folder(run_folder.path / "ceph")
        self._certificates = make_certificates(run_folder.folder("tls"), DOMAIN, f"*.{DOMAIN}")
        for path in self._certificates:
            path.chmod(0o644)
        self.ca_file = self._certificates.ca
        self._port, self._tls_port = free_port(), free_port()
        self.endpoint = f"http://{LOCAL_ADDRESS}:{self._port}"
        self.tls_endpoint = f"https://{LOCAL_ADDRESS}:{self._tls_port}"
        self.virtual_host_endpoint = f"https://{DOMAIN}:{self._tls_port}"
        self._numbers = itertools.count(1)
        self._start()

    # What tests use

    @cached_property
    def owner(self) -> Account:
        """The account that owns the buckets."""
        return self.new_account(ACCOUNT)

    @cached_property
    def stranger(self) -> Account:
        """An account that may make buckets of its own, but not enter the owner's."""
        return self.new_account("stranger")

    def new_account(self, name: str) -> Account:
        """Another account."""
        account = Account(f"KEY{secrets.token_hex(8).upper()}", secrets.token_hex(20))
        identity = ("--uid", name, "--display-name", name)
        keys = ("--access-key", account.access_key, "--secret-key", account.secret_key)
        self._admin("user", "create", *identity, *keys)
        return account

    def limit_bucket(self, bucket: str, max_bytes: int) -> None:
        """Give a bucket a quota."""
        self._admin("quota", "set", "--quota-scope", "bucket", "--bucket", bucket, "--max-size", str(max_bytes))
        self._admin("quota", "enable", "--quota-scope", "bucket", "--bucket", bucket)

    def new_bucket(self) -> str:
        """An empty bucket of the owner's. Making one takes a while, so tests that can do with a place share one."""
        bucket = f"bucket-{next(self._numbers)}"
        self.client().create_bucket(Bucket=bucket)
        return bucket

    def new_place(self) -> Place:
        """An empty prefix, in the bucket that all tests share."""
        return Place(self._shared_bucket, f"tests/{next(self._numbers)}")

    @cached_property
    def _shared_bucket(self) -> str:
        return self.new_bucket()

    def client(self, account: Account | None = None) -> Any:
        """A client beside the one under test."""
        who = account or self.owner
        return botocore.session.Session().create_client(
            "s3",
            region_name=REGION,
            endpoint_url=self.endpoint,
            aws_access_key_id=who.access_key,
            aws_secret_access_key=who.secret_key,
            config=Config(s3={"addressing_style": "path"}),
        )

    def names(self, place: Place) -> list[str]:
        """The objects that can be seen in a place."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=place.bucket, Prefix=f"{place.prefix}/")
        return [each["Key"].removeprefix(f"{place.prefix}/") for page in pages for each in page.get("Contents", ())]

    def unfinished_uploads(self, place: Place) -> list[str]:
        """The names of a place's multipart uploads that were neither completed nor aborted."""
        answer = self.client().list_multipart_uploads(Bucket=place.bucket, Prefix=f"{place.prefix}/")
        return [each["Key"].removeprefix(f"{place.prefix}/") for each in answer.get("Uploads", ())]

    # How it is started

    @property
    def _configuration(self) -> Path:
        return self._folder / "ceph.conf"

    def _start(self) -> None:
        self._configure()
        data = ("-i", "a", "--mkfs", "--monmap", self._folder / "monmap")
        self._program("ceph-mon", *data)
        self._daemon("ceph-mon", "-i", "a")
        wait_until(lambda: self._monitor(prefix="mon stat") is not None, "Ceph's monitor answered")
        store = str(uuid.uuid4())
        # Either may time out while the monitor settles, and either may be repeated.
        wait_until(lambda: self._monitor(prefix="osd new", uuid=store) is not None, "Ceph knew its object store")
        wait_until(lambda: self._succeeds("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", store), "the store was made")
        self._daemon("ceph-osd", "-i", "0")
        wait_until(lambda: (self._monitor(prefix="osd stat") or {}).get("num_up_osds") == 1, "the store was up")
        assert self.owner
        self._daemon("radosgw", "-n", "client.rgw")
        wait_until(self._listens, "the gateway listened")

    def _configure(self) -> None:
        libraries = next(self._bin_dir.parent.glob("lib/*-linux-gnu"))
        first_port = free_port()
        values: dict[str, object] = {"folder": self._folder, "address": LOCAL_ADDRESS, "libraries": libraries}
        values.update(fsid=uuid.uuid4(), bytes=8 << 30, first_port=first_port, last_port=first_port + 60)
        values.update(port=self._port, tls_port=self._tls_port, mon_v1=free_port(), mon_v2=free_port())
        values.update(domain=DOMAIN, certificate=self._certificates.certificate, key=self._certificates.key)
        self._configuration.write_text(CONFIGURATION.format(**values))
        (self._folder / "keyring").touch()
        for name in ("mon", "osd"):
            server_folder(self._folder / name)
        addresses = f"[v2:{LOCAL_ADDRESS}:{values['mon_v2']},v1:{LOCAL_ADDRESS}:{values['mon_v1']}]"
        options = ("--create", "--fsid", str(values["fsid"]), "--addv", "a", addresses)
        self._run("monmaptool", *options, self._folder / "monmap")

    def _daemon(self, program: str, *arguments: str) -> None:
        with (self._folder / f"{program}.out").open("wb") as output:
            user = server_user() if os.geteuid() == 0 else None
            subprocess.Popen(
                [self._bin_dir / program, *arguments, "-c", self._configuration, "-f"],
                cwd=self._folder,
                env=CLEAN_ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=user.pw_uid if user else None,
                group=user.pw_gid if user else None,
                extra_groups=[] if user else None,
            )

    def _listens(self) -> bool:
        for port in (self._port, self._tls_port):
            with socket.socket() as probe:
                if probe.connect_ex((LOCAL_ADDRESS, port)) != 0:
                    return False
        return True

    def _monitor(self, **command: str) -> Any:
        """The monitor's answer to a command, None while it does not answer."""
        script = ["-c", MONITOR_COMMAND, str(self._configuration), json.dumps(command)]
        packages = {"PYTHONPATH": str(self._bin_dir.parent / "lib/python3/dist-packages")}
        try:
            answer = self._run("python3.11", *script, env=packages)
        except CommandFailed:
            return None
        return json.loads(answer) if answer.startswith("{") else answer

    def _succeeds(self, program: str, *arguments: str) -> bool:
        try:
            self._program(program, *arguments)
        except CommandFailed:
            return False
        return True

    def _admin(self, *arguments: str) -> str:
        return self._program("radosgw-admin", "-n", "client.rgw", *arguments)

    def _program(self, program: str, *arguments: str | Path) -> str:
        return self._run(program, "-c", self._configuration, *arguments)

    def _run(self, program: str, *arguments: str | Path, env: Mapping[str, str] | None = None) -> str:
        command = [self._bin_dir / program, *arguments]
        return run(command, user=server_user(), cwd=self._folder, env=env, timeout=60).stdout
