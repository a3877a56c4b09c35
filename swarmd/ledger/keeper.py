"""The replica of this node, how it takes in what others send, and how it comes back after a restart.

Signatures are checked in a worker thread, a few heads at a time; only what holds touches the replica, on the
event loop. Losing the file costs nothing but time: heads come back from peers.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable

import trio

from swarmd.ledger.deps import LedgerDeps
from swarmd.ledger.owners import concerns
from swarmd.ledger.pool import Pool
from swarmd.ledger.standing import PendingEntry, Standing
from swarmd.ledger.topics import publish
from swarmd.ledger.unbondings import Unbondings
from swarmd.ledger.verify import Checked, Rival, check_heads, read_heads
from swarmd.ledger.watch import VoteWatch, rival_proofs
from swarmd.protocols.errors import NotYet, ProtocolViolation, StateError
from swarmd.protocols.ids import PeerId, short
from swarmd.protocols.ledger.committee import Committee
from swarmd.protocols.ledger.entry import Op
from swarmd.protocols.ledger.handover import Succession
from swarmd.protocols.ledger.heads import Head
from swarmd.protocols.ledger.proofs import Proof, check_proof, encode_proof, parse_proof
from swarmd.protocols.ledger.replica import Replica

_LOG = logging.getLogger(__name__)

CHUNK = 8
"""Heads that one visit to the worker thread checks."""
READ_CHUNK = 64


class Keeper:
    """What is certified, here. ``changed`` is set when our own account or what is owed to us changes."""

    def __init__(self, deps: LedgerDeps) -> None:
        self.deps = deps
        self.replica = Replica(deps.genesis)
        self.counters: Counter[str] = Counter()
        self.owed: dict[PeerId, int] = {}
        """By payer: what it sent us and we have not claimed; only those above 0."""
        self._lane_claims: dict[tuple[PeerId, int], int] = {}
        self._unbondings = Unbondings(deps.ledger_store, deps.clock)
        self.pool = Pool()
        self.watch = VoteWatch()
        self._changed = trio.Event()
        self._dirty: set[PeerId] = set()
        self._learned = trio.Event()
        self._checking = trio.CapacityLimiter(1)
        self._succeeding = trio.Lock()
        self.on_succession: Callable[[], None] = lambda: None
        """Told when another committee votes."""

    @property
    def account(self) -> PeerId:
        """Ours."""
        return self.deps.identity.peer

    @property
    def first_seen(self) -> dict[PeerId, dict[int, float]]:
        """By account and entry number: since when we know that it unstaked; Unix seconds."""
        return self._unbondings.seen

    @property
    def changed(self) -> trio.Event:
        """The next change."""
        return self._changed

    def tell(self) -> None:
        """Wake whoever waits for a change."""
        self._changed.set()
        self._changed = trio.Event()

    async def load(self) -> None:
        """Take in what this node's own files hold. Raises StateError."""
        stored = await self.deps.ledger_store.load()
        self._unbondings.load(stored.first_seen)
        for raw in stored.successions:
            self.replica.add_committee(raw)
        for culprit, proof in stored.proofs:
            self.replica.add_proof(culprit, proof)
        await self._read(stored.heads)
        newest = await self.deps.self_store.entries(None, 2)
        await self._read(tuple(own.head for own in newest if own.head))

    async def take_head(self, raw: bytes) -> Head | None:
        """Check and merge one head; None if it is not newer. Raises ProtocolViolation, NotYet."""
        checked = await self._check((raw,))
        return await self._merge(checked[0])

    async def take_heads(self, raws: tuple[bytes, ...]) -> int:
        """Check and merge many; how many were newer.

        Raises:
            ProtocolViolation: for the first that no honest peer sends; those before it are kept.
            NotYet: for the first of a committee that is not known here.
        """
        newer = 0
        for start in range(0, len(raws), CHUNK):
            for each in await self._check(raws[start : start + CHUNK]):
                newer += await self._merge(each) is not None
        return newer

    async def add_head(self, head: Head) -> bool:
        """Merge a head that was checked, or that we made; whether it was newer."""
        entry = head.signed.entry
        if entry.seq <= self.replica.seq(entry.account):
            return False
        self.replica.add_head(head)
        self.counters["heads_taken"] += 1
        self._dirty.add(entry.account)
        self._learned.set()
        self.pool.drop(entry.account, entry.seq)
        self._note_owed(entry.account)
        await self._unbondings.note(head)
        if entry.account == self.account:
            for payer in tuple(self.owed) + tuple(total.peer for total in head.state.received):
                self._note_owed(payer)
            self.tell()
        return True

    async def take_proof(self, raw: bytes) -> PeerId | None:
        """Check, merge and save one proof; None if its culprit is known, or is nobody. Raises ProtocolViolation.

        Keys are free: proofs against those that have neither an account nor a vote would fill every disk.
        """
        culprit, proof = parse_proof(raw)
        if self.replica.frozen(culprit):
            return None
        if not concerns(self.replica, culprit, proof):
            self.counters["proofs_against_nobody"] += 1
            return None
        await trio.to_thread.run_sync(check_proof, proof, self.replica.network, limiter=self._checking)
        if self.replica.frozen(culprit):
            return None
        self.replica.add_proof(culprit, raw)
        await self.deps.ledger_store.save_proof(culprit, raw)
        self.counters["proofs_taken"] += 1
        self.deps.events.warning(f"account {short(culprit)} is frozen: its key signed two things that contradict")
        self.tell()
        return culprit

    async def accuse(self, *proofs: Proof) -> None:
        """Keep proofs that we made, and tell everybody."""
        for proof in proofs:
            raw = encode_proof(proof)
            if await self.take_proof(raw) is not None:
                self.counters["proofs_made"] += 1
                await publish(self.deps, "proof", raw)

    async def take_succession(self, succession: Succession) -> Committee | None:
        """Check, merge and save one change of committee; None if it is known. Raises ProtocolViolation."""
        async with self._succeeding:
            committee = self.replica.offer_succession(succession)
            if committee is None:
                return None
            await self.deps.ledger_store.save_succession(committee.number, succession)
        self.deps.events.info(f"committee {committee.number} votes from now on: {len(committee.members)} members")
        self.tell()
        self.on_succession()
        return committee

    async def save(self) -> None:
        """Write newly learned heads to disk every ``save_every`` seconds, and once more at the end."""
        try:
            while True:
                await self._learned.wait()
                await trio.sleep(self.deps.settings.save_every)
                self._learned = trio.Event()
                await self._save()
        finally:
            with trio.move_on_after(2) as scope:
                scope.shield = True
                await self._save()

    def standing(self, *, pending: PendingEntry | None, queued: tuple[tuple[Op, ...], ...], obstacle: str) -> Standing:
        """Our account now."""
        head, state = self.replica.head(self.account), self.replica.state(self.account)
        return Standing(
            balance=state.balance,
            pending_in=sum(self.owed.values()),
            locked=state.locked,
            bonded=state.bonded,
            unbonding=state.unbonding_total,
            seq=head.signed.entry.seq if head else 0,
            pending=pending,
            queued=queued,
            obstacle=obstacle,
            frozen=self.replica.frozen(self.account),
            burned=self.replica.burned(self.account),
        )

    async def _read(self, raws: tuple[bytes, ...]) -> None:
        for start in range(0, len(raws), READ_CHUNK):
            some = raws[start : start + READ_CHUNK]
            for each in await trio.to_thread.run_sync(read_heads, some, self.replica, limiter=self._checking):
                if isinstance(each, ProtocolViolation):
                    self.counters["heads_unreadable"] += 1
                elif isinstance(each, Head):
                    await self.add_head(each)
        self._dirty.clear()

    async def _check(self, raws: tuple[bytes, ...]) -> tuple[Checked, ...]:
        return await trio.to_thread.run_sync(check_heads, raws, self.replica, limiter=self._checking)

    async def _merge(self, checked: Checked) -> Head | None:
        if isinstance(checked, (ProtocolViolation, NotYet)):
            raise checked
        if isinstance(checked, Rival):
            await self._take_rival(checked.head)
            return None
        return checked if checked is not None and await self.add_head(checked) else None

    async def _take_rival(self, rival: Head) -> None:
        ours = self.replica.head(rival.signed.entry.account)
        if ours is not None and ours.signed.entry.seq == rival.signed.entry.seq and ours.signed.id != rival.signed.id:
            await self.accuse(*rival_proofs(ours, rival))

    def note_lane_claim(self, payer: PeerId, lane: int, total: int) -> None:
        """The committee has certified that we may claim this much of a payer's lane."""
        self._lane_claims[payer, lane] = total
        self._note_owed(payer)

    def _claimed_ahead(self, payer: PeerId) -> int:
        """What is certified for us on lanes of a payer that are open still."""
        state, known = self.replica.state(payer), self._lane_claims
        for key in [key for key in known if key[0] == payer and state.lane(key[1]) is None]:
            del known[key]
        return sum(total for key, total in known.items() if key[0] == payer)

    def _note_owed(self, payer: PeerId) -> None:
        ours = self.replica.state(self.account)
        covered = self.replica.state(payer).sent_to(self.account) + self._claimed_ahead(payer)
        owed = covered - ours.received_from(payer)
        if owed > 0 and self.owed.get(payer) != owed:
            self.owed[payer] = owed
            self.tell()
        elif owed <= 0:
            self.owed.pop(payer, None)

    async def _save(self) -> None:
        accounts, self._dirty = tuple(self._dirty), set()
        heads = [(head.signed.entry, head.raw) for each in accounts if (head := self.replica.head(each))]
        try:
            for start in range(0, len(heads), 256):
                rows = tuple((entry.account, entry.seq, raw) for entry, raw in heads[start : start + 256])
                await self.deps.ledger_store.save_heads(rows)
        except StateError as error:
            self._dirty.update(accounts)
            self.counters["saves_failed"] += 1
            _LOG.warning("certified heads were not saved: %s", error)
