# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recipients as a desired state: added, left alone, removed, never all of them, and never by halves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import expect
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.clock import Clock
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.repository import (
    create as create_repository,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.repository.recipients import (
    RecipientsResult,
    WantedRecipient,
    check,
    ensure,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository import key_documents, layout
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.key_files import (
    generate_key_file,
    read_key_file,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.keys import KeyHolder
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.passphrases import Passphrase
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.repository import (
    Repository,
    open_repository,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.specs import KeySpec, RepositorySpec
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.store.local import LocalStore
from fakes import MemoryStore
from made import KEY

WORDS = "correct horse battery staple"
GONE = {"label": "recovery", "present": False}


@pytest.fixture
def recovery(tmp_path: Path) -> Path:
    """Where a second key is, or will be."""
    return tmp_path / "recovery.key"


def run(
    repository: Repository, *wanted: dict[str, Any], opener: KeyHolder = KEY, check_mode: bool = False
) -> RecipientsResult:
    opened = open_repository(repository.store, opener)
    return ensure(opened, opener, [WantedRecipient(**each) for each in wanted], create_keys=True, check_mode=check_mode)


def labels(result: RecipientsResult) -> tuple[list[str], list[str]]:
    return [each.label for each in result.before], [each.label for each in result.after]


def test_a_recovery_key_is_made_once_and_then_leaves(
    repository: Repository, store: MemoryStore, recovery: Path
) -> None:
    wanted = {"label": "recovery", "key": KeySpec(key_file=recovery)}
    untouched = dict(store.objects)
    predicted = run(repository, wanted, check_mode=True)
    assert (store.objects, recovery.exists()) == (untouched, False)

    made = run(repository, wanted)
    assert predicted.changed and made.changed
    assert labels(predicted) == labels(made) == (["primary"], ["primary", "recovery"])
    assert made.made_key_files == [str(recovery)]
    key = read_key_file(recovery)
    assert [each.key_id for each in made.after] == [KEY.key_id, key.key_id]
    assert open_repository(store, key).keys == repository.keys

    written = dict(store.objects)
    assert not run(repository, wanted).changed
    recovery.unlink()
    for again in (run(repository, wanted), run(repository, {"label": "recovery"})):
        assert (again.changed, again.after, again.made_key_files) == (False, made.after, [])
    assert (store.objects, recovery.exists()) == (written, False)
    assert list(store.list(layout.KEYS_FOLDER))[0].name == layout.epoch_keys(1, 2)


def test_a_passphrase_is_added_and_recognised(repository: Repository, store: MemoryStore) -> None:
    wanted = {"label": "director", "key": KeySpec(passphrase=WORDS)}
    made = run(repository, wanted)
    assert made.changed and made.after[-1].provider == "passphrase"
    assert not run(repository, wanted).changed
    assert open_repository(store, Passphrase(WORDS)).keys == repository.keys


def test_who_was_added_can_remove_who_was_first_but_not_itself(
    repository: Repository, store: MemoryStore, recovery: Path
) -> None:
    with expect.failure("recipient_in_use"):
        run(repository, {"label": "primary", "present": False})
    run(repository, {"label": "recovery", "key": KeySpec(key_file=recovery)})
    key = read_key_file(recovery)
    with expect.failure("recipient_in_use"):
        run(repository, GONE, opener=key)
    assert run(repository, {"label": "primary", "present": False}, opener=key, check_mode=True).changed
    removed = run(repository, {"label": "primary", "present": False}, opener=key)
    assert removed.changed and labels(removed)[1] == ["recovery"]
    with expect.failure("key_wrong"):
        open_repository(store, KEY)
    assert not any(KEY.key_id.encode() in content for content in store.objects.values())


def test_who_is_not_there_need_not_be_removed(repository: Repository, store: MemoryStore) -> None:
    untouched = dict(store.objects)
    assert not run(repository, GONE).changed
    assert store.objects == untouched


def test_access_to_metadata_cannot_be_used_to_change_recipients(repository: Repository, recovery: Path) -> None:
    key = generate_key_file(recovery)
    made = run(repository, {"label": "monitoring", "key": KeySpec(key_file=recovery), "access": "metadata"})
    assert made.after[-1].access == "metadata"
    with expect.failure("key_lacks_data"):
        run(repository, {"label": "mine", "key": KeySpec(passphrase=WORDS)}, opener=key)
    with expect.failure("key_lacks_data"):
        run(repository, {"label": "primary", "present": False}, opener=key)


# --- mistakes


def test_a_label_or_a_key_that_stands_for_somebody_else_is_refused(
    repository: Repository, store: MemoryStore, recovery: Path, tmp_path: Path
) -> None:
    wanted = {"label": "recovery", "key": KeySpec(key_file=recovery)}
    run(repository, wanted)
    generate_key_file(tmp_path / "another")
    untouched = dict(store.objects)
    for code, mistake in {
        "recipient_differs": {"label": "recovery", "key": KeySpec(key_file=tmp_path / "another")},
        "recipient_not_distinct": {"label": "copy", "key": KeySpec(key_file=recovery)},
        "setting_missing": {"label": "new"},
        "key_ambiguous": {"label": "new", "key": KeySpec(key_file=recovery, passphrase=WORDS)},
        "passphrase_too_short": {"label": "new", "key": KeySpec(passphrase="short")},
    }.items():
        with expect.failure(code):
            run(repository, mistake)
    with expect.failure("recipient_differs"):
        run(repository, {**wanted, "access": "metadata"})
    assert store.objects == untouched


def test_a_key_file_is_made_only_when_that_is_allowed(repository: Repository, recovery: Path) -> None:
    wanted = [WantedRecipient("recovery", KeySpec(key_file=recovery))]
    for check_mode in (True, False):
        with expect.failure("key_file_missing"):
            ensure(repository, KEY, wanted, create_keys=False, check_mode=check_mode)
    assert not recovery.exists()


@pytest.mark.parametrize(
    ("code", "wanted"),
    [
        ("recipient_named_twice", [WantedRecipient("a"), WantedRecipient("a", present=False)]),
        (
            "recipient_named_twice",
            [WantedRecipient("a", KeySpec(passphrase=WORDS)), WantedRecipient("b", KeySpec(passphrase=WORDS))],
        ),
        ("name_invalid", [WantedRecipient("a\nb")]),
        ("name_invalid", [WantedRecipient("")]),
    ],
)
def test_what_is_named_twice_or_cannot_be_is_refused(code: str, wanted: list[WantedRecipient]) -> None:
    with expect.failure(code) as failure:
        check(wanted)
    assert WORDS not in failure.value.message


# --- others, and the end of the world, at the same time


def test_of_two_changes_at_once_none_is_lost(
    repository: Repository, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, others = store.put, iter([{"label": "theirs", "key": KeySpec(passphrase="their own passphrase")}])

    def put_after_somebody_else(name: str, data: bytes, *, if_absent: bool = False) -> bool:
        for other in others:
            run(repository, other)
        return put(name, data, if_absent=if_absent)

    monkeypatch.setattr(store, "put", put_after_somebody_else)
    made = run(repository, {"label": "mine", "key": KeySpec(passphrase=WORDS)})
    assert labels(made) == (["primary", "theirs"], ["primary", "theirs", "mine"])
    for holder in (KEY, Passphrase(WORDS), Passphrase("their own passphrase")):
        assert open_repository(store, holder).keys == repository.keys


def test_when_others_never_stop_it_gives_up(
    repository: Repository, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "put", lambda _name, _data, *, if_absent=False: False)
    with expect.failure("recipients_busy"):
        run(repository, {"label": "mine", "key": KeySpec(passphrase=WORDS)})


@pytest.mark.parametrize("dying_at", ["put", "delete"])
def test_a_change_that_dies_is_finished_by_the_next(
    repository: Repository, store: MemoryStore, recovery: Path, monkeypatch: pytest.MonkeyPatch, dying_at: str
) -> None:
    wanted = {"label": "recovery", "key": KeySpec(key_file=recovery)}

    class Died(Exception):
        pass

    def die(*_arguments: Any, **_options: Any) -> Any:
        raise Died

    with monkeypatch.context() as patch:
        patch.setattr(store, dying_at, die)
        with pytest.raises(Died):
            run(repository, wanted)
    assert open_repository(store, KEY).keys == repository.keys
    key = read_key_file(recovery)
    finished = run(repository, wanted)
    assert (finished.changed, finished.made_key_files) == (True, [])
    assert open_repository(store, key).keys == repository.keys
    assert key_documents.outdated(store) == []
    assert not run(repository, wanted).changed


# --- with a new repository


def test_a_repository_is_made_with_its_recipients(tmp_path: Path, recovery: Path, clock: Clock) -> None:
    spec = RepositorySpec(str(tmp_path / "repository"), KeySpec(key_file=tmp_path / "key"))
    wanted = [
        WantedRecipient("recovery", KeySpec(key_file=recovery)),
        WantedRecipient("director", KeySpec(passphrase=WORDS)),
        WantedRecipient("nobody", present=False),
    ]
    results = [
        create_repository.run(spec, clock, create_key=True, wanted=wanted, check_mode=check_mode)
        for check_mode in (True, False, False, True)
    ]
    assert [result.changed for result in results] == [True, True, False, False]
    assert labels(results[0].recipients) == labels(results[1].recipients)
    assert labels(results[1].recipients) == ([], ["primary", "recovery", "director"])
    assert results[1].key_id == read_key_file(tmp_path / "key").key_id
    with_passphrase = RepositorySpec(spec.url, KeySpec(passphrase=WORDS))
    opened = create_repository.run(with_passphrase, clock, create_key=False)
    assert (opened.changed, opened.repository_id) == (False, results[1].repository_id)


@pytest.mark.parametrize(
    ("code", "key"),
    [("passphrase_too_short", KeySpec(passphrase="short")), ("setting_missing", KeySpec())],
)
def test_a_repository_is_not_made_for_recipients_that_cannot_be(
    tmp_path: Path, clock: Clock, code: str, key: KeySpec
) -> None:
    spec = RepositorySpec(str(tmp_path / "repository"), KeySpec(key_file=tmp_path / "key"))
    for check_mode in (True, False):
        with expect.failure(code):
            create_repository.run(
                spec, clock, create_key=True, wanted=[WantedRecipient("x", key)], check_mode=check_mode
            )
    assert list(tmp_path.iterdir()) == []


def test_a_passphrase_alone_can_hold_a_repository(tmp_path: Path, clock: Clock) -> None:
    spec = RepositorySpec(str(tmp_path / "repository"), KeySpec(passphrase=WORDS))
    made = create_repository.run(spec, clock, create_key=False)
    assert (made.changed, made.key_created, made.recipients.after[0].provider) == (True, False, "passphrase")
    assert open_repository(LocalStore(Path(spec.url)), Passphrase(WORDS)).repository_id == made.repository_id
