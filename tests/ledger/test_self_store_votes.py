"""A member's vote stands for ever: whatever it is asked later, it never contradicts itself."""

from __future__ import annotations

import pytest

from swarmd.protocols.errors import ProtocolViolation, Refused, StateError
from swarmd.protocols.ledger.account import AccountState, Lane
from swarmd.protocols.ledger.handover import LaneMark
from swarmd.protocols.ledger.validator import Inherited
from swarmd.protocols.ledger.votes import MaturityVote
from tests.ledger.statements import ANNA, BERT, RUN, by, claim_vote, close_vote, entry_vote, self_store

NOTHING = Inherited({}, {}, ())


@pytest.fixture
def path(tmp_path):
    return tmp_path / "self.db"


async def test_the_first_vote_for_a_number_stands(path):
    async with self_store(path) as store:
        assert await store.cast_entry(entry_vote(1, 1), b"one") == entry_vote(1, 1)
        assert await store.cast_entry(entry_vote(1, 2), b"two") == entry_vote(1, 1)
    async with self_store(path) as store:
        assert await store.cast_entry(entry_vote(1, 2), b"two") == entry_vote(1, 1)
        assert await store.entry_vote(ANNA.peer, 1) == entry_vote(1, 1)
        assert await store.voted_entry(ANNA.peer, 1) == b"one"
        assert await store.entry_vote(BERT.peer, 1) is None
        assert await store.voted_entry(BERT.peer, 1) is None


async def test_the_same_entry_is_voted_for_again_in_a_later_committee_and_no_other_is(path):
    async with self_store(path) as store:
        await store.cast_entry(entry_vote(1, 1), b"one")
        await store.inherit(1, NOTHING)
        assert await store.cast_entry(entry_vote(1, 2, committee=1), b"two") == entry_vote(1, 1)
        assert await store.cast_entry(entry_vote(1, 1, committee=1), b"one") == entry_vote(1, 1, committee=1)
        assert await store.cast_entry(entry_vote(1, 1), b"one") == entry_vote(1, 1, committee=1)


async def test_votes_for_long_certified_entries_go_and_are_never_given_again(path):
    async with self_store(path) as store:
        for seq in (1, 2, 3):
            await store.cast_entry(entry_vote(seq), b"raw")
        await store.forget(ANNA.peer, 3)
        assert await store.entry_vote(ANNA.peer, 2) is None
        assert await store.entry_vote(ANNA.peer, 3) == entry_vote(3)
        await store.forget(ANNA.peer, 2)
        for seq in (1, 2):
            with pytest.raises(Refused, match="long ago"):
                await store.cast_entry(entry_vote(seq, 9), b"raw")


async def test_claims_are_voted_for_in_any_order_and_the_highest_is_kept(path):
    async with self_store(path) as store:
        for total in (5, 9, 7):
            assert await store.cast_claim(claim_vote(1, total), b"voucher %d" % total) == claim_vote(1, total)
        assert await store.lane_mark(ANNA.peer, 1) == LaneMark(ANNA.peer, 1, 9, b"voucher 9", False, b"")
        assert await store.lane_mark(ANNA.peer, 2) is None


async def test_after_a_lane_is_closed_no_claim_above_it_is_voted_for_and_the_closing_stands(path):
    async with self_store(path) as store:
        await store.cast_claim(claim_vote(1, 9), b"voucher")
        assert await store.cast_close(close_vote(1, 9), b"release") == close_vote(1, 9)
        assert await store.cast_claim(claim_vote(1, 9), b"other") == claim_vote(1, 9)
        with pytest.raises(Refused, match="was closed"):
            await store.cast_claim(claim_vote(1, 10), b"voucher")
        assert await store.cast_close(close_vote(1, 12), b"other") == close_vote(1, 9)
        assert await store.lane_mark(ANNA.peer, 1) == LaneMark(ANNA.peer, 1, 9, b"voucher", True, b"release")


async def test_a_lane_is_not_closed_below_a_claim_that_was_voted_for(path):
    async with self_store(path) as store:
        await store.cast_claim(claim_vote(1, 9), b"voucher")
        with pytest.raises(Refused, match="up to 9"):
            await store.cast_close(close_vote(1, 8), b"")


