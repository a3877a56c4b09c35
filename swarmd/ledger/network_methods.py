"""What the daemon answers about its network on the control socket: ``invite``, ``committee``, ``committee_set``."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from swarmd.control import Method, param
from swarmd.founding import parse_peer
from swarmd.invite import invite_of
from swarmd.network import Network
from swarmd.protocols.addresses import is_dialable
from swarmd.protocols.errors import UsageError
from swarmd.protocols.ids import PeerId
from swarmd.protocols.ledger.committee import Committee
from swarmd.protocols.ledger.genesis import MAX_MEMBERS, Member, check_members

Answer = dict[str, Any]
INVITE_CONTACTS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkMethods:
    """Answers from what the node is on, and hands a change of the committee to the ledger."""

    network: Network
    me: PeerId
    addresses: Callable[[], tuple[str, ...]]
    """Where this node can be reached, without ``/p2p/PEER``."""
    committee: Callable[[], Committee]
    """The newest one known here."""
    change: Callable[[tuple[Member, ...]], Awaitable[Committee]]
    """Have the committee changed; the new one, once it votes. Raises SwarmdError."""

    def table(self) -> dict[str, Method]:
        """Every method by its name."""
        return {"invite": self._invite, "committee": self._committee, "committee_set": self._committee_set}

    async def _invite(self, params: Answer) -> Answer:
        contacts = tuple(f"{address}/p2p/{self.me}" for address in worth_inviting_to(self.addresses()))
        invite = invite_of(replace(self.network, contacts=contacts))
        return {
            "invite": invite,
            "network": self.network.id,
            "name": self.network.name,
            "private": self.network.psk is not None,
            "contacts": list(contacts),
        }

    async def _committee(self, params: Answer) -> Answer:
        return self._shown(self.committee())

    async def _committee_set(self, params: Answer) -> Answer:
        operator = self.network.genesis.operator
        if operator is None:
            raise UsageError("this network has no credits", hint="swarmd network init NAME makes one that has")
        if operator != self.me:
            raise UsageError(
                "only the network's operator changes its committee, and this node is not it",
                hint=f"the operator is {operator}; on that node: swarmd network committee set PEER...",
            )
        return self._shown(await self.change(_members(param(params, "members", list))))

    def _shown(self, committee: Committee) -> Answer:
        return {
            "number": committee.number,
            "members": [[member.peer, member.weight] for member in committee.members],
            "weight": committee.weight,
            "quorum": committee.quorum if committee.members else 0,
            "operator": self.network.genesis.operator,
            "us": self.me,
        }


def worth_inviting_to(addresses: tuple[str, ...]) -> tuple[str, ...]:
    """Addresses that others can dial, a few; loopback ones only where there are no others."""
    dialable = tuple(filter(is_dialable, addresses))
    return (tuple(each for each in dialable if not _is_loopback(each)) or dialable)[:INVITE_CONTACTS]


def _is_loopback(address: str) -> bool:
    family, host = (*address.split("/"), "", "")[1:3]
    return family in ("ip4", "ip6") and ipaddress.ip_address(host).is_loopback


def _members(given: list[Any]) -> tuple[Member, ...]:
    """Members from ``[[peer, weight], ...]``, sorted. Raises UsageError."""
    if not 1 <= len(given) <= MAX_MEMBERS:
        raise UsageError(f"a committee has 1 to {MAX_MEMBERS} members", hint="name everybody who is to vote")
    try:
        members = tuple(sorted((_member(each) for each in given), key=lambda member: member.peer))
        for one, other in pairwise(members):
            if one.peer == other.peer:
                raise ValueError(f"the peer {one.peer} is named twice")
        check_members(members)
    except ValueError as error:
        raise UsageError(f"no such committee can be: {error}", hint="name each member once, as PEER=WEIGHT") from error
    return members


def _member(item: object) -> Member:
    if isinstance(item, list) and len(item) == 2 and type(item[0]) is str and type(item[1]) is int:
        return Member(parse_peer(item[0]), item[1])
    raise ValueError("a member is a peer and a whole weight")
