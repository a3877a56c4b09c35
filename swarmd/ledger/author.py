"""The owner's chain: one entry in flight, on disk before anybody sees it, and never two of one number.

Writes wait in a bounded queue. Those that wait together share the next entry, each whole or not at all. An
entry is brought to the committee again and again until it is certified; from then on it is final.
"""

from __future__ import annotations

from dataclasses import dataclass

from swarmd.ledger.ballots import Ballots
from swarmd.ledger.collect import Collector
from swarmd.ledger.evidence import evidence_for
from swarmd.ledger.keeper import Keeper
from swarmd.ledger.ownhead import OwnHead
from swarmd.ledger.standing import PendingEntry
from swarmd.ledger.topics import publish
from swarmd.ledger.writes import Batch, Write, WriteQueue
from swarmd.protocols.canonical import decode, encode
from swarmd.protocols.errors import Refused, StateError, SwarmdError
from swarmd.protocols.ids import short
from swarmd.protocols.ledger.account import AccountState, parse_state
from swarmd.protocols.ledger.apply import next_entry
from swarmd.protocols.ledger.entry import FIRST_PREV, Op, SignedEntry, open_entry, sign_entry
from swarmd.protocols.ledger.heads import make_head
from swarmd.protocols.ledger.messages import MAX_ANSWER_BYTES, AskEntryVote, Evidence
from swarmd.protocols.ledger.votes import EntryVote, Vote, certificate_of
from swarmd.protocols.records import from_value, to_value

EARLIER = "signed before this start; it goes on once enough committee members answer"


@dataclass(frozen=True, slots=True)
class InFlight:
    """Our newest entry, on its way to the committee."""

    signed: SignedEntry
    state: AccountState
    evidence: Evidence
    since: float

    @property
    def seq(self) -> int:
        """Its number."""
        return self.signed.entry.seq


