"""Any schedule of writing, voting, losing, repeating, parting, restarting and handing over keeps the ledger's promises.

A third less one of every committee lies, and one owner signs two entries for one number. After each step nobody has
more than was granted, nobody has claimed more than was sent, and no two entries of one number are certified. At the
end, once everybody hears everything: all replicas are equal, each honest entry is certified, every lane can be settled
at no less than was certified for its provider, every payment can be claimed, and nothing that honest members signed
convicts them.
"""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from swarmd.protocols.errors import UsageError
from swarmd.protocols.ids import PeerId
from swarmd.protocols.ledger.account import Lane
from swarmd.protocols.ledger.entry import Claim, LaneFund, LaneOpen, LaneSettle, Op, Pay, Release, Stake, Unstake
from swarmd.protocols.ledger.messages import AskCloseVote, Evidence
from swarmd.protocols.ledger.proofs import Fork, encode_proof
from swarmd.protocols.ledger.replica import Replica
from swarmd.protocols.ledger.vouchers import open_voucher
from tests.protocols.ledger.swarm import Pending, Person, Swarm
from tests.protocols.ledger.world import LIMITS, NOTHING, RUN

WHO = st.integers(0, 3)
SOME = st.one_of(st.just(127), st.integers(0, 127))
"""A subset of the members that can vote, as bits."""
AMOUNT = st.integers(1, 300)


