"""Whatever is asked of a store, and whenever it is closed and opened again, it holds exactly what it acknowledged."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmd.protocols.errors import Refused, StateError
from swarmd.protocols.ids import EntryId
from swarmd.protocols.ledger.entry import FIRST_PREV
from swarmd.protocols.ledger.proofs import contradict
from swarmd.protocols.ledger.validator import Inherited
from tests.ledger.statements import ANNA, claim_vote, close_vote, entry, entry_vote, self_store

NOTHING = Inherited({}, {}, ())
SMALL = st.integers(1, 3)
COMMITTEES = st.sampled_from((0, 0, 0, 1, 2))
OFTEN = (
    st.tuples(st.just("entry"), SMALL, SMALL),
    st.tuples(st.just("vote"), SMALL, SMALL, COMMITTEES),
    st.tuples(st.just("claim"), SMALL, st.integers(1, 5), COMMITTEES),
    st.tuples(st.just("close"), SMALL, st.integers(0, 5), COMMITTEES),
)
SELDOM = (
    st.tuples(st.just("reopen")),
    st.tuples(st.just("forget"), SMALL),
    st.tuples(st.just("settle"), SMALL),
    st.tuples(st.just("take over"), COMMITTEES),
)
ACTS = st.one_of(*OFTEN, *OFTEN, *OFTEN, *SELDOM)


class Told:
    """What a store acknowledged, in the plainest form."""

    def __init__(self) -> None:
        self.entries: dict[int, EntryId] = {}
        self.votes = []
        self.claims: dict[int, int] = defaultdict(int)
        self.closed: dict[int, int] = {}
        self.below = 0
        self.settled: set[int] = set()

    def note(self, vote) -> None:
        """No vote that left contradicts another that left, ever."""
        assert not any(contradict(vote, other) for other in self.votes)
        self.votes.append(vote)


async def act(store, told, what, *how):
    """Do one thing, and note what the store says of it. A refusal must leave no trace."""
    with suppress(Refused, StateError):
        await ACTIONS[what](store, told, *how)


async def add_entry(store, told, seq, amount):
    made = entry(seq, amount, told.entries.get(seq - 1, FIRST_PREV if seq == 1 else EntryId("ee" * 32)))
    await store.add_entry(made, b"state", b"", "", 0.0)
    assert told.entries.setdefault(seq, made.id) == made.id


async def cast_entry(store, told, seq, word, committee):
    told.note(await store.cast_entry(entry_vote(seq, word, committee), b"%d" % word))


async def cast_claim(store, told, lane, total, committee):
    told.note(await store.cast_claim(claim_vote(lane, total, committee), b"%d" % total))
    told.claims[lane] = max(told.claims[lane], total)


async def cast_close(store, told, lane, highest, committee):
    stands = await store.cast_close(close_vote(lane, highest, committee), b"")
    told.note(stands)
    told.closed[lane] = stands.vote.highest


async def forget(store, told, seq):
    await store.forget(ANNA.peer, seq)
    told.below = max(told.below, seq)


async def settle(store, told, lane):
    await store.forget_lane(ANNA.peer, lane)
    told.settled.add(lane)


async def take_over(store, told, committee):
    await store.inherit(committee, NOTHING)


ACTIONS = {
    "entry": add_entry,
    "vote": cast_entry,
    "claim": cast_claim,
    "close": cast_close,
    "forget": forget,
    "settle": settle,
    "take over": take_over,
}


async def check(store, told):
    assert {own.seq: own.id for own in await store.entries(None, 99)} == told.entries
    newest = {vote.vote.seq: vote for vote in told.votes if type(vote.vote).__name__ == "EntryVote"}
    for seq, vote in newest.items():
        kept = await store.entry_vote(ANNA.peer, seq)
        assert kept == vote if seq >= told.below else kept in (None, vote)
    for lane in set(told.claims) | set(told.closed):
        mark = await store.lane_mark(ANNA.peer, lane)
        if mark is None:
            assert lane in told.settled
        else:
            assert (mark.highest, mark.closed) == (told.claims[lane], lane in told.closed)
            assert mark.voucher == (b"%d" % mark.highest if mark.highest else b"")


@pytest.mark.slow
@settings(max_examples=30, deadline=None, derandomize=True)
@given(acts=st.lists(ACTS, min_size=15, max_size=40))
async def test_a_store_holds_what_it_acknowledged(acts):
    told = Told()
    with tempfile.TemporaryDirectory() as folder:
        async with AsyncExitStack() as stack:
            store = await stack.enter_async_context(self_store(Path(folder) / "self.db"))
            for what, *how in acts:
                if what == "reopen":
                    await stack.aclose()
                    store = await stack.enter_async_context(self_store(Path(folder) / "self.db"))
                    await check(store, told)
                else:
                    await act(store, told, what, *how)
            await check(store, told)
