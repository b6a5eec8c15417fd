# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Third-party packages, imported when first needed and named by their operating-system package.

The foreground of `archive_command` must start in milliseconds, so nothing heavy is imported
before it is used. A missing package is an error that says what to install.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterable
from typing import Any

from .errors import PreconditionError

_THREADS = "OPENBLAS_NUM_THREADS"

# import name -> (Debian and Ubuntu package, Red Hat package, PyPI package)
PACKAGES: dict[str, tuple[str, str, str]] = {
    "psycopg": ("python3-psycopg", "python3-psycopg3", "psycopg[binary]"),
    "cryptography": ("python3-cryptography", "python3-cryptography", "cryptography"),
    "zstandard": ("python3-zstandard", "python3-zstandard", "zstandard"),
    "botocore": ("python3-botocore", "python3-botocore", "botocore"),
    "numpy": ("python3-numpy", "python3-numpy", "numpy"),
    "xxhash": ("python3-xxhash", "python3-xxhash", "xxhash"),
}


def require(module: str) -> Any:
    """Import `module` (dotted names allowed) or say which package provides it."""
    try:
        return _imported(module)
    except ImportError as exc:
        top = module.partition(".")[0]
        if top not in PACKAGES:
            raise
        raise _missing(top, str(exc)) from exc


def _imported(module: str) -> Any:
    """Import it. With numpy comes a library that starts a thread for each processor, for work that nobody has here."""
    if module != "numpy" or module in sys.modules or _THREADS in os.environ:
        return importlib.import_module(module)
    os.environ[_THREADS] = "1"
    try:
        return importlib.import_module(module)
    finally:
        os.environ.pop(_THREADS, None)  # a server that is started later may have use for them


def _missing(package: str, reason: str) -> PreconditionError:
    debian, redhat, pypi = PACKAGES[package]
    return PreconditionError(
        f"importing the Python package {package}",
        f"it cannot be imported by this interpreter ({reason}).",
        f"Install {debian} (Debian, Ubuntu) or {redhat} (Red Hat family), or {pypi} from PyPI.",
        code="python_package_missing",
        package=package,
    )


def require_installed(modules: Iterable[str]) -> None:
    """Find the packages without importing them: a job that turns out to have nothing to do is done sooner."""
    for package in dict.fromkeys(module.partition(".")[0] for module in modules):
        if importlib.util.find_spec(package) is None:
            raise _missing(package, f"No module named {package!r}")


def preload(modules: Iterable[str]) -> None:
    """Import everything a job will need, before privileges are dropped.

    A process that has dropped to the server's owner may not be able to read the place the
    packages or the module's own payload came from.
    """
    for module in modules:
        require(module)
