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
from swarmd.protocols.ledger.entry import MAX_ENTRY_BYTES, SignedEntry, open_entry
from swarmd.protocols.ledger.votes import Certificate, EntryVote
from swarmd.protocols.records import from_value, to_value

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


def open_head(raw: bytes, network: NetworkId, committees: tuple[Committee, ...]) -> Head:
    """The head inside, once its owner's and its committee's signatures hold. Raises ProtocolViolation."""
    parts = from_value(CertifiedHead, decode(raw, limit=MAX_HEAD_BYTES))
    signed, vote = open_entry(parts.entry, network), parts.certificate.vote
    entry = signed.entry
    if not isinstance(vote, EntryVote) or (vote.account, vote.seq, vote.entry) != (entry.account, entry.seq, signed.id):
        raise ProtocolViolation("a certificate of another entry")
    if hashlib.sha256(parts.state).digest() != entry.state_hash:
        raise ProtocolViolation("a state that is not the one its entry names")
    check_certificate(parts.certificate, committees, network)
    return Head(signed, parse_state(parts.state), raw)
