# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bounded random loop on real servers, and a model of what must hold after each of its steps.

`loop.torment` draws an action, lets it happen, and compares the world with the model. The same seed draws the same
actions in the same order with the same arguments; only how far a killed backup had come is up to the machine.
An action is a method of `actions.Actions`; to add one, write it and give it a weight in `actions.WEIGHTS`.

`ledger_trials.keep_the_ledger` is another loop, for recoveries: what happens is in `ledger_events`, who writes in
`ledger_writers`, what the WAL says in `ledger`, where PostgreSQL stops for a target in `ledger_targets`.
"""
