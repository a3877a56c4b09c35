"""What the daemon and its compute process say to each other."""

from __future__ import annotations

from dataclasses import dataclass

from swarmd.protocols.checkpoint import UnitState
from swarmd.protocols.ids import BlobHash, RunId
from swarmd.protocols.tensors import FrameHeader
from swarmd.scheduler.around import Around

# --- to the compute process


@dataclass(frozen=True, slots=True)
class Time:
    """Time one micro-batch of this spec's shape."""

    spec: bytes
    fault: str = ""
    """As in ``Load``."""


@dataclass(frozen=True, slots=True)
class Load:
    """Build a stage, or one of its replicas: layers ``[first, end)``, the ``stage``-th of ``stages``."""

    spec: bytes
    run: RunId
    term: int
    plan: int
    stage: int
    stages: int
    first: int
    end: int
    credit: int
    around: Around
    checkpoint: BlobHash | None
    fault: str = ""
    """A fault to inject (``swarmd.train.faults``); empty but in tests."""
    room: int = 0
    """Micro-batches that memory was kept free for, at least ``credit``: how far credit may rise."""
    recompute: bool = False
    """Whether layers keep only their input, and compute the rest again in the backward pass."""
    version: int | None = None
    """Go on with the stage at hand, at this version; None: build it."""
    keeps: bool = False
    """Whether to keep the version before the newest one (``swarmd.train.past``)."""


@dataclass(frozen=True, slots=True)
class Halt:
    """Stop where you are, and keep the stage: another plan follows."""


@dataclass(frozen=True, slots=True)
class Start:
    """Train until the last step."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """A tensor frame from this place lies in this slot."""

    header: FrameHeader
    slot: int
    sender: int


@dataclass(frozen=True, slots=True)
class Sent:
    """The bytes of outgoing slots are on the wire; they may be used again."""

    slots: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Kept:
    """A checkpoint was taken over, and what is older was deleted."""

    step: int


# --- from the compute process


@dataclass(frozen=True, slots=True)
class Timed:
    """Forward and backward of one micro-batch, in nanoseconds."""

    layer_ns: int
    embed_ns: int
    head_ns: int


@dataclass(frozen=True, slots=True)
class Loaded:
    """The stage is built, at this many optimizer steps."""

    version: int
    thrift: str = ""
    """What it does without because memory is short, for people; empty: nothing."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Send the frame in this slot to this place."""

    header: FrameHeader
    slot: int
    to: int


@dataclass(frozen=True, slots=True)
class Taken:
    """Incoming slots were read; they may be used again."""

    slots: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Work:
    """Totals since the start."""

    micro_batches: int
    busy_ns: int
    forward_ns: int
    backward_ns: int
    cpu_ns: int
    commit_ns: int


@dataclass(frozen=True, slots=True)
class Halted:
    """Frames of the old plan are done with. The stage is at this version, and can go back to ``oldest``."""

    version: int
    oldest: int


@dataclass(frozen=True, slots=True)
class Stepped:
    """A step is committed."""

    step: int
    loss: str | None
    squared_norms: tuple[str, ...]
    work: Work


@dataclass(frozen=True, slots=True)
class Scored:
    """Held-out loss at the weights of a step, in nats per token."""

    step: int
    loss: str


@dataclass(frozen=True, slots=True)
class Stored:
    """The stage's units at a step are in the blob store."""

    step: int
    units: tuple[UnitState, ...]


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing is left to do."""

    version: int


@dataclass(frozen=True, slots=True)
class Broken:
    """The stage cannot go on."""

    code: str
    message: str


TO_WORKER: tuple[type[object], ...] = (Time, Load, Start, Halt, Arrived, Sent, Kept)
FROM_WORKER: tuple[type[object], ...] = (
    Timed,
    Loaded,
    Halted,
    Outgoing,
    Taken,
    Stepped,
    Scored,
    Stored,
    Done,
    Broken,
)
