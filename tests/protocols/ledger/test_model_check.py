"""Every schedule of a small network, one by one: four members of whom one lies, and the real core deciding each vote.

The lying member votes for everything, so that two honest votes certify; what it may hide it hides by not being waited
for. Honest members are alike, so schedules that differ only in who is who count once. Breadth first: what is found
first is the shortest way there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import combinations
from typing import NamedTuple, TypeVar

import pytest

from swarmd.protocols.errors import ProtocolViolation, Refused
from swarmd.protocols.ids import PeerId
from swarmd.protocols.ledger.account import AccountState
from swarmd.protocols.ledger.entry import Claim, LaneOpen, Op, Pay, SignedEntry
from swarmd.protocols.ledger.handover import LaneMark
from swarmd.protocols.ledger.heads import Head
from swarmd.protocols.ledger.messages import AskCloseVote
from swarmd.protocols.ledger.replica import Replica
from swarmd.protocols.ledger.validator import decide_claim, decide_close, decide_entry
from swarmd.protocols.ledger.votes import EntryVote
from swarmd.protocols.ledger.vouchers import Voucher
from tests.protocols.ledger.world import LIMITS, NOTHING, NOW, RUN, Owner, World

T = TypeVar("T")


def explored(start: T, following: Callable[[T], Iterator[T]]) -> Iterator[tuple[T, bool]]:
    """Every state that can be reached, and whether nothing can happen after it."""
    seen, waiting = {start}, deque([start])
    while waiting:
        state = waiting.popleft()
        later = [each for each in following(state) if each != state]
        yield state, not later
        fresh = set(later) - seen
        seen |= fresh
        waiting.extend(fresh)


# Payments: three accounts, two entries each; the first account's owner signs two different chains.


class Node(NamedTuple):
    """An honest member: which heads it has (one of each account, as bits), and what it voted for."""

    heads: int = 0
    votes: int = 0
    proof: bool = False


Nodes = tuple[Node, ...]


@dataclass
class Payments:
    """All entries that anybody ever signs; an entry is known by its place in the list."""

    world: World = field(default_factory=World)
    entries: list[tuple[SignedEntry, AccountState]] = field(default_factory=list)
    allowed: dict[Node, int] = field(default_factory=dict)
    known: dict[tuple[Node, int], tuple[Node, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        ann, ben, cid = self.world.owners
        whole = ann.state.balance
        self.chain(ann, (Pay(ben.peer, whole),), (Pay(cid.peer, 5), Claim(ben.peer, 5)))
        self.chain(Owner(ann.who, self.world.genesis), (Pay(cid.peer, whole),))
        self.chain(ben, (Claim(ann.peer, whole),), (Pay(cid.peer, 2 * whole - 5), Pay(ann.peer, 5)))
        self.chain(cid, (Claim(ann.peer, 5),), (Claim(ben.peer, 2 * whole - 5),))
        self.places = [(signed.entry.account, signed.entry.seq) for signed, _ in self.entries]

    def chain(self, owner: Owner, *steps: tuple[Op, ...]) -> None:
        self.entries += [owner.write(*ops) for ops in steps]

    def replica(self, heads: int, proof: bool) -> Replica:
        replica = Replica(self.world.genesis)
        for at, (signed, state) in enumerate(self.entries):
            if heads >> at & 1:
                replica.add_head(Head(signed, state, b""))
        if proof:
            replica.add_proof(self.world.owners[0].peer, b"")
        return replica

    def votable(self, node: Node) -> int:
        """The entries that a member in this state votes for now, by the real core."""
        if node not in self.allowed:
            replica = self.replica(node.heads, node.proof)
            self.allowed[node] = sum(1 << at for at in range(len(self.entries)) if self.decide(replica, node, at))
        return self.allowed[node]

    def decide(self, replica: Replica, node: Node, at: int) -> bool:
        signed, state = self.entries[at]
        cast = [
            other for other, place in enumerate(self.places) if node.votes >> other & 1 and place == self.places[at]
        ]
        earlier = EntryVote(0, *self.places[at], self.entries[cast[0]][0].id) if cast else None
        try:
            decide_entry(replica, self.world.validators[3].peer, earlier, signed, state, NOTHING)
        except (Refused, ProtocolViolation):
            return False
        return True

    def certified(self, nodes: Nodes) -> int:
        """Entries with two honest votes; the lying member's makes a quorum of them."""
        one, two, three = (node.votes for node in nodes)
        return one & two | one & three | two & three

    def following(self, nodes: Nodes) -> Iterator[Nodes]:
        """One member votes, hears of a head, or of the fork."""
        certified = self.certified(nodes)
        for at, node in enumerate(nodes):
            rest = nodes[:at] + nodes[at + 1 :]
            for changed in self.changes(node, certified):
                yield tuple(sorted((*rest, changed)))

    def changes(self, node: Node, certified: int) -> tuple[Node, ...]:
        key = (node, certified)
        if key not in self.known:
            self.known[key] = tuple(self.each_change(node, certified))
        return self.known[key]

    def each_change(self, node: Node, certified: int) -> Iterator[Node]:
        for at in _bits(self.votable(node) & ~node.votes):
            yield Node(node.heads, node.votes | 1 << at, node.proof)
        for at in _bits(certified & ~node.heads):
            newer = [other for other in _bits(node.heads) if self.places[other][0] == self.places[at][0]]
            if all(self.places[other] < self.places[at] for other in newer):
                yield Node(node.heads & ~sum(1 << other for other in newer) | 1 << at, node.votes, node.proof)
        if not node.proof:
            yield Node(node.heads, node.votes, True)

    def check(self, certified_bits: int, final: bool) -> None:
        certified = list(_bits(certified_bits))
        places = [self.places[at] for at in certified]
        assert len(places) == len(set(places)), "two certified entries of one number"
        replica = self.replica(sum(1 << at for at in certified), False)
        states = {owner.peer: replica.state(owner.peer) for owner in self.world.owners}
        assert all(state.balance >= 0 for state in states.values())
        assert replica.supply().total == self.world.genesis.supply
        for peer, state in states.items():
            assert all(total.amount <= states[total.peer].sent_to(peer) for total in state.received)
        if final:
            self.check_nothing_waits(replica, certified)

    def check_nothing_waits(self, replica: Replica, certified: list[int]) -> None:
        """When nothing can happen any more, each honest entry that all certified facts allow is certified."""
        for at, (peer, _) in enumerate(self.places):
            if peer != self.world.owners[0].peer and at not in certified:
                assert not self.decide(replica, Node(), at), "an honest owner stands still"


