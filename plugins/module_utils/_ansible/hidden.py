# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets inside of options and files, told to Ansible before anything else is done.

`no_log` hides a URL where it is whole; the password in it is hidden only when Ansible knows it by itself.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from .._engine import config, database_url

_URL_IN_FILE = re.compile(r"^[ \t]*database_url[ \t]*=[ \t]*(\S.*?)[ \t]*$", re.MULTILINE | re.IGNORECASE)


def hide(module: AnsibleModule) -> None:
    """Have every secret that the module may come across left out of what Ansible shows and logs."""
    for url in _urls(module):
        module.no_log_values.update(database_url.secrets(url))


def warn(module: AnsibleModule) -> None:
    """Tell what of the URLs that the module was given is not used."""
    for options in _described(module):
        if options.get("database_url") is not None:
            given = frozenset(name for name, value in options.items() if value)
            for note in database_url.parse(str(options["database_url"]), given).notes:
                module.warn(note)


def _described(module: AnsibleModule) -> list[dict[str, Any]]:
    """The module's own options, and those of the clusters that it describes."""
    return [module.params, *(module.params.get("clusters") or [])]


def _urls(module: AnsibleModule) -> Iterator[str]:
    """Those of the options, of the clusters they describe, and of the file that describes clusters."""
    for options in _described(module):
        if options.get("database_url"):
            yield str(options["database_url"])
    path = Path(module.params.get("config_file") or config.DEFAULT_PATH)
    with contextlib.suppress(OSError, UnicodeDecodeError):  # whoever needs the file says what is wrong with it
        yield from _URL_IN_FILE.findall(path.read_text(encoding="utf-8"))
