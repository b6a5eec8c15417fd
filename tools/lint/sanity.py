# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run ``ansible-test sanity`` with nothing but the package index that pip is configured for.

To be run in a collection tree. ansible-test makes an environment per test, below the home folder,
with a script that it would fetch from a server of its own; bootstrap_pip.py stands in for it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

from ansible_test._internal.python_requirements import get_venv_packages

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
RUNNING = "Running sanity test"
CHATTER = (RUNNING, "Installing requirements", "Using cached pip")


def provide_pip_bootstrap() -> None:
    """Lay bootstrap_pip.py where ansible-test looks before it downloads."""
    release = get_venv_packages(SimpleNamespace(version=PYTHON))["pip"]
    cached = Path.home() / ".ansible" / "test" / "cache" / f"get_pip_{release.replace('.', '_')}.py"
    cached.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(Path(__file__).with_name("bootstrap_pip.py"), cached)


def main() -> int:
    provide_pip_bootstrap()
    done = subprocess.run(
        ["ansible-test", "sanity", "--color", "no", "--python", PYTHON],
        # With its root named, ansible-test does not look for a repository above: there the copy is ignored.
        env={**os.environ, "ANSIBLE_TEST_CONTENT_ROOT": os.getcwd()},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    print(*(line for line in done.stdout.splitlines() if not line.startswith(CHATTER)), sep="\n")
    # Having found nothing to check is a success to ansible-test.
    return done.returncode or int(RUNNING not in done.stdout)


if __name__ == "__main__":
    sys.exit(main())
