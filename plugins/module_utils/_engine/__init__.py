# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lifeboat's engine: pure Python that knows PostgreSQL and backups, and nothing of Ansible.

It runs in two places from one source: inside the Ansible modules, and on each host as the
`lifeboat` command. Only relative imports are used, so that it works under either name.
"""
