"""What nodes say to each other about the ledger: to committee members, and to any peer to stay in step.

    to a member          answer
    AskEntryVote     →   Voted                     or an error with the reason (see below)
    AskClaimVote     →   Voted
    AskCloseVote     →   Voted
    AskMaturityVote  →   Voted
    AskHandover      →   HandedOver
    GetReport        →   ReportPart                a handover's report, in parts

    to any peer          answer
    Hello            →   Summary                   do we know the same?
    GetBuckets       →   Buckets                   which of the 256 parts differ, and what they hold
    GetHeads         →   Heads                     certified heads by account
    GetPending       →   Pending                   an account's signed entry that is not certified yet
    GetProofs        →   Proofs
    GetSuccessions   →   Successions               the committee chain from a number on

A refusal is an rpc error: code ``refused`` for what will never be voted for, ``not_yet`` (``NotYet``) for what may be
voted for later, with words that say what is missing. Gossip topics carry the raw wire forms of entries, heads and
proofs.
"""

from __future__ import annotations

from dataclasses import dataclass

from swarmd.protocols.ids import EntryId, PeerId
from swarmd.protocols.ledger.amounts import check_amounts
from swarmd.protocols.ledger.entry import MAX_ENTRY_BYTES
from swarmd.protocols.ledger.handover import Handover, Succession
from swarmd.protocols.ledger.votes import Certificate, CloseCertificate, SignedVote

LEDGER_PROTOCOL = "/swarmd/ledger/1"
TOPICS = ("entry", "head", "proof")
"""Of gossip; a topic's full name is ``swarmd/ledger/NETWORK/NAME``."""
BUCKETS = 256
"""An account's bucket is the first byte of SHA-256 of its peer id."""
MAX_HEADS = 64
"""That one answer carries; and at most MAX_ANSWER_BYTES."""
MAX_ANSWER_BYTES = 1 << 20
MAX_EVIDENCE = 64
MAX_BUCKET_LINES = 4096
REPORT_PART_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a member may need to see before it votes for an entry."""

    heads: tuple[bytes, ...] = ()
    """Certified heads of others (wire form) that the member may not have yet."""
    claims: tuple[Certificate, ...] = ()
    """Claim certificates on lanes whose provider the entry's account is."""
    closes: tuple[CloseCertificate, ...] = ()
    """For lanes that the entry settles."""
    maturities: tuple[Certificate, ...] = ()
    """For what the entry releases."""

    def __post_init__(self) -> None:
        if max(map(len, (self.heads, self.claims, self.closes, self.maturities))) > MAX_EVIDENCE:
            raise ValueError(f"at most {MAX_EVIDENCE} pieces of evidence of a kind")


@dataclass(frozen=True, slots=True)
class AskEntryVote:
    """Vote for this entry. ``state`` is the canonical state after it."""

    entry: bytes
    state: bytes
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class AskClaimVote:
    """Vote that this voucher is covered by an open lane."""

    voucher: bytes
    head: bytes
    """The payer's certified head with the lane, if the provider has it; else empty."""


@dataclass(frozen=True, slots=True)
class AskCloseVote:
    """Close our lane. With a release: now, at the release's total; without: only if it expired long enough ago."""

    payer: PeerId
    lane: int
    release: bytes
    voucher: bytes
    """For the release's total; both empty if the release's total is 0 or there is no release."""

    def __post_init__(self) -> None:
        check_amounts(self.lane)


@dataclass(frozen=True, slots=True)
class AskMaturityVote:
    """Vote that the cooldown of this entry's unstaking is over."""

    account: PeerId
    seq: int


@dataclass(frozen=True, slots=True)
class Voted:
    """The member's vote."""

    vote: SignedVote


@dataclass(frozen=True, slots=True)
class AskHandover:
    """Stop voting, hand over to this committee (the operator's signed change)."""

    change: bytes


@dataclass(frozen=True, slots=True)
class HandedOver:
    """The member has stopped. Its report has ``size`` bytes."""

    handover: Handover
    size: int


@dataclass(frozen=True, slots=True)
class GetReport:
    """A part of the report with this SHA-256, from ``offset``."""

    report: bytes
    offset: int


