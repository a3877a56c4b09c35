"""A shared rate on virtual time: it holds, links share it evenly, and what is urgent does not wait for bulk."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from swarmd.scheduler.sharing import BURST_SECONDS, Lane, Rank, Request, SharedRate

RATE = 1_000_000.0
PIECE = 10_000


@dataclass
class Sender:
    """Asks for piece after piece, the next as soon as it has had the last."""

    rank: Rank
    from_time: float = 0.0
    pieces: int = 10**9
    size: int = PIECE
    lane: Lane = field(default_factory=Lane)
    asked: Request | None = None
    times: list[float] = field(default_factory=list)

    @property
    def sent(self) -> int:
        return len(self.times) * self.size


def play(senders: list[Sender], seconds: float, rate: SharedRate | None = None) -> None:
    """Run until ``seconds``, waking only when the rate says so or a sender begins."""
    now, shared = 0.0, rate or SharedRate(RATE, 0.0)
    while now < seconds:
        wait: float | None = 0.0
        while wait == 0.0 or any(each.asked and each.asked.granted for each in senders):
            for each in senders:
                if each.asked is not None and each.asked.granted:
                    each.times.append(now)
                    each.asked = None
                if each.asked is None and each.from_time <= now and len(each.times) < each.pieces:
                    each.asked = shared.ask(each.lane, each.rank, each.size)
            wait = shared.grant(now)
        begins = [each.from_time for each in senders if each.from_time > now]
        now = min([seconds, *begins] + ([] if wait is None else [now + wait]))


@pytest.mark.parametrize("rank", Rank)
def test_a_rate_holds_in_the_long_run(rank: Rank) -> None:
    sender = Sender(rank)
    play([sender], 10.0)
    assert sender.sent == pytest.approx(10.0 * RATE, rel=0.01)


def test_unused_time_is_kept_only_for_a_short_burst() -> None:
    sender = Sender(Rank.ACTIVATION, from_time=5.0, size=1000)
    play([sender], 6.0)
    at_once = sum(time == 5.0 for time in sender.times) * 1000
    assert at_once == pytest.approx(BURST_SECONDS * RATE, abs=1000)
    assert sender.sent == pytest.approx((1.0 + BURST_SECONDS) * RATE, rel=0.01)


def test_links_of_one_rank_share_evenly_whatever_their_pieces() -> None:
    senders = [Sender(Rank.ACTIVATION), Sender(Rank.ACTIVATION, size=2500), Sender(Rank.ACTIVATION, from_time=4.0)]
    play(senders, 4.0)
    assert senders[0].sent == pytest.approx(2.0 * RATE, rel=0.02)
    assert senders[1].sent == pytest.approx(2.0 * RATE, rel=0.02)


def test_a_link_that_comes_late_gets_its_share_and_no_more() -> None:
    early, late = Sender(Rank.BULK), Sender(Rank.BULK, from_time=5.0)
    play([early, late], 7.0)
    assert late.sent == pytest.approx(1.0 * RATE, rel=0.03)
    assert early.sent == pytest.approx(6.0 * RATE, rel=0.03)


@pytest.mark.parametrize("rank", [Rank.GRADIENT, Rank.ACTIVATION])
def test_a_small_message_passes_bulk_as_if_it_were_alone(rank: Rank) -> None:
    alone, beside = (Sender(rank, from_time=3.0, pieces=10) for _ in range(2))
    play([alone], 4.0)
    play([beside, *(Sender(Rank.BULK) for _ in range(4))], 4.0)
    assert alone.times[-1] - 3.0 == pytest.approx(0.04, abs=0.011)
    assert beside.times[-1] - 3.0 <= 2 * (alone.times[-1] - 3.0)


def test_gradients_pass_activations() -> None:
    gradient = Sender(Rank.GRADIENT, from_time=3.0, pieces=10)
    play([gradient, Sender(Rank.ACTIVATION)], 4.0)
    assert gradient.times[-1] - 3.0 <= 0.13


def test_bulk_moves_however_much_is_urgent() -> None:
    bulk = Sender(Rank.BULK)
    play([bulk, Sender(Rank.GRADIENT), Sender(Rank.ACTIVATION)], 10.0)
    assert bulk.sent == pytest.approx(10.0 * RATE / 25, rel=0.1)


def test_a_request_can_be_withdrawn_until_it_is_granted() -> None:
    rate, lane = SharedRate(RATE, 0.0), Lane()
    first, second = rate.ask(lane, Rank.BULK, 10**6), rate.ask(lane, Rank.BULK, 1)
    wait = rate.grant(0.0)
    assert (first.granted, second.granted) == (True, False)
    assert wait == pytest.approx(1.0 - BURST_SECONDS / 2)
    rate.withdraw(second)
    rate.withdraw(first)
    assert rate.grant(0.0) is None


def test_what_waited_goes_when_it_was_told() -> None:
    rate, lane = SharedRate(RATE, 7.0), Lane()
    for _ in range(3):
        rate.ask(lane, Rank.ACTIVATION, 10**6)
    now = 7.0
    for _ in range(2):
        wait = rate.grant(now)
        assert wait is not None
        now += wait
    assert rate.grant(now) is None
    assert now == pytest.approx(9.0 - BURST_SECONDS)


def test_a_rate_is_over_zero() -> None:
    with pytest.raises(ValueError, match="over zero"):
        SharedRate(0.0, 0.0)
