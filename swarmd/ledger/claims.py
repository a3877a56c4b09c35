"""Taking what we are owed: payments by themselves, lane earnings by claim certificates.

What a payer sent is claimed soon after it is seen. An open lane is claimed when the caller asks, or when it is about to
expire. Half of what lanes earn is staked as long as less than the target is bonded.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import trio

from swarmd.ledger.author import Author
from swarmd.ledger.closing import OPEN, SETTLED
from swarmd.ledger.jobsdb import LaneRecord
from swarmd.ledger.keeper import Keeper
from swarmd.ledger.laneclaims import LaneClaims, claimed
from swarmd.protocols.errors import Refused, SwarmdError
from swarmd.protocols.ids import PeerId, short
from swarmd.protocols.ledger.account import MAX_COUNTERPARTIES
from swarmd.protocols.ledger.entry import Claim, Op, Stake
from swarmd.protocols.ledger.messages import MAX_EVIDENCE, Evidence
from swarmd.protocols.ledger.votes import Certificate
from swarmd.protocols.ledger.vouchers import open_voucher
from swarmd.protocols.pacing import Retry, Waits

MOST_AT_ONCE = 32
"""Payers claimed from in one entry."""
CLAIM_PAUSES = 2
"""Of the network's time for one entry, between two claims of payments: whoever sends us dust takes no more than half of
the entries that we may write."""
POSTPONED = Waits(first=60.0, longest=3600.0)
FREE_PLACES = MAX_COUNTERPARTIES // 2
"""Payers that an account takes from whatever they send."""


def least_of_a_stranger(payers: int) -> int:
    """Micro-credits from which on we claim what somebody sends who is not among our ``payers`` yet.

    A place among them is for ever, so the fewer are left, the more one costs: from 0.001 credits it doubles with every
    eight. Whoever sends dust from many accounts cannot take all places; what is not claimed adds up and waits.
    """
    taken = payers - FREE_PLACES
    return 0 if taken < 0 else 1000 << taken // 8


@dataclass(frozen=True, slots=True)
class _Take:
    """What can be claimed from one payer now."""

    claim: Claim
    growth: int
    earned: int
    """The part of ``growth`` that lanes earned."""
    certificates: tuple[Certificate, ...]


class Claims:
    """Claims for this node's account, one at a time. ``run`` and ``watch_lanes`` are the services."""

    def __init__(self, keeper: Keeper, lanes: LaneClaims, author: Author) -> None:
        self._keeper, self._lanes, self._author = keeper, lanes, author
        self._deps, self._store = keeper.deps, keeper.deps.job_store
        self._turn = trio.Lock()
        self._postponed: Retry[PeerId] = Retry(POSTPONED)

    async def run(self) -> None:
        """Claim what payers sent, for ever."""
        while True:
            changed = self._keeper.changed
            if self._due():
                await trio.sleep(self._deps.settings.claim_after)
                async with self._turn:
                    await self._claim_sent(self._due())
                await trio.sleep(CLAIM_PAUSES * self._deps.genesis.limits.entry_seconds)
            else:
                with trio.move_on_after(self._deps.settings.look_every):
                    await changed.wait()

    async def watch_lanes(self) -> None:
        """Claim lanes that are about to expire, for ever."""
        while True:
            for record in await self._store.lanes(role="provider", state=OPEN):
                await self._look_at(record)
            await trio.sleep(self._deps.settings.look_every)

    async def claim_lane(self, payer: PeerId, lane: int, voucher: bytes) -> None:
        """As ``Wallet.claim_lane``."""
        said = open_voucher(voucher, self._keeper.replica.network)
        if (said.payer, said.lane, said.provider) != (payer, lane, self._keeper.account):
            raise Refused("this voucher is not for us, or of another lane")
        async with self._turn:
            await self._lanes.know(payer, lane, said.total)
            await self._lanes.certify(said, voucher)
            await self._lanes.again(payer)
            await self._write(await self._takes((payer,)))

    def _due(self) -> tuple[PeerId, ...]:
        now, state = trio.current_time(), self._keeper.replica.state(self._keeper.account)
        if self._keeper.replica.frozen(self._keeper.account):
            return ()
        least = least_of_a_stranger(len(state.received))
        worth = (payer for payer, owed in self._keeper.owed.items() if owed >= least or state.received_from(payer))
        return tuple(payer for payer in worth if self._postponed.due(payer, now))[:MOST_AT_ONCE]

    async def _claim_sent(self, payers: tuple[PeerId, ...]) -> None:
        """Claim from all in one entry; if that cannot be, from each by itself."""
        try:
            for payer in payers:
                await self._lanes.again(payer)
            await self._write(await self._takes(payers))
        except SwarmdError as error:
            if len(payers) > 1:
                for payer in payers:
                    await self._claim_sent((payer,))
            elif payers:
                self._postponed.tried(payers[0], trio.current_time())
                self._deps.events.warning(f"what {short(payers[0])} paid is not claimed: {error.message}")

    async def _takes(self, payers: tuple[PeerId, ...]) -> tuple[_Take, ...]:
        takes, room = list[_Take](), MAX_EVIDENCE
        for payer in payers:
            take = await self._take(payer)
            if take is not None and len(take.certificates) <= room:
                room -= len(take.certificates)
                takes.append(take)
        return tuple(takes)

    async def _take(self, payer: PeerId) -> _Take | None:
        us, replica = self._keeper.account, self._keeper.replica
        certificates = self._lanes.of(payer)
        in_lanes = sum(map(claimed, certificates))
        total = replica.state(payer).sent_to(us) + in_lanes
        growth = total - replica.state(us).received_from(payer)
        if growth <= 0:
            return None
        earned = min(growth, in_lanes + await self._settled(payer))
        return _Take(Claim(payer, total), growth, earned, certificates)

    async def _write(self, takes: tuple[_Take, ...]) -> None:
        if not takes:
            return
        missing = self._deps.target_stake - self._keeper.replica.state(self._keeper.account).bonded
        stake = min(sum(take.earned for take in takes) // 2, missing)
        ops: tuple[Op, ...] = tuple(take.claim for take in takes)
        held_back = (Stake(stake),) if stake > 0 else ()
        evidence = Evidence(claims=tuple(each for take in takes for each in take.certificates))
        await self._author.write((*ops, *held_back), evidence, "", wait=True)

    async def _settled(self, payer: PeerId) -> int:
        """What lanes earned that the payer has settled since we last looked; they are marked so."""
        state, earned = self._keeper.replica.state(payer), 0
        for record in await self._store.lanes(role="provider", state=OPEN):
            if record.payer == payer and record.lane <= state.lanes_opened and state.lane(record.lane) is None:
                earned += record.total
                await self._store.save_lane(replace(record, state=SETTLED, updated=self._deps.clock()))
        return earned

    async def _look_at(self, record: LaneRecord) -> None:
        self._lanes.remember(record)
        certified = self._lanes.total(record.payer, record.lane)
        due = self._deps.clock() >= record.expires - self._deps.settings.claim_before
        if due and record.voucher and record.total > certified:
            try:
                await self.claim_lane(record.payer, record.lane, record.voucher)
            except SwarmdError as error:
                self._deps.events.warning(f"lane {record.lane} is not claimed yet: {error.message}", run=record.run)
