"""The end of a run that pays: last receipts, last vouchers, releases; then lanes are settled.

Whoever is gone is paid for what its neighbours witness, and finds its voucher when it is back (``collecting``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import trio

from swarmd.protocols.ids import PeerId
from swarmd.protocols.pay_messages import AskRelease, LaneReleased, LastReceipts, ReceiptsDone
from swarmd.runs.calling import Call
from swarmd.runs.funding import Funding
from swarmd.runs.paying import Paymaster

LAST_SECONDS = 5.0
"""That members together have for each part of the end."""
Settle = Callable[[int, bytes, bytes], None]
"""(lane, voucher, release): begins a settlement and returns."""


class Closing:
    """Closes one funded term with the members that are still there."""

    def __init__(
        self, funding: Funding, paymaster: Paymaster, calls: Mapping[PeerId, Call], told: set[PeerId], settle: Settle
    ) -> None:
        """``told`` are the members that know their terms."""
        self._funding, self._paymaster, self._settle = funding, paymaster, settle
        self._calls, self._told = calls, told
        self._done = {part.peer: trio.Event() for part in funding.parts}
        self._released = {peer: trio.Event() for peer in funding.paid}

    def hear(self, peer: PeerId, message: object) -> None:
        """A member's answer. Raises ProtocolViolation for a release that is not of its lane."""
        if isinstance(message, ReceiptsDone):
            self._done[peer].set()
        elif isinstance(message, LaneReleased) and peer in self._released:
            lane, voucher = self._paymaster.released(peer, message)
            self._released[peer].set()
            self._settle(lane, voucher, message.release)

    async def run(self) -> None:
        """At most LAST_SECONDS for receipts, and as much for releases."""
        with trio.move_on_after(LAST_SECONDS):
            async with trio.open_nursery() as nursery:
                for peer in self._told:
                    nursery.start_soon(self._ask, peer)
        self._paymaster.close()
        await self._paymaster.pay()
        with trio.move_on_after(LAST_SECONDS):
            async with trio.open_nursery() as nursery:
                for peer in self._released:
                    nursery.start_soon(self._finish, peer)

    async def _finish(self, peer: PeerId) -> None:
        call = self._calls[peer]
        total, note = self._paymaster.newest(peer)
        if peer not in self._told:
            stage = next(n for n, part in enumerate(self._funding.parts) if part.peer == peer)
            await call.tell(self._funding.terms(stage))
        if note is not None:
            await call.tell(note)  # it may have it already
        await call.tell(AskRelease(total))
        await _either(self._released[peer], call.over)

    async def _ask(self, peer: PeerId) -> None:
        await self._calls[peer].tell(LastReceipts())
        await _either(self._done[peer], self._calls[peer].over)


async def _either(one: trio.Event, other: trio.Event) -> None:
    async def wait(event: trio.Event) -> None:
        await event.wait()
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait, one)
        nursery.start_soon(wait, other)
