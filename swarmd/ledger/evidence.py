"""What members need to see beside an entry before they vote for it."""

from __future__ import annotations

from typing import TypeVar

from swarmd.protocols.canonical import encode
from swarmd.protocols.ledger.entry import Claim, Entry
from swarmd.protocols.ledger.messages import MAX_ANSWER_BYTES, MAX_EVIDENCE, Evidence
from swarmd.protocols.ledger.replica import Replica
from swarmd.protocols.records import to_value

T = TypeVar("T")

MAX_HEADS_BYTES = MAX_ANSWER_BYTES // 2
"""Of others' heads in one question; members that lag behind find the rest by comparing with their peers."""
MAX_GIVEN_BYTES = MAX_ANSWER_BYTES * 3 // 8
"""Of all other evidence: with the heads, the entry and its state, that is less than a message may have."""


def evidence_for(replica: Replica, entry: Entry, given: Evidence) -> Evidence:
    """What was given, and the newest heads of those that the entry claims from, and of its own account before it."""
    payers = dict.fromkeys(op.payer for op in entry.ops if isinstance(op, Claim))
    heads, size = list(given.heads), sum(map(len, given.heads))
    for account in (entry.account, *payers):
        head = replica.head(account)
        if head is not None and len(heads) < MAX_EVIDENCE and size + len(head.raw) <= MAX_HEADS_BYTES:
            heads.append(head.raw)
            size += len(head.raw)
    return Evidence(tuple(heads), given.claims, given.closes, given.maturities)


def joined(one: Evidence, other: Evidence) -> Evidence | None:
    """The evidence of both; None if that is more than one question may carry."""
    try:
        both = Evidence(
            _union(one.heads, other.heads),
            _union(one.claims, other.claims),
            _union(one.closes, other.closes),
            _union(one.maturities, other.maturities),
        )
    except ValueError:
        return None
    return both if len(encode(to_value(both))) <= MAX_GIVEN_BYTES else None


def _union(one: tuple[T, ...], other: tuple[T, ...]) -> tuple[T, ...]:
    return tuple(dict.fromkeys((*one, *other)))