def _bits(number: int) -> Iterator[int]:
    while number:
        lowest = number & -number
        yield lowest.bit_length() - 1
        number ^= lowest


@pytest.mark.slow
def test_no_schedule_of_payments_breaks_a_promise():
    model = Payments()
    states, outcomes = 0, set[tuple[int, bool]]()
    for nodes, final in explored((Node(),) * 3, model.following):
        states += 1
        outcomes.add((model.certified(nodes), final))
    for certified, final in outcomes:
        model.check(certified, final)
    assert states > 5000
    assert {at for certified, _ in outcomes for at in _bits(certified)} == set(range(len(model.entries)))


# A lane: claims of two totals, and its closing by expiry, by members whose clocks differ by less than half the grace.


@dataclass(frozen=True, slots=True, order=True)
class Keeper:
    """An honest member: its clock (0: claims, 1: neither, 2: closing), the claims it voted for, its close vote."""

    phase: int = 0
    claims: tuple[int, ...] = ()
    closed: int = -1


EXPIRES = int(NOW)
CLOCKS = (EXPIRES - 1.0, EXPIRES + LIMITS.grace_seconds / 2, float(EXPIRES + LIMITS.grace_seconds))
TOTALS = (1, 2)


@dataclass
class OneLane:
    world: World = field(default_factory=World)

    def __post_init__(self) -> None:
        ann, ben, _ = self.world.owners
        signed, state = ann.write(LaneOpen(RUN, ben.peer, 2, EXPIRES))
        self.replica = Replica(self.world.genesis)
        self.replica.add_head(Head(signed, state, b""))
        self.payer: PeerId = ann.peer
        self.member = self.world.validators[3].peer
        self.vouchers = [
            Voucher(payer=ann.peer, lane=1, run=RUN, provider=ben.peer, number=1, total=total, work_root=bytes(32))
            for total in TOTALS
        ]

    def following(self, keepers: tuple[Keeper, ...]) -> Iterator[tuple[Keeper, ...]]:
        for at, keeper in enumerate(keepers):
            rest = keepers[:at] + keepers[at + 1 :]
            for changed in self.changes(keeper):
                phases = {each.phase for each in (*rest, changed)}
                if not {0, 2} <= phases:
                    yield tuple(sorted((*rest, changed)))

    def changes(self, keeper: Keeper) -> Iterator[Keeper]:
        if keeper.phase < 2:
            yield Keeper(keeper.phase + 1, keeper.claims, keeper.closed)
        mark = LaneMark(self.payer, 1, max(keeper.claims, default=0), b"", keeper.closed >= 0, b"")
        now = CLOCKS[keeper.phase]
        for voucher in self.vouchers:
            try:
                vote = decide_claim(self.replica, self.member, mark, voucher, now)
            except Refused:
                continue
            yield Keeper(keeper.phase, tuple(sorted({*keeper.claims, vote.total})), keeper.closed)
        try:
            closing = decide_close(self.replica, self.member, mark, AskCloseVote(self.payer, 1, b"", b""), now)
        except Refused:
            return
        assert keeper.closed in (-1, closing.highest), "two close votes of one member"
        yield Keeper(keeper.phase, keeper.claims, closing.highest)

    def check(self, keepers: tuple[Keeper, ...]) -> None:
        """No certificate that a lane is closed pays less than a certificate of a claim on it says."""
        claims = [total for total in TOTALS if sum(total in keeper.claims for keeper in keepers) >= 2]
        for one, other in combinations([keeper for keeper in keepers if keeper.closed >= 0], 2):
            assert max(one.closed, other.closed) >= max(claims, default=0)


def test_no_schedule_of_claims_and_closings_pays_less_than_was_certified():
    model, states = OneLane(), 0
    for keepers, _ in explored((Keeper(),) * 3, model.following):
        states += 1
        model.check(keepers)
    assert states > 100
