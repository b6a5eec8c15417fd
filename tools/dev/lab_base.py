# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the tree that the systemd hosts of the tests boot from: Debian with systemd, sshd, PostgreSQL and Python.

    lab_base.py ensure    print the folder that holds the tree, making it when needed
    lab_base.py plan      say in one line what `ensure` would fetch; nothing when it is there, or cannot be used here

The folder in $LIFEBOAT_CACHE has `base`, which hosts only read (what they write goes into an overlay), and `nspawn`,
the program that boots them. `tests/harness/lab` starts and stops them. Nothing is installed into this system.

The hosts have no way out. So the tree has an apt repository of its own as its only source, with what the roles install:
`ansible.builtin.apt` works there as on any host.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from components import Cache, default_cache, report, say
from debian_packages import SOURCES, TRANSPORT, PrivateApt, Unavailable

SUITE = "bookworm"
# What a host has before Lifeboat comes.
PACKAGES = [
    "acl", "ca-certificates", "dbus", "iproute2", "openssh-server", "postgresql", "procps", "python3", "python3-apt",
    "sudo", "systemd-sysv",
]  # fmt: skip
# What the roles are to install, and is left out of the tree on purpose.
TO_INSTALL = [
    "libisal2", "python3-boto3", "python3-cryptography", "python3-numpy", "python3-psycopg", "python3-xxhash",
    "python3-zstandard",
]  # fmt: skip
REPOSITORY = "srv/apt-repository"
# These need real devices, udev or a way out. All others come up clean: `systemctl is-system-running` says "running".
MASKED = [
    "apt-daily-upgrade.timer", "apt-daily.timer", "console-getty.service", "dev-hugepages.mount", "dev-mqueue.mount",
    "e2scrub_all.timer", "fstrim.timer", "getty@tty1.service", "sys-fs-fuse-connections.mount",
    "sys-kernel-config.mount", "sys-kernel-debug.mount", "sys-kernel-tracing.mount", "systemd-firstboot.service",
    "systemd-modules-load.service", "systemd-udev-trigger.service", "systemd-udevd-control.socket",
    "systemd-udevd-kernel.socket", "systemd-udevd.service",
]  # fmt: skip
CLUSTER_OPTIONS = "-e UTF8 --locale=C.UTF-8 -- --data-checksums"
SSHD = "UseDNS no\nMaxStartups 100\n"


def recipe() -> str:
    """What tells this tree from one that another version of this file makes."""
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:8]


class BaseTree:
    """The tree in the cache, and how it comes there."""

    def __init__(self, cache: Path) -> None:
        self._cache = Cache(cache)
        self._component = cache / f"lab-{SUITE}-{recipe()}"

    def at_hand(self) -> Path | None:
        """The folder, when there is nothing to make."""
        return self._component if os.geteuid() == 0 and self._component.is_dir() else None

    def plan(self) -> str:
        """What `ensure` would fetch, in one line for people; empty when nothing."""
        if self.at_hand() or obstacle():
            return ""
        return "a small Debian, from which the systemd hosts of the tests boot: about 120 MB, and a minute of work"

    def ensure(self) -> Path:
        """The folder, made when it is not at hand. Raises Unavailable."""
        reason = obstacle()
        if reason:
            raise Unavailable(f"systemd hosts cannot be booted here: {reason}")
        with self._cache.locked():
            return self.at_hand() or self._make()

    def _make(self) -> Path:
        # Not for other users: the tree has programs that run as root whoever starts them.
        with self._cache.new_component(self._component.name, private=True) as (folder, _final):
            say(f"making the tree of systemd hosts from Debian {SUITE}")
            apt = PrivateApt(SUITE, folder / "apt")
            for package in apt.download(["mmdebstrap"], folder / "debs"):
                run("dpkg-deb", "-x", package, folder / "tools")
            base = folder / "base"
            bootstrap(folder / "tools/usr/bin", folder / "apt", base)
            own_repository(base)
            own_nspawn(base, folder / "nspawn")
            configure(base)
            run("rm", "-rf", folder / "apt", folder / "debs", folder / "tools")
        return self._component


def obstacle() -> str:
    """Why hosts cannot be booted here; empty when they can."""
    if os.geteuid() != 0:
        return "that takes root"
    namespaces = ["unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc"]
    mount = ["mount", "-t", "tmpfs", "none", "/mnt"]
    done = subprocess.run([*namespaces, *mount], capture_output=True, text=True, check=False)
    if done.returncode:
        return f"the kernel allows no containers, root lacks CAP_SYS_ADMIN ({done.stderr.strip()})"
    if not any(line.split()[2] == "cgroup2" for line in Path("/proc/self/mounts").read_text().splitlines()):
        return "no cgroup2 file system is mounted"
    return ""


