"""Which places a stage's tensors go to, and the way back of their gradients (decision 13).

With one place before and one after there is nothing to choose, and nothing is kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from torch import Tensor

from swarmd.protocols.errors import ProtocolViolation
from swarmd.scheduler.around import Around
from swarmd.scheduler.routing import Item, ReturnPaths, Router

OPEN_STEPS = 3
"""Steps of which a replica can have inputs at a time (``swarmd.scheduler.flow``)."""


class Routes:
    """The ways of one place's micro-batches. Raises ProtocolViolation for a frame on a way that was not taken."""

    def __init__(self, around: Around, micro_batches: int) -> None:
        before, after = around.before, around.after
        self._before = [seat.place for seat in before]
        self._after = {seat.place: number for number, seat in enumerate(after)}
        self._places = list(self._after)
        self._outputs: deque[tuple[Item, Tensor]] = deque()
        self._paths = ReturnPaths(OPEN_STEPS * micro_batches) if len(before) > 1 else None
        services, windows = [float(seat.service) for seat in after], [seat.credit for seat in after]
        self._router = Router(services, windows) if len(after) > 1 else None

    def came(self, item: Item, sender: int) -> None:
        """A forward arrived from this place."""
        if self._paths:
            self._paths.came(item, sender)

    def home(self, item: Item) -> int:
        """Where the gradient of a micro-batch goes."""
        return self._paths.back(item) if self._paths else self._before[0]

    def leave(self, item: Item, output: Tensor) -> None:
        """The output of a micro-batch is ready to go on."""
        self._outputs.append((item, output))

    def onward(self) -> Iterator[tuple[int, Item, Tensor]]:
        """The outputs that go on now, in order, and where: as long as a place has room."""
        while self._outputs:
            item, output = self._outputs[0]
            chosen = self._router.choose(item) if self._router else 0
            if chosen is None:
                return
            self._outputs.popleft()
            yield self._places[chosen], item, output

    def returned(self, item: Item, sender: int) -> None:
        """A gradient came from this place."""
        if self._router:
            self._router.returned(item, self._after.get(sender, -1))

    def looked(self, sender: int) -> None:
        """An evaluation batch came from this place: they go through the heads alone."""
        if sender != self._before[0]:
            raise ProtocolViolation(f"an evaluation from place {sender}, which is no head")

    @property
    def look(self) -> int:
        """Where an evaluation batch goes."""
        return self._places[0]
