"""The names of the ledger's gossip topics, and sending on them."""

from __future__ import annotations

from swarmd.ledger.deps import LedgerDeps
from swarmd.net.transport import MAX_GOSSIP_BYTES
from swarmd.protocols.ids import NetworkId


def topic(network: NetworkId, name: str) -> str:
    """The full name of one of ``messages.TOPICS``."""
    return f"swarmd/ledger/{network}/{name}"


async def publish(deps: LedgerDeps, name: str, raw: bytes) -> None:
    """Tell everybody; what is too large for gossip is found by asking."""
    if len(raw) <= MAX_GOSSIP_BYTES:
        await deps.gossip.publish(topic(deps.genesis.id, name), raw)
