"""Which members of the committee answer now, and whether they know what we know."""

from __future__ import annotations

import trio

from swarmd.ledger.deps import LedgerDeps
from swarmd.net.rpc import call
from swarmd.protocols.errors import RemoteError
from swarmd.protocols.ids import PeerId
from swarmd.protocols.ledger.messages import LEDGER_PROTOCOL, Hello, Summary
from swarmd.protocols.ledger.replica import Replica

ANSWER_SECONDS = 3.0


async def who_answers(
    deps: LedgerDeps, replica: Replica, members: tuple[PeerId, ...] | None = None
) -> dict[PeerId, bool]:
    """Those that answer within ANSWER_SECONDS, ourselves among them: True where all heads are the same.

    ``members``: of whom; None: of the committee that votes now.
    """
    answers: dict[PeerId, bool] = {}
    us = deps.identity.peer
    async with trio.open_nursery() as nursery:
        for member in replica.committee.peers if members is None else members:
            if member == us:
                answers[us] = True
            else:
                nursery.start_soon(_ask, deps, replica, member, answers)
    return answers


async def _ask(deps: LedgerDeps, replica: Replica, member: PeerId, answers: dict[PeerId, bool]) -> None:
    hello = Hello(replica.committee.number, len(replica), replica.buckets.root(), replica.proofs_hash())
    with trio.move_on_after(ANSWER_SECONDS):
        if member not in deps.peers():
            await deps.dial(member)
        try:
            summary = await call(deps.transport, member, LEDGER_PROTOCOL, hello, Summary, timeout=ANSWER_SECONDS)
        except RemoteError:
            return
        answers[member] = summary.hello.root == hello.root
