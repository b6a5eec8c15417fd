# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reference pages in Markdown, from what ``ansible-doc --json`` says of a module or role."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from markup import COLLECTION, Markup, code

MADE_FROM = "<!-- Made by `make docs` from {source}; edit that instead. -->"

Described = Mapping[str, Any]


def module_page(name: str, described: Described) -> str:
    """Return the page of the module *name*."""
    fqcn, doc = f"{COLLECTION}.{name}", described["doc"]
    markup = Markup(fqcn)
    return _page(
        MADE_FROM.format(source=f"plugins/modules/{name}.py"),
        f"# {fqcn}",
        f"{doc['short_description']}.",
        markup.paragraphs(doc["description"]),
        *_section("## Options", _options(markup, doc.get("options") or {}, "suboptions")),
        *_section("## Attributes", _attributes(markup, doc.get("attributes") or {})),
        *_section("## Notes", _bullets(markup.paragraphs(note) for note in doc.get("notes") or ())),
        *_section("## Examples", _yaml(described.get("examples") or "")),
        *_section("## Return values", _return_values(markup, described.get("return") or {})),
        *_section("## See also", _see_also(markup, doc.get("seealso") or ())),
    )


def role_page(name: str, entry_points: Mapping[str, Described]) -> str:
    """Return the README of the role *name*."""
    fqcn = f"{COLLECTION}.{name}"
    parts = [MADE_FROM.format(source=f"roles/{name}/meta/argument_specs.yml"), f"# {fqcn}"]
    # "main" first: it is what a role is for.
    for entry_point in sorted(entry_points, key=lambda each: (each != "main", each)):
        doc, markup = entry_points[entry_point], Markup(fqcn, entry_point)
        if entry_point != "main":
            parts.append(f"## Entry point {code(entry_point)}")
        level = "##" if entry_point == "main" else "###"
        parts += [
            f"{doc['short_description']}.",
            markup.paragraphs(doc["description"]),
            *_section(f"{level} Variables", _options(markup, doc.get("options") or {}, "options")),
            *_section(f"{level} Example", _yaml(doc.get("examples") or "")),
            *_section(f"{level} See also", _see_also(markup, doc.get("seealso") or ())),
        ]
    return _page(*parts)


def modules_index(modules: Mapping[str, Described]) -> str:
    """Return the page that lists the modules."""
    return _page(
        MADE_FROM.format(source="the modules"),
        f"# Modules of {COLLECTION}",
        "\n".join(f"- [{name}]({name}.md): {each['doc']['short_description']}" for name, each in modules.items()),
    )


def _page(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"


def _section(title: str, content: str) -> Iterable[str]:
    return (title, content) if content else ()


def _bullets(texts: Iterable[str]) -> str:
    """Return a list whose entries may have several paragraphs."""
    entries = ["- " + textwrap.indent(text, "  ").lstrip() for text in texts]
    return ("\n\n" if any("\n" in entry for entry in entries) else "\n").join(entries)


def _yaml(text: str) -> str:
    return f"```yaml\n{text.strip()}\n```" if text.strip() else ""


def _options(markup: Markup, options: Mapping[str, Described], nested_in: str) -> str:
    """Return a list of options; those inside an option are found at its key *nested_in*."""
    # Required ones first, then in the order of the alphabet: doc fragments have no order among them.
    names = sorted(options, key=lambda each: (not options[each].get("required"), each))
    return _bullets(
        _entry(
            f"**{code(name)}** ({_facts(options[name])})",
            markup.paragraphs(options[name]["description"]),
            _choices(markup, options[name].get("choices") or ()),
            _options(markup, options[name].get(nested_in) or {}, nested_in),
        )
        for name in names
    )


def _entry(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part)


def _facts(option: Described) -> str:
    facts = [_type(option)]
    if option.get("required"):
        facts.append("required")
    if option.get("default") is not None:
        facts.append(f"default {code(_value(option['default']))}")
    if option.get("aliases"):
        facts.append("also named " + ", ".join(code(alias) for alias in option["aliases"]))
    if option.get("version_added"):
        facts.append(f"since {option['version_added']}")
    return ", ".join(facts)


def _type(described: Described) -> str:
    kind = str(described.get("type") or "str")
    return f"{kind} of {described['elements']}" if described.get("elements") else kind


def _value(value: object) -> str:
    return value if isinstance(value, str) and value else json.dumps(value)


def _choices(markup: Markup, choices: Any) -> str:
    if isinstance(choices, Mapping):
        return _bullets(f"{code(choice)}: {markup.paragraphs(meaning)}" for choice, meaning in choices.items())
    return f"One of {', '.join(code(_value(choice)) for choice in choices)}." if choices else ""


def _attributes(markup: Markup, attributes: Mapping[str, Described]) -> str:
    return _bullets(
        _entry(
            f"**{code(name)}**: {attribute['support']}",
            markup.paragraphs(attribute.get("description") or ()),
            markup.paragraphs(attribute.get("details") or ()),
        )
        for name, attribute in sorted(attributes.items())
    )


def _return_values(markup: Markup, values: Mapping[str, Described]) -> str:
    return _bullets(
        _entry(
            f"**{code(name)}** ({_type(value)})" + _returned(value),
            markup.paragraphs(value["description"]),
            _sample(value),
            _return_values(markup, value.get("contains") or {}),
        )
        for name, value in values.items()
    )


def _returned(value: Described) -> str:
    return f", returned: {value['returned']}" if value.get("returned") else ""


def _sample(value: Described) -> str:
    sample = value.get("sample")
    if sample is None:
        return ""
    if isinstance(sample, (dict, list)):
        return f"Example:\n\n```json\n{json.dumps(sample, indent=2)}\n```"
    return f"Example: {code(_value(sample))}"


def _see_also(markup: Markup, entries: Iterable[Described]) -> str:
    def one(entry: Described) -> str:
        if "module" in entry:
            target = markup.module(entry["module"])
        elif "plugin" in entry:
            target = code(entry["plugin"])
        else:
            target = f"[{entry['name']}]({entry['link']})"
        description = entry.get("description")
        return f"{target}: {markup.paragraphs(description)}" if description else target

    return _bullets(one(entry) for entry in entries)
