"""Members and coordinators that break the rules: each costs the other side little, and is out at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from swarmd.blobs import BlobStore
from swarmd.identity import Identity
from swarmd.net.transport import Stream, StreamLimits
from swarmd.network import MAIN
from swarmd.protocols.checkpoint import UnitState
from swarmd.protocols.errors import PeerLost, ProtocolViolation
from swarmd.protocols.ids import BlobHash, PeerId
from swarmd.protocols.messages import (
    BLOB_PROTOCOL,
    FROM_COORDINATOR,
    FROM_MEMBER,
    SESSION_PROTOCOL,
    Accepted,
    Assign,
    Beat,
    Begin,
    BlobHead,
    Checkpointed,
    Connect,
    Connected,
    Declined,
    Evaluated,
    Failed,
    Finished,
    GetBlob,
    Halt,
    Halted,
    Heartbeat,
    Offer,
    Probe,
    Profiled,
    Ready,
    StepDone,
)
from swarmd.protocols.spec import JobSpec, NumericsSpec
from swarmd.protocols.statements import Plan, RunStatement, StageAssignment, sign_plan, sign_run
from swarmd.runs.blob_exchange import Grants, fetch_blob
from swarmd.runs.conduct import MAX_FAILURES, MAX_STEPS_AHEAD, Conduct
from swarmd.runs.offers import OFFERS
from swarmd.runs.orders import HALTS, HEARTBEATS, PREPARE_SECONDS, Orders
from swarmd.runs.session import Session
from swarmd.runs.sizes import KEPT_CHECKPOINTS, disk_bytes, shard_sizes, unit_sizes
from swarmd.runs.view import state_words
from tests.protocols.specs import SPEC
from tests.runs.nodes import TestNode, open_swarm, until
from tests.runs.test_runs import submit

A, B = BlobHash("a" * 64), BlobHash("b" * 64)
SPECIFIED = replace(SPEC, schedule=replace(SPEC.schedule, steps=10, eval_every=5, checkpoint_every=5))
FIRST = StageAssignment(PeerId("x"), 0, 1, 1, ())
LAST = StageAssignment(PeerId("y"), 1, 2, 1, ())
OPENING = (Accepted(30, 1), Profiled(1, 1, 1, 1, 0, ""), Ready(0), Connected())
UNITS = tuple(UnitState(name, A, B) for name in ("layers.1", "head"))


def holder(stage: StageAssignment = LAST, version: int = 0) -> Conduct:
    """A member that holds a stage and has been told to train."""
    conduct = Conduct(SPECIFIED)
    conduct.holds(stage, version)
    for message in (*OPENING[:2], Ready(version), OPENING[3]):
        conduct.check(message, beats=0, step=0)
    return conduct


def step(number: int) -> StepDone:
    return StepDone(number, "1.0", ("1.0", "2.0"))


def hears(conduct: Conduct, *messages: object, beats: int = 0, done: int = 0) -> None:
    for message in messages:
        conduct.check(message, beats=beats, step=done)


def test_an_honest_member_is_heard_to_the_end() -> None:
    conduct = holder()
    hears(conduct, Evaluated(0, "5.5"), Beat(1, 0, 0, 0, 0, 0, 0, 0, 0), beats=1)
    for number in range(1, 11):
        hears(conduct, step(number))
        if number % 5 == 0:
            hears(conduct, Evaluated(number, "1.5"), Checkpointed(number, UNITS))
    hears(conduct, Finished(10))


def test_a_member_that_goes_on_from_a_checkpoint_begins_there() -> None:
    hears(holder(version=5), step(6))
    with pytest.raises(ProtocolViolation):
        hears(holder(version=5), step(1))


@pytest.mark.parametrize("message", [Profiled(1, 1, 1, 1, 0, ""), Ready(0), Connected(), step(1), Finished(10)])
def test_a_member_says_nothing_before_it_has_accepted(message: object) -> None:
    with pytest.raises(ProtocolViolation):
        hears(Conduct(SPECIFIED), message)


@pytest.mark.parametrize("message", OPENING)
def test_what_is_said_once_is_not_said_twice(message: object) -> None:
    with pytest.raises(ProtocolViolation, match="out of turn"):
        hears(holder(), message)


@pytest.mark.parametrize(
    "messages",
    [
        (Declined("no", ""),),
        (step(2),),
        (step(1), step(1)),
        (StepDone(1, None, ("1.0", "2.0")),),
        (StepDone(1, "1.0", ("1.0",)),),
        (Evaluated(1, "1.0"),),
        (Evaluated(0, "1.0"), Evaluated(0, "1.0")),
        (Evaluated(5, "1.0"),),
        (Checkpointed(5, UNITS),),
        (*map(step, range(1, 6)), Checkpointed(5, UNITS), Checkpointed(5, UNITS)),
        (*map(step, range(1, 6)), Checkpointed(4, UNITS)),
        (*map(step, range(1, 6)), Checkpointed(5, UNITS[:1])),
        (*map(step, range(1, 6)), Checkpointed(5, (UnitState("layers.0", A, B), UNITS[1]))),
        (*map(step, range(1, 6)), Checkpointed(5, (UnitState("layers.1", A), UNITS[1]))),
        (*map(step, range(1, 10)), Finished(9)),
        (*map(step, range(1, 12)),),
        (Failed("x", "", ""),) * (MAX_FAILURES + 1),
    ],
)
def test_a_holder_says_only_what_the_run_has_for_it(messages: tuple[object, ...]) -> None:
    with pytest.raises(ProtocolViolation):
        hears(holder(), *messages)


def test_only_the_last_stage_scores() -> None:
    with pytest.raises(ProtocolViolation):
        hears(holder(FIRST), Evaluated(0, "1.0"))
    with pytest.raises(ProtocolViolation):
        hears(holder(FIRST), step(1))


def test_a_stage_cannot_report_far_ahead_of_the_run() -> None:
    conduct = Conduct(replace(SPECIFIED, schedule=replace(SPECIFIED.schedule, steps=1_000_000)))
    conduct.holds(LAST, 0)
    hears(conduct, *OPENING, *map(step, range(1, MAX_STEPS_AHEAD + 1)))
    with pytest.raises(ProtocolViolation):
        hears(conduct, step(MAX_STEPS_AHEAD + 1))


def test_a_beat_answers_a_heartbeat_that_was_sent() -> None:
    beat = Beat(1, 0, 0, 0, 0, 0, 0, 0, 0)
    conduct = holder()
    with pytest.raises(ProtocolViolation):
        hears(conduct, beat, beats=0)
    conduct = holder()
    hears(conduct, beat, beats=3)
    with pytest.raises(ProtocolViolation):
        hears(conduct, beat, beats=3)


def test_the_size_of_every_blob_follows_from_the_spec() -> None:
    assert dict(shard_sizes(SPEC)) == {SPEC.data.train[0].blob: 2 * SPEC.data.held_out[0].tokens}
    weights, moments = unit_sizes(SPEC, UnitState("embed", A, B))
    assert (weights[0], moments[0]) == (A, B)
    assert weights[1] - (1 << 16) == 256 * 8 * 4
    assert [blob for blob, _ in unit_sizes(SPEC, UnitState("head", A))] == [A]
    assert disk_bytes(SPEC) > 3 * 12 * 256 * 8


def test_a_coordinator_that_never_begins_loses_its_lease() -> None:
    orders = Orders(0.0)
    orders.check(Probe(), 1.0)
    orders.check(Heartbeat(1), PREPARE_SECONDS)
    with pytest.raises(PeerLost, match="did not begin"):
        orders.check(Heartbeat(2), PREPARE_SECONDS + 1)


def test_a_member_that_was_asked_to_stand_still_says_so_once_and_begins_anew() -> None:
    conduct = holder()
    hears(conduct, *map(step, range(1, 6)), Checkpointed(5, UNITS))
    conduct.halts()
    hears(conduct, step(6), Halted(6, 5))
    conduct.holds(LAST, 5, again=True)
    hears(conduct, Ready(5), Connected(), Checkpointed(5, UNITS), step(6))


@pytest.mark.parametrize(
    "messages",
    [(Halted(0, 0), Halted(0, 0)), (Halted(1, 0),), (Halted(0, 0), step(1)), (Halted(0, 0), Connected())],
)
def test_a_member_that_stands_still_says_nothing_else(messages: tuple[object, ...]) -> None:
    conduct = holder()
    conduct.halts()
    with pytest.raises(ProtocolViolation, match="out of turn"):
        hears(conduct, *messages)


def test_nobody_stands_still_unasked() -> None:
    with pytest.raises(ProtocolViolation, match="Halted came out of turn"):
        hears(holder(), Halted(0, 0))


ORDERED = (Assign(b"", 0), Connect(), Begin())


def test_after_a_halt_a_place_is_given_anew() -> None:
    orders = Orders(0.0)
    for message in (Probe(), *ORDERED, Halt(), *ORDERED, Heartbeat(1)):
        orders.check(message, 0.0)
    with pytest.raises(ProtocolViolation, match="Assign came out of turn"):
        orders.check(ORDERED[0], 0.0)


@pytest.mark.parametrize("before", [(), (Probe(),)])
def test_who_has_no_place_is_not_halted(before: tuple[object, ...]) -> None:
    orders = Orders(0.0)
    for message in before:
        orders.check(message, 0.0)
    with pytest.raises(ProtocolViolation, match="Halt came out of turn"):
        orders.check(Halt(), 0.0)


def test_nobody_is_halted_again_and_again() -> None:
    orders = Orders(0.0)
    for _ in range(HALTS[1]):
        for message in (*ORDERED, Halt()):
            orders.check(message, 0.0)
    orders.check(ORDERED[0], 0.0)
    with pytest.raises(ProtocolViolation, match="too often"):
        orders.check(Halt(), 0.0)


# --- over streams


async def everything(session: Session) -> None:
    while True:
        await session.receive()


class Attacker:
    """A coordinator of our own making, which says what it likes to one node."""

    def __init__(self, node: TestNode, other: TestNode, spec: JobSpec) -> None:
        self.node, self.other, self.spec = node, other, spec
        self.me: Identity = other.deps.identity
        self.statement = RunStatement(MAIN.id, spec.spec_id, self.me.peer, bytes(16), 1)

    async def session(self) -> Session:
        stream = await self.other.transport.open_stream(self.node.peer, SESSION_PROTOCOL)
        session = Session(stream, FROM_COORDINATOR, FROM_MEMBER)
        await session.send(Offer(sign_run(self.statement, self.me.sign), self.spec.to_bytes(), 1))
        return session

    async def accepted(self) -> Session:
        session = await self.session()
        assert isinstance(await session.receive(), Accepted)
        return session

    def plan(self, credit: int) -> Assign:
        stage = StageAssignment(self.node.peer, 0, self.spec.model.num_hidden_layers, credit, ())
        plan = Plan(self.statement.run, 1, 1, (stage,), None)
        return Assign(sign_plan(plan, MAIN.id, self.me.peer, self.me.sign), 0)

    async def thrown_out(self, session: Session) -> None:
        with pytest.raises(PeerLost):
            await everything(session)
        await until(lambda: not self.node.deps.leases.held)


@asynccontextmanager
async def attacked(folder: Path, spec: JobSpec = SPEC, **settings: object) -> AsyncIterator[Attacker]:
    async with open_swarm(folder) as swarm:
        node, other = await swarm.add(**settings), await swarm.add()
        yield Attacker(node, other, spec)


async def test_a_probe_asked_for_twice_ends_the_session(tmp_path: Path) -> None:
    async with attacked(tmp_path) as attacker:
        session = await attacker.accepted()
        for _ in range(2):
            await session.send(Probe())
        await attacker.thrown_out(session)
        assert attacker.node.transport.counters()["violations"] == 1


async def test_a_flood_of_heartbeats_ends_the_session(tmp_path: Path) -> None:
    async with attacked(tmp_path) as attacker:
        session = await attacker.accepted()
        for number in range(HEARTBEATS[1] + 10):
            await session.send(Heartbeat(number))
        await attacker.thrown_out(session)


async def test_a_stage_larger_than_what_was_promised_is_refused(tmp_path: Path) -> None:
    async with attacked(tmp_path, memory_limit=210_000) as attacker:  # a stage of one layer would fit
        session = await attacker.accepted()
        await session.send(attacker.plan(credit=1))
        answer = await session.receive()
        assert isinstance(answer, Failed)
        assert "of memory" in answer.message


async def test_a_stage_that_is_not_here_cannot_go_on(tmp_path: Path) -> None:
    async with attacked(tmp_path) as attacker:
        session = await attacker.accepted()
        await session.send(replace(attacker.plan(credit=1), version=3))
        answer = await session.receive()
        assert isinstance(answer, Failed)
        assert "which is not here" in answer.message


async def test_a_halt_before_the_stage_is_built_is_out_of_turn(tmp_path: Path) -> None:
    async with attacked(tmp_path, memory_limit=210_000) as attacker:
        session = await attacker.accepted()
        await session.send(attacker.plan(credit=1))
        await session.send(Halt())
        answers = [await session.receive(), await session.receive()]
        assert any("Halt came out of turn" in answer.message for answer in answers if isinstance(answer, Failed))


async def test_replicas_are_refused_where_the_sum_depends_on_the_order(tmp_path: Path) -> None:
    async with attacked(tmp_path, replace(SPEC, numerics=NumericsSpec(sum="ordered"))) as attacker:
        session = await attacker.accepted()
        peers = sorted((attacker.node.peer, attacker.me.peer))
        layers = attacker.spec.model.num_hidden_layers
        places = tuple(StageAssignment(peer, 0, layers, 1, (), service=1) for peer in peers)
        plan = Plan(attacker.statement.run, 1, 1, places, None)
        raw = sign_plan(plan, MAIN.id, attacker.me.peer, attacker.me.sign)
        await session.send(Assign(raw, peers.index(attacker.node.peer)))
        answer = await session.receive()
        assert isinstance(answer, Failed)
        assert "replicas" in answer.message


async def test_too_many_offers_are_declined_unread(tmp_path: Path) -> None:
    async with attacked(tmp_path, accept="self") as attacker:
        reasons = []
        for _ in range(OFFERS[1] + 1):
            answer = await (await attacker.session()).receive()
            assert isinstance(answer, Declined)
            reasons.append(answer.reason)
        assert set(reasons[:-1]) == {reasons[0]}
        assert "takes its owner's jobs only" in reasons[0]
        assert reasons[-1] == "too many offers"
        assert not attacker.node.deps.paths.leases.exists()


async def test_a_stranger_is_refused_before_its_spec_is_read(tmp_path: Path) -> None:
    async with attacked(tmp_path, accept="self") as attacker:
        stream = await attacker.other.transport.open_stream(attacker.node.peer, SESSION_PROTOCOL)
        session = Session(stream, FROM_COORDINATOR, FROM_MEMBER)
        await session.send(Offer(sign_run(attacker.statement, attacker.me.sign), b"no spec", 1))
        assert isinstance(await session.receive(), Declined)


async def test_a_job_that_would_fill_the_disk_is_refused(tmp_path: Path) -> None:
    async with attacked(tmp_path, disk_quota=1 << 16) as attacker:
        answer = await (await attacker.session()).receive()
        assert isinstance(answer, Declined)
        assert "disk" in answer.reason


@pytest.mark.parametrize("size", [1001, 1 << 60])
async def test_a_blob_larger_than_the_spec_allows_is_not_taken(tmp_path: Path, size: int) -> None:
    async def lie(stream: Stream) -> None:
        session = Session(stream, (BlobHead,), (GetBlob,))
        await session.receive()
        await session.send(BlobHead(size))

    async with attacked(tmp_path) as attacker:
        liar, node = attacker.other.transport, attacker.node
        liar.handle(BLOB_PROTOCOL, lie, StreamLimits())
        store = BlobStore(tmp_path / "store")
        with pytest.raises(ProtocolViolation, match="1000"):
            await fetch_blob(node.deps.routes, Grants(), liar.peer_id, attacker.statement.run, A, store, 1000)
        assert not store.root.exists()


@pytest.mark.slow
@pytest.mark.net
async def test_old_checkpoints_go_on_both_sides(tmp_path: Path) -> None:
    async with open_swarm(tmp_path) as swarm:
        node = await swarm.add()
        record = await submit(node, tmp_path, stages=1, steps=40)
        lease = tmp_path / "node-1" / "leases" / record.run
        most = 0
        while (words := state_words(record)[0]) not in ("done", "failed"):
            most = max(most, len(list(lease.glob("blobs/??/*"))))
            with trio.move_on_after(0.05):
                await node.runs.changed.wait()
        assert words == "done"
        blobs_each = 2 * (record.spec.model.num_hidden_layers + 2)
        assert most <= len(shard_sizes(record.spec)) + (KEPT_CHECKPOINTS + 2) * blobs_each
        assert len(record.kept) <= KEPT_CHECKPOINTS
        kept = {name for each in record.kept for name in each.names}
        shards = {blob for blob, _ in shard_sizes(record.spec)}
        assert set(node.deps.blobs.names()) <= kept | shards