class Ledger(RuleBasedStateMachine):
    """The last person forks now and then."""

    @initialize(size=st.integers(4, 7), seed=st.integers(0, 9))
    def start(self, size: int, seed: int) -> None:
        self.swarm = Swarm(size)
        self.random = random.Random(seed)
        self.parted: set[PeerId] = set()
        self.forks: list[tuple[Pending, Pending]] = []

    def among(self, bits: int) -> list[PeerId]:
        """Members of any committee so far that can be reached, some of them."""
        known = sorted({peer for committee in self.swarm.all.committees for peer in committee.peers})
        return [peer for at, peer in enumerate(known) if bits >> at % 7 & 1 and peer not in self.parted]

    def free(self, number: int) -> Person | None:
        """A person with no entry on its way."""
        person = self.swarm.people[number]
        return person if person.pending is None and person.peer not in self.forked else None

    @property
    def forked(self) -> set[PeerId]:
        return {one.signed.entry.account for one, _ in self.forks}

    def write(self, person: Person | None, bits: int, *ops: Op, evidence: Evidence = NOTHING) -> None:
        """Write, and ask some members at once; they hear of it if that certifies it."""
        if person is None:
            return
        try:
            self.swarm.write(person, *ops, evidence=evidence)
        except UsageError:
            return
        self.ask(person, bits)

    def ask(self, person: Person, bits: int) -> None:
        if self.swarm.collect(person, self.among(bits)):
            for member in self.among(bits):
                self.swarm.tell(self.swarm.members[member], self.swarm.heads[-1])

    # Owners write

    @rule(number=WHO, payee=WHO, amount=AMOUNT, bits=SOME)
    def pay(self, number: int, payee: int, amount: int, bits: int) -> None:
        self.write(self.free(number), bits, Pay(self.swarm.people[payee].peer, amount))

    @rule(number=WHO, amount=AMOUNT, out=st.booleans(), bits=SOME)
    def stake(self, number: int, amount: int, out: bool, bits: int) -> None:
        self.write(self.free(number), bits, Unstake(amount) if out else Stake(amount))

    @rule(number=WHO, provider=WHO, cap=AMOUNT, lasts=st.integers(0, 2000), bits=SOME)
    def open_lane(self, number: int, provider: int, cap: int, lasts: int, bits: int) -> None:
        peer = self.swarm.people[provider].peer
        self.write(self.free(number), bits, LaneOpen(RUN, peer, cap, int(self.swarm.now) + lasts))

    @rule(number=WHO, amount=AMOUNT, bits=SOME)
    def fund_lane(self, number: int, amount: int, bits: int) -> None:
        person = self.free(number)
        lanes = self.swarm.all.state(self.swarm.people[number].peer).lanes
        if person and lanes:
            self.write(person, bits, LaneFund(lanes[0].number, amount))

    @rule(number=WHO, payer=WHO, bits=SOME)
    def claim(self, number: int, payer: int, bits: int) -> None:
        person = self.free(number)
        peer = self.swarm.people[payer].peer
        if person and payer != number:
            total, claims = self.swarm.coverage(person, peer)
            head = person.replica.head(peer)
            if total > person.owner.state.received_from(peer):
                self.write(person, bits, Claim(peer, total), evidence=Evidence((head.raw,) if head else (), claims))

    # Members answer

    @rule(bits=SOME)
    def collect(self, bits: int) -> None:
        for person in self.swarm.people:
            self.ask(person, bits)

    @rule(number=WHO, lane=st.integers(0, 2), total=AMOUNT, bits=SOME)
    def voucher(self, number: int, lane: int, total: int, bits: int) -> None:
        """A payer signs a voucher within what its lane certainly holds, and its provider has the claim certified."""
        payer = self.swarm.people[number]
        for open_lane in self.one_lane(payer, lane):
            provider = next(each for each in self.swarm.people if each.peer == open_lane.provider)
            place = (payer.peer, open_lane.number)
            raw = payer.owner.voucher(open_lane.number, provider.peer, min(total, open_lane.cap))
            provider.vouchers[place] = raw
            self.swarm.collect_claim(provider, place, self.among(bits))

    @rule(number=WHO, lane=st.integers(0, 2), release=st.booleans(), bits=SOME)
    def close(self, number: int, lane: int, release: bool, bits: int) -> None:
        payer = self.swarm.people[number]
        for open_lane in self.one_lane(payer, lane):
            self.swarm.collect_close(payer, self.closing(payer, open_lane.number, release), self.among(bits))

    def one_lane(self, payer: Person, lane: int) -> tuple[Lane, ...]:
        lanes = self.swarm.all.state(payer.peer).lanes
        return (lanes[lane % len(lanes)],) if lanes else ()

    def closing(self, payer: Person, number: int, release: bool) -> AskCloseVote:
        """With the provider's release at its newest voucher, or without one."""
        lane = self.swarm.all.state(payer.peer).lane(number)
        provider = next(each for each in self.swarm.people if lane and each.peer == lane.provider)
        if not release:
            return AskCloseVote(payer.peer, number, b"", b"")
        raw = provider.vouchers.get((payer.peer, number), b"")
        total = self.total(raw)
        return AskCloseVote(payer.peer, number, provider.owner.release(payer.peer, number, total), raw)

    def total(self, voucher: bytes) -> int:
        return open_voucher(voucher, self.swarm.network).total if voucher else 0

    @rule(number=WHO, bits=SOME)
    def settle(self, number: int, bits: int) -> None:
        person = self.free(number)
        for lane, certificate in person.closes.items() if person else ():
            if person and person.owner.state.lane(lane):
                evidence = Evidence(closes=(certificate,))
                return self.write(person, bits, LaneSettle(lane, certificate.paid), evidence=evidence)

    @rule(number=WHO, bits=SOME)
    def release(self, number: int, bits: int) -> None:
        person = self.free(number)
        for item in person.owner.state.unbonding[:1] if person else ():
            asked = [self.swarm.vote_maturity(member, person.peer, item.seq) for member in self.among(bits)]
            certificate = self.swarm.quorum_of([vote for vote in asked if vote])
            if certificate:
                self.write(person, bits, Release(item.seq), evidence=Evidence(maturities=(certificate,)))

    # What goes wrong

    @rule(payee=st.integers(0, 2), amount=AMOUNT, bits=SOME)
    def fork(self, payee: int, amount: int, bits: int) -> None:
        """The last person pays the same credits to two, and shows each half of the members another entry."""
        bad = self.swarm.people[3]
        if bad.pending is not None:
            return
        if not self.forks:
            try:
                entries = [bad.owner.draft(Pay(self.swarm.people[each].peer, amount)) for each in (payee, payee - 1)]
            except UsageError:
                return
            one, other = (Pending(*entry, NOTHING) for entry in entries)
            self.forks.append((one, other))
        for at, member in enumerate(self.among(127)):
            for asked in self.forks[0] if not self.swarm.honest(member) else (self.forks[0][bits >> at % 7 & 1],):
                vote = self.swarm.vote_entry(member, asked)
                if vote is not None:
                    asked.votes[member] = vote
        for asked in self.forks[0]:
            self.swarm.certify(asked)

    @rule(bits=SOME)
    def expose(self, bits: int) -> None:
        for one, other in self.forks:
            proof = encode_proof(Fork(one.signed.raw, other.signed.raw))
            self.swarm.proofs.append(proof)
            for member in self.among(bits):
                self.swarm.members[member].take_proof(proof)

    @rule(bits=SOME, picks=st.lists(st.integers(0, 30), max_size=6), person=WHO)
    def deliver(self, bits: int, picks: list[int], person: int) -> None:
        """Heads in any order and number; most are lost."""
        heads = [self.swarm.heads[pick] for pick in picks if pick < len(self.swarm.heads)]
        for head in heads:
            self.swarm.tell(self.swarm.people[person].replica, head)
            for member in self.among(bits):
                self.swarm.tell(self.swarm.members[member], head)

    @rule(bits=SOME)
    def catch_up(self, bits: int) -> None:
        """Some members hear of everything, and so do some people; members that were asked to hand over do."""
        self.swarm.hand_over(self.among(bits), bits % 2 == 0)
        for member in self.among(bits):
            self.swarm.follow(member)
            for head in self.swarm.heads:
                self.swarm.tell(self.swarm.members[member], head)
        for person in self.swarm.people[: bits % 5]:
            for head in self.swarm.heads:
                self.swarm.tell(person.replica, head)

    @rule(bits=SOME)
    def part(self, bits: int) -> None:
        """Some members cannot be reached until the next parting."""
        self.parted = set()
        self.parted = set(self.among(bits))

    @rule(bits=SOME)
    def restart(self, bits: int) -> None:
        for member in self.among(bits):
            self.swarm.members[member].restart()

    @rule(seconds=st.sampled_from([10, 100, 700, 1500]))
    def wait(self, seconds: int) -> None:
        self.swarm.now += seconds

    @rule(bits=SOME, size=st.integers(4, 7), lies=st.booleans())
    def hand_over(self, bits: int, size: int, lies: bool) -> None:
        if len(self.swarm.reports) < 2:
            honest = self.random.sample(range(3, 16), size)
            bad = list(Swarm.bad_numbers(size))
            self.swarm.propose((*bad, *honest[len(bad) :]))
            self.swarm.hand_over(self.among(bits), lies)

    @invariant()
    def nothing_went_wrong(self) -> None:
        if hasattr(self, "swarm"):
            self.swarm.check()

    # The end: everybody hears everything

    def teardown(self) -> None:
        if hasattr(self, "swarm"):
            self.parted = set()
            self.swarm.check_votes()
            self.heal()
            for person in self.swarm.people:
                if person.peer not in self.forked:
                    self.finish(person)
            for person in self.swarm.people:
                self.claim_everything(person)
            self.swarm.check()
            self.swarm.check_votes()
            self.compare_replicas()

    def heal(self) -> None:
        swarm = self.swarm
        if self.forks:
            one, other = self.forks[0]
            swarm.proofs.append(encode_proof(Fork(one.signed.raw, other.signed.raw)))
            swarm.all.offer_proof(swarm.proofs[-1])
        for _ in range(2):
            for member in swarm.all.committee.peers:
                swarm.follow(member)
            swarm.hand_over(self.voters(), False)
        self.tell_everybody()

    def tell_everybody(self) -> None:
        for validator in (self.swarm.members[member] for member in self.swarm.all.committee.peers):
            for head in self.random.sample(self.swarm.heads, len(self.swarm.heads)):
                self.swarm.tell(validator, head)
            for proof in self.swarm.proofs:
                validator.take_proof(proof)
        for person in self.swarm.people:
            for succession, _ in self.swarm.reports:
                person.replica.offer_succession(succession)
            for head in self.swarm.heads:
                self.swarm.tell(person.replica, head)

    def voters(self) -> list[PeerId]:
        """The honest members of the newest committee; they are a quorum."""
        return [member for member in self.swarm.all.committee.peers if self.swarm.honest(member)]

    def certified(self, person: Person) -> None:
        """What is on its way gets certified, or an honest owner would stand still for ever."""
        if person.pending is not None:
            assert self.swarm.collect(person, self.voters()), "an honest owner's entry is never certified"
            self.tell_everybody()

    def finish(self, person: Person) -> None:
        """All that is on its way is certified; all lanes are settled, at no less than their providers' claims."""
        for each in self.swarm.people:
            if each.peer not in self.forked:
                self.certified(each)
        self.swarm.now += 10_000 + LIMITS.grace_seconds
        for lane in person.owner.state.lanes:
            if lane.number not in person.closes:
                asked = self.closing(person, lane.number, False)
                self.swarm.collect_close(person, asked, self.voters())
            certificate = person.closes[lane.number]
            assert certificate.paid >= self.swarm.claimed.get((person.peer, lane.number), 0)
            self.write(person, 0, LaneSettle(lane.number, certificate.paid), evidence=Evidence(closes=(certificate,)))
            self.certified(person)

    def claim_everything(self, person: Person) -> None:
        for payer in self.swarm.people:
            total, claims = self.swarm.coverage(person, payer.peer)
            if person.peer not in self.forked and total > person.owner.state.received_from(payer.peer):
                self.write(person, 0, Claim(payer.peer, total), evidence=Evidence(claims=claims))
                self.certified(person)

    def compare_replicas(self) -> None:
        """The join does not know in which order, or how often, things came."""
        swarm = self.swarm
        for _ in range(2):
            replica = Replica(swarm.genesis)
            for succession, _ in swarm.reports:
                replica.offer_succession(succession)
            for proof in swarm.proofs:
                replica.offer_proof(proof)
            for head in self.random.choices(swarm.heads, k=len(swarm.heads)) if swarm.heads else ():
                replica.offer_head(head)
            for head in self.random.sample(swarm.heads, len(swarm.heads)):
                replica.offer_head(head)
            assert replica.buckets.root() == swarm.all.buckets.root()
            assert (replica.supply(), replica.proofs_hash()) == (swarm.all.supply(), swarm.all.proofs_hash())
            assert replica.committees == swarm.all.committees


