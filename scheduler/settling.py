"""A resolved job becomes one spec: what it leaves to the swarm is chosen among the peers known now.

The codec that ``auto`` stands for follows from bytes and operations of a token, so not from how a step is cut. The cut
does depend on the codec, so that comes first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from swarmd.protocols.batchtable import BatchTable
from swarmd.protocols.jobtables import RunTable, WireTable
from swarmd.protocols.spec import JobSpec
from swarmd.scheduler.batching import Swarm, batch_words, choose_batch
from swarmd.scheduler.wires import Declared, settled


@dataclass(frozen=True, slots=True)
class Wishes:
    """The tables of a job file that may leave something open."""

    wire: WireTable
    batch: BatchTable
    run: RunTable


@dataclass(frozen=True, slots=True)
class Settled:
    """The spec, and words that say which wire and which cut it has, and why where they were chosen."""

    spec: JobSpec
    wire: str
    batch: str


def settle(spec: JobSpec, wishes: Wishes, declared: Sequence[Declared], swarm: Swarm) -> Settled:
    """Choose what ``wishes`` leaves open. Equal peers in any order lead to the same spec."""
    wired, wire = settled(spec, wishes.wire, wishes.run, declared)
    if not wishes.batch.open:
        return Settled(wired, wire, batch_words(wired))
    choice = choose_batch(wired, wishes.batch, wishes.run, swarm)
    final, wire = settled(wishes.batch.applied(spec, choice.size), wishes.wire, wishes.run, declared)
    return Settled(final, wire, f"{batch_words(final)} (chosen: {choice.reason})")