def run(*command: str | Path, environment: dict[str, str] | None = None) -> None:
    """Run a program that must succeed; what it says is of interest only when it does not."""
    # Not in our folder: a chroot must not inherit it.
    done = subprocess.run(
        command,
        cwd="/",
        env={**os.environ, "LC_ALL": "C.UTF-8", **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        last = " ".join(done.stdout.split()[-60:])
        raise Unavailable(f"{Path(command[0]).name} failed with {done.returncode}: ...{last}")


def bootstrap(tools: Path, apt: Path, base: Path) -> None:
    """Debian with PACKAGES in *base*, and in its apt archive the packages TO_INSTALL and what they need."""
    # The hooks run outside of the tree, with apt set up for it: exactly what it lacks is downloaded.
    apt_get = 'APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get -qq'
    download = f"{apt_get} install -y --download-only {' '.join(TO_INSTALL)}"
    archives = '"$1"/var/cache/apt/archives'
    no_cluster = 'echo "create_main_cluster = false" >"$1"/etc/postgresql-common/createcluster.conf'
    hooks = [
        f'--essential-hook=mkdir -p "$1"/etc/postgresql-common && {no_cluster}',
        f"--customize-hook=rm -f {archives}/*.deb && {download}",
        f'--customize-hook=mkdir -p "$1"/{REPOSITORY} && mv {archives}/*.deb "$1"/{REPOSITORY}/',
        f'--customize-hook=cd "$1"/{REPOSITORY} && {apt_get} download systemd-container',
    ]
    left_out = [f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in ("man", "doc", "locale")]
    options = [
        "--quiet", "--variant=minbase", "--mode=root", f"--aptopt={apt / TRANSPORT}",
        '--aptopt=Acquire::Languages "none"', '--aptopt=APT::Install-Recommends "false"', *left_out,
        "--dpkgopt=force-unsafe-io", f"--include={','.join(PACKAGES)}", *hooks,
    ]  # fmt: skip
    path = f"{tools}:{os.environ['PATH']}"  # it has a helper beside it
    run("mmdebstrap", *options, SUITE, base, apt / SOURCES, environment={"PATH": path})


def own_repository(base: Path) -> None:
    """What was downloaded becomes the tree's only source of packages."""
    entries = []
    for package in sorted((base / REPOSITORY).glob("*.deb")):
        package.chmod(0o644)
        control = subprocess.run(["dpkg-deb", "-f", package], check=True, capture_output=True, text=True).stdout
        content = package.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        entries.append(f"{control}Filename: ./{package.name}\nSize: {len(content)}\nSHA256: {digest}\n")
    (base / REPOSITORY / "Packages").write_text("\n".join(entries))
    for old in (base / "etc/apt/sources.list.d").iterdir():
        old.unlink()
    (base / "etc/apt/apt.conf.d/99mmdebstrap").unlink(missing_ok=True)
    (base / "etc/apt/sources.list").write_text(f"deb [trusted=yes] file:/{REPOSITORY} ./\n")
    in_tree(base, "apt-get", "update", "-qq")


def own_nspawn(base: Path, program: Path) -> None:
    """The program that boots hosts; it runs with the tree's own libraries, whatever this system is."""
    (package,) = (base / REPOSITORY).glob("systemd-container_*.deb")
    unpacked = program.with_name("systemd-container")
    run("dpkg-deb", "-x", package, unpacked)
    (unpacked / "usr/bin/systemd-nspawn").rename(program)
    run("rm", "-rf", unpacked)


def configure(base: Path) -> None:
    """A user for Ansible, a cluster, and nothing running that a host of the lab cannot run."""
    in_tree(base, "useradd", "--create-home", "--shell", "/bin/bash", "ansible")
    sudoers = base / "etc/sudoers.d/ansible"
    sudoers.write_text("ansible ALL=(ALL) NOPASSWD: ALL\n")
    sudoers.chmod(0o440)
    (base / "etc/ssh/sshd_config.d/lab.conf").write_text(SSHD)
    for key in (base / "etc/ssh").glob("ssh_host_*"):  # every lab makes its own
        key.unlink()
    (base / "etc/default/locale").write_text("LANG=C.UTF-8\n")
    (major,) = (folder.name for folder in (base / "usr/lib/postgresql").iterdir())
    in_tree(base, "pg_createcluster", major, "main", *CLUSTER_OPTIONS.split())
    in_tree(base, "systemctl", "--quiet", "mask", *MASKED)
    in_tree(base, "systemctl", "--quiet", "enable", "postgresql", "ssh")
    (base / "etc/machine-id").write_text("")  # every host makes its own when it first boots


def in_tree(base: Path, *command: str) -> None:
    """Run a program of the tree in the tree."""
    run("chroot", base, *command)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("action", choices=("ensure", "plan"))
    tree = BaseTree(default_cache())
    return report(tree.plan if parser.parse_args(words).action == "plan" else tree.ensure)


if __name__ == "__main__":
    sys.exit(main())
