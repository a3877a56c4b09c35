"""A discrete-event simulation of a pipeline over described peers, run by the code that decides in the daemon.

Each node is a ``FlowStage`` (what to compute next), one compute unit, one uplink and one downlink. Time is a number
that jumps from event to event; equal inputs give equal outcomes, to the bit. What is simulated of a link: whole
messages leave one after another, gradients before activations; a message's bytes take the sender's uplink, arrive half
a round trip later, and share the receiver's downlink in the order in which they were sent.

A stage of several replicas commits a step when the replicas together have been through all its micro-batches, and all
have committed the step before; exchanging their sums takes no time here. Each sender chooses among the replicas of the
next stage, and those of the first stage are dealt theirs (``swarmd.scheduler.routing``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from itertools import pairwise
from typing import Protocol, TypeAlias

from swarmd.scheduler.flow import Action, Backward, Commit, FlowStage, Forward
from swarmd.scheduler.routing import Item, Router, deal
from swarmd.scheduler.simulated import Node, NodeUse, OneWay, Outcome, Pipeline


class Chooser(Protocol):
    """What chooses among replicas: a ``Router``, or what it is compared with."""

    def choose(self, item: Item) -> int | None:
        """The replica for a micro-batch, or None for none now."""
        ...

    def returned(self, item: Item, replica: int) -> None:
        """Its gradient came back."""
        ...


MakeChooser: TypeAlias = Callable[[Sequence[float], Sequence[int]], Chooser]
"""From the service times and windows of a stage's replicas."""


def simulate(pipeline: Pipeline, one_way: OneWay, *, chooser: MakeChooser = Router) -> Outcome:
    """Run all steps of a pipeline. Costs about 10 microseconds for each stage, step and micro-batch."""
    return _Simulation(pipeline, one_way, chooser).run()


class _Host:
    """A node while it is simulated."""

    __slots__ = (
        "busy", "chooser", "committed", "computing", "delays", "down_free", "gradients", "held", "machine", "node",
        "number", "origins", "outputs", "seconds", "sending", "stage", "summed", "tensors", "up_free", "waking",
    )  # fmt: skip

    def __init__(self, node: Node, stage: int, number: int) -> None:
        self.node, self.stage, self.number = node, stage, number
        self.machine: FlowStage
        self.chooser: Chooser | None = None
        self.delays: dict[_Host, float] = {}
        self.seconds: dict[type[Action], float] = {
            Forward: node.forward, Backward: node.backward, Commit: node.commit,
        }  # fmt: skip
        self.computing = self.waking = False
        self.busy = self.sending = self.up_free = self.down_free = 0.0
        self.held = self.summed = self.committed = 0
        self.outputs: deque[Item] = deque()
        self.origins: dict[Item, _Host | None] = {}
        self.gradients: deque[_Message] = deque()
        self.tensors: deque[_Message] = deque()


_Handler: TypeAlias = "Callable[[_Host, Item, _Host], None]"
_Message: TypeAlias = "tuple[_Host, int, _Handler, Item]"
_Event: TypeAlias = "tuple[float, int, Callable[..., None], tuple[object, ...]]"


