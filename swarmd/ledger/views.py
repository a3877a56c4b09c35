"""The account and the ledger as people see them: pure functions from what the wallet holds to control views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from swarmd.ledger.opwords import op_views
from swarmd.ledger.selfdb import OwnEntry
from swarmd.ledger.standing import PendingEntry, Standing
from swarmd.protocols.control_credits import (
    FINAL,
    PENDING,
    LedgerView,
    MemberView,
    PendingView,
    SupplyView,
    UnbondingView,
    WalletView,
)
from swarmd.protocols.control_entries import HistoryLine, OpView
from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.ids import PeerId
from swarmd.protocols.ledger.account import AccountState, born, parse_state
from swarmd.protocols.ledger.apply import apply_ops
from swarmd.protocols.ledger.entry import Claim, Pay, Stake, Unstake, open_entry
from swarmd.protocols.ledger.genesis import Genesis
from swarmd.protocols.ledger.replica import Replica

_ASKED = (Pay, Stake, Unstake)


def wallet_view(
    account: PeerId, replica: Replica, standing: Standing, first_seen: Mapping[int, float], target: int
) -> WalletView:
    """Our account. ``first_seen``: when this node learned of our unstakings, by entry number."""
    genesis = replica.genesis
    queued, after = _queued(standing, replica.state(account))
    return WalletView(
        enabled=True,
        account=account,
        network=replica.network,
        network_name=genesis.name,
        seq=standing.seq,
        balance=standing.balance,
        balance_after=after.balance,
        pending_in=standing.pending_in,
        locked=standing.locked,
        bonded=standing.bonded,
        unbonding=tuple(
            UnbondingView(entry=item.seq, amount=item.amount, due=_due(first_seen.get(item.seq), genesis))
            for item in replica.state(account).unbonding
        ),
        frozen=standing.frozen,
        burned=standing.burned,
        pending=pending_view(standing.pending, replica.state(account)),
        waiting=standing.waiting,
        queued=queued,
        obstacle=standing.obstacle,
        target_stake=target,
    )


def pending_view(pending: PendingEntry | None, before: AccountState) -> PendingView | None:
    """Our entry that is not certified yet. ``before``: our certified state."""
    if pending is None:
        return None
    return PendingView(
        entry=pending.id,
        seq=pending.seq,
        since=pending.since,
        ops=op_views(pending.ops, before, pending.after),
        balance=pending.after.balance,
        weight=pending.weight,
        quorum=pending.quorum,
        why=pending.words,
        reasons={str(member): reason for member, reason in pending.reasons.items()},
    )


def history_lines(entries: Sequence[OwnEntry], replica: Replica) -> tuple[HistoryLine, ...]:
    """Entries that follow one another, newest first. The last one tells its change only if it is the chain's first."""
    states = [parse_state(own.state) for own in entries]
    befores = [*states[1:], state_before(entries[-1], None, replica)] if entries else []
    return tuple(map(history_line, entries, befores, states, [replica] * len(states)))


def state_before(own: OwnEntry, previous: OwnEntry | None, replica: Replica) -> AccountState | None:
    """What an entry began from; None if that is no longer kept."""
    if own.seq == 1:
        return born(replica.genesis, open_entry(own.raw, replica.network).entry.account)
    return parse_state(previous.state) if previous is not None and previous.seq == own.seq - 1 else None


def ledger_view(replica: Replica, us: PeerId, answers: Mapping[PeerId, bool]) -> LedgerView:
    """The ledger as this node knows it. ``answers``: members that answered, and whether they know what we know."""
    committee, supply = replica.committee, replica.supply()
    members = tuple(
        MemberView(
            peer=member.peer,
            weight=member.weight,
            us=member.peer == us,
            answers=member.peer in answers,
            in_step=answers.get(member.peer),
            frozen=replica.frozen(member.peer),
        )
        for member in committee.members
    )
    return LedgerView(
        enabled=True,
        network=replica.network,
        network_name=replica.genesis.name,
        committee=committee.number,
        members=members,
        weight=committee.weight,
        quorum=committee.quorum,
        answering=sum(member.weight for member in members if member.answers),
        accounts=len(replica),
        proofs=tuple(culprit for culprit, _ in replica.proofs()),
        root=replica.buckets.root().hex(),
        supply=SupplyView(
            granted=supply.granted,
            balances=supply.balances,
            locked=supply.locked,
            bonded=supply.bonded,
            unbonding=supply.unbonding,
            burned=supply.burned,
            in_flight=supply.in_flight,
            total=supply.total,
        ),
    )


def unsigned_words(standing: Standing, state: AccountState) -> tuple[str, ...]:
    """What the owner asked for that is in no entry yet, and is lost when the daemon ends. The rest is done again."""
    asked = [ops for ops in standing.queued if any(isinstance(op, _ASKED) for op in ops)]
    own = [ops for ops in asked if not any(isinstance(op, Claim) for op in ops)]
    return tuple(view.words for ops in own for view in op_views(ops, None, state))


def _queued(standing: Standing, state: AccountState) -> tuple[tuple[OpView, ...], AccountState]:
    """What waits, and our account after all of it; what could not be done by then changes nothing."""
    seq, views = standing.seq + 1, list[OpView]()
    if standing.pending is not None:
        state = standing.pending.after
    for number, ops in enumerate(standing.queued, seq + 1):
        try:
            after = apply_ops(state, number, ops)
        except ProtocolViolation:
            views += op_views(ops, None, state)
        else:
            views += op_views(ops, state, after)
            state = after
    return tuple(views), state


def _due(seen: float | None, genesis: Genesis) -> float | None:
    return None if seen is None else seen + genesis.limits.cooldown_seconds


def history_line(own: OwnEntry, before: AccountState | None, after: AccountState, replica: Replica) -> HistoryLine:
    """One entry of our chain, from the states on its two sides."""
    return HistoryLine(
        seq=own.seq,
        entry=own.id,
        time=own.time,
        state=FINAL if own.head else PENDING,
        ops=op_views(open_entry(own.raw, replica.network).entry.ops, before, after),
        change=None if before is None else after.balance - before.balance,
        balance=after.balance,
        note=own.note,
    )
