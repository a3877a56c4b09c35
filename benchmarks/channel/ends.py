"""One end of a contestant: ``python -m benchmarks.channel.ends CONTESTANT receive|send BYTES [OFFER]``."""

from __future__ import annotations

import json
import sys
from typing import Any

import trio

from benchmarks.channel import beside, links, raw, streams

CAP_MBIT = 40.0


def receive(contestant: str, total: int) -> None:
    """The end that takes."""
    match contestant:
        case "raw":
            raw.receive(total)
        case "libp2p":
            trio.run(streams.receive, total)
        case "beside" | "beside-capped":
            trio.run(beside.receive, total)
        case _:
            trio.run(links.receive, total, contestant == "link+roots", _frame(contestant))


def send(contestant: str, total: int, offer: dict[str, Any]) -> None:
    """The end that sends."""
    match contestant:
        case "raw":
            raw.send(total, offer)
        case "libp2p":
            trio.run(streams.send, total, offer)
        case "beside" | "beside-capped":
            trio.run(beside.send, total, offer, CAP_MBIT if contestant == "beside-capped" else 0.0)
        case _:
            trio.run(links.send, total, contestant == "link+roots", _frame(contestant), offer)


def _frame(contestant: str) -> int:
    return 16 << 20 if contestant == "link16" else 1 << 20


if __name__ == "__main__":
    _, name, role, size, *rest = sys.argv
    if role == "receive":
        receive(name, int(size))
    else:
        send(name, int(size), json.loads(rest[0]))
