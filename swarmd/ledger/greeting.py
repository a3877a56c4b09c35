"""Saying hello: whoever is behind our committee then asks for it, and whoever waits for our vote asks again."""

from __future__ import annotations

from collections.abc import Iterable

import trio

from swarmd.ledger.asking import Asking
from swarmd.ledger.keeper import Keeper
from swarmd.ledger.serving import hello
from swarmd.protocols.errors import ProtocolViolation, RemoteError
from swarmd.protocols.ids import PeerId
from swarmd.protocols.ledger.messages import Summary


async def greet(keeper: Keeper, asking: Asking, peers: Iterable[PeerId]) -> None:
    """All of them at once; who does not answer is met later."""
    async with trio.open_nursery() as nursery:
        for peer in sorted(set(peers) - {keeper.account}):
            nursery.start_soon(_greet, keeper, asking, peer)


async def _greet(keeper: Keeper, asking: Asking, peer: PeerId) -> None:
    try:
        await asking.member(peer, hello(keeper), Summary)
    except (RemoteError, ProtocolViolation):
        keeper.counters["peers_unhelpful"] += 1
