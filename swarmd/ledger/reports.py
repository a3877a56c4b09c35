"""Reports of members that handed over: served by their hash, fetched in parts, and checked against it."""

from __future__ import annotations

from collections import OrderedDict

import trio

from swarmd.ledger.asking import Asking
from swarmd.ledger.keeper import Keeper
from swarmd.protocols.errors import NotFound, PeerLost, ProtocolViolation, RemoteError
from swarmd.protocols.ids import PeerId, short
from swarmd.protocols.ledger.handover import MAX_REPORT_BYTES, Handover, report_hash
from swarmd.protocols.ledger.messages import REPORT_PART_BYTES, GetReport, ReportPart

FETCH_SECONDS = 300.0
"""For one report from one peer, whatever its size: a liar must not keep us from asking the next."""
MAX_KEPT = 64
MAX_KEPT_BYTES = 1 << 28


class Reports:
    """The reports this node has: its own, and those it fetched, for others that take over too."""

    def __init__(self, keeper: Keeper, asking: Asking) -> None:
        self._keeper, self._asking = keeper, asking
        self._kept: OrderedDict[bytes, bytes] = OrderedDict()

    def keep(self, raw: bytes) -> None:
        """Be ready to pass a report on; past the bounds the oldest go."""
        self._kept[report_hash(raw)] = raw
        while len(self._kept) > 1 and self._too_much():
            self._kept.popitem(last=False)

    def _too_much(self) -> bool:
        return len(self._kept) > MAX_KEPT or sum(map(len, self._kept.values())) > MAX_KEPT_BYTES

    async def serve(self, peer: PeerId, asked: GetReport) -> ReportPart:
        """Answer GetReport. Raises NotFound."""
        del peer
        raw = self._kept.get(asked.report)
        if raw is None or asked.offset < 0:
            raise NotFound("no report with this hash is kept here")
        return ReportPart(raw[asked.offset : asked.offset + REPORT_PART_BYTES])

    async def fetch(self, handover: Handover) -> bytes:
        """The report of a hand-over, from its member or any peer that has it. Raises RemoteError."""
        if handover.report in self._kept:
            return self._kept[handover.report]
        operator = self._keeper.deps.genesis.operator
        sources = dict.fromkeys((handover.member, *((operator,) if operator else ()), *self._keeper.deps.peers()))
        problem: RemoteError = RemoteError("nobody has the report")
        for peer in sources:
            if peer == self._keeper.account:
                continue
            try:
                with trio.fail_after(FETCH_SECONDS):
                    raw = await self._from(peer, handover)
            except RemoteError as error:
                problem = error
            except trio.TooSlowError:
                problem = PeerLost(f"{short(peer)} did not send a report within {FETCH_SECONDS:g} s")
            else:
                self.keep(raw)
                return raw
        raise problem

    async def _from(self, peer: PeerId, handover: Handover) -> bytes:
        parts, size = list[bytes](), 0
        while size <= MAX_REPORT_BYTES:
            part = (await self._asking.member(peer, GetReport(handover.report, size), ReportPart)).data
            parts.append(part)
            size += len(part)
            if len(part) < REPORT_PART_BYTES:
                break
        raw = b"".join(parts)
        if report_hash(raw) != handover.report:
            raise ProtocolViolation("a report that is not the one its hand-over names")
        return raw
