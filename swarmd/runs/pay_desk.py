"""Everything about pay that a run's coordinator does, in the order of a run's life; in an unpaid run, nothing."""

from __future__ import annotations

from collections.abc import Mapping

import trio

from swarmd.protocols.advert import Advert
from swarmd.protocols.ids import PeerId
from swarmd.protocols.messages import StepDone
from swarmd.protocols.pay_messages import Receipted
from swarmd.protocols.statements import Plan
from swarmd.runs.calling import Call
from swarmd.runs.closing import LAST_SECONDS, Closing
from swarmd.runs.deps import RunDeps
from swarmd.runs.funding import Funding, budgeted, fund, priced, too_dear
from swarmd.runs.paying import Paymaster, settle
from swarmd.runs.record import RunRecord
from swarmd.scheduler.paying import Part


class PayDesk:
    """One term's pay."""

    def __init__(self, record: RunRecord, deps: RunDeps, calls: Mapping[PeerId, Call], lasting: trio.Nursery) -> None:
        """Settlements go on in ``lasting`` when the run is over."""
        self._record, self._deps, self._calls, self._lasting = record, deps, calls, lasting
        self._prices: dict[PeerId, int] = {}
        self._told: set[PeerId] = set()
        self._funding: Funding | None = None
        self._opened: trio.Event | None = None
        self._paymaster: Paymaster | None = None
        self._closing: Closing | None = None

    @property
    def prices(self) -> Mapping[PeerId, int]:
        """What each peer that was looked at asks."""
        return self._prices

    def too_dear(self, peer: PeerId, advert: Advert | None) -> str:
        """Why a peer is not offered the run; what it asks is what it will be paid."""
        reason = too_dear(peer, advert, self._record.budget, self._deps)
        self._prices[peer] = advert.price if advert and peer != self._deps.identity.peer else 0
        return reason

    async def price(self, plan: Plan) -> tuple[Part, ...]:
        """The plan's stages with prices and caps; empty if all are free. Raises Refused if it is over the budget."""
        parts = priced(plan, self._record.spec, self._prices)
        return await budgeted(self._record, self._deps, parts) if any(part.price for part in parts) else ()

    async def fund(self, parts: tuple[Part, ...], nursery: trio.Nursery) -> None:
        """Open the lanes, and pay from then on. Raises as ``funding.fund``."""
        self._opened = trio.Event()
        try:
            self._funding = await fund(self._record, self._deps, parts)
        finally:
            self._opened.set()
        self._paymaster = Paymaster(self._record, self._deps, self._funding, self._send)
        self._closing = Closing(self._funding, self._paymaster, self._calls, self._told, self._settle)
        for part in parts:
            self._calls[part.peer].conduct.pays(self._funding.pay_every)
        nursery.start_soon(self._paymaster.serve)

    async def tell_terms(self, stage: int) -> None:
        """Each member of a run that pays learns how, before it connects."""
        if self._funding is not None:
            peer = self._funding.parts[stage].peer
            self._told.add(peer)
            await self._calls[peer].tell(self._funding.terms(stage))

    def pays(self, lane: int) -> bool:
        """Whether this term pays from a lane."""
        return self._funding is not None and any(part.lane == lane for part in self._funding.parts)

    def stepped(self, peer: PeerId, report: StepDone) -> None:
        """A stage has committed a step."""
        if self._paymaster is not None:
            self._paymaster.stepped(peer, report)

    def hear(self, peer: PeerId, message: object) -> None:
        """What a member says about pay. Raises ProtocolViolation for what it cannot say."""
        if self._paymaster is not None and isinstance(message, Receipted):
            self._paymaster.receipted(peer, message)
        elif self._closing is not None:
            self._closing.hear(peer, message)

    async def close(self) -> None:
        """The run is over: pay what was delivered, and begin to settle. Takes a few seconds at most."""
        if self._opened is not None:
            with trio.move_on_after(LAST_SECONDS):
                await self._opened.wait()
        if self._closing is not None:
            await self._closing.run()

    async def _send(self, peer: PeerId, message: object) -> None:
        await self._calls[peer].tell(message)

    def _settle(self, lane: int, voucher: bytes, release: bytes) -> None:
        self._lasting.start_soon(settle, self._record, self._deps, lane, voucher, release)
