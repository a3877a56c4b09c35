"""Who may use this node: whether an offered stage is taken, and the reason either way.

The checks, in order; the first that fails is the answer, and says what would change it:

    1. whose job it is            self: only our own; list: our own and the allow list; network: anybody's
    2. the numerics class         a run that wants equal bits takes peers of one class
    3. how many stages run here   in all, and for this submitter
    4. the size of the job        layers, sequence length and vocabulary, against what is sane here
    5. memory                     the stage's estimate, against what the owner lends and is not in use
    6. disk                       shards and checkpoints, against the quota and what it holds

Our own jobs meet every limit but the count for one submitter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from swarmd.protocols.ids import PeerId, short
from swarmd.scheduler.explain import size


class Accepts(Enum):
    """Whose jobs an owner takes."""

    SELF = "self"
    LIST = "list"
    NETWORK = "network"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the owner of this node allows. The defaults take the owner's jobs and the allow list's."""

    own: PeerId
    accepts: Accepts = Accepts.LIST
    allow: frozenset[PeerId] = frozenset()
    max_stages: int = 4
    max_stages_per_submitter: int = 2
    memory_bytes: int
    """What runs may use together."""
    disk_bytes: int
    """What the files of runs may take together."""
    max_layers: int = 512
    max_sequence_length: int = 1 << 17
    max_vocabulary: int = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A stage that a submitter offers, as estimated from its signed, resolved spec."""

    submitter: PeerId
    """Who signed the run."""
    layers: int
    """Of the whole model: which of them this node gets is planned later."""
    sequence_length: int
    vocabulary: int
    memory_bytes: int
    """The least a stage of this job needs."""
    disk_bytes: int
    numerics: str | None = None
    """The only class the run takes; None: any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What this node has taken on already."""

    numerics: str
    stages: Mapping[PeerId, int] = field(default_factory=dict[PeerId, int])
    """Stages held, by submitter."""
    memory_bytes: int = 0
    disk_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Decision:
    """Yes or no, and why: for the owner's log and for the submitter."""

    accepted: bool
    reason: str


def admit(request: Request, policy: Policy, load: Load) -> Decision:
    """Whether this node takes the stage."""
    for check in _CHECKS:
        if refusal := check(request, policy, load):
            return Decision(False, refusal)
    whose = "our own job" if request.submitter == policy.own else f"a job of {short(request.submitter)}"
    return Decision(True, f"{whose}, within every limit of this node")


def _stranger(request: Request, policy: Policy, _: Load) -> str:
    who = request.submitter
    if who == policy.own or policy.accepts is Accepts.NETWORK:
        return ""
    if policy.accepts is Accepts.SELF:
        return "this node takes its owner's jobs only; its owner can set accept to 'list' or 'network'"
    if who in policy.allow:
        return ""
    return f"{short(who)} is not on this node's allow list; its owner can add {who} or accept the network"


def _other_class(request: Request, _: Policy, load: Load) -> str:
    if request.numerics in (None, load.numerics):
        return ""
    return f"the run takes the numerics class {request.numerics} only, and this node is {load.numerics}"


def _too_many_stages(request: Request, policy: Policy, load: Load) -> str:
    held, theirs = sum(load.stages.values()), load.stages.get(request.submitter, 0)
    if policy.max_stages == 0:
        return "this node holds no stages, for anybody; its owner can raise max_stages"
    if held >= policy.max_stages:
        return f"this node holds {held} stages, all it takes; wait for one to end or raise max_stages"
    if request.submitter != policy.own and theirs >= policy.max_stages_per_submitter:
        return (
            f"this node holds {theirs} stages of {short(request.submitter)}, all it takes of one submitter; "
            "wait for one to end or raise max_stages_per_submitter"
        )
    return ""


def _too_large(request: Request, policy: Policy, _: Load) -> str:
    limits = {
        "layers": (request.layers, policy.max_layers),
        "tokens in a sequence": (request.sequence_length, policy.max_sequence_length),
        "tokens in the vocabulary": (request.vocabulary, policy.max_vocabulary),
    }
    for what, (asked, most) in limits.items():
        if asked > most:
            return f"the job has {asked} {what}; this node takes up to {most}, so use a smaller model"
    return ""


def _out_of_memory(request: Request, policy: Policy, load: Load) -> str:
    free = max(0, policy.memory_bytes - load.memory_bytes)
    if request.memory_bytes <= free:
        return ""
    return (
        f"a stage needs {size(request.memory_bytes)} of memory, and {size(free)} of the "
        f"{size(policy.memory_bytes)} this node lends are free; a smaller micro-batch or model would fit"
    )


def _out_of_disk(request: Request, policy: Policy, load: Load) -> str:
    free = max(0, policy.disk_bytes - load.disk_bytes)
    if request.disk_bytes <= free:
        return ""
    return (
        f"the job's files need {size(request.disk_bytes)} of disk, and {size(free)} of this node's quota of "
        f"{size(policy.disk_bytes)} are free; its owner can raise the quota or delete old runs"
    )


_CHECKS: tuple[Callable[[Request, Policy, Load], str], ...] = (
    _stranger,
    _other_class,
    _too_many_stages,
    _too_large,
    _out_of_memory,
    _out_of_disk,
)
