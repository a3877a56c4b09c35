"""What the members of a run say to each other.

A *session* is one stream from the coordinator to a member, open for as long as the member's lease. The
coordinator speaks the messages of the first part, the member those of the second. Every message is a
record (``records.py``) under its class name; real numbers travel as ``repr`` strings, durations as
nanoseconds.

    coordinator          member
    Offer            →   Accepted | Declined
    Probe            →   Profiled
    Assign           →   Ready                 shards and weights are here, the stage is built
    Connect          →   Connected             tensor links to both neighbours stand (after Terms in a run that pays)
    Begin            →   StepDone*, Evaluated*, Checkpointed*, Finished
    Halt             →   Halted                the stage stands still; Assign, Connect and Begin follow once more
    Heartbeat        →   Beat                  renews the lease
    Release          →   (end of stream)

A member that cannot go on says ``Failed`` at any time; what is said about payment is in ``pay_messages.py``.
Beside sessions, members ask each other for
blobs (``GetBlob``) and for tickets to a tensor link (``OpenLink``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite

from swarmd.protocols.checkpoint import MAX_LAYERS, MAX_STEP, UnitState
from swarmd.protocols.ids import BlobHash, RunId
from swarmd.protocols.pay_messages import PAY_FROM_COORDINATOR, PAY_FROM_MEMBER
from swarmd.protocols.records import ADDED
from swarmd.protocols.spec import MAX_SPEC_BYTES

SESSION_PROTOCOL = "/swarmd/run/1"
BLOB_PROTOCOL = "/swarmd/blob/2"
LINK_PROTOCOL = "/swarmd/link/1"

MAX_SESSION_MESSAGE = MAX_SPEC_BYTES + 4096
MAX_WORDS = 1000
"""Characters of a reason or a hint: it is kept, and shown on other people's terminals."""
_MAX_COUNT = 1 << 62


def words(text: str) -> str:
    """A reason as it may travel: one line of printable characters, cut where it is too long."""
    return "".join(letter if letter.isprintable() else " " for letter in text)[:MAX_WORDS]


def _check_words(*texts: str) -> None:
    if any(text != words(text) for text in texts):
        raise ValueError(f"a text of over {MAX_WORDS} characters, or with characters that do not print")


def _check_counts(*numbers: int) -> None:
    if not all(0 <= number < _MAX_COUNT for number in numbers):
        raise ValueError("a negative or absurd number")


def _check_step(step: int, parts: int = 0) -> None:
    if not 0 <= step < MAX_STEP or parts > MAX_LAYERS + 2:
        raise ValueError("an absurd step, or of more units than any model has")


def real(text: str) -> float:
    """A finite number from its ``repr``. Raises ValueError."""
    if len(text) > 32:
        raise ValueError("no number is spelled so long")
    number = float(text)
    if not isfinite(number) or repr(number) != text:
        raise ValueError(f"{text!r} is not the repr of a finite number")
    return number


# --- the coordinator says


@dataclass(frozen=True, slots=True)
class Offer:
    """Will you take a stage of this run?"""

    statement: bytes
    spec: bytes
    term: int


@dataclass(frozen=True, slots=True)
class Probe:
    """Time one micro-batch of this run's shape on your device."""


@dataclass(frozen=True, slots=True)
class Assign:
    """Hold stage ``stage`` of this plan: fetch what it needs and build it."""

    plan: bytes
    stage: int
    version: int | None = field(default=None, metadata=ADDED)
    """After ``Halt``: go on with the stage at hand, at this many steps, instead."""

    def __post_init__(self) -> None:
        _check_step(self.version or 0)


@dataclass(frozen=True, slots=True)
class Connect:
    """Dial your neighbours' tensor ports."""


@dataclass(frozen=True, slots=True)
class Begin:
    """Train."""


@dataclass(frozen=True, slots=True)
class Halt:
    """Stop, and keep the stage: a peer of this plan is gone, and another plan follows."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The lease goes on."""

    number: int


@dataclass(frozen=True, slots=True)
class Release:
    """The lease ends now."""

    reason: str

    def __post_init__(self) -> None:
        _check_words(self.reason)


# --- a member says


@dataclass(frozen=True, slots=True)
class Accepted:
    """A stage is kept free for you for this long without a heartbeat."""

    lease_seconds: int
    pid: int

    def __post_init__(self) -> None:
        _check_counts(self.lease_seconds, self.pid)


@dataclass(frozen=True, slots=True)
class Declined:
    """No, and why; nothing was kept."""

    reason: str
    hint: str

    def __post_init__(self) -> None:
        _check_words(self.reason, self.hint)


