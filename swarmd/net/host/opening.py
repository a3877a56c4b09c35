"""Opening a host: the one place where its parts are put together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.keys import KeyPair
from libp2p.peer.id import ID
from libp2p.tools.anyio_service import background_trio_service
from libp2p.transport.upgrader import TransportUpgrader
from multiaddr import Multiaddr

from swarmd.net.counters import Counters
from swarmd.net.host.basic import GuardedHost
from swarmd.net.host.noise import secure_transports
from swarmd.net.host.quiet import keep_quiet
from swarmd.net.host.records import HostRecords
from swarmd.net.host.sockets import BoundedTCP, is_free
from swarmd.net.host.stores import BoundedPeerStore
from swarmd.net.host.streams import HostTransport
from swarmd.net.host.swarm import BoundedSwarm, OwnMuxer, connection_config
from swarmd.net.transport import RecordCheck, RecordStore, Transport
from swarmd.protocols.errors import StateError, UsageError
from swarmd.protocols.ids import is_hash

_CLOSING = 3.0
"""Seconds for saying good-bye."""


@asynccontextmanager
async def open_host(
    *, key_seed: bytes, listen: tuple[str, ...], psk: str | None, namespace: str, check: RecordCheck
) -> AsyncIterator[tuple[Transport, RecordStore]]:
    """A network host, for as long as the context lasts.

    ``key_seed`` is the 32-byte seed of the Ed25519 identity, ``listen`` holds multiaddresses, ``psk``
    is 64 hexadecimal characters or None, and records have keys ``/{namespace}/{peer id}``.
    Raises UsageError for an address or key of another form, StateError for one that cannot be listened on.
    """
    keep_quiet()
    addresses = _parsed(listen)
    if psk is not None and not is_hash(psk):
        raise UsageError("the pre-shared key is not 64 hexadecimal characters", hint="copy it again")
    counters = Counters()
    swarm = _make_swarm(create_new_key_pair(key_seed), psk, counters)
    host = GuardedHost(swarm, counters)
    records = HostRecords(host, namespace, check, counters)
    host.identified = records.on_identified
    failure: Exception | None = None
    async with background_trio_service(swarm), background_trio_service(records.table):
        try:
            async with trio.open_nursery() as nursery:
                host.tasks = nursery
                try:
                    await _listen(swarm, addresses)
                    transport = HostTransport(host)
                    nursery.start_soon(transport.gossip.run)
                    yield transport, records
                except Exception as error:  # noqa: BLE001 - raised below, outside the nurseries that would wrap it
                    failure = error
                finally:
                    host.tasks = None  # connections live a little longer than it takes new tasks
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(deadline=trio.current_time() + _CLOSING, shield=True):
                await swarm.part()
                await host.close()
    if failure is not None:
        raise failure


def _make_swarm(keys: KeyPair, psk: str | None, counters: Counters) -> BoundedSwarm:
    identity = ID.from_pubkey(keys.public_key)
    peers = BoundedPeerStore()
    peers.add_key_pair(identity, keys)
    upgrader = TransportUpgrader(secure_transports(keys), {})
    upgrader.muxer_multistream = OwnMuxer(counters)
    swarm = BoundedSwarm(identity, peers, upgrader, [BoundedTCP()], connection_config=connection_config(), psk=psk)
    return swarm.prepare(counters)


async def _listen(swarm: BoundedSwarm, addresses: list[Multiaddr]) -> None:
    for address in addresses:
        if not (is_free(address) and await swarm.listen(address)):
            raise StateError(f"cannot listen on {address}", hint="is the port taken? choose another one")


def _parsed(listen: tuple[str, ...]) -> list[Multiaddr]:
    hint = "try /ip4/0.0.0.0/tcp/4001"
    try:
        addresses = [Multiaddr(address) for address in listen]
    except ValueError as error:
        raise UsageError(f"not an address to listen on: {error}", hint=hint) from error
    for address in addresses:
        if not BoundedTCP().can_listen(address):
            raise UsageError(f"not a TCP address: {address}", hint=hint)
    return addresses
