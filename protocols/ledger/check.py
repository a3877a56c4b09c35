"""What a committee member looks at before it votes.

Everything asked for is a fact that stays true once it is: a certified counter, a certificate. So what one honest member
votes for, every honest member votes for sooner or later, and an honest owner never stands still for good.
"""

from __future__ import annotations

from datetime import UTC, datetime

from swarmd.protocols.errors import NotYet, ProtocolViolation, Refused
from swarmd.protocols.ids import PeerId
from swarmd.protocols.ledger.account import AccountState, Lane
from swarmd.protocols.ledger.amounts import format_credits
from swarmd.protocols.ledger.apply import apply_ops
from swarmd.protocols.ledger.committee import check_certificate
from swarmd.protocols.ledger.entry import FIRST_PREV, Claim, Entry, LaneSettle, Release, SignedEntry
from swarmd.protocols.ledger.heads import state_hash
from swarmd.protocols.ledger.messages import AskCloseVote, Evidence
from swarmd.protocols.ledger.replica import Replica
from swarmd.protocols.ledger.votes import Certificate, ClaimVote, CloseCertificate, CloseVote, MaturityVote
from swarmd.protocols.ledger.vouchers import Voucher, open_release, open_voucher


def check_entry(replica: Replica, signed: SignedEntry, state: AccountState, evidence: Evidence) -> None:
    """Whether an entry (its owner's signature holds) may be voted for. ``state`` is what it says comes after it.

    ``evidence.heads`` is not read here: offer those to the replica first, and keep the new ones.

    Raises:
        NotYet: something is not known here yet, or was not given; the same entry may be good later.
        Refused: it will not be voted for.
        ProtocolViolation: no honest owner writes it.
    """
    entry = signed.entry
    _check_place(replica, entry)
    after = apply_ops(replica.state(entry.account), entry.seq, entry.ops)
    if after != state or state_hash(after) != entry.state_hash:
        raise ProtocolViolation("an entry whose state is not what its operations make of the one before")
    if entry.seq == 1 and not after.granted and not after.received:
        raise Refused("an account's first entry claims credits: whoever has none has nothing to write")
    for payer in dict.fromkeys(op.payer for op in entry.ops if isinstance(op, Claim)):
        _check_covered(replica, entry.account, payer, after.received_from(payer), evidence.claims)
    for op in entry.ops:
        if isinstance(op, LaneSettle):
            _check_closed(replica, entry.account, op, evidence.closes)
        elif isinstance(op, Release):
            _check_matured(replica, entry.account, op, evidence.maturities)


def check_claim(replica: Replica, voucher: Voucher, closed: bool, now: float) -> None:
    """Whether a claim of what a voucher (its payer's signature holds) says may be voted for.

    ``closed`` says whether we voted to close the lane, ``now`` is our own clock's time in Unix seconds. Claims end half
    the grace time before lanes close by themselves: while honest clocks differ by less, no claim follows a closing.
    Raises as ``check_entry``.
    """
    lane = open_lane(replica, voucher.payer, voucher.lane)
    if closed:
        raise Refused(f"lane {voucher.lane} of {voucher.payer} was closed here; its payer settles it")
    if now >= lane.expires + replica.genesis.limits.grace_seconds / 2:
        raise Refused(f"lane {voucher.lane} expired on {_day(lane.expires)}; its payer settles it")
    _check_voucher(voucher, lane)


def check_close(replica: Replica, asked: AskCloseVote, now: float) -> int:
    """Whether a lane may be closed; returns what its provider released it at, 0 without a release.

    With a release: at once, with the payer's voucher of its total. Without: once expired, and the grace time over, at
    ``now`` (Unix seconds, our own clock). Raises as ``check_entry``.
    """
    lane = open_lane(replica, asked.payer, asked.lane)
    if asked.release:
        return _check_release(replica, asked, lane)
    wait = lane.expires + replica.genesis.limits.grace_seconds - now
    if wait > 0:
        raise NotYet(
            f"lane {asked.lane} can be closed in {wait:.0f} s, or when its provider releases it",
            hint="a provider that is done releases the lane by itself",
        )
    return 0


def check_maturity(replica: Replica, account: PeerId, seq: int, first_seen: float | None, now: float) -> None:
    """Whether what entry ``seq`` unstaked may be released.

    ``first_seen`` is when we first saw that entry certified, None if never, and ``now`` the time, both by our own clock
    in Unix seconds. Raises as ``check_entry``.
    """
    if replica.frozen(account):
        raise Refused(f"there is a proof against {account}: its stake is burned")
    if replica.seq(account) >= seq and all(item.seq != seq for item in replica.state(account).unbonding):
        raise Refused(f"entry {seq} has nothing on its way back from stake")
    if first_seen is None or replica.seq(account) < seq:
        raise NotYet(f"entry {seq} of {account} is not known here as certified yet")
    wait = first_seen + replica.genesis.limits.cooldown_seconds - now
    if wait > 0:
        raise NotYet(f"the stake comes back in {wait:.0f} s")


