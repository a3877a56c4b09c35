"""Entries: what the owner of an account writes, one after the other, each naming the one before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from swarmd.protocols.canonical import decode
from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.ids import EntryId, NetworkId, PeerId, RunId, public_key_of
from swarmd.protocols.ledger.account import Lane, Total, Unbonding
from swarmd.protocols.ledger.amounts import check_amounts
from swarmd.protocols.records import from_value, to_value
from swarmd.protocols.signing import Sign, Signed, check_signature, parse_signed, sign, statement_id

ENTRY_TAG = "swarmd/entry/1"
MAX_ENTRY_BYTES = 8192
MAX_OPS = 64
FIRST_PREV = EntryId("0" * 64)
"""What an account's first entry names as the one before."""


@dataclass(frozen=True, slots=True)
class Pay:
    """Give credits to a peer; it has them once it claims them."""

    TAG: ClassVar[str] = "pay"
    payee: PeerId
    amount: int

    def __post_init__(self) -> None:
        Total(self.payee, self.amount)
        check_amounts(self.amount)


@dataclass(frozen=True, slots=True)
class Claim:
    """Take what a peer paid: ``total`` is all that was ever taken from it, payments and lanes together."""

    TAG: ClassVar[str] = "claim"
    payer: PeerId
    total: int

    def __post_init__(self) -> None:
        check_amounts(self.total)


@dataclass(frozen=True, slots=True)
class Stake:
    """Set credits aside as a surety for our votes and work."""

    TAG: ClassVar[str] = "stake"
    amount: int

    def __post_init__(self) -> None:
        check_amounts(self.amount)


@dataclass(frozen=True, slots=True)
class Unstake:
    """Begin to take stake back; it comes after the network's cooldown."""

    TAG: ClassVar[str] = "unstake"
    amount: int

    def __post_init__(self) -> None:
        check_amounts(self.amount)


@dataclass(frozen=True, slots=True)
class Release:
    """Have back what entry ``seq`` unstaked."""

    TAG: ClassVar[str] = "release"
    seq: int

    def __post_init__(self) -> None:
        Unbonding(self.seq, 1)


@dataclass(frozen=True, slots=True)
class LaneOpen:
    """Set credits aside for a provider's work on a run. The lane's number is the account's next."""

    TAG: ClassVar[str] = "lane_open"
    run: RunId
    provider: PeerId
    cap: int
    expires: int
    """Unix seconds."""

    def __post_init__(self) -> None:
        Lane(1, self.run, self.provider, self.cap, self.expires)


@dataclass(frozen=True, slots=True)
class LaneFund:
    """Put more into an open lane. How long it lasts never changes: for longer work, open another."""

    TAG: ClassVar[str] = "lane_fund"
    number: int
    amount: int

    def __post_init__(self) -> None:
        check_amounts(self.amount)


@dataclass(frozen=True, slots=True)
class LaneSettle:
    """End a closed lane: ``paid`` of its cap is the provider's, the rest is ours again."""

    TAG: ClassVar[str] = "lane_settle"
    number: int
    paid: int

    def __post_init__(self) -> None:
        check_amounts(self.paid, least=0)


Op: TypeAlias = Pay | Claim | Stake | Unstake | Release | LaneOpen | LaneFund | LaneSettle


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One step of an account's chain."""

    account: PeerId
    seq: int
    """From 1."""
    prev: EntryId
    """Of entry ``seq - 1``; FIRST_PREV for the first."""
    time: int
    """Unix seconds, by the owner's clock; nothing depends on it."""
    ops: tuple[Op, ...]
    state_hash: bytes
    """SHA-256 of the account's state after this entry (``state_hash``)."""

    def __post_init__(self) -> None:
        public_key_of(self.account)
        if not 1 <= self.seq < 1 << 40 or not 0 <= self.time < 1 << 40 or len(self.state_hash) != 32:
            raise ValueError("an impossible entry")
        if (self.seq == 1) != (self.prev == FIRST_PREV) or not 1 <= len(self.ops) <= MAX_OPS:
            raise ValueError(f"an entry names the one before it and has 1 to {MAX_OPS} operations")
        for other in _others(self.ops):
            if other == self.account:
                raise ValueError("an account has no dealings with itself")
            public_key_of(other)


@dataclass(frozen=True, slots=True)
class SignedEntry:
    """An entry whose owner's signature holds."""

    entry: Entry
    id: EntryId
    raw: bytes
    """The wire form, as it was signed."""


def sign_entry(entry: Entry, network: NetworkId, key: Sign) -> SignedEntry:
    """Sign an entry with its owner's key. Raises ValueError over MAX_ENTRY_BYTES."""
    signed = sign(ENTRY_TAG, network, entry.account, key, to_value(entry))
    raw = signed.to_bytes()
    if len(raw) > MAX_ENTRY_BYTES:
        raise ValueError(f"an entry of {len(raw)} bytes; at most {MAX_ENTRY_BYTES} are allowed")
    return SignedEntry(entry, _id(network, signed), raw)


def open_entry(raw: bytes, network: NetworkId) -> SignedEntry:
    """The entry inside, once its owner's signature holds. Raises ProtocolViolation."""
    entry, statement = parse_entry(raw)
    return check_owner(entry, statement, raw, network)


def parse_entry(raw: bytes) -> tuple[Entry, Signed]:
    """The entry inside and its owner's statement; the signature is not yet checked. Raises ProtocolViolation."""
    signed = parse_signed(raw, limit=MAX_ENTRY_BYTES)
    entry = from_value(Entry, decode(signed.body, limit=MAX_ENTRY_BYTES))
    if entry.account != signed.signer:
        raise ProtocolViolation("an entry signed by another than the account's owner")
    return entry, signed


def check_owner(entry: Entry, statement: Signed, raw: bytes, network: NetworkId) -> SignedEntry:
    """What ``parse_entry`` gave, once the owner's signature holds. Raises ProtocolViolation."""
    check_signature(ENTRY_TAG, network, statement)
    return trust_entry(entry, statement, raw, network)


def trust_entry(entry: Entry, statement: Signed, raw: bytes, network: NetworkId) -> SignedEntry:
    """What ``parse_entry`` gave, from our own disk: its signature was checked before it went there."""
    return SignedEntry(entry, _id(network, statement), raw)


def _id(network: NetworkId, signed: Signed) -> EntryId:
    return EntryId(statement_id(ENTRY_TAG, network, signed.body))


def _others(ops: tuple[Op, ...]) -> Iterator[PeerId]:
    """Everybody that the operations name."""
    for op in ops:
        match op:
            case Pay():
                yield op.payee
            case Claim():
                yield op.payer
            case LaneOpen():
                yield op.provider
            case _:
                pass
