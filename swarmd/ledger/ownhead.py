"""Before the first signature: is our own newest entry really the newest?

A state folder restored from a backup, or a second daemon with the same key, would sign a second entry of one
number, which freezes the account. So committee members and peers are asked first what they know of our account. What
our key signed and our own file lacks is taken over, certified or not.
"""

from __future__ import annotations

import trio

from swarmd.ledger.asking import Asking
from swarmd.ledger.keeper import Keeper
from swarmd.ledger.serving import hello
from swarmd.protocols.canonical import encode
from swarmd.protocols.errors import ProtocolViolation, RemoteError
from swarmd.protocols.ids import PeerId
from swarmd.protocols.ledger.apply import apply_ops
from swarmd.protocols.ledger.entry import SignedEntry, open_entry
from swarmd.protocols.ledger.heads import state_hash
from swarmd.protocols.ledger.messages import Evidence, GetPending, Pending, Summary
from swarmd.protocols.records import to_value

MAX_ASKED = 16
ALONE = (
    "this node was restored from a backup, and its committee cannot certify without it; only if nothing was signed "
    "after the backup was made may it go on: `swarmd key restore FILE --force --newest`"
)
_WORDS = "was a backup restored, or does another daemon use this key? We go on from there"


class OwnHead:
    """``check`` returns once it is safe to sign."""

    def __init__(self, keeper: Keeper, asking: Asking) -> None:
        self._keeper, self._asking, self._deps = keeper, asking, keeper.deps
        self._known = False
        self._pending: SignedEntry | None = None
        self.obstacle = ""
        """Why it is not known yet; empty once it is."""

    async def check(self) -> None:
        """Wait until so many committee members said which entry of ours is the newest that one of them knows.

        A quorum has an honest member in common with every quorum that certified; one member alone could lie. And
        without a quorum nothing that we sign would be certified anyway.
        """
        while not self._known:
            committee = self._keeper.replica.committee
            answered = await self._ask_all() | (set() if self._deps.self_store.restored else {self._keeper.account})
            self._known = committee.has_quorum(answered) and committee == self._keeper.replica.committee
            self.obstacle = "" if self._known else self._words(answered)
            self._keeper.tell()
            if not self._known:
                await trio.sleep(self._deps.settings.own_check_every)
        await self._take_over()

    def _words(self, answered: set[PeerId]) -> str:
        committee = self._keeper.replica.committee
        if self._deps.self_store.restored and not committee.has_quorum(self._others()):
            return ALONE
        members = committee.peers
        said = f"{len(answered.intersection(members))} of {len(members)} committee members"
        return f"{said} have said which entry of ours is the newest; more must, before we sign another"

    def _others(self) -> set[PeerId]:
        return set(self._keeper.replica.committee.peers) - {self._keeper.account}

    async def _ask_all(self) -> set[PeerId]:
        others = self._others()
        peers = sorted({*self._deps.peers(), *others}, key=lambda peer: (peer not in others, peer))
        answered: set[PeerId] = set()
        async with trio.open_nursery() as nursery:
            for peer in peers[: max(MAX_ASKED, len(others))]:
                nursery.start_soon(self._ask, peer, answered)
        return answered

    async def _ask(self, peer: PeerId, answered: set[PeerId]) -> None:
        try:
            if self._deps.self_store.restored and await self._is_ahead(peer):
                return
            await self._asking.head_of(self._keeper.account, peer)
            pending = await self._asking.member(peer, GetPending(self._keeper.account), Pending)
            if pending.entry:
                self._note(open_entry(pending.entry, self._keeper.replica.network))
        except ProtocolViolation:
            self._keeper.counters["bad_heads"] += 1
        except RemoteError:
            return
        else:
            answered.add(peer)

    async def _is_ahead(self, peer: PeerId) -> bool:
        """Whether a peer knows a later committee: votes of ours may be lost in that one too."""
        summary = await self._asking.member(peer, hello(self._keeper), Summary)
        return summary.hello.committee > self._keeper.replica.committee.number

    def _note(self, signed: SignedEntry) -> None:
        entry = signed.entry
        if entry.account == self._keeper.account and (self._pending is None or self._pending.entry.seq < entry.seq):
            self._pending = signed

    async def _take_over(self) -> None:
        store, head = self._deps.self_store, self._keeper.replica.head(self._keeper.account)
        own = await store.newest()
        if head is not None and (own.seq if own else 0) < head.signed.entry.seq:
            await store.adopt(head.signed, head.state.to_bytes(), head.raw, self._deps.clock())
            self._say(f"entry {head.signed.entry.seq} of this account is certified, and newer than our own file knows")
        if store.restored:
            await store.confirm_restored(self._keeper.replica.committee.number)
            self._deps.events.warning(
                "this node was restored from a backup: it signs again, and votes again from the next committee on"
            )
        if self._pending is not None:
            await self._take_pending(self._pending)
            self._pending = None

    async def _take_pending(self, signed: SignedEntry) -> None:
        """An entry that our key signed and our file lacks is ours: bring it to its end, sign no other."""
        store, entry, replica = self._deps.self_store, signed.entry, self._keeper.replica
        own = await store.newest()
        if entry.seq != replica.seq(entry.account) + 1 or (own.seq if own else 0) >= entry.seq:
            return
        try:
            state = apply_ops(replica.state(entry.account), entry.seq, entry.ops)
        except ProtocolViolation:
            return
        if state_hash(state) == entry.state_hash:
            evidence = encode(to_value(Evidence()))
            await store.add_entry(signed, state.to_bytes(), evidence, "signed elsewhere", self._deps.clock())
            self._say(f"entry {entry.seq} of this account is signed, and our own file does not know it")

    def _say(self, what: str) -> None:
        self._keeper.counters["own_entries_adopted"] += 1
        self._deps.events.warning(f"{what}: {_WORDS}")
