# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible's documentation markup as Markdown that is also readable as it stands."""

from __future__ import annotations

import re
from collections.abc import Sequence

from antsibull_docs_parser import dom
from antsibull_docs_parser.format import LinkProvider
from antsibull_docs_parser.md import MDFormatter, to_md
from antsibull_docs_parser.parser import Context, parse

COLLECTION = "lifeboat.postgresql"
_NEEDS_ESCAPE = re.compile(r"([\\`*_<>\[\]])")


def code(text: object) -> str:
    """Return *text* as code, whatever backticks it contains."""
    plain = str(text)
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", plain)), default=0))
    padding = " " if plain.startswith("`") or plain.endswith("`") else ""
    return f"{fence}{padding}{plain}{padding}{fence}"


class _ReadableFormatter(MDFormatter):
    """Escapes only what Markdown would take for markup inside a sentence, and uses no HTML."""

    def format_text(self, part: dom.TextPart) -> str:
        return _NEEDS_ESCAPE.sub(r"\\\1", part.text)

    def format_error(self, part: dom.ErrorPart) -> str:
        raise ValueError(part.message)

    def format_bold(self, part: dom.BoldPart) -> str:
        return f"**{part.text}**"

    def format_italic(self, part: dom.ItalicPart) -> str:
        return f"*{part.text}*"

    def format_code(self, part: dom.CodePart) -> str:
        return code(part.text)

    def format_env_variable(self, part: dom.EnvVariablePart) -> str:
        return code(part.name)

    def format_option_value(self, part: dom.OptionValuePart) -> str:
        return code(part.value)

    def format_link(self, part: dom.LinkPart) -> str:
        return f"[{part.text}]({part.url})"

    def format_url(self, part: dom.URLPart) -> str:
        return f"<{part.url}>"

    def format_module(self, part: dom.ModulePart, url: str | None) -> str:
        return _linked(part.fqcn, url)

    def format_plugin(self, part: dom.PluginPart, url: str | None) -> str:
        return _linked(part.plugin.fqcn, url)

    @staticmethod
    def _format_option_like(part: dom.OptionNamePart | dom.ReturnValuePart, url: str | None) -> str:
        return code(part.name if part.value is None else f"{part.name}={part.value}")


def _linked(name: str, url: str | None) -> str:
    return f"[{code(name)}]({url})" if url else code(name)


class _OwnPages(LinkProvider):
    """Links to this collection's modules and roles; every page lies two folders deep."""

    def plugin_link(self, plugin: dom.PluginIdentifier) -> str | None:
        collection, name = plugin.fqcn.rsplit(".", 1)
        if collection != COLLECTION:
            return None
        return f"../../roles/{name}/README.md" if plugin.type == "role" else f"../../docs/modules/{name}.md"


class Markup:
    """Renders the texts of one module, or of one entry point of a role."""

    def __init__(self, fqcn: str, entry_point: str | None = None) -> None:
        self._plugin = dom.PluginIdentifier(fqcn, "role" if entry_point else "module")
        self._context = Context(current_plugin=self._plugin, role_entrypoint=entry_point)
        self._links = _OwnPages()

    def paragraphs(self, texts: str | Sequence[str]) -> str:
        """Return the paragraphs of a description; a mistake in the markup raises ValueError."""
        parsed = parse([texts] if isinstance(texts, str) else texts, self._context)
        return to_md(parsed, _ReadableFormatter(), self._links, current_plugin=self._plugin).strip()

    def module(self, fqcn: str) -> str:
        """Return a module's name, linked if it is this collection's."""
        return _linked(fqcn, self._links.plugin_link(dom.PluginIdentifier(fqcn, "module")))
