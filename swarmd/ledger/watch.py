"""An eye on members' votes: two that contradict each other are a proof against whoever gave them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from itertools import product
from typing import TypeAlias

from swarmd.protocols.ids import PeerId
from swarmd.protocols.ledger.heads import Head, parse_head
from swarmd.protocols.ledger.proofs import DoubleVote, Fork, Proof, proves_guilt
from swarmd.protocols.ledger.votes import ClaimVote, CloseVote, SignedVote

MAX_WATCHED = 4096
_Key: TypeAlias = tuple[PeerId, int, PeerId, int, bool]
"""Member, committee, payer, lane, and whether it is a closing."""


class VoteWatch:
    """Remembers the newest votes on lanes; give it only votes whose signatures hold."""

    def __init__(self) -> None:
        self._seen: OrderedDict[_Key, SignedVote] = OrderedDict()

    def note(self, votes: Iterable[SignedVote]) -> tuple[Proof, ...]:
        """Proofs that these votes make with those seen before."""
        return tuple(proof for vote in votes for proof in self._note(vote))

    def _note(self, signed: SignedVote) -> tuple[Proof, ...]:
        vote = signed.vote
        if not isinstance(vote, (ClaimVote, CloseVote)):
            return ()
        lane = signed.member, vote.committee, vote.payer, vote.lane
        known = [seen for closes in (True, False) if (seen := self._seen.get((*lane, closes))) is not None]
        self._remember((*lane, isinstance(vote, CloseVote)), signed)
        return tuple(DoubleVote(seen, signed) for seen in known if proves_guilt(seen, signed))

    def _remember(self, key: _Key, signed: SignedVote) -> None:
        before = self._seen.pop(key, None)
        self._seen[key] = max(before, signed, key=_claimed) if before is not None else signed
        if len(self._seen) > MAX_WATCHED:
            self._seen.popitem(last=False)


def rival_proofs(one: Head, other: Head) -> tuple[Proof, ...]:
    """What two certified heads of one account and number prove: of their owner, and of members that voted for both."""
    twice = [DoubleVote(a, b) for a, b in product(_votes(one), _votes(other)) if proves_guilt(a, b)]
    return (Fork(one.signed.raw, other.signed.raw), *twice)


def _votes(head: Head) -> tuple[SignedVote, ...]:
    return parse_head(head.raw).parts.certificate.votes


def _claimed(signed: SignedVote) -> int:
    return signed.vote.total if isinstance(signed.vote, ClaimVote) else 0
