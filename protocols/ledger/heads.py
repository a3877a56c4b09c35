"""Certified heads: an account's newest entry, the state after it, and the votes that made it final.

A head is all that anybody needs of an account: no entry before it, and no order among accounts.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from swarmd.protocols.canonical import decode, encode
from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.ids import NetworkId
from swarmd.protocols.ledger.account import MAX_STATE_BYTES, AccountState, parse_state
from swarmd.protocols.ledger.committee import Committee, check_certificate
from swarmd.protocols.ledger.entry import (
    MAX_ENTRY_BYTES,
    Entry,
    SignedEntry,
    check_owner,
    parse_entry,
    trust_entry,
)
from swarmd.protocols.ledger.votes import Certificate, EntryVote
from swarmd.protocols.records import from_value, to_value
from swarmd.protocols.signing import Signed

MAX_HEAD_BYTES = MAX_ENTRY_BYTES + MAX_STATE_BYTES + (1 << 14)


@dataclass(frozen=True, slots=True)
class CertifiedHead:
    """The wire form's parts."""

    entry: bytes
    """As its owner signed it."""
    state: bytes
    """Canonical; the entry holds its hash."""
    certificate: Certificate

    def to_bytes(self) -> bytes:
        """The wire form."""
        return encode(to_value(self))


@dataclass(frozen=True, slots=True)
class Head:
    """A head that was checked, or that we made."""

    signed: SignedEntry
    state: AccountState
    raw: bytes
    """The wire form."""


def state_hash(state: AccountState) -> bytes:
    """SHA-256 of the canonical state: what an entry holds of it."""
    return hashlib.sha256(state.to_bytes()).digest()


def make_head(signed: SignedEntry, state: AccountState, certificate: Certificate) -> Head:
    """A head of its parts."""
    return Head(signed, state, CertifiedHead(signed.raw, state.to_bytes(), certificate).to_bytes())


@dataclass(frozen=True, slots=True)
class UncheckedHead:
    """What says it is a certified head; no signature in it was checked."""

    entry: Entry
    statement: Signed
    """The entry's, by its owner."""
    parts: CertifiedHead
    raw: bytes


def parse_head(raw: bytes) -> UncheckedHead:
    """Read the wire form. Raises ProtocolViolation."""
    parts = from_value(CertifiedHead, decode(raw, limit=MAX_HEAD_BYTES))
    entry, statement = parse_entry(parts.entry)
    return UncheckedHead(entry, statement, parts, raw)


def check_head(head: UncheckedHead, network: NetworkId, committees: tuple[Committee, ...]) -> Head:
    """The head, once its owner's and its committee's signatures hold.

    Raises:
        ProtocolViolation: something in it does not hold.
        NotYet: it is of a committee newer than those known here.
    """
    certificate, vote = head.parts.certificate, head.parts.certificate.vote
    signed = check_owner(head.entry, head.statement, head.parts.entry, network)
    entry = (signed.entry.account, signed.entry.seq, signed.id)
    if not isinstance(vote, EntryVote) or (vote.account, vote.seq, vote.entry) != entry:
        raise ProtocolViolation("a certificate of another entry")
    check_certificate(certificate, committees, network)
    return Head(signed, _state_of(head), head.raw)


def trust_head(raw: bytes, network: NetworkId) -> Head:
    """A head from our own disk, which was checked before it went there. Raises ProtocolViolation if it is malformed."""
    head = parse_head(raw)
    return Head(trust_entry(head.entry, head.statement, head.parts.entry, network), _state_of(head), raw)


def open_head(raw: bytes, network: NetworkId, committees: tuple[Committee, ...]) -> Head:
    """The head inside, once its owner's and its committee's signatures hold. Raises as ``check_head``."""
    return check_head(parse_head(raw), network, committees)


def _state_of(head: UncheckedHead) -> AccountState:
    if hashlib.sha256(head.parts.state).digest() != head.entry.state_hash:
        raise ProtocolViolation("a state that is not the one its entry names")
    return parse_state(head.parts.state)
