"""Runs as values: a record of a small spec, a plan over it, and what members would say."""

from __future__ import annotations

from dataclasses import replace

from swarmd.protocols.ids import BlobHash, PeerId
from swarmd.protocols.jobtables import RunTable
from swarmd.protocols.messages import Beat, Profiled, StepDone
from swarmd.protocols.spec import JobSpec
from swarmd.protocols.statements import Plan, RunStatement, StageAssignment, sign_run
from swarmd.runs.blob_exchange import Grant
from swarmd.runs.deps import RunDeps
from swarmd.runs.record import RunRecord, spec_blobs
from tests.protocols.specs import SPEC

A, B = PeerId("12D3KooWAAAA"), PeerId("12D3KooWBBBB")
FOUR_LAYERS = replace(SPEC, model=replace(SPEC.model, num_hidden_layers=4))


def blob(number: int) -> BlobHash:
    """A blob's name that stands for nothing."""
    return BlobHash(f"{number:064x}")


def record_of(deps: RunDeps, spec: JobSpec = FOUR_LAYERS, *, nonce: int = 1) -> RunRecord:
    """A run of this node that has not begun."""
    me = deps.identity.peer
    statement = RunStatement(deps.network.id, spec.spec_id, me, bytes([nonce]) * 16, 1_700_000_000)
    return RunRecord(
        run=statement.run,
        name=spec.name,
        spec=spec,
        statement=statement,
        signed=sign_run(statement, deps.identity.sign),
        directory=deps.paths.run(statement.run),
        created=1_700_000_000.0 + nonce,
        asked=RunTable(min_stages=2, max_stages=None),
        grant=Grant(deps.blobs, blobs=spec_blobs(spec)),
    )


def plan_over(record: RunRecord, *peers: PeerId) -> Plan:
    """Equal shares for these peers."""
    layers = record.spec.model.num_hidden_layers
    share = layers // len(peers)
    stages = (StageAssignment(peer, at * share, (at + 1) * share, 2, ()) for at, peer in enumerate(peers))
    return Plan(record.run, record.term, 1, tuple(stages), None)


def done(step: int, loss: float | None, *norms: float) -> StepDone:
    """A stage's report of a step."""
    return StepDone(step, None if loss is None else repr(loss), tuple(map(repr, norms)))


def profile(layer_ms: float, *, memory: int = 1 << 34) -> Profiled:
    """A probe's figures."""
    each = int(layer_ms * 1e6)
    return Profiled(each, each, each, memory, 0, "native/test")


def beat(number: int, *, step: int = 0, busy: float = 0.0, sent: int = 0) -> Beat:
    """A heartbeat's answer; ``busy`` in seconds."""
    return Beat(number, step, 10 * step, int(busy * 1e9), 2_000_000, 4_000_000, sent, 7, 3_000_000_000)
