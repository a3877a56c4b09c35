"""The node in words: why it is idle, and how a peer's advert looks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from swarmd.config import Config
from swarmd.protocols.advert import PeerAdvert
from swarmd.protocols.ids import PeerId, RunId
from swarmd.runs.leases import Leases, Room
from swarmd.views import idle_reason, peer_view
from tests.protocols.keys import DEVICE, NOW, advert

RUN, PEER = RunId("ab" * 32), PeerId("12D3KooWPeer")


@pytest.mark.parametrize(
    ("settings", "probed", "peers", "words"),
    [
        ({"accept": "network"}, False, 1, "the device is still being probed"),
        ({"max_stages": 0}, True, 1, "max_stages is 0: this node only submits"),
        ({"accept": "self"}, True, 1, "only your own jobs are taken: --accept network takes everybody's"),
        ({"accept": "list"}, True, 1, "only your own jobs are taken: --allow PEER or --accept network takes others'"),
        ({"accept": "network"}, True, 0, "no other node is known: --bootstrap ADDRESS leads to a swarm"),
        ({"accept": "network"}, True, 1, "nobody has asked for a stage"),
    ],
)
def test_an_idle_node_says_what_would_change_it(
    tmp_path: Path, settings: dict[str, Any], probed: bool, peers: int, words: str
) -> None:
    assert idle_reason(Config(**settings), Leases(tmp_path), probed, peers) == words


async def test_a_node_with_a_stage_is_not_idle(tmp_path: Path) -> None:
    leases = Leases(tmp_path)
    with leases.hold(RUN, PEER, 1, Room(1, 1)):
        assert idle_reason(Config(max_stages=0), leases, False, 0) == ""
    assert idle_reason(Config(accept="network"), leases, True, 1) == "nobody has asked for a stage"


def test_a_peer_is_what_its_advert_says_and_how_long_that_holds() -> None:
    known = PeerAdvert(PEER, advert(price=7, accepts="network", addresses=("/ip4/10.0.0.2/tcp/4801",)), b"")
    view = peer_view(known, True, NOW + 600.0)
    assert (view.peer, view.name, view.connected) == (PEER, "attic", True)
    assert (view.device.name, view.device.flops, view.device.threads) == (DEVICE.name, 1e11, 1)
    assert (view.price, view.accepts, view.addresses) == (7, "network", ("/ip4/10.0.0.2/tcp/4801",))
    assert view.expires_in == 3000.0
