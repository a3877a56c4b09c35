"""What a hostile peer says: real messages, bent out of shape; and bytes that never were any."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from libp2p.kad_dht.pb.kademlia_pb2 import Message as KadMessage
from libp2p.utils.varint import encode_uvarint

from swarmd.identity import Identity
from swarmd.network import MAIN
from swarmd.protocols.advert_messages import ADVERT_PROTOCOL, GetAdvert, KnownAdverts
from swarmd.protocols.canonical import Value, decode, encode
from swarmd.protocols.ids import BlobHash, NetworkId, PeerId, RunId
from swarmd.protocols.messages import (
    BLOB_PROTOCOL,
    FROM_COORDINATOR,
    LINK_PROTOCOL,
    SESSION_PROTOCOL,
    Assign,
    GetBlob,
    Heartbeat,
    Offer,
    OpenLink,
    Probe,
    Release,
)
from swarmd.protocols.registry import Registry
from swarmd.protocols.statements import Plan, RunStatement, StageAssignment, sign_plan, sign_run
from tests.protocols.keys import Who, signed
from tests.protocols.specs import SPEC

KAD = "/ipfs/kad/1.0.0"
ABSURD = (-1, 0, 1 << 31, (1 << 63) - 1, -(1 << 63), True, None, "", "\u2603" * 40, b"\0" * 33, (), ((),) * 9)


@dataclass(frozen=True, slots=True)
class Target:
    """What a stranger can know of the daemon it attacks: whom, and the id of a run and a blob there."""

    peer: PeerId
    run: RunId
    blob: BlobHash


class Phrases:
    """Messages of one attacker, seeded. Every one is refused by an honest node, or answered with nothing."""

    def __init__(self, attacker: Identity, target: Target, chance: random.Random) -> None:
        self._me, self._target, self._chance = attacker, target, chance
        self._real: dict[str, tuple[Callable[[], bytes], ...]] = {
            SESSION_PROTOCOL: (self._offer, self._offer, self._offer, self._from_coordinator),
            BLOB_PROTOCOL: (lambda: Registry(GetBlob).encode(GetBlob(target.run, target.blob)),),
            LINK_PROTOCOL: (self._open_link,),
            ADVERT_PROTOCOL: (self._advert_question,),
        }

    def of(self, protocol: str) -> bytes:
        """Bytes to write on a new stream of this protocol."""
        kind = self._chance.randrange(4)
        if kind == 0:
            return self.noise()
        if kind == 1:
            return self._chance.choice(
                (_framed(self.noise()), b"\xff\xff\xff\xff", encode_uvarint(1 << 40) + self.noise(), b"\0\0\0\0")
            )
        if protocol == KAD:
            return self._kad()
        real = self._real.get(protocol)
        return self.noise() if real is None else _framed(self._bent(self._chance.choice(real)()))

    def noise(self, most: int = 400) -> bytes:
        """Random bytes."""
        return self._chance.randbytes(self._chance.randrange(most))

    def strangers_offer(self) -> bytes:
        """A faultless offer, by somebody the node's owner does not know."""
        me = self._me
        statement = RunStatement(MAIN.id, SPEC.spec_id, me.peer, bytes(16), 1)
        return _framed(Registry(Offer).encode(Offer(sign_run(statement, me.sign), SPEC.to_bytes(), 1)))

    def _bent(self, raw: bytes) -> bytes:
        """The message as it is, with a byte flipped, cut short, or with a field of another kind or size."""
        chance = self._chance
        kind = chance.randrange(8)
        if kind == 0:
            return raw
        if kind == 1:
            return raw[: chance.randrange(len(raw))]
        if kind == 2:
            place = chance.randrange(len(raw))
            return raw[:place] + bytes([raw[place] ^ 1 << chance.randrange(8)]) + raw[place + 1 :]
        name, fields = decode(raw, limit=1 << 21)  # type: ignore[misc]
        return encode((name, bend(fields, chance)))

    def _offer(self) -> bytes:
        chance, me = self._chance, self._me
        spec = chance.choice((SPEC, *_absurd_specs()))
        statement = RunStatement(
            chance.choice((MAIN.id, NetworkId("5a" * 32))),
            spec.spec_id,
            chance.choice((me.peer, me.peer, self._target.peer)),
            chance.randbytes(16),
            1,
        )
        raw = sign_run(statement, me.sign)
        return Registry(Offer).encode(Offer(raw, spec.to_bytes(), chance.choice((1, 0, -5))))

    def _from_coordinator(self) -> bytes:
        me, chance = self._me, self._chance
        stage = StageAssignment(self._target.peer, 0, 2, 1, ("/ip4/127.0.0.1/tcp/1",))
        plan = Plan(self._target.run, 1, 1, (stage,), self._target.blob)
        message = chance.choice(
            (Probe(), Heartbeat(1), Release("x"), Assign(sign_plan(plan, MAIN.id, me.peer, me.sign), 0))
        )
        return Registry(*FROM_COORDINATOR).encode(message)

    def _open_link(self) -> bytes:
        return Registry(OpenLink).encode(OpenLink(self._target.run, 1, 1, self._chance.randrange(3), 0))

    def _advert_question(self) -> bytes:
        me = self._me
        question = self._chance.choice((GetAdvert(signed(Who(me.seed, me.peer, me.sign))), KnownAdverts("", 48)))
        return Registry(GetAdvert, KnownAdverts).encode(question)

    def _kad(self) -> bytes:
        chance = self._chance
        message = KadMessage(type=chance.randrange(6), key=chance.randbytes(chance.choice((0, 3, 34, 200))))
        if chance.random() < 0.5:
            message.record.key = chance.choice((message.key, f"/swarmd/{self._target.peer}".encode(), b"\xff"))
            message.record.value = chance.randbytes(chance.choice((0, 10, 20_000)))
        for peers in (message.closerPeers, message.providerPeers):
            for _ in range(chance.randrange(3)):
                peers.add(id=chance.randbytes(20), addrs=[chance.randbytes(6)])
        body = message.SerializeToString()
        return encode_uvarint(len(body)) + body


def bend(value: Value, chance: random.Random) -> Value:
    """The value with one part, however deep, replaced by another kind or size."""
    if isinstance(value, tuple) and value and chance.random() < 0.9:
        place = chance.randrange(len(value))
        return (*value[:place], bend(value[place], chance), *value[place + 1 :])
    return chance.choice(ABSURD)


def _absurd_specs() -> tuple[Any, ...]:
    wide = replace(SPEC.model, hidden_size=65_536, intermediate_size=1 << 20, vocab_size=1 << 22)
    return (
        replace(SPEC, model=wide),
        replace(SPEC, model=replace(SPEC.model, num_hidden_layers=1 << 40)),
        replace(SPEC, batch=replace(SPEC.batch, micro_batch_size=0)),
        replace(SPEC, name="\x1b[2Jgone"),
        replace(SPEC, data=replace(SPEC.data, train=SPEC.data.train * 4097)),
    )


def _framed(payload: bytes) -> bytes:
    return len(payload).to_bytes(4, "big") + payload
