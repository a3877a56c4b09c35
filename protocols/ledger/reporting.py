"""What a member that hands over says of entries: enough that nobody after it certifies another in their place.

Votes for what was certified since are forgotten, so the certified entry itself stands for all before it. It goes
without its certificate: its owner signed it, and an honest owner signs only on top of what is certified.
"""

from __future__ import annotations

from collections.abc import Iterable

from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.ledger.entry import SignedEntry, check_owner, parse_entry
from swarmd.protocols.ledger.handover import Report
from swarmd.protocols.ledger.replica import Replica


def whole_report(replica: Replica, voted: Report) -> Report:
    """What ``voted`` says, which a member voted for or took in, and each account's newest certified entry."""
    heads = (replica.head(account) for account in replica.accounts())
    entries = [head.signed.raw for head in heads if head is not None]
    entries += [signed.raw for signed in above_certified(replica, voted.entries)]
    return Report(tuple(dict.fromkeys(entries)), voted.lanes)


def above_certified(replica: Replica, raws: Iterable[bytes]) -> tuple[SignedEntry, ...]:
    """Those that their owners signed, above what is certified here; each once. The rest is left out."""
    found = (_above(replica, raw) for raw in dict.fromkeys(raws))
    return tuple(signed for signed in found if signed is not None)


def _above(replica: Replica, raw: bytes) -> SignedEntry | None:
    try:
        entry, statement = parse_entry(raw)
        if entry.seq <= replica.seq(entry.account):
            return None
        return check_owner(entry, statement, raw, replica.network)
    except ProtocolViolation:
        return None