class Author:
    """Writes this node's chain. ``run`` is the service."""

    def __init__(self, keeper: Keeper, collector: Collector, own_head: OwnHead) -> None:
        self._keeper, self._collector, self._own_head = keeper, collector, own_head
        self._deps = keeper.deps
        self._queue = WriteQueue()
        self._in_flight: InFlight | None = None
        self._ballots = Ballots(keeper.replica.committee)
        self._batch = Batch()

    @property
    def queued(self) -> tuple[tuple[Op, ...], ...]:
        """The operations of each write that is in no entry yet."""
        return self._queue.operations

    @property
    def obstacle(self) -> str:
        """Why nothing is signed now; empty if nothing is in the way."""
        if self._keeper.replica.frozen(self._keeper.account):
            return "this account is frozen: there is proof that its key signed two entries of one number"
        return self._own_head.obstacle

    def pending(self) -> PendingEntry | None:
        """The entry in flight, also before it is safe to bring it to the committee again."""
        if self._in_flight is None or self._keeper.replica.seq(self._keeper.account) >= self._in_flight.seq:
            return None
        return PendingEntry(
            id=self._in_flight.signed.id,
            seq=self._in_flight.seq,
            since=self._in_flight.since,
            ops=self._in_flight.signed.entry.ops,
            after=self._in_flight.state,
            weight=self._ballots.weight,
            quorum=self._ballots.committee.quorum,
            reasons=dict(self._ballots.reasons),
            words=self._ballots.words() if self._ballots.rounds else self._no_round_yet(),
        )

    def _no_round_yet(self) -> str:
        return EARLIER if self._own_head.obstacle else "on its way to the committee"

    async def write(self, ops: tuple[Op, ...], evidence: Evidence, note: str, *, wait: bool) -> SignedEntry:
        """As ``Wallet.write``."""
        return (await self.submit(ops, evidence, note, wait=wait)).entry

    async def submit(self, ops: tuple[Op, ...], evidence: Evidence, note: str, *, wait: bool) -> Write:
        """As ``write``; tells also how many lanes there were before."""
        write = self._queue.put(ops, evidence, note)
        await write.on_disk.wait()
        if wait and write.error is None:
            await write.certified.wait()
        if write.error is not None:
            raise write.error
        return write

    async def run(self) -> None:
        """Write what is asked, for ever."""
        await self._own_head.check()
        await self._resume()
        while True:
            await self._queue.filled()
            await self._own_head.check()
            if self._refuse_all():
                continue
            await self._write_next()

    async def load(self) -> None:
        """Know the entry that was signed before this start, so that it is shown while the committee is away."""
        self._in_flight, self._ballots = await self._unfinished(), Ballots(self._keeper.replica.committee)

    async def _unfinished(self) -> InFlight | None:
        own = await self._deps.self_store.newest()
        if own is None or own.head or self._keeper.replica.seq(self._keeper.account) >= own.seq:
            return None
        signed = open_entry(own.raw, self._keeper.replica.network)
        evidence = from_value(Evidence, decode(own.evidence, limit=MAX_ANSWER_BYTES))
        return InFlight(signed, parse_state(own.state), evidence, own.time)

    async def _resume(self) -> None:
        """Go on with an entry that was signed before this start."""
        self._in_flight = await self._unfinished()
        if self._in_flight is not None:
            return await self._certify(self._in_flight)
        own, head = await self._deps.self_store.newest(), self._keeper.replica.head(self._keeper.account)
        if own is not None and head is not None and not own.head and head.signed.id == own.id:
            await self._deps.self_store.certified(own.seq, head.raw)

    async def _write_next(self) -> None:
        account, replica = self._keeper.account, self._keeper.replica
        batch = self._queue.take(replica.state(account), replica.seq(account) + 1)
        if not batch.writes:
            return
        try:
            flight = await self._sign(batch)
        except SwarmdError as error:
            return batch.fail(error)
        for write in batch.writes:
            write.signed = flight.signed
            write.on_disk.set()
        self._batch = batch
        await self._certify(flight)
        for write in batch.writes:
            write.certified.set()
        self._batch = Batch()

    async def _sign(self, batch: Batch) -> InFlight:
        replica, account, now = self._keeper.replica, self._keeper.account, self._deps.clock()
        head = replica.head(account)
        prev = head.signed.id if head else FIRST_PREV
        entry, after = next_entry(account, replica.seq(account) + 1, prev, replica.state(account), batch.ops, now)
        signed = sign_entry(entry, replica.network, self._deps.identity.sign)
        evidence = encode(to_value(batch.evidence))
        await self._deps.self_store.add_entry(signed, after.to_bytes(), evidence, batch.note, now)
        return InFlight(signed, after, batch.evidence, now)

    async def _certify(self, flight: InFlight) -> None:
        """Bring an entry to the committee until it is certified."""
        self._in_flight, self._ballots = flight, Ballots(self._keeper.replica.committee)
        self._keeper.tell()
        entry = flight.signed.entry
        await publish(self._deps, "entry", flight.signed.raw)
        while self._keeper.replica.seq(entry.account) < entry.seq and not self._refuse_all():
            nudged = self._collector.nudged
            try:
                await self._gather(flight)
            except (Refused, StateError) as error:
                self._keeper.counters["entries_refused"] += 1
                self._deps.events.warning(f"entry {entry.seq} is not certified yet: {error.message}")
                await self._collector.pause(self._ballots.rounds + 8, nudged)
        await self._keep(flight)
        self._in_flight = None
        self._keeper.tell()

    async def _gather(self, flight: InFlight) -> None:
        entry, replica = flight.signed.entry, self._keeper.replica

        def ask() -> AskEntryVote:
            return AskEntryVote(
                flight.signed.raw, flight.state.to_bytes(), evidence_for(replica, entry, flight.evidence)
            )

        def fits(vote: Vote) -> bool:
            place = entry.account, entry.seq, flight.signed.id
            return isinstance(vote, EntryVote) and (vote.account, vote.seq, vote.entry) == place

        ballots = await self._collector.certify(ask, fits, self._progress)
        head = make_head(flight.signed, flight.state, certificate_of(ballots.in_order()))
        await self._deps.self_store.certified(entry.seq, head.raw)
        await self._keeper.add_head(head)
        await publish(self._deps, "head", head.raw)

    async def _keep(self, flight: InFlight) -> None:
        """Somebody else may have brought our entry's head, or shown another in its place."""
        entry, head = flight.signed.entry, self._keeper.replica.head(self._keeper.account)
        if head is None or head.signed.entry.seq < entry.seq:
            return
        if head.signed.id == flight.signed.id:
            self._keeper.counters["entries_certified"] += 1
            try:
                await self._deps.self_store.certified(entry.seq, head.raw)
            except SwarmdError as error:
                self._deps.events.warning(f"that entry {entry.seq} is certified was not kept: {error.message}")
        else:
            words = f"entry {entry.seq} of this account was signed elsewhere with our key ({short(head.signed.id)})"
            self._batch.fail(StateError(words, hint="run one daemon for each key"))

    def _progress(self, ballots: Ballots) -> None:
        self._ballots = ballots
        self._keeper.counters["entry_rounds"] += 1
        if ballots.rounds == 2 and not ballots.certified:
            self._deps.events.warning(f"an entry of this account is not certified yet: {ballots.words()}")
        self._keeper.tell()

    def _refuse_all(self) -> bool:
        if not self._keeper.replica.frozen(self._keeper.account):
            return False
        error = StateError(self.obstacle, hint="its credits stay where they are; a new account needs a new key")
        self._batch.fail(error)
        self._queue.fail_all(error)
        return True
