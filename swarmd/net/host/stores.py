"""The library's stores, bounded: strangers fill them, and identities cost nothing."""

from __future__ import annotations

import libp2p.kad_dht.kad_dht as kad_dht
import libp2p.kad_dht.peer_routing as peer_routing
import libp2p.kad_dht.provider_store as provider_store
import libp2p.kad_dht.value_store as value_store
from libp2p.kad_dht.provider_store import ProviderStore
from libp2p.kad_dht.value_store import ValueStore
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo
from libp2p.peer.peerstore import PeerStore
from multiaddr import Multiaddr

LARGEST_RECORD = 16 * 1024
_MOST_RECORDS = 2048
_MOST_PROVIDED_KEYS = 4096
_MOST_ADDRESSES = 16
_LARGEST_MESSAGE = 256 * 1024

for _module in (kad_dht, peer_routing, provider_store, value_store):
    _module.MAX_DHT_MESSAGE_SIZE = _LARGEST_MESSAGE  # the library's 4 MiB, times its streams, is too much


class BoundedValues(ValueStore):  # type: ignore[misc]
    """Records by key; the oldest go first. Our own are kept."""

    def _evict_if_full(self) -> None:
        # The library parses the time of every record on every insertion into a full store.
        while len(self.store) >= _MOST_RECORDS:
            del self.store[next(key for key in self.store if key not in self.local_keys)]


class BoundedProviders(ProviderStore):  # type: ignore[misc]
    """Providers by key; the oldest keys go first. Those we provide are kept."""

    def add_provider(self, key: bytes, provider: PeerInfo) -> None:
        """Note that a peer provides a key."""
        if key not in self.providers:
            while len(self.providers) >= _MOST_PROVIDED_KEYS:
                del self.providers[next(each for each in self.providers if each not in self.providing_keys)]
        super().add_provider(key, PeerInfo(provider.peer_id, provider.addrs[:_MOST_ADDRESSES]))


class BoundedPeerStore(PeerStore):  # type: ignore[misc]
    """What is known of peers, with few addresses each: the latest replace the rest."""

    def add_addrs(self, peer_id: ID, addrs: list[Multiaddr], ttl: int = 0) -> None:
        """Note addresses of a peer for ``ttl`` seconds."""
        known = self.peer_data_map[peer_id].addrs if peer_id in self.peer_data_map else []
        if len(known) + len(addrs) > 2 * _MOST_ADDRESSES:
            self.clear_addrs(peer_id)
        super().add_addrs(peer_id, list(addrs)[:_MOST_ADDRESSES], ttl)
