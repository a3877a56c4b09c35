"""What a submitter signs: that a run is its own, and who holds which of its stages.

Both travel as the raw bytes that were signed. A run's id follows from its statement; a plan is believed only
from the run's coordinator, and only if its (term, number) is no older than one seen before.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby, pairwise

from swarmd.protocols.addresses import is_dialable
from swarmd.protocols.checkpoint import MAX_LAYERS
from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.ids import BlobHash, NetworkId, PeerId, RunId, SpecId, run_id_of
from swarmd.protocols.records import from_value, to_value
from swarmd.protocols.signing import Sign, Signed, parse_signed, sign, verify
from swarmd.protocols.specrules import MAX_REPLICAS

MAX_STATEMENT_BYTES = 1 << 18
MAX_STAGES = 1024
"""Places of a plan, replicas among them."""
MAX_SERVICE = 1 << 40
MAX_ADDRESSES = 16
"""Of one stage."""
_RUN_TAG = "swarmd/run/1"
_PLAN_TAG = "swarmd/plan/2"


@dataclass(frozen=True, slots=True)
class RunStatement:
    """The submitter's word that this run is its own. Its fields give the run id."""

    network: NetworkId
    spec: SpecId
    submitter: PeerId
    nonce: bytes
    created: int
    """Unix seconds; advisory."""

    def __post_init__(self) -> None:
        if len(self.nonce) != 16:
            raise ValueError("a nonce has 16 bytes")

    @property
    def run(self) -> RunId:
        """The run's id."""
        return run_id_of(self.network, self.spec, self.submitter, self.nonce)


@dataclass(frozen=True, slots=True)
class StageAssignment:
    """One place of a plan: who holds which layers, ``[first, end)``."""

    peer: PeerId
    first: int
    end: int
    credit: int
    """Micro-batches the stage may hold between forward and backward."""
    addresses: tuple[str, ...]
    service: int = 0
    """Planned microseconds for a micro-batch, the longer of computing and sending; 0 where no other holds the stage."""

    def __post_init__(self) -> None:
        if not 0 <= self.first < self.end <= MAX_LAYERS or self.credit < 1:
            raise ValueError("an impossible stage")
        if not 0 <= self.service < MAX_SERVICE:
            raise ValueError("a stage with an impossible service time")
        if len(self.addresses) > MAX_ADDRESSES or not all(map(is_dialable, self.addresses)):
            raise ValueError("a stage with too many addresses, or one that cannot be dialled")


@dataclass(frozen=True, slots=True)
class Plan:
    """The numbered assignment of stages; a member believes the highest (term, number) it has seen.

    Places that follow each other with the same layers are replicas of one stage (decision 13), by rising peer id.
    """

    run: RunId
    term: int
    number: int
    stages: tuple[StageAssignment, ...]
    checkpoint: BlobHash | None
    """Manifest that the stages start from; None: seeded weights at version 0."""

    def __post_init__(self) -> None:
        if not 1 <= len(self.stages) <= MAX_STAGES or self.stages[0].first != 0:
            raise ValueError(f"stages begin at layer 0, and have 1 to {MAX_STAGES} places")
        if not all(_follows(before, after) for before, after in pairwise(self.stages)):
            raise ValueError("stages must cover the layers in order, without a gap, and replicas rise by peer id")
        if len({stage.peer for stage in self.stages}) != len(self.stages) or self.term < 1 or self.number < 1:
            raise ValueError("a peer holds one stage; terms and plan numbers start at 1")
        if not all(_is_group([self.stages[place] for place in group]) for group in self.groups):
            raise ValueError(f"a stage has 1 to {MAX_REPLICAS} replicas, and several have a service time each")

    @property
    def groups(self) -> tuple[range, ...]:
        """The places of each stage; the first of them is its head."""
        sizes = [len(list(group)) for _, group in groupby(self.stages, key=lambda place: place.first)]
        ends = [sum(sizes[: at + 1]) for at in range(len(sizes))]
        return tuple(range(end - size, end) for end, size in zip(ends, sizes, strict=True))

    @property
    def shared(self) -> bool:
        """Whether a stage has several peers."""
        return len(self.groups) < len(self.stages)


def _follows(before: StageAssignment, after: StageAssignment) -> bool:
    replica = (after.first, after.end) == (before.first, before.end) and before.peer < after.peer
    return replica or after.first == before.end


def _is_group(places: list[StageAssignment]) -> bool:
    several = len(places) > 1
    return len(places) <= MAX_REPLICAS and all((place.service > 0) == several for place in places)


def sign_run(statement: RunStatement, key: Sign) -> bytes:
    """The signed wire form of a run statement."""
    return sign(_RUN_TAG, statement.network, statement.submitter, key, to_value(statement)).to_bytes()


def open_run(raw: bytes, network: NetworkId) -> RunStatement:
    """The statement inside, once its signature holds. Raises ProtocolViolation."""
    signed = parse_signed(raw, limit=MAX_STATEMENT_BYTES)
    statement = from_value(RunStatement, verify(_RUN_TAG, network, signed, limit=MAX_STATEMENT_BYTES))
    if statement.submitter != signed.signer or statement.network != network:
        raise ProtocolViolation("a run statement signed by another than its submitter")
    return statement


def sign_plan(plan: Plan, network: NetworkId, signer: PeerId, key: Sign) -> bytes:
    """The signed wire form of a plan."""
    return sign(_PLAN_TAG, network, signer, key, to_value(plan)).to_bytes()


def open_plan(raw: bytes, network: NetworkId, coordinator: PeerId) -> Plan:
    """The plan inside, once the coordinator's signature holds. Raises ProtocolViolation."""
    signed: Signed = parse_signed(raw, limit=MAX_STATEMENT_BYTES)
    if signed.signer != coordinator:
        raise ProtocolViolation("a plan signed by another than the run's coordinator")
    return from_value(Plan, verify(_PLAN_TAG, network, signed, limit=MAX_STATEMENT_BYTES))
