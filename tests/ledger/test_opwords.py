"""Operations in words, with and without the state they began from."""

from __future__ import annotations

from swarmd.ledger.opwords import op_views
from swarmd.protocols.ids import RunId
from swarmd.protocols.ledger.account import AccountState
from swarmd.protocols.ledger.apply import apply_ops
from swarmd.protocols.ledger.entry import Claim, LaneFund, LaneOpen, LaneSettle, Op, Pay, Release, Stake, Unstake
from tests.protocols.keys import who

CREDIT = 1_000_000
ANNA, BERT = who(1).peer, who(2).peer
RUN = RunId("ab" * 32)
START = AccountState(granted=1000 * CREDIT)


def after(state: AccountState, *ops: Op, seq: int = 1) -> AccountState:
    return apply_ops(state, seq, ops)


def words(before: AccountState | None, *ops: Op, state: AccountState | None = None) -> list[str]:
    made = after(before, *ops) if before is not None else state
    assert made is not None
    return [view.words for view in op_views(ops, before, made)]


def test_each_operation_says_what_it_moves_and_to_whom() -> None:
    bert = BERT[-8:]
    assert words(START, Pay(BERT, 2_500_000), Stake(CREDIT)) == [f"2.5 credits to {bert}", "1 credit staked"]
    assert words(START, Claim(BERT, 3 * CREDIT)) == [f"3 credits from {bert}"]
    again = after(START, Claim(BERT, 3 * CREDIT))
    assert words(again, Claim(BERT, 10 * CREDIT)) == [f"7 credits from {bert}"]


def test_stake_comes_back_by_the_entry_that_unstaked_it() -> None:
    staked = after(START, Stake(9 * CREDIT))
    assert words(staked, Unstake(4 * CREDIT)) == ["4 credits unstaked; it comes back after the cooldown"]
    waiting = after(staked, Unstake(4 * CREDIT), seq=2)
    ops = (Release(2),)
    [view] = op_views(ops, waiting, after(waiting, *ops, seq=3))
    assert (view.words, view.amount) == ("4 credits, unstaked by entry 2, is back", 4 * CREDIT)


def test_lanes_are_named_by_the_numbers_that_they_get() -> None:
    opened = (LaneOpen(RUN, BERT, 5 * CREDIT, 9), LaneOpen(RUN, ANNA, 6 * CREDIT, 9))
    first, second = op_views(opened, START, after(START, *opened))
    assert (first.lane, second.lane) == (1, 2)
    assert first.words == f"lane 1: 5 credits set aside for {BERT[-8:]}'s work on run abababab"
    state = after(START, *opened)
    assert words(state, LaneFund(1, CREDIT)) == ["lane 1: 1 credit more set aside"]
    [view] = op_views((LaneSettle(2, 2 * CREDIT),), state, after(state, LaneSettle(2, 2 * CREDIT)))
    assert view.words == f"lane 2 settled: 2 credits paid to {ANNA[-8:]}, 4 of 6 back"
    assert (view.peer, view.run, view.amount) == (ANNA, RUN, 2 * CREDIT)


def test_without_the_state_before_nothing_is_guessed() -> None:
    state = after(after(START, LaneOpen(RUN, BERT, 5 * CREDIT, 9)), LaneSettle(1, CREDIT))
    assert words(None, LaneSettle(1, CREDIT), state=state) == ["lane 1 settled: 1 credit paid"]
    assert words(None, Claim(BERT, CREDIT), state=state) == [f"all that {BERT[-8:]} paid so far"]
    [view] = op_views((Release(7),), None, state)
    assert (view.words, view.amount) == ("what entry 7 unstaked is back", 0)