def open_lane(replica: Replica, payer: PeerId, number: int) -> Lane:
    """The open lane of this number in its payer's certified state. Raises NotYet, or Refused if it is settled."""
    state = replica.state(payer)
    lane = state.lane(number)
    if lane is not None:
        return lane
    if number <= state.lanes_opened:
        raise Refused(f"lane {number} of {payer} is settled")
    raise NotYet(f"lane {number} of {payer} is not known here yet")


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d at %H:%M UTC")


def _check_place(replica: Replica, entry: Entry) -> None:
    if replica.frozen(entry.account):
        raise Refused(f"there is a proof against {entry.account}: nobody votes for its entries")
    head = replica.head(entry.account)
    certified = replica.seq(entry.account)
    if entry.seq <= certified:
        raise Refused(f"entry {certified} of {entry.account} is certified already")
    if entry.seq > certified + 1:
        raise NotYet(f"entry {certified} of {entry.account} is the newest certified one known here")
    if entry.prev != (head.signed.id if head else FIRST_PREV):
        raise ProtocolViolation("an entry that does not follow the account's certified one")


def _check_covered(
    replica: Replica, account: PeerId, payer: PeerId, total: int, claims: tuple[Certificate, ...]
) -> None:
    """A claim is covered by what its payer sent, and by certified claims on its lanes that are open still.

    A lane settled since has its payment in what was sent, and that is at least what was certified.
    """
    certified = replica.state(payer)
    covered = certified.sent_to(account)
    best: dict[int, Certificate] = {}
    for certificate in claims if covered < total else ():
        vote = certificate.vote
        if isinstance(vote, ClaimVote) and vote.payer == payer and vote.total > _total(best.get(vote.lane)):
            best[vote.lane] = certificate
    for number, certificate in best.items():
        lane = certified.lane(number)
        if lane is not None and lane.provider == account:
            check_certificate(certificate, replica.committees, replica.network)
            covered += _total(certificate)
    if covered < total:
        raise NotYet(
            f"{format_credits(total)} credits of {payer} are claimed; {format_credits(covered)} are certified here"
        )


def _total(certificate: Certificate | None) -> int:
    vote = certificate.vote if certificate else None
    return vote.total if isinstance(vote, ClaimVote) else 0


def _check_closed(replica: Replica, account: PeerId, op: LaneSettle, closes: tuple[CloseCertificate, ...]) -> None:
    """A lane pays the highest claim of its certificate, or all it holds: no claim above that was ever certified."""
    lane = replica.state(account).lane(op.number)
    held = lane.cap if lane is not None else 0
    for certificate in closes:
        vote, paid = certificate.votes[0].vote, min(certificate.paid, held)
        if isinstance(vote, CloseVote) and (vote.payer, vote.lane, paid) == (account, op.number, op.paid):
            return check_certificate(certificate, replica.committees, replica.network)
    raise NotYet(f"no certificate was given that lane {op.number} is closed at {format_credits(op.paid)} credits")


def _check_matured(replica: Replica, account: PeerId, op: Release, maturities: tuple[Certificate, ...]) -> None:
    for certificate in maturities:
        vote = certificate.vote
        if isinstance(vote, MaturityVote) and (vote.account, vote.seq) == (account, op.seq):
            return check_certificate(certificate, replica.committees, replica.network)
    raise NotYet(f"no certificate was given that the cooldown of entry {op.seq} is over")


def _check_voucher(voucher: Voucher, lane: Lane) -> None:
    if (voucher.provider, voucher.run) != (lane.provider, lane.run):
        raise ProtocolViolation(f"a voucher for another provider or run than lane {lane.number} is for")
    if voucher.total > lane.cap:
        raise NotYet(f"lane {lane.number} holds {format_credits(lane.cap)} credits here, less than the voucher")


def _check_release(replica: Replica, asked: AskCloseVote, lane: Lane) -> int:
    release = open_release(asked.release, replica.network)
    if (release.payer, release.lane, release.provider) != (asked.payer, asked.lane, lane.provider):
        raise ProtocolViolation("a release of another lane, or by another than its provider")
    if release.total == 0:
        return 0
    voucher = open_voucher(asked.voucher, replica.network)
    if (voucher.payer, voucher.lane, voucher.total) != (asked.payer, asked.lane, release.total):
        raise ProtocolViolation("a lane is released at the total of its payer's voucher")
    _check_voucher(voucher, lane)
    return release.total
