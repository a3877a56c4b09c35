"""Claim certificates on open lanes: the committee's word that a voucher is covered.

They are kept with the lane's record: what was claimed of an open lane covers every later claim on the same payer, and
a committee does not vote for it again once the lane has expired.
"""

from __future__ import annotations

from dataclasses import replace

from swarmd.ledger.asking import Asking
from swarmd.ledger.closing import OPEN
from swarmd.ledger.collect import Collector
from swarmd.ledger.jobsdb import LaneRecord
from swarmd.ledger.keeper import Keeper
from swarmd.protocols.canonical import decode, encode
from swarmd.protocols.errors import NotYet, SwarmdError
from swarmd.protocols.ids import PeerId, short
from swarmd.protocols.ledger.check import check_claim
from swarmd.protocols.ledger.messages import AskClaimVote
from swarmd.protocols.ledger.votes import Certificate, ClaimVote, Vote, certificate_of
from swarmd.protocols.ledger.vouchers import Voucher, open_voucher
from swarmd.protocols.records import from_value, to_value

MAX_CERTIFICATE_BYTES = 1 << 14


class LaneClaims:
    """The newest certificate for each open lane that pays us."""

    def __init__(self, keeper: Keeper, asking: Asking, collector: Collector) -> None:
        self._keeper, self._asking, self._collector = keeper, asking, collector
        self._store = keeper.deps.job_store
        self._certified: dict[tuple[PeerId, int], Certificate] = {}

    def of(self, payer: PeerId) -> tuple[Certificate, ...]:
        """Those on lanes of a payer that are open still."""
        state = self._keeper.replica.state(payer)
        gone = [key for key in self._certified if key[0] == payer and state.lane(key[1]) is None]
        for key in gone:
            del self._certified[key]
        return tuple(certificate for key, certificate in self._certified.items() if key[0] == payer)

    def total(self, payer: PeerId, lane: int) -> int:
        """What the certificate for a lane says; 0 without one."""
        certificate = self._certified.get((payer, lane))
        return claimed(certificate) if certificate is not None else 0

    async def know(self, payer: PeerId, lane: int, total: int) -> None:
        """Be sure that the lane's opening is known here, and its funding up to ``total`` if it is. Raises NotYet."""
        state = self._keeper.replica.state(payer)
        known = state.lane(lane)
        if state.lanes_opened < lane or (known is not None and known.cap < total):
            await self._asking.find_head(payer)
        if self._keeper.replica.state(payer).lanes_opened < lane:
            raise NotYet(f"lane {lane} of {short(payer)} is not certified yet, as far as it is known here")

    async def certify(self, voucher: Voucher, raw: bytes) -> None:
        """Get a certificate for a voucher; none is needed if its lane is settled.

        Raises Refused, NotYet or ProtocolViolation for a voucher that we would not vote for ourselves: members would
        not either, and to ask them for ever would keep us from claiming anything else.
        """
        payer, lane, total = voucher.payer, voucher.lane, voucher.total
        if self._keeper.replica.state(payer).lane(lane) is None or self.total(payer, lane) >= total:
            return
        check_claim(self._keeper.replica, voucher, False, now=0.0)  # members' clocks, not ours, say what is too late

        def ask() -> AskClaimVote:
            head = self._keeper.replica.head(payer)
            return AskClaimVote(raw, head.raw if head else b"")

        def fits(vote: Vote) -> bool:
            return isinstance(vote, ClaimVote) and (vote.payer, vote.lane, vote.total) == (payer, lane, total)

        ballots = await self._collector.certify(ask, fits)
        certificate = self._certified[payer, lane] = certificate_of(ballots.in_order())
        self._keeper.note_lane_claim(payer, lane, total)
        if (record := await self._store.lane(payer, lane)) is not None:
            await self._store.save_lane(replace(record, claim=encode(to_value(certificate))))

    async def again(self, payer: PeerId) -> None:
        """Have certificates for what was claimed of this payer's lanes before: a claim's total covers that too."""
        if not self._ahead(payer):
            return
        for record in await self._store.lanes(role="provider", state=OPEN):
            if record.payer == payer and record.voucher:
                self.remember(record)
                try:
                    await self.certify(open_voucher(record.voucher, self._keeper.replica.network), record.voucher)
                except SwarmdError as error:
                    words = f"lane {record.lane} of {short(payer)} is not claimed: {error.message}"
                    self._keeper.deps.events.warning(words, run=record.run)

    def remember(self, record: LaneRecord) -> None:
        """Take up a certificate from before a restart."""
        if record.claim and (record.payer, record.lane) not in self._certified:
            certificate = from_value(Certificate, decode(record.claim, limit=MAX_CERTIFICATE_BYTES))
            self._certified[record.payer, record.lane] = certificate
            self._keeper.note_lane_claim(record.payer, record.lane, claimed(certificate))

    def _ahead(self, payer: PeerId) -> bool:
        """Whether more was claimed than the payer's own counters and our certificates cover."""
        us, replica = self._keeper.account, self._keeper.replica
        covered = replica.state(payer).sent_to(us) + sum(map(claimed, self.of(payer)))
        return replica.state(us).received_from(payer) > covered or bool(self.of(payer))


def claimed(certificate: Certificate) -> int:
    """The total that a claim certificate is for."""
    return certificate.vote.total if isinstance(certificate.vote, ClaimVote) else 0
