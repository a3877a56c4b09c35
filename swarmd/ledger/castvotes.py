"""The votes in ``self.db``: what was voted once is what stands, and nothing that contradicts it is ever kept.

A vote for the same thing in a later committee takes the place of the earlier one. Every function takes the open
transaction it runs in.
"""

from __future__ import annotations

import sqlite3

from swarmd.ledger import duties
from swarmd.protocols.canonical import decode, encode
from swarmd.protocols.errors import NotYet, Refused
from swarmd.protocols.ids import PeerId
from swarmd.protocols.ledger.proofs import contradict
from swarmd.protocols.ledger.votes import EntryVote, SignedVote
from swarmd.protocols.records import from_value, to_value

_MAX_VOTE_BYTES = 1024


def cast_entry(db: sqlite3.Connection, signed: SignedVote, vote: EntryVote, entry: bytes) -> SignedVote:
    """Keep a vote for an entry, unless there is one for another entry of that number: that one stands.

    Raises Refused for a number whose votes were forgotten, or for which another entry was reported to us, whatever we
    voted ourselves: that other one may be certified. Raises NotYet below the newest entry reported.
    """
    duties.check_voting(db, vote)
    earlier = entry_vote(db, vote.account, vote.seq)
    if earlier is not None and outlives(earlier, signed):
        return earlier
    if vote.seq < _floor(db, vote.account):
        raise Refused(f"entry {vote.seq} of {vote.account} was certified long ago")
    bound = duties.inherited_entry(db, vote.account, vote.seq)
    if bound not in (None, vote.entry):
        raise Refused(f"another entry {vote.seq} of {vote.account} was voted for in a former committee")
    if vote.seq < duties.inherited_newest(db, vote.account):
        raise NotYet(f"a later entry of {vote.account} than {vote.seq} was reported; it waits for what is certified")
    row = (vote.account, vote.seq, pack(signed), entry)
    db.execute("INSERT OR REPLACE INTO entry_votes (account, seq, vote, entry) VALUES (?, ?, ?, ?)", row)
    return signed


def entry_vote(db: sqlite3.Connection, account: PeerId, seq: int) -> SignedVote | None:
    """The vote for an account's entry of that number."""
    row = db.execute("SELECT vote FROM entry_votes WHERE account = ? AND seq = ?", (account, seq)).fetchone()
    return None if row is None else unpack(row[0])


def voted_entry(db: sqlite3.Connection, account: PeerId, seq: int) -> bytes | None:
    """The signed entry that the vote is for."""
    row = db.execute("SELECT entry FROM entry_votes WHERE account = ? AND seq = ?", (account, seq)).fetchone()
    return None if row is None else bytes(row[0])


def has_below(db: sqlite3.Connection, account: PeerId, seq: int) -> bool:
    """Whether anything is kept on entries of an account below ``seq``."""
    sql = (
        "SELECT EXISTS (SELECT 1 FROM entry_votes WHERE account = ?1 AND seq < ?2) "
        "OR EXISTS (SELECT 1 FROM inherited_entries WHERE account = ?1 AND seq < ?2)"
    )
    return bool(db.execute(sql, (account, seq)).fetchone()[0])


def forget(db: sqlite3.Connection, account: PeerId, below: int) -> None:
    """Drop what was voted for entries below this number, and never vote for one of them again."""
    db.execute("DELETE FROM entry_votes WHERE account = ? AND seq < ?", (account, below))
    db.execute("DELETE FROM inherited_entries WHERE account = ? AND seq < ?", (account, below))
    sql = "INSERT INTO floors VALUES (?, ?) ON CONFLICT (account) DO UPDATE SET seq = max(seq, excluded.seq)"
    db.execute(sql, (account, below))


def outlives(earlier: SignedVote, later: SignedVote) -> bool:
    """Whether the earlier vote stands: the later one contradicts it, or says the same in no later committee."""
    return contradict(earlier, later) or earlier.vote.committee >= later.vote.committee


def pack(vote: SignedVote) -> bytes:
    """As it is kept."""
    return encode(to_value(vote))


def unpack(raw: bytes) -> SignedVote:
    """As it was cast."""
    return from_value(SignedVote, decode(raw, limit=_MAX_VOTE_BYTES))


def _floor(db: sqlite3.Connection, account: PeerId) -> int:
    row = db.execute("SELECT seq FROM floors WHERE account = ?", (account,)).fetchone()
    return 0 if row is None else int(row[0])
