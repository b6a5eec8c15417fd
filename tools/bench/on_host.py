# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs that the command `lifeboat` has no word for, run just as the command runs its own.

    python -I on_host.py COMMAND --config FILE --cluster NAME set-up
    python -I on_host.py COMMAND --config FILE --cluster NAME restore DIRECTORY

COMMAND is the installed command, a zip application: the engine is imported from it.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, os.path.realpath(sys.argv[1]))

if TYPE_CHECKING:
    from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine import as_owner, clock, config, process
    from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine import specs as spec
    from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.archiving import (
        configure as configure_archiving,
    )
    from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.archiving import (
        request as archiving_request,
    )
    from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.archiving import (
        settings as archiving_settings,
    )
    from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.repository import (
        create as create_repository,
    )
    from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.restore import physical as restoring
    from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.ports import ProgressSink
    from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres import recovery_settings
    from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.report import terminal
else:
    from lifeboat import as_owner, clock, config, process
    from lifeboat.jobs.archiving import configure as configure_archiving
    from lifeboat.jobs.archiving import request as archiving_request
    from lifeboat.jobs.archiving import settings as archiving_settings
    from lifeboat.jobs.repository import create as create_repository
    from lifeboat.jobs.restore import physical as restoring
    from lifeboat.postgres import recovery_settings
    from lifeboat.report import terminal


def set_up(arguments: argparse.Namespace, cluster: spec.ClusterSpec, repository: spec.RepositorySpec) -> None:
    """Make the repository and its key, and have the server archive into it; print its archive_command."""
    create_repository.run(repository, clock.SystemClock(), create_key=True)
    request = archiving_request.ArchivingRequest(
        cluster,
        repository,
        agent=arguments.command,
        push_options=["--config", str(arguments.config), "--cluster", arguments.cluster],
        options=archiving_settings.SettingOptions(archive_timeout="0"),
        replace_archiver=True,
    )
    sink = terminal.TerminalSink(sys.stderr)
    done = configure_archiving.run(request, clock.SystemClock(), process.Runner(), sink)
    print(done.after["archive_command"])


def restore(arguments: argparse.Namespace, cluster: spec.ClusterSpec, repository: spec.RepositorySpec) -> None:
    """Lay a backup out in a directory, as the module pg_restore does with `start: false`."""
    request = restoring.RestoreRequest(
        repository,
        cluster.stanza,
        arguments.directory,
        agent=arguments.command,
        backup=arguments.backup,
        # What lies between the benchmarks' backups is archived nowhere: only a backup's own end can be reached.
        target=recovery_settings.RecoveryTarget(immediate=not arguments.to_end),
        bin_directory=cluster.bin_directory,
        delta=arguments.delta,
        start=False,
        jobs=arguments.jobs,
    )

    def task(sink: ProgressSink) -> dict[str, Any]:
        result = restoring.run(request, clock.SystemClock(), process.Runner(), sink)
        return {phase.phase: phase.seconds for phase in result.phases}

    owner, sink = as_owner.owner_for(cluster.data_directory), terminal.TerminalSink(sys.stderr)
    print(as_owner.run_job(owner, repository, restoring.THIRD_PARTY, task, sink))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("command", type=Path)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--cluster", required=True)
    jobs = parser.add_subparsers(required=True)
    jobs.add_parser("set-up").set_defaults(run=set_up)
    restore_parser = jobs.add_parser("restore")
    restore_parser.add_argument("directory", type=Path)
    restore_parser.add_argument("--backup", default="latest")
    restore_parser.add_argument("--delta", action="store_true")
    restore_parser.add_argument("--to-end", action="store_true")
    restore_parser.add_argument("--jobs", type=int, default=2)
    restore_parser.set_defaults(run=restore)
    arguments = parser.parse_args()
    settings = config.cluster_settings(config.read(arguments.config), arguments.config, arguments.cluster)
    cluster, repository = config.specs(arguments.cluster, settings)
    arguments.run(arguments, cluster, repository)


if __name__ == "__main__":
    main()
