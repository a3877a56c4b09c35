"""What a node knows of the ledger: the newest certified head of each account, the proofs, the committees.

A replica only grows, and it is a join: the same heads, proofs and successions make the same replica in whatever order
they come, and however often (Shapiro et al., Conflict-free Replicated Data Types, 2011).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from swarmd.protocols.canonical import encode
from swarmd.protocols.errors import NotYet, ProtocolViolation
from swarmd.protocols.ids import PeerId
from swarmd.protocols.ledger.account import AccountState
from swarmd.protocols.ledger.buckets import Buckets
from swarmd.protocols.ledger.committee import Committee, first_committee
from swarmd.protocols.ledger.genesis import Genesis
from swarmd.protocols.ledger.handover import Succession
from swarmd.protocols.ledger.heads import Head, check_head, parse_head
from swarmd.protocols.ledger.proofs import check_proof, parse_proof
from swarmd.protocols.ledger.succession import check_succession, committee_after


@dataclass(frozen=True, slots=True, kw_only=True)
class Supply:
    """Where all micro-credits are."""

    granted: int
    """By the genesis: all there ever were."""
    balances: int
    locked: int
    """In open lanes."""
    bonded: int
    unbonding: int
    burned: int
    """The stake of accounts with a proof against them."""
    in_flight: int
    """Sent and not claimed yet. Below zero while claims of open lanes, or claims on heads not here yet, are ahead."""

    @property
    def total(self) -> int:
        """Equals ``granted``, always."""
        return self.balances + self.locked + self.bonded + self.unbonding + self.burned + self.in_flight


class Replica:
    """In memory, without I/O. ``offer_*`` checks what comes from others; ``add_*`` takes what we checked before."""

    def __init__(self, genesis: Genesis) -> None:
        self.genesis = genesis
        self.network = genesis.id
        self.buckets = Buckets()
        self.committees: tuple[Committee, ...] = (first_committee(genesis),)
        """By number."""
        self.successions: tuple[Succession, ...] = ()
        """What led to committees 1, 2, ..."""
        self._born = {grant.account: AccountState(granted=grant.amount) for grant in genesis.grants}
        self._unborn = AccountState(granted=0)
        self._heads: dict[PeerId, Head] = {}
        self._proofs: dict[PeerId, bytes] = {}

    def __len__(self) -> int:
        return len(self._heads)

    @property
    def committee(self) -> Committee:
        """The newest."""
        return self.committees[-1]

    def accounts(self) -> tuple[PeerId, ...]:
        """The accounts with a certified head, sorted."""
        return tuple(sorted(self._heads))

    def head(self, account: PeerId) -> Head | None:
        """The newest certified head of an account."""
        return self._heads.get(account)

    def seq(self, account: PeerId) -> int:
        """The number of an account's newest certified entry; 0 if it has none."""
        head = self._heads.get(account)
        return head.signed.entry.seq if head else 0

    def state(self, account: PeerId) -> AccountState:
        """An account's certified state; without a head, what the genesis gave it."""
        head = self._heads.get(account)
        return head.state if head else self._born.get(account, self._unborn)

    def offer_head(self, raw: bytes) -> Head | None:
        """Check a certified head and take it in; None if it is not newer than ours (then signatures stay unchecked).

        Raises:
            ProtocolViolation: it is malformed, or not certified.
            NotYet: its committee is newer than those known here; ask for the successions first.
        """
        unchecked = parse_head(raw)
        if unchecked.entry.seq <= self.seq(unchecked.entry.account):
            return None
        head = check_head(unchecked, self.network, self.committees)
        self.add_head(head)
        return head

    def add_head(self, head: Head) -> None:
        """Take in a head that we checked before; one that is not newer changes nothing."""
        entry = head.signed.entry
        if entry.seq > self.seq(entry.account):
            self._heads[entry.account] = head
            self.buckets.set(entry.account, entry.seq, head.signed.id)

    def offer_proof(self, raw: bytes) -> PeerId | None:
        """Check a proof and take it in: whom it is against, or None if we know of one. Raises ProtocolViolation."""
        culprit, proof = parse_proof(raw)
        if culprit in self._proofs:
            return None
        check_proof(proof, self.network)
        self._proofs[culprit] = raw
        return culprit

    def add_proof(self, culprit: PeerId, raw: bytes) -> None:
        """Take in a proof that we checked before."""
        self._proofs.setdefault(culprit, raw)

    def proof(self, culprit: PeerId) -> bytes | None:
        """The proof against an account."""
        return self._proofs.get(culprit)

    def proofs(self) -> tuple[tuple[PeerId, bytes], ...]:
        """Culprits and proofs, by culprit."""
        return tuple(sorted(self._proofs.items()))

    def proofs_hash(self) -> bytes:
        """SHA-256 over the culprits, sorted: what a ``Hello`` says of the proofs."""
        return hashlib.sha256(encode(tuple(sorted(self._proofs)))).digest()

    def frozen(self, account: PeerId) -> bool:
        """Whether there is a proof against an account."""
        return account in self._proofs

    def offer_succession(self, succession: Succession) -> Committee | None:
        """Check the next committee's succession and take it in; None if that committee is known.

        Raises:
            ProtocolViolation: not the operator's word, not on top of our newest committee, or without its quorum.
            NotYet: committees before it are not known here yet.
        """
        number = committee_after(succession).number
        if number < len(self.committees):
            return None
        if number > len(self.committees):
            raise NotYet(f"committee {number} follows committee {number - 1}, which is not known here yet")
        operator = self.genesis.operator
        if operator is None:
            raise ProtocolViolation("a network without credits has no committees")
        check_succession(succession, self.network, operator, self.committee)
        return self.add_committee(succession)

    def add_committee(self, succession: Succession) -> Committee:
        """Take in a succession that we checked before, the next by number."""
        committee = committee_after(succession)
        self.committees = (*self.committees, committee)
        self.successions = (*self.successions, succession)
        return committee

    def burned(self, account: PeerId) -> int:
        """The stake that an account with a proof against it lost, in micro-credits."""
        state = self.state(account)
        return state.bonded + state.unbonding_total if self.frozen(account) else 0

    def supply(self) -> Supply:
        """Where all credits are, by what is known here."""
        known = self._heads.keys() | self._born.keys()
        states = {account: self.state(account) for account in known}
        good = [state for account, state in states.items() if not self.frozen(account)]
        sent = sum(total.amount for state in states.values() for total in state.sent)
        received = sum(total.amount for state in states.values() for total in state.received)
        return Supply(
            granted=self.genesis.supply,
            balances=sum(state.balance for state in states.values()),
            locked=sum(state.locked for state in states.values()),
            bonded=sum(state.bonded for state in good),
            unbonding=sum(state.unbonding_total for state in good),
            burned=sum(self.burned(account) for account in known),
            in_flight=sent - received,
        )
