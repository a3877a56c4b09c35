"""What a committee member votes, given all it cast before. Whoever calls this keeps the vote on disk before it leaves.

Every ``decide_*`` raises Refused (with reason) if the member may not vote or never will, NotYet if it may later, and
ProtocolViolation for what no honest peer asks. ``handed_over`` is the highest committee number that the member has
handed over.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from swarmd.protocols.errors import NotYet, ProtocolViolation, Refused
from swarmd.protocols.ids import EntryId, PeerId
from swarmd.protocols.ledger.account import AccountState, Lane
from swarmd.protocols.ledger.check import check_claim, check_close, check_entry, check_maturity, open_lane
from swarmd.protocols.ledger.entry import FIRST_PREV, SignedEntry
from swarmd.protocols.ledger.handover import LaneMark, Report
from swarmd.protocols.ledger.messages import AskCloseVote, Evidence
from swarmd.protocols.ledger.proofs import Fork, encode_proof
from swarmd.protocols.ledger.replica import Replica
from swarmd.protocols.ledger.reporting import above_certified
from swarmd.protocols.ledger.votes import ClaimVote, CloseVote, EntryVote, MaturityVote
from swarmd.protocols.ledger.vouchers import Voucher, open_release, open_voucher

NO_ENTRY = FIRST_PREV
"""An id that no entry has: what binds a member where two entries of one number were reported."""


@dataclass(frozen=True, slots=True)
class Inherited:
    """What the reports of the old committee bind a member of the new one to."""

    entries: dict[tuple[PeerId, int], EntryId]
    """For this account and number, vote for no other id (NO_ENTRY: for none), and for none of a lower number."""
    lanes: dict[tuple[PeerId, int], LaneMark]
    """By payer and lane; to be merged with our own (``merge_marks``)."""
    proofs: tuple[bytes, ...]
    """Forks that the reports show."""


def decide_entry(
    replica: Replica,
    member: PeerId,
    earlier: EntryVote | None,
    signed: SignedEntry,
    state: AccountState,
    evidence: Evidence,
    *,
    reported: int = 0,
    handed_over: int = -1,
) -> EntryVote:
    """The vote for an entry. ``earlier`` was cast or inherited for this account and number, in any committee.

    ``reported`` is the highest number of this account that was inherited. Its owner signed that after what comes
    before it was certified, so below it there is nothing left to vote for.
    """
    number, entry = _may_vote(replica, member, handed_over), signed.entry
    if earlier is not None and earlier.entry != signed.id:
        raise Refused(f"another entry {entry.seq} of {entry.account} was voted for: its owner signed two")
    if entry.seq < reported:
        raise NotYet(f"entry {reported} of {entry.account} was reported; what is before it is not known here yet")
    check_entry(replica, signed, state, evidence)
    return EntryVote(number, entry.account, entry.seq, signed.id)


def decide_claim(
    replica: Replica,
    member: PeerId,
    mark: LaneMark | None,
    voucher: Voucher,
    now: float,
    *,
    claimable: int = 0,
    handed_over: int = -1,
) -> ClaimVote:
    """The vote for a claim. ``mark`` is what was said of the lane before, or inherited; ``now`` in Unix seconds.

    ``claimable`` is what we closed the lane at in this committee, if no former one had: up to that a payer who does not
    settle leaves its provider nothing to lose.
    """
    number = _may_vote(replica, member, handed_over)
    closed = mark is not None and mark.closed and voucher.total > claimable
    check_claim(replica, voucher, closed, now)
    return ClaimVote(number, voucher.payer, voucher.lane, voucher.total)


def decide_close(
    replica: Replica, member: PeerId, mark: LaneMark | None, asked: AskCloseVote, now: float, *, handed_over: int = -1
) -> CloseVote:
    """The vote to close a lane: the earlier one again if there was one. ``now`` in Unix seconds.

    A release is worth a claim of its total: keep that claim, with its voucher, before the closing. What was reported
    to us may be above the lane's cap, as far as it is known here: the lane then pays what it holds (``check_entry``).
    """
    number = _may_vote(replica, member, handed_over)
    if mark is not None and mark.closed:
        open_lane(replica, asked.payer, asked.lane)
        released = _released(replica, mark)
    else:
        released = check_close(replica, asked, now)
    return CloseVote(number, asked.payer, asked.lane, max(released, mark.highest if mark else 0))


def decide_maturity(
    replica: Replica,
    member: PeerId,
    account: PeerId,
    seq: int,
    first_seen: float | None,
    now: float,
    *,
    handed_over: int = -1,
) -> MaturityVote:
    """The vote that a cooldown is over (``check_maturity``)."""
    number = _may_vote(replica, member, handed_over)
    check_maturity(replica, account, seq, first_seen, now)
    return MaturityVote(number, account, seq)


def _may_vote(replica: Replica, member: PeerId, handed_over: int) -> int:
    """The number of the committee that the member votes in."""
    committee = replica.committee
    if member not in committee.peers:
        raise NotYet(f"{member} is no member of committee {committee.number}")
    if replica.frozen(member):
        raise Refused(f"there is a proof against {member}: its votes are worth nothing")
    if handed_over >= committee.number:
        raise NotYet(f"{member} handed committee {committee.number} over, and waits for the next")
    return committee.number


def _released(replica: Replica, mark: LaneMark) -> int:
    return open_release(mark.release, replica.network).total if mark.release else 0


def adopt(replica: Replica, reports: tuple[Report, ...], now: float) -> Inherited:
    """What the reports of a quorum of the old committee bind us to. What does not hold in them is left out.

    Catch up with the certified heads first: of a lane that is not known here a report can say more than is true.
    ``now`` in Unix seconds, our own clock.
    """
    found: dict[tuple[PeerId, int], dict[EntryId, bytes]] = {}
    for signed in above_certified(replica, (raw for report in reports for raw in report.entries)):
        found.setdefault((signed.entry.account, signed.entry.seq), {})[signed.id] = signed.raw
    lanes: dict[tuple[PeerId, int], LaneMark] = {}
    for reported in (mark for report in reports for mark in report.lanes):
        mark = _mark_in(replica, reported, now)
        if mark is not None:
            known = lanes.get((mark.payer, mark.lane), mark)
            lanes[mark.payer, mark.lane] = merge_marks(known, mark)
    return Inherited(
        {place: min(ids) if len(ids) == 1 else NO_ENTRY for place, ids in found.items()},
        lanes,
        tuple(encode_proof(Fork(*sorted(ids.values())[:2])) for ids in found.values() if len(ids) > 1),
    )


def merge_marks(one: LaneMark, other: LaneMark) -> LaneMark:
    """Both marks of one lane in one: the higher claim with its voucher, and closed if either is."""
    high, low = (one, other) if one.highest >= other.highest else (other, one)
    return replace(high, closed=high.closed or low.closed, release=high.release or low.release)


def _mark_in(replica: Replica, mark: LaneMark, now: float) -> LaneMark | None:
    """What holds of a reported mark: a claim with its voucher; a closing by a release, or of a lane that expired.

    None also where neither a signature nor the payer's state says that there is such a lane.
    """
    state = replica.state(mark.payer)
    lane = state.lane(mark.lane)
    if lane is None and mark.lane <= state.lanes_opened:
        return None
    try:
        _check_mark(replica, mark, lane)
    except ProtocolViolation:
        return None
    over = lane is not None and now >= lane.expires + replica.genesis.limits.grace_seconds
    closed = mark.closed and (bool(mark.release) or over)
    return replace(mark, closed=closed) if lane is not None or closed or mark.highest else None


def _check_mark(replica: Replica, mark: LaneMark, lane: Lane | None) -> None:
    """Raises ProtocolViolation for a claim without its voucher, or a release of another, or of more than that.

    Of a lane that is not known here yet any release binds: to miss a closing could make credits, to believe one cannot.
    """
    highest = 0
    if mark.voucher:
        voucher = open_voucher(mark.voucher, replica.network)
        highest = voucher.total if (voucher.payer, voucher.lane) == (mark.payer, mark.lane) else -1
    if highest != mark.highest:
        raise ProtocolViolation("a claim without the payer's voucher for it")
    if mark.release:
        release = open_release(mark.release, replica.network)
        provider = lane.provider if lane else release.provider
        named = (release.payer, release.lane, release.provider)
        if named != (mark.payer, mark.lane, provider) or release.total > highest:
            raise ProtocolViolation("a release of another lane, or of more than its payer signed for")
