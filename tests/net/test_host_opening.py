"""Opening and closing a host, and who can connect to it."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest
import trio
from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.exceptions import BaseLibp2pError
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.security.insecure.transport import PLAINTEXT_PROTOCOL_ID, InsecureTransport
from multiaddr import Multiaddr

from swarmd.net.host import open_host
from swarmd.net.host.addresses import listening
from swarmd.net.transport import Stream, StreamLimits
from swarmd.protocols.errors import PeerLost, StateError, UsageError

LOOPBACK = ("/ip4/127.0.0.1/tcp/0",)
ECHO = "/test/echo/1"


def host(number: int, *, listen=LOOPBACK, psk: str | None = None):
    return open_host(
        key_seed=bytes([number] * 32), listen=listen, psk=psk, namespace="test", check=lambda key, value: 0
    )


async def echo(stream: Stream) -> None:
    await stream.send_all(await stream.receive_exactly(100_000))


@pytest.mark.net
@pytest.mark.slow
async def test_an_error_inside_comes_out_as_it_is():
    with pytest.raises(ValueError, match="ours"):
        async with host(1):
            raise ValueError("ours")


@pytest.mark.net
@pytest.mark.slow
async def test_an_address_in_use_or_no_address_at_all_is_said_plainly():
    async with host(1, listen=("/ip4/127.0.0.1/tcp/0", "/ip6/::1/tcp/0")) as (transport, _):
        assert len(transport.addresses()) == 2
        with pytest.raises(StateError, match="cannot listen"):
            async with host(2, listen=transport.addresses()[:1]):
                pass
    for wrong in ({"listen": ("127.0.0.1:4001",)}, {"listen": ("/ip4/127.0.0.1",)}, {"psk": "secret"}):
        with pytest.raises(UsageError):
            async with host(1, **wrong):
                pass
    with pytest.raises(StateError, match=r"192\.0\.2\.1"):
        async with host(1, listen=("/ip4/192.0.2.1/tcp/4001",)):
            pass


@pytest.mark.net
@pytest.mark.slow
async def test_a_private_swarm_lets_in_only_those_with_its_key(monkeypatch):
    async with (
        host(1, psk="1f" * 32) as (here, _),
        host(2, psk="1f" * 32) as (there, _),
        host(3, psk="2e" * 32) as (alien, _),
    ):
        there.handle(ECHO, echo, StreamLimits())
        await here.dial(there.peer_id, there.addresses())
        stream = await here.open_stream(there.peer_id, ECHO)
        await stream.send_all(bytes(100_000))
        assert await stream.receive_exactly(100_000) == bytes(100_000)
        assert there.remote_addresses(here.peer_id)
        monkeypatch.setattr("swarmd.net.host.dial._PER_ADDRESS", 0.5)
        with pytest.raises(PeerLost), trio.fail_after(10):
            await alien.dial(there.peer_id, there.addresses())


def stock(**options: object):
    """A host as the library makes it, with its own noise and yamux."""
    return new_host(key_pair=create_new_key_pair(b"s" * 32), listen_addrs=[Multiaddr(LOOPBACK[0])], **options)


@pytest.mark.net
@pytest.mark.slow
async def test_a_stock_host_and_ours_understand_each_other():
    other = stock()

    async def library_echo(stream) -> None:
        received = b""
        while len(received) < 100_000:
            received += await stream.read(65536)
        await stream.write(received)

    async with other.run([Multiaddr(LOOPBACK[0])]), host(1) as (ours, _):
        ours.handle(ECHO, echo, StreamLimits())
        other.set_stream_handler(ECHO, library_echo)
        await ours.dial(other.get_id().to_base58(), tuple(map(str, other.get_addrs())))
        stream = await ours.open_stream(other.get_id().to_base58(), ECHO)
        await stream.send_all(b"x" * 100_000)
        assert await stream.receive_exactly(100_000) == b"x" * 100_000
        back = await other.new_stream(info_of(ours).peer_id, [ECHO])
        await back.write(b"y" * 100_000)
        received = b""
        while len(received) < 100_000:
            received += await back.read(65536)
        assert received == b"y" * 100_000


def info_of(transport):
    return info_from_p2p_addr(Multiaddr(f"{transport.addresses()[0]}/p2p/{transport.peer_id}"))


@pytest.mark.net
@pytest.mark.slow
async def test_plaintext_is_not_let_in():
    other = stock(sec_opt={PLAINTEXT_PROTOCOL_ID: InsecureTransport(create_new_key_pair(b"s" * 32))})
    async with other.run([Multiaddr(LOOPBACK[0])]), host(1) as (ours, _):
        with pytest.raises(BaseLibp2pError), trio.fail_after(30):
            await other.connect(info_of(ours))
        assert not ours.connected()


@pytest.mark.net
@pytest.mark.slow
def test_a_program_with_two_hosts_ends_without_a_word():
    program = textwrap.dedent("""
        import trio
        from swarmd.net.host import open_host

        def host(number):
            return open_host(key_seed=bytes([number] * 32), listen=("/ip4/127.0.0.1/tcp/0",), psk=None,
                             namespace="test", check=lambda key, value: 0)

        async def main():
            async with host(1) as (one, records), host(2) as (other, _):
                await one.dial(other.peer_id, other.addresses())
                await records.put(f"/test/{one.peer_id}", b"value")

        trio.run(main)
    """)
    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", program],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_a_wildcard_is_spelled_out_with_loopback_last():
    spelled = listening(("/ip4/0.0.0.0/tcp/4001", "/ip4/10.9.8.7/tcp/4001"))
    assert "/ip4/0.0.0.0/tcp/4001" not in spelled
    assert "/ip4/10.9.8.7/tcp/4001" in spelled
    assert "/ip4/127.0.0.1/tcp/4001" in spelled
