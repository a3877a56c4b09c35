"""A member's own end of its stage's boundaries: what crossed is noted, and every few steps signed for.

Noting is an append in whichever thread a frame passes. A step's crossings become leaves of the window's Merkle
tree once the step is committed, so a window of any length takes the memory of a few steps.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import trio

from swarmd.identity import Identity
from swarmd.protocols.ids import NetworkId, RunId, SpecId, tagged_hash
from swarmd.protocols.ledger.receipts import Crossing, LinkReceipt, SignedReceipt, crossing_leaf, sign_receipt
from swarmd.protocols.merkle import Merkle
from swarmd.protocols.tensors import Direction, FrameHeader
from swarmd.scheduler.witness import AHEAD

INLINE_CROSSINGS = 256
"""Hashed within a millisecond; more are hashed in a thread."""
_INPUT_TAG, _LOSS_TAG = "swarmd/run-input/1", "swarmd/run-loss/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Which steps of which run, and how many of them in a receipt."""

    run: RunId
    spec: SpecId
    term: int
    micro_batches: int
    start: int
    """Steps committed before this term."""
    steps: int
    pay_every: int

    def ends_window(self, first: int, step: int) -> bool:
        """Whether receipts that begin with ``first`` are due when ``step`` is committed."""
        return step + 1 - first == self.pay_every or step == self.steps


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs receipts of one term for one peer."""

    reach: Reach
    network: NetworkId
    identity: Identity

    def sign(self, boundary: int, window: Window, first: int, end: int) -> SignedReceipt | None:
        """The receipt for what a window has taken in, which is then empty; None for nothing."""
        if not window.tree.count:
            return None
        receipt = LinkReceipt(
            run=self.reach.run,
            term=self.reach.term,
            boundary=boundary,
            first_step=first,
            end_step=min(end, self.reach.steps + 1),
            forwards=window.counts[0],
            backwards=window.counts[1],
            root=window.tree.root(),
        )
        window.tree, window.counts = Merkle(), [0, 0]
        return sign_receipt(receipt, self.network, self.identity.peer, self.identity.sign)


@dataclass(slots=True)
class Window:
    """What crossed one boundary since its last receipt: leaves so far, and the frames of steps that still go on."""

    tree: Merkle = field(default_factory=Merkle)
    counts: list[int] = field(default_factory=lambda: [0, 0])
    frames: dict[int, list[FrameHeader]] = field(default_factory=dict[int, list[FrameHeader]])

    def add(self, crossing: Crossing, count: int = 1) -> None:
        """A crossing as the next leaf; it counts for so many micro-batches."""
        self.tree.add(crossing_leaf(crossing))
        self.counts[crossing.direction] += count


class OpenEnd:
    """Where the pipeline has no neighbour, a step's input or loss stands for its crossings. Both the stage and the
    coordinator sign for it, each from what it knows."""

    def __init__(self, boundary: int, signer: Signer) -> None:
        """``boundary`` is 0, or the number of layers."""
        self._boundary, self._signer = boundary, signer
        self._window = Window()
        self._done = signer.reach.start
        self._first = signer.reach.start + 1

    def stepped(self, step: int, loss: str | None) -> SignedReceipt | None:
        """A step is committed; ``loss`` as the last stage reports it. The receipt that is due with it."""
        reach = self._signer.reach
        value, tag = (reach.spec, _INPUT_TAG) if self._boundary == 0 else (loss or "", _LOSS_TAG)
        root = bytes.fromhex(tagged_hash(tag, (value, step)))
        self._window.add(Crossing(step, 0, int(Direction.FORWARD), 0, root), reach.micro_batches)
        self._done = step
        return self.last() if reach.ends_window(self._first, step) else None

    def last(self) -> SignedReceipt | None:
        """The receipt for all steps since the last one."""
        first, self._first = self._first, self._done + 1
        return self._signer.sign(self._boundary, self._window, first, self._first)


class Receipting:
    """One stage's receipts in one term. Call it in the trio thread; ``note`` may come from any."""

    def __init__(self, signer: Signer, boundaries: tuple[int, int], layers: int) -> None:
        """``boundaries`` before and after the stage."""
        self._signer, self._reach = signer, signer.reach
        self._links = {number: Window() for number in boundaries if 0 < number < layers}
        self._ends = [OpenEnd(number, signer) for number in boundaries if not 0 < number < layers]
        self._first = self._reach.start + 1
        self._done = self._reach.start
        self._busy = trio.Lock()
        self._noting = threading.Lock()
        self._committed = self._done
        self._closed = False

    def note(self, header: FrameHeader) -> None:
        """A frame was sent, or has come whole. What no honest neighbour sends is left to the stage to refuse."""
        with self._noting:
            self._note(header)

    def committed(self, step: int) -> None:
        """The stage has committed a step, so frames beyond may pass; ``stepped`` follows. From any thread."""
        self._committed = step

    def _note(self, header: FrameHeader) -> None:
        key = header.key
        window = self._links.get(key.boundary)
        if window is None or key.direction == Direction.EVALUATE or self._closed:
            return
        if not self._done < key.step <= max(self._done, self._committed) + AHEAD + 1:
            return
        frames = window.frames.setdefault(key.step, [])
        if len(frames) < 2 * self._reach.micro_batches:
            frames.append(header)

    async def stepped(self, step: int, loss: str | None) -> tuple[SignedReceipt, ...]:
        """A step is committed, and everything of it has crossed. The receipts that are due with it."""
        async with self._busy:
            if self._closed or step != self._done + 1:
                return ()
            await self._fold((step,))
            self._done = step
            ends = [end.stepped(step, loss) for end in self._ends]
            links = self._signed(step + 1) if self._reach.ends_window(self._first, step) else ()
            return tuple(each for each in (*links, *ends) if each is not None)

    async def last(self) -> tuple[SignedReceipt, ...]:
        """Receipts for all that crossed since the last ones; after this nothing is noted."""
        async with self._busy:
            if self._closed:
                return ()
            with self._noting:
                self._closed = True
                beyond = sorted({step for window in self._links.values() for step in window.frames})
            await self._fold(tuple(beyond))
            links = self._signed(max([self._done, *beyond]) + 1)
            return tuple(each for each in (*links, *(end.last() for end in self._ends)) if each is not None)

    def _signed(self, end: int) -> tuple[SignedReceipt | None, ...]:
        first, self._first = self._first, end
        return tuple(self._signer.sign(number, window, first, end) for number, window in self._links.items())

    async def _fold(self, steps: tuple[int, ...]) -> None:
        with self._noting:
            taken = [
                (window, frames)
                for window in self._links.values()
                for step in steps
                if (frames := window.frames.pop(step, None))
            ]
        if sum(len(frames) for _, frames in taken) <= INLINE_CROSSINGS:
            _fold_all(taken)
        else:
            await trio.to_thread.run_sync(_fold_all, taken)


def _fold_all(taken: list[tuple[Window, list[FrameHeader]]]) -> None:
    for window, frames in taken:
        for frame in sorted(frames, key=_order):
            key = frame.key
            window.add(Crossing(key.step, key.micro_batch, key.direction, key.attempt, frame.root))


def _order(frame: FrameHeader) -> tuple[int, int, int, int]:
    key = frame.key
    return key.step, key.micro_batch, key.direction, key.attempt
