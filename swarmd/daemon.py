"""A daemon's life: lock the state folder, open the host and the files, be a node, and leave in order."""

from __future__ import annotations

import time

import trio

from swarmd.config import listen_addresses
from swarmd.identity import load_identity
from swarmd.ledger.files import open_ledger_files
from swarmd.ledger.ownership import Owner
from swarmd.net.host import open_host
from swarmd.network import load_or_create_network
from swarmd.node import Boot, Node
from swarmd.protocols.advert import record_check
from swarmd.protocols.errors import SwarmdError
from swarmd.state_lock import lock_state
from swarmd.storage import serve_storage
from swarmd.sweeper import swept


async def run_node(boot: Boot) -> None:
    """Be a node until SIGTERM, ctrl-C or ``swarmd down``.

    Raises:
        StateError, UsageError: the node cannot start.
    """
    with lock_state(boot.paths):
        identity, network = load_identity(boot.paths), load_or_create_network(boot.paths)
        owner = Owner(identity.peer, network.id)
        host = open_host(
            key_seed=identity.seed,
            listen=listen_addresses(boot.config, boot.origins),
            psk=network.psk.hex() if network.psk else None,
            namespace="swarmd",
            check=record_check(network.id, time.time),
        )
        try:
            async with host as (transport, records), swept(boot.paths.control), trio.open_nursery() as lasting:
                storage = await lasting.start(serve_storage, boot.paths.database)
                files = await open_ledger_files(boot.paths, lasting, owner, mark=bool(network.genesis.committee))
                async with trio.open_nursery() as nursery:
                    node = Node(boot, identity, network, transport, nursery)
                    await node.start(records, storage, files)
                await node.leave()
                lasting.cancel_scope.cancel()  # only now: what ends in the nursery still saves its last state
        except BaseExceptionGroup as group:
            if (reason := _reason(group)) is not None:
                raise reason from None
            raise


def _reason(group: BaseExceptionGroup[BaseException]) -> SwarmdError | None:
    """The first failure that has words for people, if there is no other kind."""
    ours, others = group.split(SwarmdError)
    leaf: BaseException | None = None if others else ours
    while isinstance(leaf, BaseExceptionGroup):
        leaf = leaf.exceptions[0]
    return leaf if isinstance(leaf, SwarmdError) else None
