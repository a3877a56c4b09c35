"""Peers on the local network, by multicast DNS (RFC 6762) and service discovery (RFC 6763).

What is heard there is unproven: it only says whom to dial, and the handshake proves who answers. A node
without multicast goes on without this service.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import trio

from swarmd.protocols.addresses import Contact, is_dialable
from swarmd.protocols.advert import MAX_ADDRESSES
from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.ids import NetworkId, PeerId, public_key_of

if TYPE_CHECKING:
    from zeroconf import ServiceInfo, ServiceStateChange, Zeroconf

_LOG = logging.getLogger(__name__)

SERVICE = "_swarmd._tcp.local."
QUEUE = 32
"""Contacts heard but not yet handed on; more are dropped, and heard again later."""
RESOLVE_MS = 1000
STOP_SECONDS = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """What we say of ourselves on the local network."""

    peer: PeerId
    network: NetworkId
    port: int
    """TCP port of the control plane."""
    hosts: tuple[str, ...]
    """IP addresses we listen on there."""


def announcement_of(peer: PeerId, network: NetworkId, addresses: Iterable[str]) -> Announcement | None:
    """What to announce for the multiaddresses a transport listens on; None if none is of TCP over IP.

    A service has one port: that of the first address.
    """
    places = [(parts[2], int(parts[4])) for address in addresses if (parts := _ip_parts(address))]
    if not places:
        return None
    port = places[0][1]
    return Announcement(peer=peer, network=network, port=port, hosts=tuple(h for h, p in places if p == port))


def _ip_parts(address: str) -> list[str]:
    return address.split("/") if address.startswith(("/ip4/", "/ip6/")) and is_dialable(address) else []


async def run_mdns(
    ours: Announcement, found: Callable[[Contact], None], interfaces: tuple[str, ...] | None = None
) -> None:
    """Announce this node and hand every other of its network to ``found``, until cancelled.

    Returns, after one line in the log, if there is no multicast here.

    Args:
        ours: what to announce.
        found: called in the trio thread, perhaps again and again for one peer.
        interfaces: IP addresses of the interfaces to use; None: all of them.
    """
    send, receive = trio.open_memory_channel[Contact](QUEUE)
    heard = partial(_hand_over, trio.lowlevel.current_trio_token(), send)
    try:
        session = await trio.to_thread.run_sync(_Session.start, ours, heard, interfaces)
    except OSError as error:
        _LOG.warning("no discovery on the local network: %s", error)
        return
    try:
        async for contact in receive:
            found(contact)
    finally:
        with trio.move_on_after(STOP_SECONDS, shield=True):
            await trio.to_thread.run_sync(session.stop, abandon_on_cancel=True)


def contact_of(
    properties: Mapping[bytes, bytes | None], port: int | None, hosts: Iterable[str], ours: Announcement
) -> Contact | None:
    """The contact in a service's answer; None unless it is another node of our network, well described."""
    peer, network = (properties.get(name) or b"" for name in (b"peer", b"network"))
    if network != ours.network.encode() or peer == ours.peer.encode():
        return None
    try:
        name = PeerId(peer.decode("ascii"))
        public_key_of(name)
    except (ProtocolViolation, UnicodeDecodeError):
        return None
    addresses = tuple(filter(is_dialable, (_multiaddress(host, port or 0) for host in hosts)))
    return Contact(name, addresses[:MAX_ADDRESSES]) if addresses else None


def _multiaddress(host: str, port: int) -> str:
    return f"/{'ip6' if ':' in host else 'ip4'}/{host}/tcp/{port}"


def _hand_over(token: trio.lowlevel.TrioToken, send: trio.MemorySendChannel[Contact], contact: Contact) -> None:
    def put() -> None:
        try:
            send.send_nowait(contact)
        except (trio.WouldBlock, trio.BrokenResourceError):
            _LOG.debug("dropped a contact heard on the local network")

    try:
        token.run_sync_soon(put)
    except trio.RunFinishedError:
        _LOG.debug("heard a contact after the end")


class _Session:
    """Announces and browses, in zeroconf's own threads. All of its methods block."""

    def __init__(self, zeroconf: Zeroconf, ours: Announcement, heard: Callable[[Contact], None]) -> None:
        self._zeroconf, self._ours, self._heard = zeroconf, ours, heard
        self._using, self._closed = threading.Lock(), False

    @classmethod
    def start(
        cls, ours: Announcement, heard: Callable[[Contact], None], interfaces: tuple[str, ...] | None
    ) -> _Session:
        """Raises OSError where there is no multicast."""
        from zeroconf import Error, InterfaceChoice, ServiceBrowser, Zeroconf

        zeroconf = Zeroconf(list(interfaces) if interfaces else InterfaceChoice.All, use_asyncio=False)
        session = cls(zeroconf, ours, heard)
        try:
            # A peer id is unique: probing for a name conflict would cost most of a second.
            zeroconf.register_service(_service_of(ours), cooperating_responders=True)
            ServiceBrowser(zeroconf, SERVICE, handlers=[session._on_change])
        except (OSError, Error) as error:
            session.stop()
            raise OSError(f"{type(error).__name__}: {error}") from error
        return session

    def stop(self) -> None:
        """Say goodbye and end the threads."""
        from zeroconf import Error

        with self._using:  # a question in flight would be left behind as a task nobody awaits
            self._closed = True
            try:
                self._zeroconf.close()
            except (OSError, Error) as error:  # its loop is late on a loaded machine, or the network is gone
                _LOG.debug("no goodbye on the local network: %s", error)

    def _on_change(self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        """Called by the browser, in its thread, whenever a name appears, changes or goes."""
        if state_change.name == "Removed":  # the link to it, if there is one, knows better
            return
        try:
            with self._using:
                service = None if self._closed else zeroconf.get_service_info(service_type, name, timeout=RESOLVE_MS)
        except Exception as error:  # noqa: BLE001 - the edge of a thread; zeroconf raises many kinds as it closes
            _LOG.debug("cannot resolve %r: %s", name, error)
            return
        if service is not None:
            contact = contact_of(service.properties, service.port, service.parsed_addresses(), self._ours)
            if contact is not None:
                self._heard(contact)


def _service_of(ours: Announcement) -> ServiceInfo:
    from zeroconf import ServiceInfo

    return ServiceInfo(
        SERVICE,
        f"{ours.peer}.{SERVICE}",
        port=ours.port,
        properties={"peer": ours.peer, "network": ours.network, "port": str(ours.port)},
        server=f"{ours.peer}.local.",
        parsed_addresses=list(ours.hosts),
    )
