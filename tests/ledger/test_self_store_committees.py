"""From one committee to the next: who handed over votes no more, and who takes over is bound by what was reported."""

from __future__ import annotations

import pytest

from swarmd.protocols.errors import NotYet, Refused, StateError
from swarmd.protocols.ids import EntryId
from swarmd.protocols.ledger.handover import LaneMark, Report
from swarmd.protocols.ledger.validator import NO_ENTRY, Inherited
from swarmd.protocols.ledger.votes import MaturityVote
from tests.ledger.statements import ANNA, BERT, by, claim_vote, close_vote, entry_vote, handover, self_store

NOTHING = Inherited({}, {}, ())


@pytest.fixture
def path(tmp_path):
    return tmp_path / "self.db"


async def test_who_handed_over_votes_no_more(path):
    async with self_store(path) as store:
        assert await store.handed_over() == -1
        assert await store.handover(0) is None
        await store.hand_over(0, handover(), b"report")
    async with self_store(path) as store:
        assert await store.handed_over() == 0
        assert await store.handover(0) == (handover(), b"report")
        for cast, vote in (
            (store.cast_entry, entry_vote(1)),
            (store.cast_claim, claim_vote(1, 1)),
            (store.cast_close, close_vote(1, 1)),
        ):
            with pytest.raises(StateError, match="votes no more in committee 0"):
                await cast(vote, b"")
        with pytest.raises(StateError, match="votes no more"):
            await store.cast_maturity(by(MaturityVote(0, ANNA.peer, 1)))


async def test_a_hand_over_is_given_once_and_only_the_same_again(path):
    async with self_store(path) as store:
        await store.hand_over(0, handover(), b"report")
        await store.hand_over(0, handover(), b"report")
        with pytest.raises(StateError, match="handed over already"):
            await store.hand_over(0, handover(2), b"report")


async def test_old_hand_overs_go(path):
    async with self_store(path) as store:
        for number in range(6):
            await store.inherit(number, NOTHING)
            await store.hand_over(number, handover(), b"report")
        assert await store.handover(1) is None
        assert await store.handover(2) is not None
        assert await store.handed_over() == 5
        with pytest.raises(StateError, match="handed over already"):
            await store.hand_over(1, handover(), b"report")


async def test_a_committee_is_voted_in_once_it_was_taken_over(path):
    async with self_store(path) as store:
        with pytest.raises(StateError, match="not taken over yet"):
            await store.cast_entry(entry_vote(1, committee=1), b"raw")
        assert not await store.inherited(1)
        await store.inherit(1, NOTHING)
        assert await store.inherited(1)
        assert await store.cast_entry(entry_vote(1, committee=1), b"raw") == entry_vote(1, committee=1)


async def test_only_the_reported_entry_is_voted_for(path):
    async with self_store(path) as store:
        await store.inherit(1, Inherited({(ANNA.peer, 4): EntryId(f"{7:064x}")}, {}, ()))
        assert await store.inherited_entry(ANNA.peer, 4) == EntryId(f"{7:064x}")
        assert await store.inherited_entry(ANNA.peer, 5) is None
        with pytest.raises(Refused, match="former committee"):
            await store.cast_entry(entry_vote(4, 8, committee=1), b"raw")
        assert await store.cast_entry(entry_vote(4, 7, committee=1), b"raw") == entry_vote(4, 7, committee=1)


async def test_who_did_not_take_over_has_nothing_to_hand_over(path):
    async with self_store(path) as store:
        with pytest.raises(StateError, match="not taken over yet"):
            await store.hand_over(1, handover(), b"report")


async def test_below_the_newest_reported_entry_nothing_is_voted_for(path):
    async with self_store(path) as store:
        assert await store.inherited_newest(ANNA.peer) == 0
        await store.inherit(1, Inherited({(ANNA.peer, 4): EntryId(f"{7:064x}")}, {}, ()))
        assert await store.inherited_newest(ANNA.peer) == 4
        with pytest.raises(NotYet, match="a later entry"):
            await store.cast_entry(entry_vote(3, committee=1), b"raw")
        assert await store.cast_entry(entry_vote(5, committee=1), b"raw") == entry_vote(5, committee=1)


async def test_a_closed_lane_keeps_no_release_that_nobody_looked_at(path):
    closed = LaneMark(ANNA.peer, 1, 3, b"v3", True, b"")
    async with self_store(path) as store:
        await store.inherit(1, Inherited({}, {(ANNA.peer, 1): closed}, ()))
        await store.cast_close(close_vote(1, 3, committee=1), b"unread")
        assert await store.lane_mark(ANNA.peer, 1) == closed


async def test_two_entries_of_one_number_bind_to_neither(path):
    async with self_store(path) as store:
        await store.cast_entry(entry_vote(1, 1), b"one")
        one, two = EntryId(f"{1:064x}"), EntryId(f"{2:064x}")
        await store.inherit(1, Inherited({(ANNA.peer, 1): two, (ANNA.peer, 2): one}, {}, ()))
        await store.inherit(2, Inherited({(ANNA.peer, 1): two, (ANNA.peer, 2): two}, {}, ()))
        assert await store.inherited_entry(ANNA.peer, 1) == two
        assert await store.inherited_entry(ANNA.peer, 2) == NO_ENTRY
        for seq, word in ((1, 1), (2, 1), (2, 2)):
            with pytest.raises(Refused, match="former committee"):
                await store.cast_entry(entry_vote(seq, word, committee=2), b"raw")


async def test_reported_lanes_join_our_own_marks(path):
    ours, theirs = LaneMark(ANNA.peer, 1, 5, b"v5", False, b""), LaneMark(ANNA.peer, 1, 8, b"v8", False, b"")
    closed = LaneMark(BERT.peer, 2, 3, b"v3", True, b"release")
    async with self_store(path) as store:
        await store.cast_claim(claim_vote(1, 5), b"v5")
        assert await store.lane_mark(ANNA.peer, 1) == ours
        await store.inherit(1, Inherited({}, {(ANNA.peer, 1): theirs, (BERT.peer, 2): closed}, ()))
        assert await store.lane_mark(ANNA.peer, 1) == theirs
        assert await store.lane_mark(BERT.peer, 2) == closed
        with pytest.raises(Refused, match="up to 8"):
            await store.cast_close(close_vote(1, 5, committee=1), b"")


async def test_the_report_has_what_may_not_be_certified_and_what_was_reported_to_us(path):
    async with self_store(path) as store:
        for seq in (1, 2, 3):
            await store.cast_entry(entry_vote(seq), b"entry %d" % seq)
        await store.cast_claim(claim_vote(1, 5), b"v5")
        mark = LaneMark(ANNA.peer, 1, 5, b"v5", False, b"")
        assert await store.report({ANNA.peer: 1}) == Report((b"entry 2", b"entry 3"), (mark,))
        await store.inherit(1, NOTHING, (b"entry 3", b"carried"))
        assert await store.report({ANNA.peer: 2}) == Report((b"entry 3", b"carried"), (mark,))
        await store.inherit(2, NOTHING)
        assert await store.report({ANNA.peer: 3}) == Report((), (mark,))