class _Simulation:
    def __init__(self, pipeline: Pipeline, one_way: OneWay, chooser: MakeChooser) -> None:
        self._pipeline, self._make_chooser = pipeline, chooser
        self._now, self._scheduled = 0.0, 0
        self._events: list[_Event] = []
        self._stages = [
            [_Host(node, index, number) for number, node in enumerate(stage)]
            for index, stage in enumerate(pipeline.stages)
        ]
        self._shared = [len(stage) > 1 for stage in pipeline.stages]
        self._summed = [0] * len(self._stages)
        self._commits: list[list[float]] = [[] for _ in self._stages]
        for before, after in pairwise(self._stages):
            self._join(before, after, one_way)

    def run(self) -> Outcome:
        for stage in self._stages:
            for host in stage:
                self._load(host)
        for host in self._stages[0]:
            self._kick(host)
        while self._events:
            self._now, _, call, arguments = heappop(self._events)
            call(*arguments)
        ends = tuple(max(times) for times in zip(*self._commits, strict=True))
        return Outcome(ends, tuple(tuple(self._use(host, ends[-1]) for host in stage) for stage in self._stages))

    def _join(self, before: list[_Host], after: list[_Host], one_way: OneWay) -> None:
        for left in before:
            left.chooser = self._chooser_for(left.stage + 1)
            for right in after:
                left.delays[right] = one_way(left.node.name, right.node.name)
                right.delays[left] = one_way(right.node.name, left.node.name)

    def _chooser_for(self, stage: int) -> Chooser | None:
        if not self._shared[stage]:
            return None
        return self._make_chooser(self._services(stage), [node.credit for node in self._pipeline.stages[stage]])

    def _services(self, stage: int) -> list[float]:
        return [self._pipeline.service(stage, node) or 1.0 for node in self._pipeline.stages[stage]]

    def _load(self, host: _Host) -> None:
        dealt = deal(self._services(0), self._pipeline.micro_batches)
        host.machine = FlowStage(
            stage=host.stage,
            stages=len(self._stages),
            micro_batches=self._pipeline.micro_batches,
            steps=self._pipeline.steps,
            credit=host.node.credit,
            stale=self._pipeline.stale,
            shared=self._shared[host.stage],
            dealt=[each for each, number in enumerate(dealt) if number == host.number],
        )

    def _at(self, time: float, call: Callable[..., None], *arguments: object) -> None:
        self._scheduled += 1
        heappush(self._events, (time, self._scheduled, call, arguments))

    def _kick(self, host: _Host) -> None:
        if host.computing:
            return
        action = host.machine.choose()
        if action is None:
            return
        seconds = host.seconds.get(type(action), 0.0)
        host.computing = True
        host.busy += seconds
        host.held = max(host.held, host.machine.held)
        self._at(self._now + seconds, self._computed, host, action)

    def _computed(self, host: _Host, action: Action) -> None:
        host.computing = False
        if isinstance(action, Forward):
            if host.stage + 1 < len(self._stages):
                host.outputs.append((action.step, action.micro_batch))
                self._send_on(host)
        elif isinstance(action, Backward):
            self._went_back(host, (action.step, action.micro_batch))
        else:
            self._committed(host)
        self._kick(host)

    def _send_on(self, host: _Host) -> None:
        """Send outputs to the next stage, as long as one of its replicas has room."""
        following = self._stages[host.stage + 1]
        while host.outputs:
            item = host.outputs[0]
            chosen = host.chooser.choose(item) if host.chooser else 0
            if chosen is None:
                return
            host.outputs.popleft()
            host.tensors.append((following[chosen], self._pipeline.forward_bytes, self._forward_arrived, item))
            self._pump(host)

    def _went_back(self, host: _Host, item: Item) -> None:
        host.summed += 1
        before = host.origins.pop(item, None)
        if before is not None:
            host.gradients.append((before, self._pipeline.backward_bytes, self._backward_arrived, item))
            self._pump(host)
        self._summed[host.stage] += 1
        self._share(host.stage)

    def _committed(self, host: _Host) -> None:
        host.committed += 1
        hosts = self._stages[host.stage]
        if all(each.committed >= host.committed for each in hosts):
            self._commits[host.stage].append(self._now)
        self._share(host.stage)

    def _share(self, stage: int) -> None:
        """The replicas of a stage exchange their sums, once these make up a step that all have come to."""
        hosts = self._stages[stage]
        alike = len({host.committed for host in hosts}) == 1
        if self._shared[stage] and alike and self._summed[stage] == self._pipeline.micro_batches:
            self._summed[stage] = 0
            for host in hosts:
                host.machine.whole(host.committed + 1)
                self._kick(host)

    def _pump(self, host: _Host) -> None:
        """Send what waits while the uplink is free, and wake when it is free again."""
        while queue := host.gradients or host.tensors:
            if host.up_free > self._now:
                return self._wake(host)
            to, size, arrive, item = queue.popleft()
            seconds = size / host.node.uplink if host.node.uplink else 0.0
            host.up_free = self._now + seconds
            host.sending += seconds
            self._at(self._arrival(host, to, size), arrive, to, item, host)

    def _wake(self, host: _Host) -> None:
        if not host.waking:
            host.waking = True
            self._at(host.up_free, self._woken, host)

    def _woken(self, host: _Host) -> None:
        host.waking = False
        self._pump(host)

    def _arrival(self, host: _Host, to: _Host, size: int) -> float:
        """When the last byte is there: no sooner than it left, nor than the receiver's downlink takes it."""
        delay, down = host.delays[to], to.node.downlink
        to.down_free = max(self._now + delay, to.down_free) + (size / down if down else 0.0)
        return max(host.up_free + delay, to.down_free)

    def _forward_arrived(self, host: _Host, item: Item, sender: _Host) -> None:
        host.origins[item] = sender
        host.machine.forward_arrived(*item)
        self._kick(host)

    def _backward_arrived(self, host: _Host, item: Item, sender: _Host) -> None:
        host.machine.backward_arrived(*item)
        if host.chooser:
            host.chooser.returned(item, sender.number)
            self._send_on(host)
        self._kick(host)

    def _use(self, host: _Host, end: float) -> NodeUse:
        share = 1 / end if end else 0.0
        return NodeUse(host.node.name, host.busy * share, host.sending * share, host.held, host.summed)
