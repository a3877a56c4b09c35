"""Operations that wait for their entry: a bounded queue, and how those that wait together share one."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import trio

from swarmd.ledger.evidence import joined
from swarmd.protocols.canonical import encode
from swarmd.protocols.errors import Refused, StateError, SwarmdError, UsageError
from swarmd.protocols.ledger.account import AccountState
from swarmd.protocols.ledger.apply import apply_ops
from swarmd.protocols.ledger.entry import MAX_ENTRY_BYTES, MAX_OPS, LaneOpen, Op, SignedEntry
from swarmd.protocols.ledger.messages import Evidence
from swarmd.protocols.records import to_value

MAX_WAITING = 256
MAX_NOTE = 1000
_MOST_OPS_BYTES = MAX_ENTRY_BYTES - 1024


@dataclass(slots=True)
class Write:
    """Operations that wait for their entry."""

    ops: tuple[Op, ...]
    evidence: Evidence
    note: str
    signed: SignedEntry | None = None
    lanes_before: int = 0
    """Lanes ever opened before its own operations."""
    error: SwarmdError | None = None
    on_disk: trio.Event = field(default_factory=trio.Event)
    """Set once signed, or when that failed."""
    certified: trio.Event = field(default_factory=trio.Event)

    @property
    def entry(self) -> SignedEntry:
        """The entry it is in. Raises what kept it out of one."""
        if self.error is not None:
            raise self.error
        if self.signed is None:
            raise StateError("the entry was not written")
        return self.signed

    def fail(self, error: SwarmdError) -> None:
        """It is in no entry, or in one that will never count."""
        self.error = self.error or error
        self.on_disk.set()
        self.certified.set()


@dataclass(frozen=True, slots=True)
class Batch:
    """Writes that share the next entry."""

    writes: tuple[Write, ...] = ()
    ops: tuple[Op, ...] = ()
    evidence: Evidence = field(default_factory=Evidence)

    @property
    def note(self) -> str:
        """All their notes."""
        return "; ".join(dict.fromkeys(write.note for write in self.writes if write.note))[:MAX_NOTE]

    def fail(self, error: SwarmdError) -> None:
        """All of them fail."""
        for write in self.writes:
            write.fail(error)

    def joined_by(self, write: Write) -> Batch | None:
        """With one more; None if one entry has no room for that."""
        ops, evidence = (*self.ops, *write.ops), joined(self.evidence, write.evidence)
        if evidence is None or not _fits(ops):
            return None
        return Batch((*self.writes, write), ops, evidence)


class WriteQueue:
    """First come, first written."""

    def __init__(self) -> None:
        self._waiting: deque[Write] = deque()
        self._filled = trio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def operations(self) -> tuple[tuple[Op, ...], ...]:
        """Those of each write that waits, the first one first."""
        return tuple(write.ops for write in self._waiting)

    def put(self, ops: tuple[Op, ...], evidence: Evidence, note: str) -> Write:
        """Let operations wait. Raises UsageError, or Refused where too many wait."""
        if not ops or not _fits(ops) or joined(Evidence(), evidence) is None:
            raise UsageError(f"an entry has 1 to {MAX_OPS} operations", hint="write them in several steps")
        if len(self._waiting) >= MAX_WAITING:
            raise Refused(f"{MAX_WAITING} writes wait for the committee already", hint="see `swarmd wallet balance`")
        write = Write(ops, evidence, note[:MAX_NOTE])
        self._waiting.append(write)
        self._filled.set()
        return write

    async def filled(self) -> None:
        """Return once something waits."""
        while not self._waiting:
            self._filled = trio.Event()
            await self._filled.wait()

    def take(self, state: AccountState, seq: int) -> Batch:
        """As many as entry ``seq`` on ``state`` has room for; what cannot be done there fails alone."""
        batch = Batch()
        while self._waiting:
            write = self._waiting[0]
            more = batch.joined_by(write)
            if more is None:
                break
            self._waiting.popleft()
            try:
                apply_ops(state, seq, more.ops)
            except SwarmdError as error:
                write.fail(UsageError(f"this cannot be written: {error.message}", hint="swarmd wallet balance"))
            else:
                write.lanes_before = state.lanes_opened + sum(isinstance(op, LaneOpen) for op in batch.ops)
                batch = more
        return batch

    def fail_all(self, error: SwarmdError) -> None:
        """Nothing that waits will be written."""
        while self._waiting:
            self._waiting.popleft().fail(error)


def _fits(ops: tuple[Op, ...]) -> bool:
    return len(ops) <= MAX_OPS and len(encode(to_value(ops))) <= _MOST_OPS_BYTES
