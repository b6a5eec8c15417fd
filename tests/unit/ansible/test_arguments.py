# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every module takes exactly the options that its documentation promises, and all of them the shared ones."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import yaml
from ansible.utils.plugin_docs import get_docstring
from ansible_collections.lifeboat.postgresql.plugins.module_utils._ansible.arguments import SHARED
from harness import CHECKOUT

PLUGINS = "ansible_collections.lifeboat.postgresql.plugins"
MODULES = sorted(path.stem for path in (CHECKOUT / "plugins/modules").glob("*.py"))
FACETS = ("type", "elements", "choices", "default", "required", "aliases")

every_module = pytest.mark.parametrize("name", MODULES)
Options = dict[str, dict[str, Any]]


class SpecTaken(Exception):
    """Ends a module where its options would be parsed."""


class Fragments:
    """Finds documentation fragments as Ansible's loader does for an installed collection."""

    def get(self, name: str) -> Any:
        module = importlib.import_module(f"{PLUGINS}.doc_fragments.{name.rpartition('.')[2]}")
        fragment = module.ModuleDocFragment()
        fragment.ansible_name = name
        return fragment


def arguments_of(name: str) -> dict[str, Any]:
    """What a module gives to AnsibleModule."""
    taken: dict[str, Any] = {}

    def take(**arguments: Any) -> None:
        taken.update(arguments)
        raise SpecTaken

    module = importlib.import_module(f"{PLUGINS}.modules.{name}")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SpecTaken):
        patch.setattr(module, "AnsibleModule", take)
        module.main()
    return taken


def documented(name: str) -> dict[str, Any]:
    path = str(CHECKOUT / f"plugins/modules/{name}.py")
    documentation: dict[str, Any] = get_docstring(path, Fragments(), is_module=True)[0]
    return documentation


def facets(options: Options, below: str) -> dict[str, Any]:
    """What both sides must agree on, in one form. Left out means what Ansible takes it to mean."""
    usual = {"type": "str", "required": False}
    return {
        name: {
            **{facet: option.get(facet, usual.get(facet)) for facet in FACETS},
            "options": facets(option[below], below) if below in option else None,
        }
        for name, option in options.items()
    }


@every_module
def test_a_module_takes_what_its_documentation_says(name: str) -> None:
    assert facets(arguments_of(name)["argument_spec"], "options") == facets(documented(name)["options"], "suboptions")


@every_module
def test_a_module_has_the_check_mode_that_its_documentation_promises(name: str) -> None:
    support = documented(name)["attributes"]["check_mode"]["support"]
    assert arguments_of(name)["supports_check_mode"] is (support in {"full", "partial"})


@every_module
def test_module_defaults_for_the_group_reach_every_member(name: str) -> None:
    spec = arguments_of(name)["argument_spec"]
    assert {option: spec.get(option) for option in SHARED} == SHARED


def test_every_module_is_in_the_group() -> None:
    runtime = yaml.safe_load((CHECKOUT / "meta/runtime.yml").read_text())
    assert runtime["action_groups"]["lifeboat"] == MODULES


@every_module
def test_every_option_with_a_secret_hides_it(name: str) -> None:
    def secret_options(options: Options) -> list[str]:
        hidden = {option for option, spec in options.items() if spec.get("no_log")}
        secret = {option for option in options if option.endswith(("password", "passphrase", "secret", "token"))}
        inner = [each for spec in options.values() for each in secret_options(spec.get("options", {}))]
        return [*(secret - hidden), *inner]

    assert secret_options(arguments_of(name)["argument_spec"]) == []


@every_module
def test_examples_use_options_that_exist(name: str) -> None:
    module = importlib.import_module(f"{PLUGINS}.modules.{name}")
    known = set(arguments_of(name)["argument_spec"])
    tasks = [task for task in yaml.safe_load(module.EXAMPLES) if f"lifeboat.postgresql.{name}" in task]
    used = [task[f"lifeboat.postgresql.{name}"] or {} for task in tasks]
    assert used
    assert [option for options in used for option in options if option not in known] == []
