"""How a neighbour that passes on bad gossip fares."""

from __future__ import annotations

from swarmd.net.standing import FREE_REJECTIONS, Sanction, Standing
from swarmd.protocols.ids import PeerId

PEER, OTHER = PeerId("peer"), PeerId("other")


def mute(standing: Standing, now: float) -> Sanction:
    """Rejects messages until there is a sanction."""
    sanctions = (standing.rejected(PEER, now) for _ in range(FREE_REJECTIONS + 1))
    return next(each for each in sanctions if each is not Sanction.NONE)


def test_a_few_rejections_cost_nothing():
    standing = Standing()
    assert {standing.rejected(PEER, 0.0) for _ in range(FREE_REJECTIONS)} == {Sanction.NONE}
    assert not standing.muted(PEER, 0.0)


def test_a_rejection_now_and_then_costs_nothing_for_ever():
    standing = Standing()
    assert {standing.rejected(PEER, 10.0 * number) for number in range(1000)} == {Sanction.NONE}


def test_one_too_many_mutes_that_peer_for_longer_each_time_and_then_bans_it():
    standing = Standing()
    assert mute(standing, 0.0) is Sanction.MUTE
    assert standing.muted(PEER, 9.9)
    assert not standing.muted(PEER, 10.0)
    assert not standing.muted(OTHER, 0.0)
    assert mute(standing, 10.0) is Sanction.MUTE
    assert standing.muted(PEER, 29.9)
    assert mute(standing, 30.0) is Sanction.BAN


def test_an_hour_of_good_conduct_wipes_the_slate():
    standing = Standing()
    mute(standing, 0.0)
    mute(standing, 100.0)
    assert mute(standing, 5000.0) is Sanction.MUTE


def test_few_peers_are_remembered():
    standing = Standing()
    for number in range(3000):
        for _ in range(FREE_REJECTIONS + 1):
            standing.rejected(PeerId(str(number)), 0.0)
    assert sum(standing.muted(PeerId(str(number)), 1.0) for number in range(3000)) == 1024