@dataclass(frozen=True, slots=True)
class ReportPart:
    """REPORT_PART_BYTES of it; fewer at the end."""

    data: bytes

    def __post_init__(self) -> None:
        if len(self.data) > REPORT_PART_BYTES:
            raise ValueError("a part of a report over its limit")


@dataclass(frozen=True, slots=True)
class Hello:
    """What we know, in short; the answer is what the peer knows."""

    committee: int
    accounts: int
    root: bytes
    """Over the 256 buckets' hashes."""
    proofs: bytes
    """Hash over the culprits that proofs are known of, sorted."""

    def __post_init__(self) -> None:
        if len(self.root) != 32 or len(self.proofs) != 32:
            raise ValueError("a root has 32 bytes")


@dataclass(frozen=True, slots=True)
class Summary:
    """The peer's side of a Hello, and its buckets' hashes (256 x 32 bytes)."""

    hello: Hello
    buckets: bytes

    def __post_init__(self) -> None:
        if len(self.buckets) != BUCKETS * 32:
            raise ValueError("256 hashes have 8,192 bytes")


@dataclass(frozen=True, slots=True)
class HeadLine:
    """Which head of an account a peer has."""

    account: PeerId
    seq: int
    entry: EntryId


@dataclass(frozen=True, slots=True)
class GetBuckets:
    """List this bucket, from the first account after ``after`` on (empty: from the start)."""

    bucket: int
    after: str

    def __post_init__(self) -> None:
        if not 0 <= self.bucket < BUCKETS or len(self.after) > 64:
            raise ValueError("an impossible bucket")


@dataclass(frozen=True, slots=True)
class Buckets:
    """Lines of one bucket, by account; ``more`` when the bucket goes on."""

    lines: tuple[HeadLine, ...]
    more: bool

    def __post_init__(self) -> None:
        if len(self.lines) > MAX_BUCKET_LINES:
            raise ValueError("too many lines")


@dataclass(frozen=True, slots=True)
class GetHeads:
    """The certified heads of these accounts, as far as one answer has room."""

    accounts: tuple[PeerId, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.accounts) <= MAX_HEADS:
            raise ValueError(f"1 to {MAX_HEADS} accounts in one request")


@dataclass(frozen=True, slots=True)
class Heads:
    """Heads in the order asked for; accounts that are not known, or have no more room, are left out."""

    heads: tuple[bytes, ...]

    def __post_init__(self) -> None:
        if len(self.heads) > MAX_HEADS:
            raise ValueError("too many heads")


@dataclass(frozen=True, slots=True)
class GetPending:
    """The entry of this account that the peer voted for, or saw, above the certified one."""

    account: PeerId


@dataclass(frozen=True, slots=True)
class Pending:
    """As its owner signed it; empty if none is known."""

    entry: bytes

    def __post_init__(self) -> None:
        if len(self.entry) > MAX_ENTRY_BYTES:
            raise ValueError("an entry over its limit")


@dataclass(frozen=True, slots=True)
class GetProofs:
    """Proofs against accounts after this one in order (empty: from the start)."""

    after: str


@dataclass(frozen=True, slots=True)
class Proofs:
    """One proof for each culprit, by culprit; ``more`` when there are further ones."""

    proofs: tuple[bytes, ...]
    more: bool

    def __post_init__(self) -> None:
        if len(self.proofs) > MAX_HEADS:
            raise ValueError("too many proofs")


@dataclass(frozen=True, slots=True)
class GetSuccessions:
    """The committee chain after this number."""

    after: int


@dataclass(frozen=True, slots=True)
class Successions:
    """In order of number."""

    successions: tuple[Succession, ...]

    def __post_init__(self) -> None:
        if len(self.successions) > MAX_HEADS:
            raise ValueError("too many successions")


REQUESTS: tuple[type[object], ...] = (
    AskEntryVote, AskClaimVote, AskCloseVote, AskMaturityVote, AskHandover, GetReport,
    Hello, GetBuckets, GetHeads, GetPending, GetProofs, GetSuccessions,
)  # fmt: skip
ANSWERS: tuple[type[object], ...] = (
    Voted, HandedOver, ReportPart, Summary, Buckets, Heads, Pending, Proofs, Successions,
)  # fmt: skip
