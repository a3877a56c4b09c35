"""A node signs at most one entry of each number, and finds what it signed."""

from __future__ import annotations

import pytest

from swarmd.protocols.errors import NotFound, StateError, UsageError
from swarmd.protocols.ids import EntryId
from tests.ledger.statements import entry, self_store


@pytest.fixture
def path(tmp_path):
    return tmp_path / "self.db"


async def add(store, *entries, now=100.0):
    for each in entries:
        await store.add_entry(each, b"state", b"evidence", "for rent", now)


async def test_an_entry_comes_back_as_it_was_added(path):
    async with self_store(path) as store:
        await add(store, entry(1))
    async with self_store(path) as store:
        own = await store.entry(1)
        assert own == await store.newest()
        assert (own.id, own.raw, own.state, own.evidence) == (entry(1).id, entry(1).raw, b"state", b"evidence")
        assert (own.note, own.time, own.head) == ("for rent", 100.0, b"")


async def test_a_fresh_store_has_no_entry(path):
    async with self_store(path) as store:
        assert await store.newest() is None
        assert await store.entry(1) is None
        assert await store.entries(None, 10) == ()
        assert not store.restored


async def test_another_entry_of_the_same_number_is_refused_and_the_first_stays(path):
    async with self_store(path) as store:
        await add(store, entry(1))
        with pytest.raises(StateError, match="another entry 1 was signed already"):
            await add(store, entry(1, 2))
        assert (await store.newest()).id == entry(1).id


async def test_the_same_entry_again_changes_nothing(path):
    async with self_store(path) as store:
        await add(store, entry(1), now=100.0)
        await add(store, entry(1), now=200.0)
        assert (await store.newest()).time == 100.0


async def test_an_entry_that_does_not_follow_ours_is_refused(path):
    async with self_store(path) as store:
        await add(store, entry(1))
        with pytest.raises(StateError, match="does not follow"):
            await add(store, entry(2, 1, EntryId("ee" * 32)))


async def test_a_number_that_was_pruned_is_not_signed_again(path):
    async with self_store(path) as store:
        await add(store, *(entry(seq) for seq in range(1, 6)))
        await store.prune(1000.0)
        with pytest.raises(StateError, match="another entry 2"):
            await add(store, entry(2, 7))


async def test_pruning_keeps_what_is_young_and_always_the_newest_two(path):
    async with self_store(path) as store:
        for seq in range(1, 6):
            await add(store, entry(seq), now=float(seq))
        await store.prune(3.0)
        assert [own.seq for own in await store.entries(None, 10)] == [5, 4, 3]
        await store.prune(1000.0)
        assert [own.seq for own in await store.entries(None, 10)] == [5, 4]


async def test_certifying_keeps_the_wire_form(path):
    async with self_store(path) as store:
        await add(store, entry(1))
        await store.certified(1, b"head")
        assert (await store.newest()).head == b"head"
        with pytest.raises(NotFound, match="no entry 2"):
            await store.certified(2, b"head")


async def test_entries_are_listed_newest_first_in_pages(path):
    async with self_store(path) as store:
        await add(store, *(entry(seq) for seq in range(1, 6)))
        assert [own.seq for own in await store.entries(None, 2)] == [5, 4]
        assert [own.seq for own in await store.entries(4, 2)] == [3, 2]
        assert await store.entries(1, 2) == ()
        assert await store.entries(None, 0) == ()


async def test_an_entry_is_found_by_number_or_by_the_start_of_its_id(path):
    async with self_store(path) as store:
        await add(store, entry(1), entry(2))
        assert (await store.find("2")).seq == 2
        assert (await store.find(entry(1).id[:6].upper())).seq == 1
        assert (await store.find(entry(1).id)).seq == 1


@pytest.mark.parametrize(
    ("prefix", "error", "words"),
    [
        ("7", NotFound, "no entry 7"),
        ("ab", UsageError, "too short"),
        ("zzzz", NotFound, "no entry zzzz"),
        ("", UsageError, "too short"),
        ("9" * 30, NotFound, "no entry 9999"),
        ("%%%%", NotFound, "no entry"),
        ("² ", UsageError, "too short"),
    ],
)
async def test_what_names_no_entry_is_said(path, prefix, error, words):
    async with self_store(path) as store:
        await add(store, entry(1))
        with pytest.raises(error, match=words):
            await store.find(prefix)


async def test_a_certified_entry_that_only_peers_had_is_adopted_and_the_chain_goes_on_from_it(path):
    async with self_store(path) as store:
        await add(store, entry(1))
        await store.adopt(entry(4), b"state", b"head", 50.0)
        assert (await store.newest()).head == b"head"
        await add(store, entry(5))
        with pytest.raises(StateError, match="another entry 3"):
            await add(store, entry(3))


async def test_our_pending_entry_is_adopted_as_certified_and_another_of_its_number_is_not(path):
    async with self_store(path) as store:
        await add(store, entry(1))
        with pytest.raises(StateError, match="another entry 1"):
            await store.adopt(entry(1, 2), b"state", b"head", 50.0)
        await store.adopt(entry(1), b"state", b"head", 50.0)
        own = await store.newest()
        assert (own.head, own.note, own.time) == (b"head", "for rent", 100.0)
