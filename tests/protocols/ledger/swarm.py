"""Owners, members and lookers-on who hear of each other late, twice, out of order or never; over the real core.

Every signature an honest member makes is kept, and every certificate that comes about anywhere: what may never
happen is looked for among all of them, whoever knew of which.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations

from swarmd.protocols.errors import NotYet, ProtocolViolation, Refused
from swarmd.protocols.ids import EntryId, PeerId
from swarmd.protocols.ledger.account import AccountState
from swarmd.protocols.ledger.amounts import MAX_AMOUNT
from swarmd.protocols.ledger.entry import Op, SignedEntry
from swarmd.protocols.ledger.handover import (
    CommitteeChange,
    Handover,
    LaneMark,
    Report,
    Succession,
    change_id,
    report_hash,
    sign_change,
    sign_handover,
)
from swarmd.protocols.ledger.heads import make_head
from swarmd.protocols.ledger.messages import AskCloseVote, Evidence
from swarmd.protocols.ledger.proofs import contradict
from swarmd.protocols.ledger.replica import Replica
from swarmd.protocols.ledger.votes import (
    Certificate,
    ClaimVote,
    CloseCertificate,
    CloseVote,
    EntryVote,
    MaturityVote,
    SignedVote,
    Vote,
    certificate_of,
)
from swarmd.protocols.ledger.vouchers import open_voucher
from tests.protocols.keys import who
from tests.protocols.ledger.world import NOTHING, NOW, OPERATOR, Owner, Validator, genesis_of, members

Place = tuple[PeerId, int]


@dataclass
class Pending:
    """An entry on its way, and the votes it has."""

    signed: SignedEntry
    state: AccountState
    evidence: Evidence
    votes: dict[PeerId, SignedVote] = field(default_factory=dict)


@dataclass
class Person:
    """An account's owner: its view of the ledger, its entry on its way, and what it was given."""

    owner: Owner
    replica: Replica
    pending: Pending | None = None
    vouchers: dict[Place, bytes] = field(default_factory=dict)
    """For its lanes as a provider."""
    claims: dict[Place, Certificate] = field(default_factory=dict)
    closes: dict[int, CloseCertificate] = field(default_factory=dict)
    """Of its own lanes."""
    votes: dict[Vote, dict[PeerId, SignedVote]] = field(default_factory=dict)
    close_votes: dict[tuple[int, int], dict[PeerId, SignedVote]] = field(default_factory=dict)
    """By committee and lane."""

    @property
    def peer(self) -> PeerId:
        return self.owner.peer


