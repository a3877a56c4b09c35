"""A committee and account owners in one place, over the real core: what a node would keep on disk is a dict here."""

from __future__ import annotations

from dataclasses import dataclass, field

from swarmd.protocols.errors import Refused
from swarmd.protocols.ids import EntryId, PeerId, RunId
from swarmd.protocols.ledger.account import AccountState, born
from swarmd.protocols.ledger.amounts import MICRO
from swarmd.protocols.ledger.apply import next_entry
from swarmd.protocols.ledger.entry import FIRST_PREV, Op, SignedEntry, open_entry, sign_entry
from swarmd.protocols.ledger.genesis import Genesis, Grant, Limits, Member
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
from swarmd.protocols.ledger.heads import Head, make_head, trust_head
from swarmd.protocols.ledger.messages import AskCloseVote, Evidence
from swarmd.protocols.ledger.replica import Replica
from swarmd.protocols.ledger.reporting import whole_report
from swarmd.protocols.ledger.validator import (
    NO_ENTRY,
    adopt,
    decide_claim,
    decide_close,
    decide_entry,
    decide_maturity,
    merge_marks,
)
from swarmd.protocols.ledger.votes import (
    Certificate,
    CloseCertificate,
    EntryVote,
    SignedVote,
    Vote,
    certificate_of,
    sign_vote,
)
from swarmd.protocols.ledger.vouchers import LaneRelease, Voucher, open_voucher, sign_release, sign_voucher
from tests.protocols.keys import Who, who

NOW = 1_700_000_000.0
RUN = RunId("ab" * 32)
LIMITS = Limits(cooldown_seconds=1000, grace_seconds=100)
NOTHING = Evidence()
OPERATOR = who(9)
GRANT = 100 * MICRO


def members(*numbers: int, weight: int = 1) -> tuple[Member, ...]:
    """Members with these identities and equal weights."""
    return tuple(sorted((Member(who(each).peer, weight) for each in numbers), key=lambda member: member.peer))


def genesis_of(accounts: tuple[Who, ...], committee: tuple[Member, ...], amount: int = GRANT) -> Genesis:
    """A network that grants each account so much."""
    grants = tuple(sorted((Grant(each.peer, amount) for each in accounts), key=lambda grant: grant.account))
    return Genesis(name="home", salt=b"s", operator=OPERATOR.peer, grants=grants, committee=committee, limits=LIMITS)


@dataclass
class Owner:
    """An account's owner, with its newest entry."""

    who: Who
    genesis: Genesis
    seq: int = 0
    prev: EntryId = FIRST_PREV
    state: AccountState = field(init=False)

    def __post_init__(self) -> None:
        self.state = born(self.genesis, self.peer)

    @property
    def peer(self) -> PeerId:
        return self.who.peer

    def draft(self, *ops: Op, now: float = NOW) -> tuple[SignedEntry, AccountState]:
        """The next entry, signed, without going on from it."""
        entry, state = next_entry(self.peer, self.seq + 1, self.prev, self.state, ops, now)
        return sign_entry(entry, self.genesis.id, self.who.sign), state

    def write(self, *ops: Op, now: float = NOW) -> tuple[SignedEntry, AccountState]:
        """The next entry; what is written after it follows it."""
        signed, state = self.draft(*ops, now=now)
        self.seq, self.prev, self.state = signed.entry.seq, signed.id, state
        return signed, state

    def voucher(self, lane: int, provider: PeerId, total: int, number: int = 1) -> bytes:
        made = Voucher(
            payer=self.peer, lane=lane, run=RUN, provider=provider, number=number, total=total, work_root=bytes(32)
        )
        return sign_voucher(made, self.genesis.id, self.who.sign)

    def release(self, payer: PeerId, lane: int, total: int) -> bytes:
        return sign_release(LaneRelease(payer, lane, self.peer, total), self.genesis.id, self.who.sign)


