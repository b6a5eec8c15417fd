# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""For all tests: the engine imports under its collection's name, and the run ends with what ran and what did not."""

from __future__ import annotations

import contextlib
import os
import sys

from harness import BUILD, CHECKOUT

pytest_plugins = ["harness.fixtures", "harness.summary"]

# The servers' user reads what tests write.
os.umask(0o022)

# libpq would take a developer's PGHOST and the like for defaults.
for variable in [name for name in os.environ if name.startswith("PG")]:
    del os.environ[variable]

# ansible_collections.lifeboat.postgresql is the checkout: modules and engine import as in an installed collection.
collection = BUILD / "collections/ansible_collections/lifeboat/postgresql"
collection.parent.mkdir(parents=True, exist_ok=True)
if collection.resolve() != CHECKOUT:
    collection.unlink(missing_ok=True)
    with contextlib.suppress(FileExistsError):  # another worker was faster
        collection.symlink_to(CHECKOUT)
sys.path.insert(0, str(BUILD / "collections"))
