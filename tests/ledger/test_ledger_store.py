"""What is certified comes back after a restart; what arrives late or twice changes nothing."""

from __future__ import annotations

import pytest

from swarmd.ledger import ledgerdb
from swarmd.ledger.ledgerdb import StoredLedger, serve_ledger_store
from swarmd.protocols.ids import PeerId
from swarmd.protocols.ledger.handover import Succession
from tests.ledger.statements import ANNA, BERT, handover, served

FIRST, SECOND = Succession(b"one", (handover(),)), Succession(b"two", (handover(2),))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.db"


def ledger_store(path):
    return served(serve_ledger_store, path)


async def test_a_fresh_store_is_empty(path):
    async with ledger_store(path) as store:
        assert await store.load() == StoredLedger((), (), (), {})


async def test_everything_comes_back(path):
    async with ledger_store(path) as store:
        await store.save_heads(((BERT.peer, 1, b"bert"), (ANNA.peer, 1, b"anna")))
        await store.save_proof(ANNA.peer, b"proof")
        await store.save_succession(2, SECOND)
        await store.save_succession(1, FIRST)
        await store.first_seen(ANNA.peer, 3, 50.0)
    async with ledger_store(path) as store:
        stored = await store.load()
        assert set(stored.heads) == {b"anna", b"bert"}
        assert stored.proofs == ((ANNA.peer, b"proof"),)
        assert stored.successions == (FIRST, SECOND)
        assert stored.first_seen == {(ANNA.peer, 3): 50.0}


async def test_only_a_newer_head_takes_the_place_of_another(path):
    async with ledger_store(path) as store:
        for seq, raw in ((2, b"two"), (1, b"one"), (2, b"another two"), (3, b"three")):
            await store.save_heads(((ANNA.peer, seq, raw),))
        assert (await store.load()).heads == (b"three",)


async def test_the_first_proof_and_succession_stay(path):
    async with ledger_store(path) as store:
        await store.save_proof(ANNA.peer, b"one")
        await store.save_proof(ANNA.peer, b"two")
        await store.save_succession(1, FIRST)
        await store.save_succession(1, SECOND)
        stored = await store.load()
        assert (stored.proofs, stored.successions) == (((ANNA.peer, b"one"),), (FIRST,))


async def test_many_heads_are_read_in_chunks(path, monkeypatch):
    monkeypatch.setattr(ledgerdb, "CHUNK", 3)
    heads = tuple((PeerId(f"peer {n}"), 1, b"%d" % n) for n in range(8))
    async with ledger_store(path) as store:
        await store.save_heads(heads)
        assert (await store.load()).heads == tuple(raw for _, _, raw in heads)
        assert await store.heads(after="peer 5", limit=1) == ((PeerId("peer 6"), b"6"),)


async def test_the_first_time_an_unstaking_was_seen_is_kept_until_it_is_forgotten(path):
    async with ledger_store(path) as store:
        assert await store.first_seen(ANNA.peer, 3, 50.0) == 50.0
        assert await store.first_seen(ANNA.peer, 3, 70.0) == 50.0
        await store.forget_seen(ANNA.peer, 3)
        assert await store.first_seen(ANNA.peer, 3, 90.0) == 90.0
