"""Who breaks the rules all the time is out for a while; who does not answer holds up no lookup."""

from __future__ import annotations

import hashlib

import trio
from libp2p.peer.id import ID

from swarmd.net.bans import BAN_SECONDS, OFFENCES, Bans
from swarmd.net.host.walk import Walk


def test_a_peer_is_banned_at_one_offence_too_many_and_for_a_while() -> None:
    bans = Bans()
    assert not any(bans.offend("a", 0.0) for _ in range(OFFENCES))
    assert not bans.banned("a", 0.0)
    assert bans.offend("a", 0.0)
    assert bans.banned("a", BAN_SECONDS - 1)
    assert not bans.banned("a", BAN_SECONDS)
    assert not bans.banned("b", 0.0)


def test_a_banned_peer_is_not_banned_again() -> None:
    bans = Bans()
    assert sum(bans.offend("a", 0.0) for _ in range(5 * OFFENCES)) == 1


def test_a_peer_can_be_banned_at_once() -> None:
    bans = Bans()
    assert bans.ban("a", 0.0)
    assert not bans.ban("a", 1.0)
    assert bans.banned("a", BAN_SECONDS - 1)
    assert not bans.banned("a", BAN_SECONDS)


def test_an_offence_now_and_then_bans_nobody() -> None:
    bans = Bans()
    assert not any(bans.offend("a", float(second)) for second in range(5000))


def test_few_bans_are_remembered() -> None:
    bans = Bans()
    for number in range(2000):
        for _ in range(OFFENCES + 1):
            bans.offend(str(number), 0.0)
    assert sum(bans.banned(str(number), 1.0) for number in range(2000)) == 1024


async def test_a_silent_peer_does_not_hold_up_a_lookup_that_has_its_answer(autojump_clock) -> None:
    peers = [ID(hashlib.sha256(bytes([number])).digest()) for number in range(6)]
    answers: list[ID] = []

    async def ask(peer: ID) -> list[ID]:
        if peer is not peers[0]:
            await trio.sleep_forever()
        await trio.sleep(0.1)
        answers.append(peer)
        return []

    await Walk(b"key", peers, ask, found=lambda: bool(answers)).run(10)
    assert answers == [peers[0]]
    assert trio.current_time() < 1
