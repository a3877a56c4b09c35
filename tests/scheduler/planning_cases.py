"""Seeded sets of uneven peers, and every plan there is for small ones."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import exp
from random import Random

from swarmd.protocols.ids import PeerId
from swarmd.scheduler.cover import Kind, Rates
from swarmd.scheduler.profiles import ModelProfile, Place, WorkerProfile

MIB = 1 << 20


def uneven(layers: int, peers: int, seed: int) -> tuple[list[WorkerProfile], ModelProfile]:
    """Speeds spread by a lognormal, four sizes of memory, uplinks from 20 to 1000 Mbit/s where 50 is scarce."""
    random = Random(seed)
    model = ModelProfile(
        layers=layers, layer_bytes=MIB, embed_bytes=MIB // 2, head_bytes=MIB // 2, boundary_bytes=35_000
    )
    return [_peer(number, layers, peers, random) for number in range(peers)], model


def _peer(number: int, layers: int, peers: int, random: Random) -> WorkerProfile:
    speed = exp(random.gauss(0, 0.6))
    room = random.choice([6, 8, 12, 16, 24]) / 4 * layers / peers * max(1.0, peers / 8)
    return WorkerProfile(
        peer=PeerId(f"p{number:07}"),
        seconds_per_layer=0.1 / speed,
        seconds_embed=0.02 / speed,
        seconds_head=0.08 / speed,
        memory_bytes=int(max(2.5, room) * MIB),
        uplink_bytes_per_s=random.choice([20, 50, 100, 300, 1000]) * 2e4,
    )


def best_of_all(workers: list[WorkerProfile], model: ModelProfile) -> float:
    """The rate of the best of all plans with replicas, by looking at each."""
    rates = Rates(workers, model)
    return max(
        _best_cover([rates.of(kind) for kind in kinds], len(workers))
        for stages in range(1, min(len(workers), model.layers) + 1)
        for kinds in {_kinds(cut) for cut in _cuts(model.layers, stages)}
    )


def _best_cover(columns: list[list[float]], peers: int) -> float:
    best = 0.0
    for who in product(range(len(columns)), repeat=peers):
        sums = [0.0] * len(columns)
        for peer, stage in enumerate(who):
            sums[stage] += columns[stage][peer]
        best = max(best, min(sums))
    return best


def _kinds(cut: tuple[int, ...]) -> tuple[Kind, ...]:
    """Middle stages sorted: their order does not matter."""
    if len(cut) == 1:
        return ((cut[0], Place.ONLY),)
    middles = ((count, Place.MIDDLE) for count in sorted(cut[1:-1]))
    return ((cut[0], Place.FIRST), *middles, (cut[-1], Place.LAST))


def _cuts(layers: int, stages: int) -> Iterator[tuple[int, ...]]:
    if stages == 1:
        yield (layers,)
        return
    for first in range(1, layers - stages + 2):
        yield from ((first, *rest) for rest in _cuts(layers - first, stages - 1))
