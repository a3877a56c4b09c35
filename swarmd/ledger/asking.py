"""Questions to one peer: connected first if need be, with a time limit."""

from __future__ import annotations

from typing import TypeVar

from swarmd.ledger.keeper import Keeper
from swarmd.net.rpc import call
from swarmd.protocols.errors import ProtocolViolation, RemoteError
from swarmd.protocols.ids import PeerId
from swarmd.protocols.ledger.heads import Head
from swarmd.protocols.ledger.messages import LEDGER_PROTOCOL, MAX_ANSWER_BYTES, GetHeads, Heads

Reply = TypeVar("Reply")

MESSAGE_BYTES = MAX_ANSWER_BYTES + 4096
ASKED_FOR_A_HEAD = 8
"""Peers asked for one account's head before it counts as unknown."""


class Asking:
    """The client's end of the ledger protocol."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper, self._deps = keeper, keeper.deps

    async def member(self, peer: PeerId, request: object, reply: type[Reply]) -> Reply:
        """Ask a peer that need not be connected. Raises RemoteError as ``rpc.call``."""
        if peer not in self._deps.transport.connected():
            await self._deps.dial(peer)
        return await self.peer(peer, request, reply)

    async def peer(self, peer: PeerId, request: object, reply: type[Reply]) -> Reply:
        """Ask a connected peer. Raises RemoteError as ``rpc.call``."""
        timeout = self._deps.settings.vote_timeout
        return await call(
            self._deps.transport, peer, LEDGER_PROTOCOL, request, reply, timeout=timeout, max_bytes=MESSAGE_BYTES
        )

    async def head_of(self, account: PeerId, peer: PeerId) -> Head | None:
        """What a peer knows of an account, merged here; None if that is nothing new. Raises RemoteError."""
        answer = await self.member(peer, GetHeads((account,)), Heads)
        for raw in answer.heads[:1]:
            return await self._keeper.take_head(raw)
        return None

    async def find_head(self, account: PeerId) -> None:
        """Ask a few peers, the account's owner and members first, until one knows something newer."""
        known = self._deps.peers()
        members = set(self._keeper.replica.committee.peers)
        order = sorted(known, key=lambda peer: (peer != account, peer not in members, peer))
        for peer in order[:ASKED_FOR_A_HEAD]:
            try:
                if await self.head_of(account, peer) is not None:
                    return
            except ProtocolViolation:
                self._keeper.counters["bad_heads"] += 1
            except RemoteError:
                self._keeper.counters["peers_unhelpful"] += 1
