"""From one committee to the next: the operator names it, the old members stop and report, the new ones take over."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from swarmd.protocols.canonical import decode, encode
from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.ids import NetworkId, PeerId
from swarmd.protocols.ledger.committee import Committee
from swarmd.protocols.ledger.genesis import MAX_MEMBERS, Member
from swarmd.protocols.records import from_value, to_value
from swarmd.protocols.signing import Sign, Signed, check_signature, parse_signed, sign, statement_id, verify

MAX_CHANGE_BYTES = 1 << 14
MAX_REPORT_BYTES = 1 << 27
_CHANGE_TAG = "swarmd/committee-change/1"
_HANDOVER_TAG = "swarmd/handover/1"


@dataclass(frozen=True, slots=True)
class CommitteeChange:
    """The operator's word who votes next."""

    number: int
    """Of the new committee."""
    previous: bytes
    """Hash of the committee before it."""
    members: tuple[Member, ...]

    def __post_init__(self) -> None:
        if len(self.previous) != 32 or not self.members or self.number < 1:
            raise ValueError("a change names the committee before it and has members")
        Committee(self.number, self.members)


@dataclass(frozen=True, slots=True)
class LaneMark:
    """What a member has said about an open lane."""

    payer: PeerId
    lane: int
    highest: int
    """Of the claims it voted for."""
    voucher: bytes
    """For ``highest``; empty if that is 0."""
    closed: bool
    release: bytes
    """The provider's, if it was closed by one; else empty."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a member of the old committee knows of entries, and has said of lanes."""

    entries: tuple[bytes, ...]
    """Signed entries: each account's newest certified one, and those above that were voted for or reported before."""
    lanes: tuple[LaneMark, ...]

    def to_bytes(self) -> bytes:
        """The canonical form; a handover holds its SHA-256."""
        return encode(to_value(self))


@dataclass(frozen=True, slots=True)
class Handover:
    """A member of the old committee votes no more; its report has this hash."""

    change: bytes
    """SHA-256 id of the change (``change_id``), 32 bytes."""
    report: bytes
    """SHA-256 of the report's canonical bytes."""
    member: PeerId
    signature: bytes

    def __post_init__(self) -> None:
        if len(self.change) != 32 or len(self.report) != 32 or len(self.signature) != 64:
            raise ValueError("an impossible handover")


@dataclass(frozen=True, slots=True)
class Succession:
    """A change that took effect: the operator's signed word, and a quorum of the old committee handing over."""

    change: bytes
    """The signed wire form."""
    handovers: tuple[Handover, ...]

    def __post_init__(self) -> None:
        members = [handover.member for handover in self.handovers]
        if not 1 <= len(members) <= MAX_MEMBERS or members != sorted(set(members)):
            raise ValueError("a succession has handovers of different members, sorted")


def sign_change(change: CommitteeChange, network: NetworkId, operator: PeerId, key: Sign) -> bytes:
    """The operator's signed wire form."""
    return sign(_CHANGE_TAG, network, operator, key, to_value(change)).to_bytes()


def open_change(raw: bytes, network: NetworkId, operator: PeerId) -> CommitteeChange:
    """The change inside, once the operator's signature holds. Raises ProtocolViolation."""
    signed = parse_signed(raw, limit=MAX_CHANGE_BYTES)
    if signed.signer != operator:
        raise ProtocolViolation("a committee change signed by another than the network's operator")
    return from_value(CommitteeChange, verify(_CHANGE_TAG, network, signed, limit=MAX_CHANGE_BYTES))


def change_id(change: bytes, network: NetworkId) -> bytes:
    """SHA-256 of what the operator signed, 32 bytes: what a handover names. Raises ProtocolViolation."""
    body = parse_signed(change, limit=MAX_CHANGE_BYTES).body
    return bytes.fromhex(statement_id(_CHANGE_TAG, network, body))


def parse_report(raw: bytes) -> Report:
    """Read the canonical form. Raises ProtocolViolation."""
    return from_value(Report, decode(raw, limit=MAX_REPORT_BYTES))


def report_hash(raw: bytes) -> bytes:
    """SHA-256 of a report's canonical form, 32 bytes."""
    return hashlib.sha256(raw).digest()


def sign_handover(change: bytes, report: bytes, network: NetworkId, member: PeerId, key: Sign) -> Handover:
    """A member's handover to a change (its id) with a report (its hash)."""
    signed = sign(_HANDOVER_TAG, network, member, key, (change, report))
    return Handover(change, report, member, signed.signature)


def check_handover(handover: Handover, network: NetworkId) -> None:
    """Raises ProtocolViolation unless the member signed it."""
    body = encode((handover.change, handover.report))
    check_signature(_HANDOVER_TAG, network, Signed(handover.member, body, handover.signature))