class Swarm:
    """Everybody. ``bad`` members sign whatever they are asked; at most a third less one of each committee are."""

    def __init__(self, committee: int, people: int = 4) -> None:
        accounts = tuple(who(100 + each) for each in range(people))
        self.genesis = genesis_of(accounts, members(*range(1, committee + 1)), 3000)
        self.network = self.genesis.id
        self.people = [Person(Owner(each, self.genesis), Replica(self.genesis)) for each in accounts]
        self.members = {who(each).peer: Validator(who(each), self.genesis) for each in range(1, 16)}
        self.numbers = {who(each).peer: each for each in range(1, 16)}
        self.bad = {who(each).peer for each in self.bad_numbers(committee)}
        self.all = Replica(self.genesis)
        """Knows everything certified at once."""
        self.heads: list[bytes] = []
        self.proofs: list[bytes] = []
        self.reports: list[tuple[Succession, tuple[Report, ...]]] = []
        self.ids: dict[Place, EntryId] = {}
        self.claimed: dict[Place, int] = {}
        """The highest certified claim of each lane."""
        self.honest_votes: list[SignedVote] = []
        self.now = NOW
        self.change = b""
        """The next committee, by the operator's word, and who handed over to it already."""
        self.handed: dict[PeerId, tuple[Handover, Report]] = {}

    @staticmethod
    def bad_numbers(committee: int) -> range:
        """Members 1, 2 .. are the bad ones."""
        return range(1, (committee - 1) // 3 + 1)

    def honest(self, member: PeerId) -> bool:
        return member not in self.bad

    def clock(self, member: PeerId) -> float:
        """Members' clocks differ by less than half the grace time, which is a hundred seconds."""
        return self.now + 3 * (self.numbers[member] - 8)

    # Votes

    def vote_entry(self, member: PeerId, asked: Pending) -> SignedVote | None:
        entry = asked.signed.entry
        bad = EntryVote(self.all.committee.number, entry.account, entry.seq, asked.signed.id)
        validator, now = self.members[member], self.clock(member)
        return self._vote(member, bad, lambda: validator.vote_entry(asked.signed, asked.state, asked.evidence, now))

    def vote_claim(self, member: PeerId, raw: bytes) -> SignedVote | None:
        voucher = open_voucher(raw, self.network)
        bad = ClaimVote(self.all.committee.number, voucher.payer, voucher.lane, voucher.total)
        return self._vote(member, bad, lambda: self.members[member].vote_claim(raw, self.clock(member)))

    def vote_close(self, member: PeerId, asked: AskCloseVote) -> SignedVote | None:
        highest = MAX_AMOUNT if self.numbers[member] % 2 else 0
        bad = CloseVote(self.all.committee.number, asked.payer, asked.lane, highest)
        return self._vote(member, bad, lambda: self.members[member].vote_close(asked, self.clock(member)))

    def vote_maturity(self, member: PeerId, account: PeerId, seq: int) -> SignedVote | None:
        bad = MaturityVote(self.all.committee.number, account, seq)
        validator = self.members[member]
        return self._vote(member, bad, lambda: validator.vote_maturity(account, seq, self.clock(member)))

    def _vote(self, member: PeerId, bad: Vote, honest) -> SignedVote | None:
        if not self.honest(member):
            return self.members[member].sign(bad)
        try:
            vote = honest()
        except (Refused, ProtocolViolation):
            return None
        self.honest_votes.append(vote)
        return vote

    # Owners

    def write(self, person: Person, *ops: Op, evidence: Evidence = NOTHING) -> None:
        person.pending = Pending(*person.owner.write(*ops, now=self.now), evidence)

    def collect(self, person: Person, among: list[PeerId]) -> bool:
        """Ask for votes on the entry that is on its way; whether that made it certified."""
        asked = person.pending
        if asked is None:
            return False
        for member in among:
            vote = self.vote_entry(member, asked)
            if vote is not None:
                asked.votes[member] = vote
        if not self.certify(asked):
            return False
        person.pending = None
        for succession, _ in self.reports:
            person.replica.offer_succession(succession)
        person.replica.offer_head(self.heads[-1])
        return True

    def certify(self, asked: Pending) -> bool:
        """Make a head if there are votes enough of one committee."""
        certificate = self.quorum_of(list(asked.votes.values()))
        if certificate is None:
            return False
        place = (asked.signed.entry.account, asked.signed.entry.seq)
        assert self.ids.setdefault(place, asked.signed.id) == asked.signed.id, "two certified entries of one number"
        self.heads.append(make_head(asked.signed, asked.state, certificate).raw)
        self.all.offer_head(self.heads[-1])
        return True

    def quorum_of(self, votes: list[SignedVote]) -> Certificate | None:
        for committee in self.all.committees:
            equal = [vote for vote in votes if vote.vote.committee == committee.number]
            if committee.has_quorum(vote.member for vote in equal):
                return certificate_of(tuple(vote for vote in equal if vote.member in committee.peers))
        return None

    def collect_claim(self, person: Person, place: Place, among: list[PeerId]) -> None:
        """A provider asks for votes on its newest voucher of a lane."""
        raw = person.vouchers[place]
        for vote in filter(None, (self.vote_claim(member, raw) for member in among)):
            person.votes.setdefault(vote.vote, {})[vote.member] = vote
            certificate = self.quorum_of(list(person.votes[vote.vote].values()))
            if certificate is not None and isinstance(vote.vote, ClaimVote):
                self.claimed[place] = max(self.claimed.get(place, 0), vote.vote.total)
                best = person.claims.get(place)
                if best is None or not isinstance(best.vote, ClaimVote) or best.vote.total < vote.vote.total:
                    person.claims[place] = certificate

    def collect_close(self, person: Person, asked: AskCloseVote, among: list[PeerId]) -> None:
        """A payer asks for close votes; it leaves out those that say more than the lane holds."""
        lane = self.all.state(person.peer).lane(asked.lane)
        for vote in filter(None, (self.vote_close(member, asked) for member in among)):
            assert isinstance(vote.vote, CloseVote)
            number = vote.vote.committee
            if lane is None or vote.vote.highest > lane.cap:
                continue
            votes = person.close_votes.setdefault((number, asked.lane), {})
            votes[vote.member] = vote
            committee = self.all.committees[number]
            good = [votes[member] for member in sorted(votes) if member in committee.peers]
            if committee.has_quorum(each.member for each in good):
                person.closes[asked.lane] = CloseCertificate(tuple(good))

    def coverage(self, person: Person, payer: PeerId) -> tuple[int, tuple[Certificate, ...]]:
        """What a person can claim of a payer by its own view, and the certificates for it."""
        state = person.replica.state(payer)
        good = [
            certificate
            for (lane_payer, number), certificate in person.claims.items()
            if lane_payer == payer and state.lane(number) is not None
        ]
        total = sum(each.vote.total for each in good if isinstance(each.vote, ClaimVote))
        return state.sent_to(person.peer) + total, tuple(good)

    # Committees

    def propose(self, numbers: tuple[int, ...]) -> None:
        """The operator names the next committee, and stays with it until it votes."""
        if not self.change:
            before = self.all.committee
            wanted = CommitteeChange(before.number + 1, before.hash, members(*numbers))
            self.change = sign_change(wanted, self.network, OPERATOR.peer, OPERATOR.sign)

    def hand_over(self, among: list[PeerId], lies: bool) -> None:
        """Members hand over to the committee that was named; it votes once a quorum did."""
        before = self.all.committee
        for member in among if self.change else ():
            validator = self.members[member]
            if member in before.peers and member not in self.handed and validator.replica.committee == before:
                honest = self.honest(member)
                self.handed[member] = validator.hand_over(self.change) if honest else self._lie(validator, lies)
        if before.has_quorum(self.handed):
            succession = Succession(self.change, tuple(self.handed[member][0] for member in sorted(self.handed)))
            self.all.offer_succession(succession)
            self.reports.append((succession, tuple(self.handed[member][1] for member in sorted(self.handed))))
            self.change, self.handed = b"", {}

    def _lie(self, validator: Validator, lies: bool) -> tuple[Handover, Report]:
        """A bad member's report: nothing at all, or that all lanes are closed."""
        lanes = [(payer, lane.number) for payer in self.all.accounts() for lane in self.all.state(payer).lanes]
        marks = tuple(LaneMark(payer, lane, 0, b"", True, b"") for payer, lane in lanes) if lies else ()
        report = Report((), marks)
        name = change_id(self.change, self.network)
        signed = sign_handover(name, report_hash(report.to_bytes()), self.network, validator.peer, validator.who.sign)
        return signed, report

    def follow(self, member: PeerId) -> None:
        """A member learns of the committees since."""
        validator = self.members[member]
        for succession, reports in self.reports[len(validator.replica.successions) :]:
            validator.take_over(succession, reports, self.clock(member))

    def tell(self, replica_or_member: Replica | Validator, head: bytes) -> None:
        try:
            if isinstance(replica_or_member, Validator):
                replica_or_member.take_head(head, self.clock(replica_or_member.peer))
            else:
                replica_or_member.offer_head(head)
        except NotYet:  # of a committee it has not heard of
            return

    # What may never happen

    def check(self) -> None:
        """Supply, balances, and that nobody has claimed more of anybody than is covered."""
        supply = self.all.supply()
        assert supply.total == supply.granted
        states = {person.peer: self.all.state(person.peer) for person in self.people}
        for peer, state in states.items():
            assert state.balance >= 0
            for payer, paying in states.items():
                lanes = [lane.number for lane in paying.lanes if lane.provider == peer]
                covered = paying.sent_to(peer) + sum(self.claimed.get((payer, number), 0) for number in lanes)
                assert state.received_from(payer) <= covered, "claimed more than was sent"
        assert not any(self.all.frozen(member) for member in self.members if self.honest(member))

    def check_votes(self) -> None:
        """No honest member's votes contradict each other."""
        by_member: dict[PeerId, list[SignedVote]] = {}
        for vote in dict.fromkeys(self.honest_votes):
            by_member.setdefault(vote.member, []).append(vote)
        for votes in by_member.values():
            for one, other in combinations(votes, 2):
                assert not contradict(one, other), "an honest member is proven guilty"
