"""One end through hivemind's daemon, run by the Python of hivemind's environment. Imports nothing of ours.

The binary stream is the daemon's fastest path: no protobuf, no tensors, bytes through its Unix socket.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import time

from hivemind.p2p import P2P, PeerID

NAME = "benchmark"
FRAME = 1 << 20


def cpu_seconds(daemon: int) -> float:
    """Of this process and its daemon."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    with open(f"/proc/{daemon}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    ours = usage.ru_utime + usage.ru_stime
    return ours + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def say(**report: object) -> None:
    """One line to the benchmark."""
    print(json.dumps(report), flush=True)


async def receive(total: int) -> None:
    """Take everything."""
    node = await P2P.create(host_maddrs=["/ip4/127.0.0.1/tcp/0"], auto_nat=False, use_relay=False)
    done = asyncio.Event()

    async def take(info: object, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        begun, left = cpu_seconds(node._child.pid), total
        while left:
            left -= len(await reader.read(min(left, FRAME)))
        writer.write(b"!")
        await writer.drain()
        say(cpu=cpu_seconds(node._child.pid) - begun)
        done.set()

    await node.add_binary_stream_handler(NAME, take)
    say(addresses=[str(each) for each in await node.get_visible_maddrs()], peer=node.peer_id.to_base58())
    await done.wait()
    await asyncio.sleep(0.2)  # the last byte is still under way
    await node.shutdown()


async def send(total: int, offer: dict[str, object]) -> None:
    """Send everything."""
    node = await P2P.create(initial_peers=offer["addresses"], auto_nat=False, use_relay=False)
    await node.wait_for_at_least_n_peers(1)
    _, reader, writer = await node.call_binary_stream_handler(PeerID.from_base58(offer["peer"]), NAME)
    payload = os.urandom(FRAME)
    begun, cpu = time.perf_counter(), cpu_seconds(node._child.pid)
    for _ in range(total // FRAME):
        writer.write(payload)
        await writer.drain()
    await reader.readexactly(1)
    say(seconds=time.perf_counter() - begun, cpu=cpu_seconds(node._child.pid) - cpu)
    await node.shutdown()


if __name__ == "__main__":
    _, role, size, *rest = sys.argv[1:]  # the contestant comes first
    asyncio.run(receive(int(size)) if role == "receive" else send(int(size), json.loads(rest[0])))