@dataclass(frozen=True, slots=True)
class Profiled:
    """What the probe micro-batch took here: forward and backward together."""

    layer_ns: int
    embed_ns: int
    head_ns: int
    memory_bytes: int
    uplink_bytes_per_s: int
    """0: not measured."""
    numerics: str

    def __post_init__(self) -> None:
        if not all(0 < each < 1 << 50 for each in (self.layer_ns, self.embed_ns, self.head_ns, self.memory_bytes)):
            raise ValueError("a profile without a positive time or memory")
        _check_words(self.numerics)
        if not 0 <= self.uplink_bytes_per_s < 1 << 50 or len(self.numerics) > 200:
            raise ValueError("a profile with an absurd uplink or class")


@dataclass(frozen=True, slots=True)
class Ready:
    """The stage is built, at this many optimizer steps."""

    version: int

    def __post_init__(self) -> None:
        _check_step(self.version)


@dataclass(frozen=True, slots=True)
class Connected:
    """Both neighbours' links stand."""


@dataclass(frozen=True, slots=True)
class StepDone:
    """The stage committed a step."""

    step: int
    loss: str | None
    """Mean training loss in nats; from the last stage only."""
    squared_norms: tuple[str, ...]
    """One per unit of the stage, before clipping."""

    def __post_init__(self) -> None:
        _check_step(self.step, len(self.squared_norms))
        for text in (*self.squared_norms, *((self.loss,) if self.loss is not None else ())):
            real(text)


@dataclass(frozen=True, slots=True)
class Evaluated:
    """Held-out loss in nats per token at the weights of ``step``; from the last stage."""

    step: int
    loss: str

    def __post_init__(self) -> None:
        _check_step(self.step)
        real(self.loss)


@dataclass(frozen=True, slots=True)
class Checkpointed:
    """The stage's units at the weights of ``step`` can be fetched from here."""

    step: int
    units: tuple[UnitState, ...]

    def __post_init__(self) -> None:
        _check_step(self.step, len(self.units))


@dataclass(frozen=True, slots=True)
class Halted:
    """The stage stands still at this many steps, and can go back to ``oldest``."""

    version: int
    oldest: int

    def __post_init__(self) -> None:
        _check_step(self.version)
        if not 0 <= self.oldest <= self.version:
            raise ValueError("no stage goes back to a later step")


@dataclass(frozen=True, slots=True)
class Finished:
    """The stage committed the last step and has nothing left to do."""

    version: int

    def __post_init__(self) -> None:
        _check_step(self.version)


@dataclass(frozen=True, slots=True)
class Failed:
    """The stage cannot go on."""

    code: str
    message: str
    peer: str
    """The neighbour it lost, if that is why; else empty."""

    def __post_init__(self) -> None:
        _check_words(self.code, self.message, self.peer)


@dataclass(frozen=True, slots=True)
class Beat:
    """How the stage is doing; all counters rise from the session's start."""

    number: int
    step: int
    micro_batches: int
    busy_ns: int
    forward_ns: int
    """Mean of one micro-batch."""
    backward_ns: int
    bytes_sent: int
    bytes_received: int
    cpu_ns: int
    """Of the whole node: daemon and compute process."""
    commit_ns: int = field(default=0, metadata=ADDED)
    """Mean of one optimizer step."""

    def __post_init__(self) -> None:
        _check_counts(self.number, self.step, self.micro_batches, self.busy_ns, self.cpu_ns, self.commit_ns)
        _check_counts(self.forward_ns, self.backward_ns, self.bytes_sent, self.bytes_received)


# --- members ask each other


@dataclass(frozen=True, slots=True)
class GetBlob:
    """Send me this blob of this run."""

    run: RunId
    blob: BlobHash


@dataclass(frozen=True, slots=True)
class OpenLink:
    """I hold ``from_stage``; give me a ticket to send tensors to your ``to_stage``."""

    run: RunId
    term: int
    plan: int
    from_stage: int
    to_stage: int


@dataclass(frozen=True, slots=True)
class LinkTicket:
    """Where to connect, what the certificate must hash to, and what to show."""

    ticket: bytes
    certificate: bytes
    port: int

    def __post_init__(self) -> None:
        if len(self.ticket) != 32 or len(self.certificate) != 32 or not 0 < self.port < 65536:
            raise ValueError("an impossible ticket")


@dataclass(frozen=True, slots=True)
class BlobHead:
    """A blob of this size; -1 for one that is not given. Its raw bytes follow, unless there is a ``link``."""

    size: int
    link: LinkTicket | None = None
    """Where the bytes can also be fetched, by a link of their own: say with ``TakeBlob`` which way."""


@dataclass(frozen=True, slots=True)
class TakeBlob:
    """Send the blob: over the link, which is open, or on this stream."""

    over_link: bool


FROM_COORDINATOR: tuple[type[object], ...] = (
    Offer, Probe, Assign, Connect, Begin, Halt, Heartbeat, Release, *PAY_FROM_COORDINATOR,
)  # fmt: skip
FROM_MEMBER: tuple[type[object], ...] = (
    Accepted, Declined, Profiled, Ready, Connected, StepDone, Evaluated, Checkpointed, Halted, Finished, Failed,
    Beat,
    *PAY_FROM_MEMBER,
)  # fmt: skip