@dataclass
class Disk:
    """What a validator never forgets."""

    heads: dict[PeerId, bytes] = field(default_factory=dict)
    proofs: dict[PeerId, bytes] = field(default_factory=dict)
    successions: list[Succession] = field(default_factory=list)
    votes: dict[tuple[PeerId, int], EntryVote] = field(default_factory=dict)
    entries: dict[tuple[PeerId, int], bytes] = field(default_factory=dict)
    bound: set[tuple[PeerId, int]] = field(default_factory=set)
    marks: dict[tuple[PeerId, int], LaneMark] = field(default_factory=dict)
    first_seen: dict[tuple[PeerId, int], float] = field(default_factory=dict)
    handed_over: int = -1


class Validator:
    """A member of a committee that keeps to the rules."""

    def __init__(self, identity: Who, genesis: Genesis) -> None:
        self.who, self.genesis, self.disk = identity, genesis, Disk()
        self.replica = Replica(genesis)

    @property
    def peer(self) -> PeerId:
        return self.who.peer

    def restart(self) -> None:
        """Begin again from what is on disk."""
        self.replica = Replica(self.genesis)
        for raw in self.disk.heads.values():
            self.replica.add_head(trust_head(raw, self.genesis.id))
        for culprit, raw in self.disk.proofs.items():
            self.replica.add_proof(culprit, raw)
        for succession in self.disk.successions:
            self.replica.add_committee(succession)

    def take_head(self, raw: bytes, now: float) -> None:
        head = self.replica.offer_head(raw)
        if head is not None:
            self.disk.heads[head.signed.entry.account] = raw
            for item in head.state.unbonding:
                self.disk.first_seen.setdefault((head.signed.entry.account, item.seq), now)

    def take_proof(self, raw: bytes) -> None:
        culprit = self.replica.offer_proof(raw)
        if culprit is not None:
            self.disk.proofs[culprit] = raw

    def vote_entry(self, signed: SignedEntry, state: AccountState, evidence: Evidence, now: float = NOW) -> SignedVote:
        for raw in evidence.heads:
            self.take_head(raw, now)
        place = (signed.entry.account, signed.entry.seq)
        earlier, handed = self.disk.votes.get(place), self.disk.handed_over
        reported = max((seq for account, seq in self.disk.bound if account == signed.entry.account), default=0)
        vote = decide_entry(
            self.replica, self.peer, earlier, signed, state, evidence, reported=reported, handed_over=handed
        )
        self.disk.votes[place], self.disk.entries[place] = vote, signed.raw
        return self.sign(vote)

    def vote_claim(self, raw: bytes, now: float = NOW) -> SignedVote:
        voucher = open_voucher(raw, self.genesis.id)
        mark = self.disk.marks.get((voucher.payer, voucher.lane))
        vote = decide_claim(self.replica, self.peer, mark, voucher, now, handed_over=self.disk.handed_over)
        self._mark(LaneMark(voucher.payer, voucher.lane, voucher.total, raw, False, b""))
        return self.sign(vote)

    def vote_close(self, asked: AskCloseVote, now: float = NOW) -> SignedVote:
        mark = self.disk.marks.get((asked.payer, asked.lane))
        vote = decide_close(self.replica, self.peer, mark, asked, now, handed_over=self.disk.handed_over)
        if asked.voucher and not (mark and mark.closed):
            claim = open_voucher(asked.voucher, self.genesis.id)
            self._mark(LaneMark(asked.payer, asked.lane, claim.total, asked.voucher, False, b""))
        self._mark(LaneMark(asked.payer, asked.lane, 0, b"", True, b"" if mark and mark.closed else asked.release))
        return self.sign(vote)

    def vote_maturity(self, account: PeerId, seq: int, now: float) -> SignedVote:
        seen, handed = self.disk.first_seen.get((account, seq)), self.disk.handed_over
        return self.sign(decide_maturity(self.replica, self.peer, account, seq, seen, now, handed_over=handed))

    def hand_over(self, change: bytes) -> tuple[Handover, Report]:
        """Vote no more in the committee before the change."""
        self.disk.handed_over = self.replica.committee.number
        voted = Report(tuple(self.disk.entries.values()), tuple(self.disk.marks.values()))
        report = whole_report(self.replica, voted)
        name = change_id(change, self.genesis.id)
        return sign_handover(name, report_hash(report.to_bytes()), self.genesis.id, self.peer, self.who.sign), report

    def take_over(self, succession: Succession, reports: tuple[Report, ...], now: float = NOW) -> None:
        """Follow to the next committee, bound by what the old one reported."""
        if self.replica.offer_succession(succession) is None:
            return
        self.disk.successions.append(succession)
        inherited = adopt(self.replica, reports, now)
        for (account, seq), entry in inherited.entries.items():
            self.disk.bound.add((account, seq))
            ours = self.disk.votes.setdefault((account, seq), EntryVote(0, account, seq, entry))
            if ours.entry != entry:
                self.disk.votes[account, seq] = EntryVote(0, account, seq, NO_ENTRY)
        for report in reports:
            for raw in report.entries:
                entry = open_entry(raw, self.genesis.id).entry
                self.disk.entries.setdefault((entry.account, entry.seq), raw)
        for mark in inherited.lanes.values():
            self._mark(mark)
        for raw in inherited.proofs:
            self.take_proof(raw)

    def sign(self, vote: Vote) -> SignedVote:
        return sign_vote(vote, self.genesis.id, self.peer, self.who.sign)

    def _mark(self, mark: LaneMark) -> None:
        place = (mark.payer, mark.lane)
        self.disk.marks[place] = merge_marks(self.disk.marks.get(place, mark), mark)