async def test_a_lane_is_closed_again_in_a_later_committee_at_what_was_reported_and_never_lower(path):
    async with self_store(path) as store:
        await store.cast_close(close_vote(1, 0), b"")
        reported = LaneMark(ANNA.peer, 1, 4, b"voucher", False, b"")
        await store.inherit(1, Inherited({}, {(ANNA.peer, 1): reported}, ()))
        assert await store.lane_mark(ANNA.peer, 1) == LaneMark(ANNA.peer, 1, 4, b"voucher", True, b"")
        with pytest.raises(Refused, match="up to 4"):
            await store.cast_close(close_vote(1, 0, committee=1), b"")
        assert await store.cast_close(close_vote(1, 4, committee=1), b"") == close_vote(1, 4, committee=1)
        assert await store.cast_close(close_vote(1, 5, committee=1), b"") == close_vote(1, 4, committee=1)
        await store.inherit(2, NOTHING)
        assert await store.cast_close(close_vote(1, 3, committee=2), b"") == close_vote(1, 4, committee=1)
        assert await store.claimable(ANNA.peer, 1, 1) == 0  # the former committee may have certified a lower closing


async def test_what_is_claimable_of_a_closed_lane_ends_with_the_committee_that_closed_it(path):
    async with self_store(path) as store:
        await store.cast_claim(claim_vote(1, 9), b"voucher")
        await store.cast_close(close_vote(1, 9), b"release")
        assert await store.claimable(ANNA.peer, 1, 0) == 9
        assert await store.claimable(ANNA.peer, 1, 1) == 0
        closed = LaneMark(ANNA.peer, 1, 9, b"voucher", True, b"release")
        await store.inherit(1, Inherited({}, {(ANNA.peer, 1): closed}, ()))
        assert await store.claimable(ANNA.peer, 1, 0) == 0


async def test_a_settled_lane_is_forgotten_and_never_voted_on_again(path):
    async with self_store(path) as store:
        await store.cast_close(close_vote(3, 0), b"")
        await store.forget_lane(ANNA.peer, 3)
        assert await store.lane_mark(ANNA.peer, 3) is None
        with pytest.raises(Refused, match="was settled"):
            await store.cast_claim(claim_vote(3, 5), b"voucher")
        with pytest.raises(Refused, match="was settled"):
            await store.cast_close(close_vote(3, 5), b"")
        await store.inherit(1, Inherited({}, {(ANNA.peer, 3): LaneMark(ANNA.peer, 3, 4, b"v", False, b"")}, ()))
        assert await store.lane_mark(ANNA.peer, 3) is None


async def test_a_certified_state_forgets_every_lane_that_it_shows_settled(path):
    state = AccountState(granted=100, lanes_opened=6, lanes=tuple(Lane(n, RUN, BERT.peer, 5, 0) for n in (2, 5)))
    async with self_store(path) as store:
        for lane in range(1, 8):
            await store.cast_claim(claim_vote(lane, 5), b"voucher")
        await store.forget_lanes(ANNA.peer, state)
        kept = [lane for lane in range(1, 8) if await store.lane_mark(ANNA.peer, lane)]
        assert kept == [2, 5, 7]
        with pytest.raises(Refused, match="was settled"):
            await store.cast_claim(claim_vote(4, 5), b"voucher")


async def test_numbers_of_settled_lanes_take_one_row_however_many_they_are(path):
    async with self_store(path) as store:
        for lane in (4, 2, 3, 1, 6):
            await store.cast_claim(claim_vote(lane, 5), b"voucher")
            await store.forget_lane(ANNA.peer, lane)
        rows = await store._database.read(lambda db: db.execute("SELECT first, last FROM settled_lanes").fetchall())
        assert rows == [(1, 4), (6, 6)]


async def test_a_maturity_vote_is_given_but_not_in_a_committee_that_is_not_ours(path):
    vote = by(MaturityVote(0, ANNA.peer, 3))
    async with self_store(path) as store:
        assert await store.cast_maturity(vote) == vote
        with pytest.raises(StateError, match="not taken over"):
            await store.cast_maturity(by(MaturityVote(1, ANNA.peer, 3)))


async def test_a_vote_of_the_wrong_kind_is_refused(path):
    async with self_store(path) as store:
        with pytest.raises(ProtocolViolation, match="another kind than claim"):
            await store.cast_claim(close_vote(1, 1), b"")