@pytest.mark.slow
def test_any_schedule_keeps_the_ledgers_promises():
    run_state_machine_as_test(
        Ledger,
        settings=settings(
            max_examples=25,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_long_schedules_keep_them_too(seed: int):
    """The same steps, many more of them, by chance alone."""
    chance = random.Random(seed)
    ledger = Ledger()
    ledger.start(size=chance.randint(4, 7), seed=seed)
    for _ in range(200):
        _step(ledger, chance)
        ledger.nothing_went_wrong()
    ledger.teardown()


def _step(ledger: Ledger, chance: random.Random) -> None:
    number, other = chance.randrange(4), chance.randrange(4)
    bits = chance.choice([127, 127, 127, chance.randrange(128)])
    amount, yes = chance.randint(1, 300), chance.random() < 0.5
    steps = {
        "pay": (10, number, other, amount, bits),
        "stake": (6, number, amount, yes, bits),
        "open_lane": (12, number, other, amount, chance.randrange(1000), bits),
        "fund_lane": (2, number, amount, bits),
        "claim": (12, number, other, bits),
        "collect": (20, bits),
        "voucher": (16, number, other, amount, bits),
        "close": (10, number, other, yes, bits),
        "settle": (8, number, bits),
        "release": (4, number, bits),
        "fork": (4, other % 3, amount, bits),
        "expose": (1, bits),
        "deliver": (3, bits, [chance.randrange(30) for _ in range(6)], number),
        "catch_up": (12, chance.choice([127, 127, bits])),
        "part": (2, chance.randrange(128) & chance.randrange(128) & chance.randrange(128)),
        "restart": (2, bits),
        "wait": (3, chance.choice([10, 100, 700])),
        "hand_over": (1, bits, chance.randint(4, 7), yes),
    }
    name = chance.choices(list(steps), [weight for weight, *_ in steps.values()])[0]
    getattr(ledger, name)(*steps[name][1:])
