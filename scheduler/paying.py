"""The payer's machine: what each stage has earned, from the receipts of both ends of every boundary.

Work is paid once the neighbour that it was for has signed for it:

    work                                  counts with
    a stage's way forward                 the forward crossings of the boundary after it
    a stage's way back                    the backward crossings of the boundary before it
    the last stage's way forward          its way back: nobody is behind it
    the first stage's way back            its step, as the coordinator heard of it

A stage's total is one product, rounded down once: all its operations so far times its price. So vouchers that are late,
or lost, or paid together, come to the same sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from swarmd.protocols.ids import PeerId, short
from swarmd.protocols.ledger.receipts import LinkReceipt, SignedReceipt
from swarmd.protocols.pay_messages import MAX_NOTE_RECEIPTS
from swarmd.protocols.work import amount_of
from swarmd.scheduler.witness import LEFT, RIGHT, Course, Edge, Evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One stage as its payer sees it. A free one has price, lane and cap 0."""

    peer: PeerId
    forward: int
    """Operations of one micro-batch's way forward."""
    backward: int
    price: int = 0
    lane: int = 0
    cap: int = 0

    def operations(self, forwards: int, backwards: int) -> int:
        """Of so many micro-batches."""
        return forwards * self.forward + backwards * self.backward


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """What one voucher pays. ``total`` and ``paid`` (so far, with this) in micro-credits since the lane was opened."""

    stage: int
    number: int
    total: int
    amount: int
    """Of this voucher alone."""
    forwards: int
    backwards: int
    operations: int
    first_step: int
    end_step: int
    evidence: tuple[Evidence, ...]


@dataclass(slots=True)
class _Account:
    """One paid stage: counts since the start, and what came since the last voucher."""

    part: Part
    number: int = 0
    total: int = 0
    operations: int = 0
    """That vouchers have paid."""
    forwards: int = 0
    backwards: int = 0
    span: tuple[int, int] | None = None
    evidence: list[Evidence] = field(default_factory=list[Evidence])

    def earn(self, forwards: int, backwards: int, evidence: Sequence[Evidence]) -> None:
        if self.total == self.part.cap or not forwards + backwards:
            return
        self.forwards += forwards
        self.backwards += backwards
        for one, _ in evidence:
            first, end = self.span or (one.receipt.first_step, one.receipt.end_step)
            self.span = min(first, one.receipt.first_step), max(end, one.receipt.end_step)
        self.evidence = [*self.evidence, *evidence][-MAX_NOTE_RECEIPTS:]

    def due(self, stage: int) -> Due | None:
        new = self.part.operations(self.forwards, self.backwards)
        total = min(amount_of(self.operations + new, self.part.price), self.part.cap)
        if total <= self.total or self.span is None:
            return None
        first, end = self.span
        return Due(
            stage=stage, number=self.number + 1, total=total, amount=total - self.total, forwards=self.forwards,
            backwards=self.backwards, operations=new, first_step=first, end_step=end, evidence=tuple(self.evidence),
        )  # fmt: skip

    def paid(self, due: Due) -> None:
        self.number, self.total = due.number, due.total
        self.operations += due.operations
        self.forwards -= due.forwards
        self.backwards -= due.backwards
        self.evidence = [each for each in self.evidence if each not in due.evidence]
        self.span = None
        for one, _ in self.evidence:
            first, end = self.span or (one.receipt.first_step, one.receipt.end_step)
            self.span = min(first, one.receipt.first_step), max(end, one.receipt.end_step)


class Payer:
    """One term of a run. Signatures are checked before it; in which order receipts come makes no difference."""

    def __init__(self, course: Course, parts: Sequence[Part], payer: PeerId) -> None:
        self._course, self._parts, self._payer = course, tuple(parts), payer
        self._edges = [Edge(course, index) for index in range(course.stages + 1)]
        self._accounts = {stage: _Account(part) for stage, part in enumerate(parts) if part.price}
        self._closed = False

    def receipted(self, stage: int, signed: SignedReceipt) -> str:
        """A stage's receipt. Returns who said what if the two ends of a boundary now disagree, else nothing.

        Raises ProtocolViolation for a receipt that this stage cannot sign.
        """
        return self._add(*self._course.place(stage, signed.receipt), signed)

    def ours(self, signed: SignedReceipt) -> str:
        """The coordinator's receipt for an open end: boundary 0, or that of the number of layers."""
        at_start = signed.receipt.boundary == 0
        return self._add(0 if at_start else self._course.stages, LEFT if at_start else RIGHT, signed)

    def close(self, reported: Sequence[int]) -> None:
        """The run is over and no more receipts come. ``reported`` is each stage's last committed step, as it said."""
        if self._closed:
            return
        self._closed = True
        for index, edge in enumerate(self._edges[:-1]):
            forwards, seen = edge.witnessed(RIGHT if index else LEFT, reported[index], backwards=False)
            if index == 0:
                self._crossed(0, forwards, 0, seen)
                continue
            self._crossed(index, forwards, 0, seen)
            backwards, seen = edge.witnessed(LEFT, reported[index - 1], backwards=True)
            self._crossed(index, 0, backwards, seen)

    def due(self) -> tuple[Due, ...]:
        """What vouchers should pay now; the same again until it is ``paid``."""
        found = (account.due(stage) for stage, account in self._accounts.items())
        return tuple(due for due in found if due is not None)

    def paid(self, due: Due) -> None:
        """That voucher is signed and on disk."""
        self._accounts[due.stage].paid(due)

    def total(self, stage: int) -> int:
        """Micro-credits of a stage's newest voucher."""
        return self._accounts[stage].total if stage in self._accounts else 0

    def _add(self, index: int, side: int, signed: SignedReceipt) -> str:
        pair = None if self._closed else self._edges[index].add(side, signed)
        if pair is None:
            return ""
        left, right = pair
        if left.receipt != right.receipt:
            return self._disagreement(index, left.receipt, right.receipt)
        self._crossed(index, left.receipt.forwards, left.receipt.backwards, (pair,))
        return ""

    def _crossed(self, index: int, forwards: int, backwards: int, evidence: Sequence[Evidence]) -> None:
        last = self._course.stages - 1
        if index == 0:
            self._earn(0, forwards if last == 0 else 0, forwards, evidence)
        elif index <= last:
            self._earn(index - 1, forwards, 0, evidence)
            self._earn(index, backwards if index == last else 0, backwards, evidence)

    def _earn(self, stage: int, forwards: int, backwards: int, evidence: Sequence[Evidence]) -> None:
        if stage in self._accounts:
            self._accounts[stage].earn(forwards, backwards, evidence)

    def _disagreement(self, index: int, left: LinkReceipt, right: LinkReceipt) -> str:
        def end(stage: int) -> str:
            inside = 0 <= stage < self._course.stages
            return f"stage {stage} ({short(self._parts[stage].peer)})" if inside else f"we ({short(self._payer)})"

        def said(receipt: LinkReceipt) -> str:
            return f"{receipt.forwards} forward and {receipt.backwards} back, root {receipt.root.hex()[:8]}"

        return (
            f"steps {left.first_step} to {left.end_step - 1} are not paid at the boundary before layer "
            f"{left.boundary}: {end(index - 1)} signed for {said(left)}; {end(index)} for {said(right)}"
        )
