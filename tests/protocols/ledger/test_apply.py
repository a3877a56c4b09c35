"""What operations do to an account: every counter only grows, and the balance follows from the owner's chain alone."""

from __future__ import annotations

import pytest

from swarmd.protocols.errors import ProtocolViolation, UsageError
from swarmd.protocols.ids import PeerId
from swarmd.protocols.ledger.account import (
    MAX_COUNTERPARTIES,
    MAX_LANES,
    MAX_UNBONDING,
    AccountState,
    Lane,
    Total,
    Unbonding,
    parse_state,
)
from swarmd.protocols.ledger.amounts import MAX_AMOUNT
from swarmd.protocols.ledger.apply import apply_ops, next_entry
from swarmd.protocols.ledger.entry import (
    FIRST_PREV,
    Claim,
    LaneFund,
    LaneOpen,
    LaneSettle,
    Pay,
    Release,
    Stake,
    Unstake,
)
from swarmd.protocols.ledger.heads import state_hash
from tests.protocols.keys import NOW, who
from tests.protocols.ledger.world import RUN

ANN, BEN, CID = who(1).peer, who(2).peer, who(3).peer
RICH = AccountState(granted=1000)


def after(*ops, state=RICH, seq=1) -> AccountState:
    return apply_ops(state, seq, ops)


def test_paying_moves_credits_out_of_the_balance():
    state = after(Pay(BEN, 300), Pay(CID, 100), Pay(BEN, 50))
    assert (state.sent_to(BEN), state.sent_to(CID), state.balance) == (350, 100, 550)
    assert state.sent_to(ANN) == 0
    assert [total.peer for total in state.sent] == sorted([BEN, CID])


def test_a_claim_names_all_that_was_ever_claimed_and_must_grow():
    state = after(Claim(BEN, 70))
    assert (state.received_from(BEN), state.balance) == (70, 1070)
    assert after(Claim(BEN, 71), state=state).balance == 1071
    with pytest.raises(ProtocolViolation, match=r"0\.00007 credits of .* are claimed already"):
        after(Claim(BEN, 70), state=state)


def test_the_balance_counts_at_the_end_of_the_entry():
    assert after(Pay(BEN, 1500), Claim(CID, 600)).balance == 100
    with pytest.raises(ProtocolViolation, match=r"balance of 0\.\d+ credits is 0\.0004 too small"):
        after(Pay(BEN, 1500), Claim(CID, 100))


def test_stake_leaves_the_balance_and_comes_back_in_two_steps():
    staked = after(Stake(400))
    assert (staked.balance, staked.bonded) == (600, 400)
    leaving = after(Unstake(100), Unstake(50), state=staked, seq=7)
    assert (leaving.balance, leaving.bonded, leaving.unbonding_total) == (600, 250, 150)
    assert leaving.unbonding == (Unbonding(7, 150),)
    back = after(Release(7), state=leaving, seq=8)
    assert (back.balance, back.bonded, back.unbonding_total, back.unbonding) == (750, 250, 0, ())


def test_only_what_is_staked_can_be_unstaked():
    with pytest.raises(ProtocolViolation, match=r"only 0\.0004 credits are staked"):
        after(Unstake(401), state=after(Stake(400)))


def test_only_what_is_on_its_way_back_can_be_released_and_once():
    leaving = after(Stake(9), Unstake(9), seq=3)
    with pytest.raises(ProtocolViolation, match="entry 4 has nothing"):
        after(Release(4), state=leaving, seq=5)
    with pytest.raises(ProtocolViolation, match="entry 3 has nothing"):
        after(Release(3), Release(3), state=leaving, seq=5)
    with pytest.raises(ProtocolViolation, match="entry 3 has nothing"):
        after(Stake(9), Unstake(9), Release(3), seq=3)


def test_a_lane_sets_credits_aside_under_the_next_number():
    state = after(LaneOpen(RUN, BEN, 200, 50), LaneOpen(RUN, CID, 100, 60))
    assert state.lanes == (Lane(1, RUN, BEN, 200, 50), Lane(2, RUN, CID, 100, 60))
    assert (state.balance, state.locked, state.lanes_opened) == (700, 300, 2)
    assert state.lane(2) == Lane(2, RUN, CID, 100, 60)
    assert state.lane(3) is None


def test_a_lane_gets_more_credits_and_its_time_stays():
    state = after(LaneOpen(RUN, BEN, 200, 50), LaneFund(1, 30))
    assert state.lanes == (Lane(1, RUN, BEN, 230, 50),)
    with pytest.raises(ProtocolViolation, match="lane 1: an amount"):
        after(LaneFund(1, MAX_AMOUNT), state=state)
    with pytest.raises(ProtocolViolation, match="no open lane 2"):
        after(LaneFund(2, 1), state=state)


