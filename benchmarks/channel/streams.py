"""A default py-libp2p stream: TCP, Noise, yamux, as ``new_host()`` makes it, a mebibyte in each write."""

from __future__ import annotations

import logging
import os
import time
from typing import Any

import trio
from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.network.stream.net_stream import NetStream
from libp2p.peer.peerinfo import info_from_p2p_addr
from multiaddr import Multiaddr

from benchmarks.channel.processes import cpu_seconds, say

_PROTOCOL = "/benchmark/1"
_FRAME = 1 << 20


async def receive(total: int) -> None:
    """Take everything."""
    logging.disable(logging.CRITICAL)
    host = new_host(key_pair=create_new_key_pair())
    done = trio.Event()

    async def take(stream: NetStream) -> None:
        begun, left = cpu_seconds(), total
        while left:
            left -= len(await stream.read(min(left, _FRAME)))
        await stream.write(b"!")
        say(cpu=cpu_seconds() - begun)
        done.set()

    host.set_stream_handler(_PROTOCOL, take)
    async with host.run(listen_addrs=[Multiaddr("/ip4/127.0.0.1/tcp/0")]):
        say(address=str(host.get_addrs()[0]))
        await done.wait()
        await trio.sleep(0.2)  # the last byte is still under way


async def send(total: int, offer: dict[str, Any]) -> None:
    """Send everything."""
    logging.disable(logging.CRITICAL)
    host = new_host(key_pair=create_new_key_pair())
    async with host.run(listen_addrs=[Multiaddr("/ip4/127.0.0.1/tcp/0")]):
        peer = info_from_p2p_addr(Multiaddr(offer["address"]))
        await host.connect(peer)
        stream = await host.new_stream(peer.peer_id, [_PROTOCOL])
        payload = os.urandom(_FRAME)
        begun, cpu = time.perf_counter(), cpu_seconds()
        for _ in range(total // _FRAME):
            await stream.write(payload)
        await stream.read(1)
        say(seconds=time.perf_counter() - begun, cpu=cpu_seconds() - cpu)