class World:
    """Accounts 100.. and a committee 1.., where everybody hears everything at once."""

    def __init__(self, accounts: int = 3, committee: int = 4, amount: int = GRANT) -> None:
        people = tuple(who(100 + each) for each in range(accounts))
        self.genesis = genesis_of(people, members(*range(1, committee + 1)), amount)
        self.network = self.genesis.id
        self.owners = [Owner(each, self.genesis) for each in people]
        self.validators = [Validator(who(each), self.genesis) for each in range(1, committee + 1)]
        self.replica = Replica(self.genesis)
        """Of somebody who only listens."""

    def votes(self, ask: object, *args: object) -> list[SignedVote]:
        """What the members answer; those that refuse are left out. ``ask`` is a method of Validator."""
        answers = []
        for validator in self.validators:
            try:
                answers.append(ask(validator, *args))  # type: ignore[operator]
            except Refused:
                continue
        return answers

    def certified(self, owner: Owner, *ops: Op, evidence: Evidence = NOTHING) -> Head:
        """Write, collect votes, and tell everybody."""
        signed, state = owner.write(*ops)
        head = make_head(signed, state, self.certificate(Validator.vote_entry, signed, state, evidence))
        self.spread(head.raw)
        return head

    def certificate(self, ask: object, *args: object) -> Certificate:
        """A quorum's equal votes."""
        return certificate_of(tuple(self.votes(ask, *args)[: self.quorum]))

    def close(self, asked: AskCloseVote, now: float = NOW) -> CloseCertificate:
        """A quorum's close votes."""
        votes = self.votes(Validator.vote_close, asked, now)[: self.quorum]
        return CloseCertificate(tuple(sorted(votes, key=lambda vote: vote.member)))

    def spread(self, head: bytes, now: float = NOW) -> None:
        for validator in self.validators:
            validator.take_head(head, now)
        self.replica.offer_head(head)

    def spread_proof(self, proof: bytes) -> None:
        for validator in self.validators:
            validator.take_proof(proof)
        self.replica.offer_proof(proof)

    def change(self, *numbers: int) -> bytes:
        """The operator's word that these identities vote next."""
        before = self.replica.committee
        wanted = CommitteeChange(before.number + 1, before.hash, members(*numbers))
        return sign_change(wanted, self.network, OPERATOR.peer, OPERATOR.sign)

    def hand_over(self, change: bytes, among: list[Validator] | None = None) -> tuple[Succession, tuple[Report, ...]]:
        """The old members stop."""
        done = [each.hand_over(change) for each in (among or self.validators)]
        handovers = sorted((handover for handover, _ in done), key=lambda handover: handover.member)
        return Succession(change, tuple(handovers)), tuple(report for _, report in done)

    @property
    def quorum(self) -> int:
        """Members that certify, as all weigh 1."""
        return self.replica.committee.quorum
