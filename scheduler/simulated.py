"""What a simulation takes and gives: a pipeline of described peers, and what became of it. Plain values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from typing import TypeAlias

MAX_NODES = 1024
MAX_MICRO_BATCHES = 1 << 12
MAX_STEPS = 10_000
MAX_MESSAGES = 1 << 22
"""Stages times steps times micro-batches: what is simulated in under a minute."""

ON_THE_WIRE = 1.05
"""Bytes that a link carries for one byte of a tensor: headers of TCP and IP, TLS records, and acknowledgements."""

OneWay: TypeAlias = Callable[[str, str], float]
"""Seconds that an empty message takes from one named peer to another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One peer as it stands in a pipeline. Seconds per micro-batch, bytes a second; 0 bytes a second: unlimited.

    Raises ValueError for a number that is negative or not finite, or a credit below one.
    """

    name: str
    forward: float
    backward: float
    credit: int
    """Most micro-batches held."""
    commit: float = 0.0
    """Seconds of an optimizer step."""
    uplink: float = 0.0
    downlink: float = 0.0

    def __post_init__(self) -> None:
        numbers = (self.forward, self.backward, self.commit, self.uplink, self.downlink)
        if self.credit < 1 or not all(isfinite(number) and number >= 0 for number in numbers):
            raise ValueError(f"a node with an impossible number: {self}")

    @property
    def compute(self) -> float:
        """Seconds of computing for one micro-batch, both ways."""
        return self.forward + self.backward


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """Stages in order, each of one or more replicas, and what flows through them.

    Raises ValueError for an empty stage, a name that stands twice, or sizes over the limits above.
    """

    stages: tuple[tuple[Node, ...], ...]
    micro_batches: int
    """Per step."""
    steps: int
    forward_bytes: int
    """Of one micro-batch's activations between two stages."""
    backward_bytes: int
    """Of one micro-batch's gradient between two stages."""
    asynchronous: bool = False
    """``flow-async``, all steps but the first; not with replicas, which commit together."""

    def __post_init__(self) -> None:
        names = [node.name for stage in self.stages for node in stage]
        if not all(self.stages) or not 1 <= len(names) <= MAX_NODES or len(set(names)) < len(names):
            raise ValueError(f"a pipeline has stages of one or more peers, {MAX_NODES} in all, each named once")
        if not (1 <= self.micro_batches <= MAX_MICRO_BATCHES and 1 <= self.steps <= MAX_STEPS):
            raise ValueError(f"1 to {MAX_MICRO_BATCHES} micro-batches and 1 to {MAX_STEPS} steps can be simulated")
        if len(self.stages) * self.steps * self.micro_batches > MAX_MESSAGES:
            raise ValueError(f"stages x steps x micro-batches is over {MAX_MESSAGES:,}: simulate fewer steps")
        if self.asynchronous and len(names) > len(self.stages):
            raise ValueError("replicas commit together: a pipeline that has any is not asynchronous")
        if min(self.forward_bytes, self.backward_bytes) < 0:
            raise ValueError("a message has no negative size")

    @property
    def most_held(self) -> int:
        """The most micro-batches that a node can hold: all of the steps that are open."""
        return self.micro_batches * (2 if self.asynchronous else 1)

    def stale(self, step: int) -> bool:
        """Whether a step computes with the weights before the newest."""
        return self.asynchronous and step > 1

    def uplink_seconds(self, stage: int, node: Node) -> float:
        """Seconds that a node of this stage sends for one micro-batch: activations on, gradients back."""
        sent = (stage < len(self.stages) - 1) * self.forward_bytes + (stage > 0) * self.backward_bytes
        return sent / node.uplink if node.uplink else 0.0

    def service(self, stage: int, node: Node) -> float:
        """Seconds of a micro-batch at a node that is never short of work: computing and sending overlap."""
        return max(node.compute, self.uplink_seconds(stage, node))

    def period(self, stage: int) -> float:
        """Seconds between two micro-batches of a stage whose replicas all work all the time."""
        services = [self.service(stage, node) for node in self.stages[stage]]
        return 1 / sum(1 / each for each in services) if all(services) else 0.0


@dataclass(frozen=True, slots=True)
class NodeUse:
    """What one node did: shares of the whole time, and the most micro-batches it held."""

    name: str
    computing: float
    sending: float
    held: int
    micro_batches: int
    """Backwards it computed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a simulated run came to."""

    ends: tuple[float, ...]
    """Seconds from the start until every stage had committed a step, for each step."""
    uses: tuple[tuple[NodeUse, ...], ...]
    """By stage and replica."""

    @property
    def step_seconds(self) -> float:
        """Seconds of a step once the pipeline runs: the mean of the later two thirds of the steps."""
        warm = max(1, len(self.ends) // 3)
        if len(self.ends) == 1:
            return self.ends[0]
        return (self.ends[-1] - self.ends[warm - 1]) / (len(self.ends) - warm)
