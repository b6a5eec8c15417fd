# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Put pip into a virtual environment that was made without it.

ansible-test does this with a script that it downloads from a server of its own. This one takes
that script's place in ansible-test's cache (see sanity.py) and its command line, and needs nothing
but the package index that pip is configured for: the interpreter's bundled pip comes first,
and installs the requested release of itself.
"""

from __future__ import annotations

import subprocess
import sys

# Options of the original that pip does not know.
NOT_PIPS_OWN = ("--no-setuptools", "--no-wheel")


def main(arguments: list[str]) -> int:
    subprocess.run([sys.executable, "-m", "ensurepip"], check=True, stdout=subprocess.DEVNULL)
    options = [argument for argument in arguments if argument not in NOT_PIPS_OWN]
    return subprocess.run([sys.executable, "-m", "pip", "install", "--upgrade", *options], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
