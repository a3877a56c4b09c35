"""Who has anything to do with credits. Keys are free, so what others sign in their names is worth no room."""

from __future__ import annotations

from swarmd.protocols.ids import PeerId
from swarmd.protocols.ledger.entry import Claim, Entry, parse_entry
from swarmd.protocols.ledger.proofs import Fork, Proof
from swarmd.protocols.ledger.replica import Replica


def may_write(replica: Replica, entry: Entry) -> bool:
    """Whether the entry's account has credits, or claims some from an account that has something for it."""
    if _is_known(replica, entry.account):
        return True
    payers = dict.fromkeys(op.payer for op in entry.ops if isinstance(op, Claim))
    return any(_can_pay(replica, payer, entry.account) for payer in payers)


def concerns(replica: Replica, culprit: PeerId, proof: Proof) -> bool:
    """Whether a proof is against somebody who has, or may soon have, an account; or who votes, or did."""
    if _is_known(replica, culprit) or any(culprit in committee.peers for committee in replica.committees):
        return True
    return isinstance(proof, Fork) and may_write(replica, parse_entry(proof.one)[0])


def _is_known(replica: Replica, account: PeerId) -> bool:
    return replica.head(account) is not None or replica.state(account).granted > 0


def _can_pay(replica: Replica, payer: PeerId, account: PeerId) -> bool:
    state = replica.state(payer)
    return state.sent_to(account) > 0 or any(lane.provider == account for lane in state.lanes)
