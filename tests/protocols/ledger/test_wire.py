"""What travels: every record comes back from its bytes, and bytes that nobody honest sends are refused as such."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmd.protocols.canonical import decode, encode
from swarmd.protocols.errors import NotYet, ProtocolViolation
from swarmd.protocols.ids import EntryId
from swarmd.protocols.ledger import messages
from swarmd.protocols.ledger.account import Lane, Unbonding, parse_state
from swarmd.protocols.ledger.entry import (
    ENTRY_TAG,
    MAX_ENTRY_BYTES,
    Claim,
    LaneFund,
    LaneOpen,
    LaneSettle,
    Op,
    Pay,
    Release,
    Stake,
    Unstake,
    open_entry,
    sign_entry,
)
from swarmd.protocols.ledger.genesis import parse_genesis
from swarmd.protocols.ledger.handover import (
    CommitteeChange,
    Handover,
    LaneMark,
    Report,
    Succession,
    open_change,
    parse_report,
)
from swarmd.protocols.ledger.heads import open_head
from swarmd.protocols.ledger.messages import Evidence
from swarmd.protocols.ledger.proofs import Fork, encode_proof, open_proof
from swarmd.protocols.ledger.validator import decide_entry
from swarmd.protocols.ledger.votes import (
    Ballot,
    Certificate,
    ClaimVote,
    CloseCertificate,
    CloseVote,
    EntryVote,
    MaturityVote,
    SignedVote,
)
from swarmd.protocols.ledger.vouchers import Voucher, open_release, open_voucher
from swarmd.protocols.records import from_value, to_value
from swarmd.protocols.signing import sign
from tests.protocols.keys import who
from tests.protocols.ledger.world import NOTHING, OPERATOR, RUN, World, members

LIMIT = 1 << 20


class Samples:
    """One good thing of every kind."""

    def __init__(self) -> None:
        world = self.world = World()
        ann, ben, cid = world.owners
        self.genesis = world.genesis
        ops: tuple[Op, ...] = (
            Pay(ben.peer, 5),
            Stake(50),
            Unstake(20),
            LaneOpen(RUN, ben.peer, 200, 50),
            LaneOpen(RUN, cid.peer, 200, 50),
            LaneFund(1, 30),
            LaneSettle(1, 7),
        )
        self.ops = (*ops, Claim(ann.peer, 1), Release(1))
        self.signed, self.state = ann.draft(*ops)
        self.head = world.certified(ann, Pay(ben.peer, 5))
        self.voucher = ann.voucher(1, ben.peer, 5)
        self.release = ben.release(ann.peer, 1, 5)
        self.proof = encode_proof(Fork(self.signed.raw, self.head.signed.raw))
        self.change = world.change(2, 3, 4, 5)
        self.succession, _ = world.hand_over(self.change)
        mark = LaneMark(ann.peer, 1, 5, self.voucher, True, self.release)
        self.report = Report((self.signed.raw,), (mark,))
        vote = world.validators[0].sign(EntryVote(0, ann.peer, 1, self.signed.id))
        self.votes = [
            vote.vote,
            ClaimVote(0, ann.peer, 1, 5),
            CloseVote(0, ann.peer, 1, 0),
            MaturityVote(0, ann.peer, 1),
        ]
        close = world.validators[0].sign(self.votes[2])
        certificate = Certificate(self.votes[1], (Ballot(vote.member, vote.signature),))
        evidence = Evidence((self.head.raw,), (certificate,), (CloseCertificate((close,)),), (certificate,))
        hello = messages.Hello(0, 1, bytes(32), bytes(32))
        line = messages.HeadLine(ann.peer, 1, self.signed.id)
        self.messages: list[Any] = [
            messages.AskEntryVote(self.signed.raw, self.state.to_bytes(), evidence),
            messages.AskClaimVote(self.voucher, b""),
            messages.AskCloseVote(ann.peer, 1, self.release, self.voucher),
            messages.AskMaturityVote(ann.peer, 1),
            messages.AskHandover(self.change),
            messages.GetReport(bytes(32), 0),
            hello,
            messages.GetBuckets(255, ""),
            messages.GetHeads((ann.peer,)),
            messages.GetPending(ann.peer),
            messages.GetProofs(""),
            messages.GetSuccessions(0),
            messages.Voted(vote),
            messages.HandedOver(self.succession.handovers[0], 5),
            messages.ReportPart(b"part"),
            messages.Summary(hello, bytes(256 * 32)),
            messages.Buckets((line,), True),
            messages.Heads((self.head.raw,)),
            messages.Pending(self.signed.raw),
            messages.Proofs((self.proof,), False),
            messages.Successions((self.succession,)),
        ]


@cache
def samples() -> Samples:
    return Samples()


SIGNED: dict[str, tuple[Callable[[Samples], bytes], Callable[[Samples, bytes], object]]] = {
    "entry": (lambda s: s.signed.raw, lambda s, raw: open_entry(raw, s.genesis.id)),
    "head": (lambda s: s.head.raw, lambda s, raw: open_head(raw, s.genesis.id, s.world.replica.committees)),
    "voucher": (lambda s: s.voucher, lambda s, raw: open_voucher(raw, s.genesis.id)),
    "release": (lambda s: s.release, lambda s, raw: open_release(raw, s.genesis.id)),
    "proof": (lambda s: s.proof, lambda s, raw: open_proof(raw, s.genesis.id)),
    "change": (lambda s: s.change, lambda s, raw: open_change(raw, s.genesis.id, OPERATOR.peer)),
}
PLAIN: dict[str, tuple[Callable[[Samples], bytes], Callable[[bytes], Any]]] = {
    "state": (lambda s: s.state.to_bytes(), parse_state),
    "genesis": (lambda s: s.genesis.to_bytes(), parse_genesis),
    "report": (lambda s: s.report.to_bytes(), parse_report),
}


def mutated(data: st.DataObject, raw: bytes) -> bytes:
    """Other bytes: some changed, cut out, put in or repeated."""
    at = data.draw(st.integers(0, len(raw) - 1))
    end = data.draw(st.integers(at, min(len(raw), at + 8)))
    put = data.draw(st.one_of(st.binary(max_size=4), st.just(raw[at:end] * 2)))
    changed = raw[:at] + put + raw[end:]
    return changed if changed != raw else raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]


@pytest.mark.slow
@pytest.mark.parametrize("kind", SIGNED)
@settings(max_examples=100, deadline=None, derandomize=True)
@given(data=st.data())
def test_no_changed_byte_of_what_is_signed_goes_unnoticed(kind, data):
    make, read = SIGNED[kind]
    raw = make(samples())
    assert read(samples(), raw)
    with pytest.raises((ProtocolViolation, NotYet)) as refused:
        read(samples(), mutated(data, raw))
    assert kind == "head" or refused.type is ProtocolViolation


@pytest.mark.slow
@pytest.mark.parametrize("kind", PLAIN)
@settings(max_examples=100, deadline=None, derandomize=True)
@given(data=st.data())
def test_what_is_not_signed_is_refused_or_has_one_spelling(kind, data):
    make, read = PLAIN[kind]
    raw = make(samples())
    assert read(raw).to_bytes() == raw
    other = mutated(data, raw)
    with suppress(ProtocolViolation):
        assert read(other).to_bytes() == other


def everything() -> list[Any]:
    made = samples()
    return [*made.messages, *made.ops, *made.votes, made.succession, made.signed.entry, made.state, made.genesis]


def test_every_record_comes_back_from_its_bytes():
    for record in everything():
        assert from_value(type(record), decode(encode(to_value(record)), limit=LIMIT)) == record


def test_every_message_has_a_sample_here():
    assert {type(each) for each in samples().messages} == {*messages.REQUESTS, *messages.ANSWERS}


@pytest.mark.slow
@settings(max_examples=300, deadline=None, derandomize=True)
@given(data=st.data())
def test_a_message_that_was_changed_is_refused_or_is_another_message(data):
    record = data.draw(st.sampled_from(everything()))
    raw = mutated(data, encode(to_value(record)))
    with suppress(ProtocolViolation):
        assert encode(to_value(from_value(type(record), decode(raw, limit=LIMIT)))) == raw


@pytest.mark.slow
@settings(max_examples=200, deadline=None, derandomize=True)
@given(data=st.data())
def test_a_signed_entry_of_any_content_gets_a_reason(data):
    """Its owner may sign what it likes: a member answers with an error that has words, and with no other."""
    made, world = samples(), World()
    body = encode(to_value(made.signed.entry))
    try:
        entry = from_value(type(made.signed.entry), decode(mutated(data, body), limit=LIMIT))
    except ProtocolViolation:
        return
    signed = sign_entry(entry, world.network, world.owners[0].who.sign)
    with pytest.raises((ProtocolViolation, NotYet), match=r".+"):
        decide_entry(world.replica, world.validators[0].peer, None, signed, made.state, NOTHING)


@given(st.binary(max_size=200))
def test_random_bytes_are_nothing(raw):
    for _, read in SIGNED.values():
        with pytest.raises(ProtocolViolation):
            read(samples(), raw)


ANN = who(100).peer
IMPOSSIBLE: list[Callable[[], object]] = [
    lambda: Pay(ANN, 0),
    lambda: Claim(ANN, 0),
    lambda: Stake(0),
    lambda: Unstake(0),
    lambda: Release(0),
    lambda: LaneOpen(RUN, ANN, 0, 1),
    lambda: LaneOpen(RUN, ANN, 1, -1),
    lambda: LaneFund(1, 0),
    lambda: LaneSettle(1, -1),
    lambda: Lane(0, RUN, ANN, 1, 1),
    lambda: Unbonding(0, 1),
    lambda: ClaimVote(0, ANN, 1, 0),
    lambda: CloseVote(0, ANN, 1, -1),
    lambda: SignedVote(MaturityVote(0, ANN, 1), ANN, b""),
    lambda: Ballot(ANN, b""),
    lambda: Certificate(MaturityVote(0, ANN, 1), ()),
    lambda: Voucher(payer=ANN, lane=1, run=RUN, provider=ANN, number=1, total=1, work_root=b""),
    lambda: CommitteeChange(1, bytes(32), ()),
    lambda: CommitteeChange(0, bytes(32), members(1)),
    lambda: Handover(bytes(31), bytes(32), ANN, bytes(64)),
    lambda: Succession(b"", ()),
    lambda: Evidence(heads=(b"",) * 65),
    lambda: messages.ReportPart(bytes(messages.REPORT_PART_BYTES + 1)),
    lambda: messages.Hello(0, 0, b"", bytes(32)),
    lambda: messages.Summary(messages.Hello(0, 0, bytes(32), bytes(32)), b""),
    lambda: messages.GetBuckets(256, ""),
    lambda: messages.Buckets((messages.HeadLine(ANN, 1, EntryId("a" * 64)),) * (messages.MAX_BUCKET_LINES + 1), False),
    lambda: messages.GetHeads(()),
    lambda: messages.Heads((b"",) * 65),
    lambda: messages.Pending(bytes(MAX_ENTRY_BYTES + 1)),
    lambda: messages.Proofs((b"",) * 65, False),
    lambda: messages.Successions((Samples.__new__(Samples),) * 65),  # type: ignore[arg-type]
    lambda: replace(samples().signed.entry, time=-1),
    lambda: replace(samples().signed.entry, seq=2),
    lambda: replace(samples().signed.entry, ops=()),
]


@pytest.mark.parametrize("make", IMPOSSIBLE)
def test_what_cannot_be_is_not_built(make):
    with pytest.raises(ValueError, match=r".+"):
        make()


def test_an_entry_that_is_too_long_is_not_signed():
    world = World()
    ann = world.owners[0]
    ops = tuple(LaneOpen(RUN, world.owners[1].peer, 1, 1) for _ in range(64))
    with pytest.raises(ValueError, match="at most 8192 are allowed"):
        ann.draft(*ops)


def test_an_entry_is_signed_by_its_accounts_owner():
    made = samples()
    ben = made.world.owners[1]
    forged = sign(ENTRY_TAG, made.genesis.id, ben.peer, ben.who.sign, to_value(made.signed.entry)).to_bytes()
    with pytest.raises(ProtocolViolation, match="another than the account's owner"):
        open_entry(forged, made.genesis.id)
