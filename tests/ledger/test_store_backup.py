"""A copy of self.db, put back, signs nothing until peers have said what was signed since."""

from __future__ import annotations

import stat
from contextlib import closing

import pytest
import trio

from swarmd.ledger.backup import account_copy, copy_account, restore_account
from swarmd.ledger.schemas import LEDGER_SCHEMA
from swarmd.protocols.errors import NotFound, StateError
from swarmd.protocols.ledger.validator import Inherited
from swarmd.sqlitefile import open_database
from tests.ledger.statements import ANNA, claim_vote, close_vote, entry, entry_vote, handover, self_store

NOTHING = Inherited({}, {}, ())


@pytest.fixture
def path(tmp_path):
    return tmp_path / "self.db"


async def copied(path):
    """A store with an entry and a vote, copied while it runs; then it writes on."""
    async with self_store(path) as store:
        await store.add_entry(entry(1), b"state", b"", "", 0.0)
        await store.cast_entry(entry_vote(1), b"raw")
        copy = await trio.to_thread.run_sync(account_copy, path)
        assert not store.restored
        await store.add_entry(entry(2), b"state", b"", "", 0.0)
        await store.cast_entry(entry_vote(2), b"raw")
    return copy


async def test_a_copy_holds_what_was_there_and_says_that_it_is_one(path, tmp_path):
    copy = await copied(path)
    restore_account(copy, tmp_path / "new.db")
    async with self_store(tmp_path / "new.db") as store:
        assert store.restored
        assert (await store.newest()).id == entry(1).id
        assert await store.entry_vote(ANNA.peer, 1) == entry_vote(1)
    async with self_store(path) as store:
        assert not store.restored


async def test_with_a_restored_copy_nothing_is_signed(path, tmp_path):
    restore_account(await copied(path), tmp_path / "new.db")
    async with self_store(tmp_path / "new.db") as store:
        for cast, vote in (
            (store.cast_entry, entry_vote(5)),
            (store.cast_claim, claim_vote(1, 1)),
            (store.cast_close, close_vote(1, 1)),
        ):
            with pytest.raises(StateError, match="restored from a backup"):
                await cast(vote, b"")
        with pytest.raises(StateError, match="restored from a backup"):
            await store.add_entry(entry(2, 5), b"state", b"", "", 0.0)
        with pytest.raises(StateError, match="restored from a backup"):
            await store.hand_over(0, handover(), b"report")


async def test_a_copy_that_is_moved_into_place_by_hand_is_known_as_one_too(path, tmp_path):
    (tmp_path / "byhand.db").write_bytes(await copied(path))
    async with self_store(tmp_path / "byhand.db") as store:
        assert store.restored


async def test_with_its_owners_word_that_nothing_was_signed_since_a_copy_signs_and_votes_at_once(path, tmp_path):
    restore_account(await copied(path), tmp_path / "new.db", newest=True)
    async with self_store(tmp_path / "new.db") as store:
        assert not store.restored
        await store.cast_entry(entry_vote(5), b"")
        await store.add_entry(entry(3), b"state", b"", "", 0.0)


async def test_once_peers_confirmed_the_newest_entry_it_signs_on_from_there(path, tmp_path):
    restore_account(await copied(path), tmp_path / "new.db")
    async with self_store(tmp_path / "new.db") as store:
        await store.adopt(entry(2), b"state", b"head", 0.0)
        await store.confirm_restored(0)
        assert not store.restored
        await store.add_entry(entry(3), b"state", b"", "", 0.0)
    async with self_store(tmp_path / "new.db") as store:
        assert not store.restored
        assert (await store.newest()).seq == 3


async def test_votes_that_were_lost_are_never_contradicted_the_next_committee_is_voted_in(path, tmp_path):
    restore_account(await copied(path), tmp_path / "new.db")
    async with self_store(tmp_path / "new.db") as store:
        await store.confirm_restored(1)
        await store.inherit(1, NOTHING)
        assert await store.handed_over() == 1
        for committee in (0, 1):
            with pytest.raises(StateError, match="votes no more"):
                await store.cast_entry(entry_vote(2, 9, committee), b"raw")
            with pytest.raises(StateError, match="lost votes"):
                await store.hand_over(committee, handover(), b"report")
        await store.inherit(2, NOTHING)
        assert await store.cast_entry(entry_vote(3, 1, committee=2), b"raw") == entry_vote(3, 1, committee=2)


async def test_confirming_what_was_not_restored_changes_nothing(path):
    async with self_store(path) as store:
        await store.confirm_restored(4)
        assert await store.handed_over() == -1


async def test_an_account_that_is_there_is_not_replaced(path):
    copy = await copied(path)
    before = path.read_bytes()
    with pytest.raises(StateError, match="is there already"):
        restore_account(copy, path)
    assert path.read_bytes() == before


async def test_a_log_that_was_left_alone_is_not_joined_to_a_copy(path, tmp_path):
    copy = await copied(path)
    (tmp_path / "new.db-wal").write_bytes(b"left")
    with pytest.raises(StateError, match="is there already"):
        restore_account(copy, tmp_path / "new.db")


async def test_a_copy_in_a_file_is_private_alone_and_never_in_the_place_of_another(path, tmp_path):
    await copied(path)
    (tmp_path / "kept").mkdir()
    target = tmp_path / "kept" / "copy.db"
    copy_account(path, target)
    assert [left.name for left in target.parent.iterdir()] == ["copy.db"]
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    with pytest.raises(StateError, match="is there already"):
        copy_account(path, target)


def test_what_is_not_there_cannot_be_copied(path):
    with pytest.raises(NotFound, match="there is no"):
        account_copy(path)


async def test_a_damaged_copy_or_another_database_is_refused_and_leaves_nothing(path, tmp_path):
    copy = await copied(path)
    open_database(tmp_path / "ledger.db", LEDGER_SCHEMA).close()
    for wrong, words in (
        (copy[: len(copy) // 2], "damaged"),
        (b"\x5a" * 9000, "damaged"),
        ((tmp_path / "ledger.db").read_bytes(), "another program's"),
    ):
        with pytest.raises(StateError, match=words):
            restore_account(wrong, tmp_path / "new.db")
    assert not list(tmp_path.glob("new*")) + list(tmp_path.glob(".new*"))


async def test_a_copy_into_a_folder_that_is_not_there_is_said(path, tmp_path):
    await copied(path)
    with pytest.raises(StateError, match="cannot write"):
        copy_account(path, tmp_path / "none" / "copy.db")


async def test_a_copy_is_one_file_without_a_log(path, tmp_path):
    restore_account(await copied(path), tmp_path / "new.db")
    assert not list(tmp_path.glob("new.db-*"))
    with closing(open_database(tmp_path / "ledger.db", LEDGER_SCHEMA)) as db:
        db.execute("ATTACH ? AS copy", (str(tmp_path / "new.db"),))
        assert db.execute("PRAGMA copy.journal_mode").fetchone() == ("delete",)
