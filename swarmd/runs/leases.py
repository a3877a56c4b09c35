"""What this node has promised to whom: a lease per run, and the files that go with it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from swarmd.blobs import BlobStore
from swarmd.protocols.ids import PeerId, RunId

LEASE_SECONDS = 30
"""A lease ends this long after the coordinator's last word."""


@dataclass(frozen=True, slots=True)
class Room:
    """What a lease keeps free, in bytes."""

    memory: int
    disk: int


@dataclass(slots=True)
class Lease:
    """One run's place on this node."""

    run: RunId
    submitter: PeerId
    term: int
    room: Room
    store: BlobStore
    words: str = "keeps a place free"
    """What the stage is doing, for people."""
    lane: int = 0
    """The submitter's lane that pays it, once the terms are known; 0: it is free."""
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    """Cancelling it ends the lease."""
    ended: trio.Event = field(default_factory=trio.Event)


@dataclass(slots=True)
class Leases:
    """Every lease of this node; each one's files lie under ``folder`` and go with it."""

    folder: Path
    held: dict[RunId, Lease] = field(default_factory=dict[RunId, Lease])

    def clear(self) -> None:
        """Delete what a daemon that was killed left behind; called before the first lease."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextmanager
    def hold(self, run: RunId, submitter: PeerId, term: int, room: Room) -> Iterator[Lease]:
        """Keep a place for the length of the block."""
        place = self.folder / run
        lease = Lease(run, submitter, term, room, BlobStore(place / "blobs"))
        self.held[run] = lease
        try:
            with lease.scope:
                yield lease
        finally:
            del self.held[run]
            shutil.rmtree(place, ignore_errors=True)
            lease.ended.set()

    async def give_way(self, run: RunId, submitter: PeerId, term: int) -> None:
        """End the submitter's own lease of an older term of this run: its new term wants the place."""
        old = self.held.get(run)
        if old is not None and old.submitter == submitter and old.term < term:
            old.scope.cancel()
            await old.ended.wait()
