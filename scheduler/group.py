"""The replicas of one stage: when do their partial sums make up a step?

Each replica counts some of a step's micro-batches. It tells the others of each; when all that was told is exactly the
step's set, each gives its part, and with the parts of all others the step is whole (decision 13):

    what came                 what is done                            what makes it a lie
    ``counted``               tell every other replica                another told the same one
    ``told``                  give our part, if the set is full now   not of the step; counted or told before
    ``part_arrived``          the step is whole, if it was the last   a second part; more told after it
    ``committed``             look at what came early

Sets of one step are disjoint from the first lie-free message on, so a full union has neither gap nor duplicate.

A replica can be one step ahead of another, never two, because its commit needed the other's part. So words of step
``version + 2`` are kept, and later ones are a lie. What one replica says must come in the order in which it was said,
as a link keeps it; those of different replicas may come in any order.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from swarmd.protocols.errors import ProtocolViolation


@dataclass(frozen=True, slots=True)
class Tell:
    """Say to every other replica that this micro-batch is in our sum."""

    step: int
    micro_batch: int


@dataclass(frozen=True, slots=True)
class Give:
    """Send every other replica our part: the sum of these micro-batches, which is final."""

    step: int
    micro_batches: frozenset[int]


@dataclass(frozen=True, slots=True)
class Whole:
    """All parts are here: commit the step, then say ``committed``."""

    step: int


Word: TypeAlias = Tell | Give | Whole


@dataclass(slots=True)
class _Step:
    """Of each micro-batch told so far the replica that counted it, and whose parts are here."""

    owners: dict[int, int] = field(default_factory=dict[int, int])
    parts: set[int] = field(default_factory=set[int])

    def owned(self, replica: int) -> frozenset[int]:
        return frozenset(each for each, owner in self.owners.items() if owner == replica)


class ReplicaGroup:
    """One replica's view of its group.

    What is returned is to be carried out in order. Methods raise ProtocolViolation for what no honest replica says,
    and leave the machine as it was.
    """

    def __init__(self, *, own: int, others: Iterable[int], micro_batches: int, version: int = 0) -> None:
        """Replicas are known by any distinct numbers. Raises ValueError for a group of one."""
        self.version = version
        self._own, self._others = own, frozenset(others)
        if not self._others or own in self._others or micro_batches < 1:
            raise ValueError("a group has another replica than this one, and a step has micro-batches")
        self._micro_batches = micro_batches
        self._steps = {version + 1: _Step(), version + 2: _Step()}

    def share(self, replica: int) -> frozenset[int]:
        """What a replica has counted of step ``version + 1``, as far as is known here."""
        return self._steps[self.version + 1].owned(replica)

    def counted(self, micro_batch: int) -> tuple[Word, ...]:
        """A micro-batch of step ``version + 1`` is in our own sum."""
        step = self.version + 1
        self._own_up(self._own, step, micro_batch)
        return (Tell(step, micro_batch), *self._next())

    def told(self, replica: int, step: int, micro_batch: int) -> tuple[Word, ...]:
        """Another replica has counted a micro-batch."""
        if replica in self._open(replica, step).parts:
            raise ProtocolViolation(f"replica {replica} counts micro-batch {micro_batch} after its part of step {step}")
        self._own_up(replica, step, micro_batch)
        return self._next() if step == self.version + 1 else ()

    def part_arrived(self, replica: int, step: int) -> tuple[Word, ...]:
        """Another replica's part is here, to its last byte: the sum of all that it told of."""
        found = self._open(replica, step)
        if replica in found.parts:
            raise ProtocolViolation(f"replica {replica} gives a second part of step {step}")
        found.parts.add(replica)
        return self._whole() if step == self.version + 1 else ()

    def committed(self, step: int) -> tuple[Word, ...]:
        """We have stepped the optimizer, and our sum is empty again. Raises ValueError before ``Whole``."""
        if step != self.version + 1 or not self._whole():
            raise ValueError(f"step {step} cannot be over: the group is at {self.version}")
        self.version = step
        del self._steps[step]
        self._steps[step + 2] = _Step()
        return self._next()

    def waiting_for(self) -> str:
        """What is missing for the next commit, for people."""
        found = self._steps[self.version + 1]
        left = self._micro_batches - len(found.owners)
        what = f"{left} micro-batches" if left else f"the parts of replicas {sorted(self._others - found.parts)}"
        return f"{what} of step {self.version + 1}"

    def _open(self, replica: int, step: int) -> _Step:
        if replica not in self._others or step not in self._steps:
            raise ProtocolViolation(f"a word of replica {replica} on step {step}; the group is at step {self.version}")
        return self._steps[step]

    def _own_up(self, replica: int, step: int, micro_batch: int) -> None:
        owners = self._steps[step].owners
        if not 0 <= micro_batch < self._micro_batches:
            raise ProtocolViolation(f"replica {replica} counts micro-batch {micro_batch}: no step has it")
        if micro_batch in owners:
            who = f"replicas {owners[micro_batch]} and {replica}"
            raise ProtocolViolation(f"micro-batch {micro_batch} of step {step} was counted twice, by {who}")
        owners[micro_batch] = replica

    def _next(self) -> tuple[Word, ...]:
        """Called when an owner was added, or the step is new: the set is full at most once."""
        step = self.version + 1
        if not self._full():
            return ()
        return (Give(step, self._steps[step].owned(self._own)), *self._whole())

    def _whole(self) -> tuple[Word, ...]:
        parts = self._steps[self.version + 1].parts
        return (Whole(self.version + 1),) if self._full() and len(parts) == len(self._others) else ()

    def _full(self) -> bool:
        return len(self._steps[self.version + 1].owners) == self._micro_batches
