"""Our own advert: issued when known, again when changed, and before it lapses."""

from __future__ import annotations

import trio

from swarmd.net.own_advert import MIN_INTERVAL, OwnAdvert
from swarmd.protocols.advert import Advert, verify_advert
from tests.protocols.keys import NETWORK, NOW, advert, who

ANNA = who(1)


def clock() -> float:
    return NOW + trio.current_time()


class Machine:
    """What there is to say; None until it is known."""

    def __init__(self, says: Advert | None) -> None:
        self.says = says

    def own(self, lifetime: int = 3600) -> OwnAdvert:
        return OwnAdvert(NETWORK, ANNA.peer, ANNA.sign, lambda: self.says, clock, lifetime)


async def test_an_issue_is_signed_and_dated(autojump_clock, nursery):
    own = Machine(advert(sequence=0, issued_at=0, expires_at=0)).own(lifetime=600)
    assert own.raw == b""
    nursery.start_soon(own.run)
    issued = await own.next_issue(None)
    assert verify_advert(own.raw, NETWORK, clock()) == issued
    assert issued.advert.expires_at - issued.advert.issued_at == 600
    assert issued.peer == ANNA.peer


async def test_it_is_issued_again_at_half_of_its_life_with_a_higher_sequence(autojump_clock, nursery):
    own = Machine(advert()).own(lifetime=600)
    nursery.start_soon(own.run)
    first = await own.next_issue(None)
    second = await own.next_issue(first)
    assert 300 <= second.advert.issued_at - first.advert.issued_at <= 300 + MIN_INTERVAL
    assert second.advert.sequence > first.advert.sequence


async def test_a_change_is_issued_soon_but_not_in_a_torrent(autojump_clock, nursery):
    machine = Machine(advert(free_stages=1))
    own = machine.own()
    nursery.start_soon(own.run)
    issue = await own.next_issue(None)
    started = trio.current_time()
    for free in (0, 1, 0):
        machine.says = advert(free_stages=free)
        own.changed()
        issue = await own.next_issue(issue)
    assert issue.advert.free_stages == 0
    assert trio.current_time() - started == 3 * MIN_INTERVAL


async def test_nothing_is_issued_before_anything_is_known(autojump_clock, nursery):
    machine = Machine(None)
    own = machine.own()
    nursery.start_soon(own.run)
    await trio.sleep(10)
    assert own.raw == b""
    machine.says = advert()
    own.changed()
    await own.next_issue(None)
    assert own.raw


async def test_an_issue_left_from_an_earlier_life_is_overtaken(autojump_clock, nursery):
    own = Machine(advert()).own()
    nursery.start_soon(own.run)
    first = await own.next_issue(None)
    own.overtake(first.advert.sequence)
    with trio.move_on_after(60):
        raise AssertionError(await own.next_issue(first))
    ahead = first.advert.sequence + 10**9
    own.overtake(ahead)
    assert (await own.next_issue(first)).advert.sequence == ahead + 1


async def test_the_sequence_rises_across_restarts(autojump_clock, nursery):
    sequences = []
    for _ in range(2):
        own = Machine(advert()).own()
        with trio.CancelScope() as life:
            nursery.start_soon(own.run)
            sequences.append((await own.next_issue(None)).advert.sequence)
            life.cancel()
        await trio.sleep(1)
    assert sequences[0] < sequences[1]
