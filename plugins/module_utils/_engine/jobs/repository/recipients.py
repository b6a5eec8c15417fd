# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ensure who can open a repository: recipients that shall be there, and others that shall not.

The same data keys are wrapped for a new recipient; nothing that is stored is sealed again. So
removing one keeps out nobody who has opened the repository before: that takes new keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ...errors import PreconditionError, StorageError
from ...repository import key_documents, layout
from ...repository.key_documents import OpenEpoch
from ...repository.key_files import generate_key_file
from ...repository.key_providers import holder_of
from ...repository.keys import KeyHolder
from ...repository.recipients import FULL_ACCESS, Recipient, matching, wrap
from ...repository.repository import FIRST_RECIPIENT, Repository, open_repository
from ...specs import KeySpec

# How often others may change the recipients while we do.
_ATTEMPTS = 5


@dataclass(frozen=True)
class WantedRecipient:
    """What the user wants of one label. The key is needed only where the recipient is new."""

    label: str
    key: KeySpec = KeySpec()
    access: str = FULL_ACCESS
    present: bool = True


@dataclass(frozen=True)
class Described:
    """A recipient as users see it. The fingerprint of one that is yet to be made is not known."""

    label: str
    provider: str
    access: str
    key_id: str = ""


@dataclass(frozen=True)
class RecipientsResult:
    """Who could and who can open the repository, or (in check mode) would."""

    before: list[Described]
    after: list[Described]
    changed: bool
    made_key_files: list[str] = field(default_factory=list)


def described(recipient: Recipient) -> Described:
    """Without the wrapped keys."""
    return Described(recipient.label, recipient.provider, recipient.access, recipient.key_id)


def foreseen(wanted: WantedRecipient) -> Described:
    """A recipient that is yet to be added."""
    key = wanted.key
    provider = "file" if key.key_file else "command" if key.key_command else "passphrase"
    return Described(wanted.label, provider, wanted.access)


def check(wanted: Sequence[WantedRecipient]) -> None:
    """Refuse labels that cannot be, and what is named twice."""
    labels = [layout.checked_name("recipient", each.label) for each in wanted]
    twice = [label for label in labels if labels.count(label) > 1]
    keys = [each.key for each in wanted if each.key != KeySpec()]
    twice += [each.label for each in wanted if keys.count(each.key) > 1]
    if twice:
        raise PreconditionError(
            "reading the recipients",
            f"{twice[0]} is there twice: its label or its key.",
            "Name every recipient once, each with a key of its own.",
            code="recipient_named_twice",
        )


def of_new_repository(key: KeySpec, wanted: Sequence[WantedRecipient]) -> RecipientsResult:
    """The recipients that a repository would be made with."""
    first = WantedRecipient(FIRST_RECIPIENT, key)
    return RecipientsResult([], [foreseen(each) for each in (first, *wanted) if each.present], True)


def require_obtainable(wanted: Sequence[WantedRecipient], create_keys: bool) -> None:
    """Before a repository is made: whether every recipient's key is there, or may be made."""
    for each in wanted:
        if each.present and each.label != FIRST_RECIPIENT:
            holder = _holder(each, True, create_keys)
            if holder is not None:
                holder.enrol()


def ensure(
    repository: Repository,
    opener: KeyHolder,
    wanted: Sequence[WantedRecipient],
    *,
    create_keys: bool,
    check_mode: bool,
) -> RecipientsResult:
    """Add and remove recipients. What others change at the same time is kept."""
    made: list[str] = []
    for _attempt in range(_ATTEMPTS):
        change = _Change(repository, wanted, create_keys)
        if check_mode or not change.needed:
            return change.result(change.foreseen())
        after = change.carry_out(made)
        if after is not None:
            return change.result(after, made)
        repository = open_repository(repository.store, opener)
    raise StorageError(
        f"changing the recipients of {repository.store.url}",
        "others keep changing them at the same time.",
        "Run it again when they have finished.",
        code="recipients_busy",
    )


def _holder(wanted: WantedRecipient, new: bool, create_keys: bool) -> KeyHolder | None:
    """Who a recipient is. None when it is there already and its key elsewhere, or its key is yet to be made."""
    if not new and wanted.key == KeySpec():
        return None
    attempted = f"ensuring the recipient {wanted.label}"
    wanted.key.require_one(attempted)
    path = wanted.key.key_file
    if path is None or path.exists():
        return holder_of(wanted.key)
    if new and not create_keys:
        raise PreconditionError(
            attempted,
            f"its key file {path} does not exist.",
            "Put its key there, or allow a new one with create_key.",
            code="key_file_missing",
        )
    return None


