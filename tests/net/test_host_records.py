"""What the hash table keeps, and how it looks for it."""

from __future__ import annotations

import hashlib

import pytest
import trio
from libp2p.kad_dht.utils import sort_peer_ids_by_distance
from libp2p.peer.id import ID

from swarmd.net.counters import Counters
from swarmd.net.host.stores import LARGEST_RECORD
from swarmd.net.host.validator import CheckedRecord
from swarmd.net.host.walk import NEAREST, Walk
from swarmd.protocols.errors import ProtocolViolation


def sequence(key: str, value: bytes) -> int:
    if not value.startswith(b"#"):
        raise ProtocolViolation("no sequence")
    return int(value[1:].split(b"|")[0])


@pytest.fixture
def counters() -> Counters:
    return Counters()


@pytest.fixture
def record(counters) -> CheckedRecord:
    return CheckedRecord(sequence, counters)


@pytest.mark.parametrize(
    ("held", "offered", "chosen"),
    [
        (b"#1|a", b"#2|b", 1),
        (b"#2|b", b"#1|a", 0),
        (b"#1|a", b"#1|b", 0),  # of two with one number, the one that came first
        (b"#1|a", b"#1|a", 1),  # a renewal is acknowledged
        (b"expired", b"#0|a", 1),
    ],
)
def test_the_higher_sequence_number_wins(record, held, offered, chosen):
    assert record.select("/t/key", [held, offered]) == chosen


def test_a_record_that_fails_the_check_or_is_too_large_is_refused_and_counted(record, counters):
    for bad in (b"forged", b"#1|" + bytes(LARGEST_RECORD)):
        with pytest.raises(ProtocolViolation):
            record.validate("/t/key", bad)
    assert counters.snapshot()["records_refused"] == 2
    record.validate("/t/key", b"#1|fine")


PEERS = [ID(hashlib.sha256(bytes([number])).digest()) for number in range(200)]


async def test_a_walk_finds_the_nearest_though_it_starts_far_away(autojump_clock):
    ranked = sort_peer_ids_by_distance(b"key", PEERS)

    async def ask(peer: ID) -> list[ID]:
        await trio.sleep(0.05)
        place = ranked.index(peer)
        return ranked[place // 2 : place // 2 + 5]

    found = await Walk(b"key", ranked[-3:], ask, lambda: False).run(10)
    assert found[:5] == ranked[:5]
    assert trio.current_time() < 2


async def test_a_walk_leaves_out_those_that_cannot_be_reached(autojump_clock):
    ranked = sort_peer_ids_by_distance(b"key", PEERS)

    async def ask(peer: ID) -> list[ID] | None:
        return None if ranked.index(peer) % 2 else ranked[: 2 * NEAREST]

    found = await Walk(b"key", ranked[:1], ask, lambda: False).run(10)
    assert found == ranked[: 2 * NEAREST : 2]


async def test_a_walk_among_liars_and_the_silent_ends_in_time(autojump_clock):
    asked = []

    async def ask(peer: ID) -> list[ID]:
        asked.append(peer)
        if len(asked) % 3 == 0:
            await trio.sleep_forever()
        return [ID(hashlib.sha256(peer.to_bytes() + bytes([number])).digest()) for number in range(50)]

    await Walk(b"key", PEERS[:3], ask, lambda: False).run(10)
    assert trio.current_time() <= 10
    assert len(asked) <= 60
