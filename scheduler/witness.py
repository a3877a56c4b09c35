"""What the two ends of a boundary have signed for, and which of it counts.

A *window* is ``pay_every`` steps of one term. Both ends sign a receipt for each window once they have committed it;
if both say the same, it counts, and if not, it never will. When a run is over, each end signs a last receipt for
what crossed since, in part perhaps; from then on the word of the end that *received* a tensor is enough, for it has no
gain from it. Where that end is gone, the sender's word counts as far as the receiver's reports of committed steps go.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.ids import RunId
from swarmd.protocols.ledger.receipts import LinkReceipt, SignedReceipt

LEFT, RIGHT = 0, 1
"""The ends of a boundary: the stage before it and the stage after it."""
AHEAD = 3
"""Steps beyond the last one committed of which a stage can have received something (``swarmd.scheduler.flow``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """One term of a run, as far as receipts go."""

    run: RunId
    term: int
    cuts: tuple[int, ...]
    """Layers after each boundary: 0, the ends of all stages; the last one is the number of layers."""
    micro_batches: int
    start: int
    """Steps committed before this term."""
    steps: int
    pay_every: int

    @property
    def stages(self) -> int:
        """How many there are."""
        return len(self.cuts) - 1

    def window(self, first: int) -> int:
        """The end of the window that begins with this step. Raises ProtocolViolation if none does."""
        offset = first - self.start - 1
        if offset < 0 or offset % self.pay_every or first > self.steps:
            raise ProtocolViolation(f"no receipts begin with step {first}")
        return min(first + self.pay_every, self.steps + 1)

    def place(self, stage: int, receipt: LinkReceipt) -> tuple[int, int]:
        """(boundary's index, end) at which a stage signs this. Raises ProtocolViolation for what it cannot sign."""
        near = self.cuts[stage : stage + 2]
        if (receipt.run, receipt.term) != (self.run, self.term) or receipt.boundary not in near:
            raise ProtocolViolation("a receipt of another run, term or boundary")
        limit = min(self.window(receipt.first_step) + AHEAD, self.steps + 1)
        most = self.micro_batches * (receipt.end_step - receipt.first_step)
        if receipt.end_step > limit or max(receipt.forwards, receipt.backwards) > most:
            raise ProtocolViolation("a receipt for more than can have crossed")
        index = stage + near.index(receipt.boundary)
        return index, RIGHT if index == stage else LEFT

    def whole(self, index: int, receipt: LinkReceipt) -> bool:
        """Whether this is all of a window, as both ends sign it."""
        each = self.micro_batches * (receipt.end_step - receipt.first_step)
        back = each if 0 < index < self.stages else 0
        counts = (receipt.forwards, receipt.backwards)
        return receipt.end_step == self.window(receipt.first_step) and counts == (each, back)


Evidence: TypeAlias = tuple[SignedReceipt, SignedReceipt | None]
"""Both ends' signatures; or one end's, which the coordinator may countersign."""


@dataclass(slots=True)
class Edge:
    """One boundary's receipts. ``pending`` holds windows that one end has signed, ``last`` each end's last word."""

    course: Course
    index: int
    pending: dict[int, list[SignedReceipt | None]] = field(default_factory=dict[int, list[SignedReceipt | None]])
    last: list[SignedReceipt | None] = field(default_factory=lambda: [None, None])
    decided: int = 0
    """Steps of windows that both ends have signed, alike or not."""
    _low: int = 0
    _above: set[int] = field(default_factory=set[int])

    def add(self, side: int, signed: SignedReceipt) -> tuple[SignedReceipt, SignedReceipt] | None:
        """Take an end's receipt; both ends', once a window has them.

        What came before, or comes after an end's last word, counts for nothing.
        """
        first = signed.receipt.first_step
        if self.last[side] is not None or self._is_decided(first):
            return None
        if not self.course.whole(self.index, signed.receipt):
            self.last[side] = signed
            return None
        pair = self.pending.setdefault(first, [None, None])
        pair[side] = pair[side] or signed
        left, right = pair
        if left is None or right is None:
            return None
        self._decide(first)
        return left, right

    def words_of(self, side: int) -> list[SignedReceipt]:
        """What an end has signed that the other has not decided with it."""
        signed = [*(pair[side] for pair in self.pending.values()), self.last[side]]
        return [each for each in signed if each is not None]

    def witnessed(self, side: int, reported: int, *, backwards: bool) -> tuple[int, tuple[Evidence, ...]]:
        """Tensors that the end ``side`` received beyond what is decided, and whose word for it that is.

        ``reported`` is the last step which that end has said to be committed.
        """
        open_steps = reported - self.course.start - self.decided
        ours, theirs = self.words_of(side), self.words_of(1 - side)
        most = self.course.micro_batches * max(0, open_steps + AHEAD if ours else open_steps)
        signed = ours or theirs
        count = sum(each.receipt.backwards if backwards else each.receipt.forwards for each in signed)
        same = {each.receipt: each for each in theirs} if ours else {}
        return min(count, most), tuple((each, same.get(each.receipt)) for each in signed)

    def _is_decided(self, first: int) -> bool:
        return self._number(first) < self._low or self._number(first) in self._above

    def _decide(self, first: int) -> None:
        del self.pending[first]
        self.decided += self.course.window(first) - first
        self._above.add(self._number(first))
        while self._low in self._above:
            self._above.remove(self._low)
            self._low += 1

    def _number(self, first: int) -> int:
        return (first - self.course.start - 1) // self.course.pay_every