def test_settling_pays_the_provider_and_gives_back_the_rest():
    state = after(LaneSettle(1, 120), state=after(LaneOpen(RUN, BEN, 200, 50)))
    assert (state.sent_to(BEN), state.balance, state.lanes, state.lanes_opened) == (120, 880, (), 1)
    assert after(LaneOpen(RUN, BEN, 5, 50), state=state).lanes[0].number == 2


def test_a_lane_that_paid_nothing_leaves_no_counterparty():
    assert after(LaneSettle(1, 0), state=after(LaneOpen(RUN, BEN, 200, 50))) == AccountState(
        granted=1000, lanes_opened=1
    )


def test_no_more_is_settled_than_a_lane_holds_and_only_once():
    state = after(LaneOpen(RUN, BEN, 200, 50))
    with pytest.raises(ProtocolViolation, match=r"lane 1 holds 0\.0002 credits, no more"):
        after(LaneSettle(1, 201), state=state)
    with pytest.raises(ProtocolViolation, match="no open lane 1"):
        after(LaneSettle(1, 5), LaneSettle(1, 5), state=state)


def test_counters_stay_within_63_bits():
    with pytest.raises(ProtocolViolation, match="cannot come to that"):
        after(Pay(BEN, MAX_AMOUNT), Pay(BEN, 1))


def test_an_account_has_bounded_counterparties():
    others = tuple(PeerId(f"{number:04}") for number in range(MAX_COUNTERPARTIES + 1))
    assert len(after(*(Pay(other, 1) for other in others[:-1])).sent) == MAX_COUNTERPARTIES
    with pytest.raises(ProtocolViolation, match="counterparties"):
        after(*(Pay(other, 1) for other in others))


def test_an_account_has_bounded_lanes():
    with pytest.raises(ProtocolViolation, match=f"at most {MAX_LANES} open lanes"):
        after(*(LaneOpen(RUN, BEN, 1, 50) for _ in range(MAX_LANES + 1)))


def test_an_account_has_bounded_amounts_unbonding():
    state = after(Stake(100))
    for seq in range(1, MAX_UNBONDING + 1):
        state = after(Unstake(1), state=state, seq=seq)
    with pytest.raises(ProtocolViolation, match=f"at most {MAX_UNBONDING} amounts"):
        after(Unstake(1), state=state, seq=99)


@pytest.mark.parametrize(
    "wrong",
    [
        {"granted": -1},
        {"granted": 1, "lanes_opened": -1},
        {"granted": 1, "sent": (Total(max(BEN, CID), 1), Total(min(BEN, CID), 1))},
        {"granted": 1, "received": (Total(BEN, 1), Total(BEN, 1))},
        {"granted": 1, "lanes": (Lane(1, RUN, BEN, 1, 1),)},
        {"granted": 1, "lanes_opened": 2, "lanes": (Lane(2, RUN, BEN, 1, 1), Lane(1, RUN, BEN, 1, 1))},
        {"granted": 1, "staked": 1, "unstaked": 2, "unbonding": (Unbonding(1, 2),)},
        {"granted": 1, "staked": 2, "unstaked": 2, "unbonding": (Unbonding(1, 1),)},
        {"granted": 1, "staked": 2, "unstaked": 2, "unbonding": (Unbonding(2, 1), Unbonding(1, 1))},
    ],
)
def test_a_state_that_no_account_can_have_is_not_built(wrong):
    with pytest.raises(ValueError, match=r".+"):
        AccountState(**wrong)


def test_a_state_survives_its_bytes():
    state = after(Pay(BEN, 5), Claim(CID, 9), Stake(50), Unstake(20), LaneOpen(RUN, BEN, 200, 50))
    assert parse_state(state.to_bytes()) == state


def test_the_owner_writes_the_next_entry():
    entry, state = next_entry(ANN, 1, FIRST_PREV, RICH, (Pay(BEN, 5),), NOW + 0.7)
    assert (entry.account, entry.seq, entry.prev, entry.time) == (ANN, 1, FIRST_PREV, NOW)
    assert state == after(Pay(BEN, 5))
    assert entry.state_hash == state_hash(state)


@pytest.mark.parametrize(
    ("op", "words"),
    [
        (Pay(BEN, 1001), "too small"),
        (Pay(ANN, 1), "no dealings with itself"),
        (Claim(ANN, 1), "no dealings with itself"),
        (LaneOpen(RUN, ANN, 1, 1), "no dealings with itself"),
        (Pay(PeerId("nobody"), 1), "not a peer id|not the peer id"),
        (LaneSettle(1, 1), "no open lane 1"),
    ],
)
def test_the_owner_is_told_what_cannot_be_written(op, words):
    with pytest.raises(UsageError, match=f"cannot be written: .*({words})") as told:
        next_entry(ANN, 1, FIRST_PREV, RICH, (op,), NOW)
    assert told.value.hint