class _Change:
    """What has to change in the repository as it is now. Making it checks everything that can be checked."""

    def __init__(self, repository: Repository, wanted: Sequence[WantedRecipient], create_keys: bool) -> None:
        self._repository = repository
        self._before = repository.epochs[-1].document.recipients
        self._removed = {each.label for each in wanted if not each.present}
        present = [each for each in wanted if each.present]
        self._new = [each for each in present if not all(each.label in labels for labels in self._labels())]
        for label in self._removed:
            self._require_removable(label)
        self._holders: dict[str, KeyHolder] = {}
        for each in present:
            holder = _holder(each, each in self._new, create_keys)
            if holder is not None:
                self._require_distinct(each, holder)
                self._holders[each.label] = holder
            self._require_same(each, holder)
        leaving = any(self._removed & labels for labels in self._labels())
        # What an interrupted change has left counts too.
        self.needed = bool(self._new or leaving or key_documents.outdated(repository.store))
        if self.needed:
            for epoch in repository.epochs:
                epoch.keys.require_data("the recipients")

    def _labels(self) -> list[set[str]]:
        """The recipients of each epoch. After an interruption one may be missing in some."""
        return [{each.label for each in epoch.document.recipients} for epoch in self._repository.epochs]

    def _require_removable(self, label: str) -> None:
        """Never the one in use: so the last one stays, and the key of today works tomorrow."""
        used = self._repository.recipient
        if label == used.label:
            raise PreconditionError(
                f"removing the recipient {label} of {self._repository.store.url}",
                f"the repository was opened with this very recipient's key ({used.key_id}).",
                "Open it with another recipient's key. The last one that can open it is never removed.",
                code="recipient_in_use",
            )

    def _require_distinct(self, wanted: WantedRecipient, holder: KeyHolder) -> None:
        """Refuse a key that another recipient has already."""
        others = [each for each in self._before if each.label not in {wanted.label, *self._removed}]
        same = matching(others, holder)
        if same is not None:
            raise PreconditionError(
                f"ensuring the recipient {wanted.label} of {self._repository.store.url}",
                f"its key is that of the recipient {same[0].label}; who loses one would lose both.",
                "Give every recipient a key of its own.",
                code="recipient_not_distinct",
            )

    def _require_same(self, wanted: WantedRecipient, holder: KeyHolder | None) -> None:
        """Refuse a label that stands for something else already."""
        present = next((each for each in self._before if each.label == wanted.label), None)
        if present is None:
            return
        other_key = holder is not None and matching([present], holder) is None
        if other_key or present.access != wanted.access:
            raise PreconditionError(
                f"ensuring the recipient {wanted.label} of {self._repository.store.url}",
                f"there is one of this label, with {'another key' if other_key else f'{present.access} access'}"
                f" ({present.key_id}).",
                "Remove that one first (state: absent), or choose another label.",
                code="recipient_differs",
            )

    def foreseen(self) -> list[Described]:
        """The recipients as they would be."""
        after = [described(each) for each in self._before if each.label not in self._removed]
        known = {each.label for each in after}
        return after + [foreseen(each) for each in self._new if each.label not in known]

    def carry_out(self, made: list[str]) -> list[Described] | None:
        """Write what changes; None when somebody else was faster. New key files are noted in `made`."""
        store = self._repository.store
        for each in self._new:
            if each.label not in self._holders and each.key.key_file is not None:
                # Before the document: what is wrapped for a key that nobody has is lost.
                self._holders[each.label] = generate_key_file(each.key.key_file)
                made.append(str(each.key.key_file))
        after: list[Recipient] = []
        for epoch in self._repository.epochs:
            after = self._after(epoch)
            if not self._replace(epoch, after):
                return None
        for name in key_documents.outdated(store):
            store.delete(name)
        return [described(each) for each in after]

    def _after(self, epoch: OpenEpoch) -> list[Recipient]:
        kept = [each for each in epoch.document.recipients if each.label not in self._removed]
        known = {each.label for each in kept}
        repository_id = self._repository.repository_id
        return kept + [
            wrap(epoch.keys, self._holders[each.label], repository_id, label=each.label, access=each.access)
            for each in self._new
            if each.label not in known
        ]

    def _replace(self, epoch: OpenEpoch, recipients: list[Recipient]) -> bool:
        document, repository = epoch.document, self._repository
        return recipients == list(document.recipients) or key_documents.create(
            repository.store,
            epoch.keys,
            repository.repository_id,
            document.revision + 1,
            document.created,
            recipients,
        )

    def result(self, after: list[Described], made: Sequence[str] = ()) -> RecipientsResult:
        """Before and after."""
        return RecipientsResult([described(each) for each in self._before], after, self.needed, list(made))
