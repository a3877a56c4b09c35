"""The ledger of a node: every part of it, built, wired and run."""

from __future__ import annotations

import random
from functools import partial

import trio

from swarmd.ledger.asking import Asking
from swarmd.ledger.author import Author
from swarmd.ledger.claims import Claims
from swarmd.ledger.closing import Closing
from swarmd.ledger.collect import Collector
from swarmd.ledger.deps import LedgerDeps
from swarmd.ledger.desk import Desk
from swarmd.ledger.gossip import GossipDesk
from swarmd.ledger.greeting import greet
from swarmd.ledger.keeper import Keeper
from swarmd.ledger.laneclaims import LaneClaims
from swarmd.ledger.maturing import release_matured
from swarmd.ledger.meeting import Meeting
from swarmd.ledger.ownhead import OwnHead
from swarmd.ledger.pruning import prune_daily
from swarmd.ledger.reports import Reports
from swarmd.ledger.serving import Serving
from swarmd.ledger.succession import SuccessionDesk
from swarmd.ledger.sync import Sync
from swarmd.ledger.voter import Voter
from swarmd.ledger.wallet import LedgerParts, Wallet
from swarmd.net.rpc import RpcHandler
from swarmd.protocols.ledger.messages import (
    AskClaimVote,
    AskCloseVote,
    AskEntryVote,
    AskHandover,
    AskMaturityVote,
    GetBuckets,
    GetHeads,
    GetPending,
    GetProofs,
    GetReport,
    GetSuccessions,
    Hello,
)


async def serve_ledger(deps: LedgerDeps, *, task_status: trio.TaskStatus[Wallet] = trio.TASK_STATUS_IGNORED) -> None:
    """Keep this node's part of the ledger until cancelled; started with its wallet, once its own files are read.

    On a network without credits nothing runs, and the wallet is not enabled.

    Raises:
        StateError: a file cannot be used.
    """
    keeper = Keeper(deps)
    if not deps.genesis.committee:
        task_status.started(Wallet(keeper, None))
        return
    await keeper.load()
    voter, asking = Voter(keeper), Asking(keeper)
    collector = Collector(keeper, asking, voter.answer)
    author = Author(keeper, collector, OwnHead(keeper, asking))
    reports = Reports(keeper, asking)
    greet_all = partial(_greet_all, keeper, asking)
    succession = SuccessionDesk(keeper, voter, reports, collector, greet_all)
    closing = Closing(keeper, collector, author)
    claims = Claims(keeper, LaneClaims(keeper, asking, collector), author)
    meeting = Meeting(keeper, Sync(keeper, asking), collector, random.Random(deps.identity.peer))
    meeting.desk = Desk(keeper, _handlers(Serving(keeper, meeting.want, collector.nudge), voter, succession, reports))
    voter.behind = meeting.want
    await succession.load()
    await author.load()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeper.save)
        GossipDesk(keeper, meeting.want).subscribe()
        meeting.desk.serve()
        await nursery.start(succession.run)
        await nursery.start(closing.run)
        for service in (author.run, claims.run, claims.watch_lanes, meeting.run, voter.tidy):
            nursery.start_soon(service)
        nursery.start_soon(prune_daily, keeper)
        nursery.start_soon(release_matured, keeper, collector, author)
        parts = LedgerParts(
            asking=asking,
            collector=collector,
            author=author,
            claims=claims,
            closing=closing,
            reports=reports,
            succession=succession,
        )
        task_status.started(Wallet(keeper, parts))


async def _greet_all(keeper: Keeper, asking: Asking) -> None:
    await greet(keeper, asking, keeper.deps.peers())


def _handlers(
    serving: Serving, voter: Voter, succession: SuccessionDesk, reports: Reports
) -> dict[type[object], RpcHandler]:
    return {
        AskEntryVote: voter.answer,
        AskClaimVote: voter.answer,
        AskCloseVote: voter.answer,
        AskMaturityVote: voter.answer,
        AskHandover: succession.ask,
        GetReport: reports.serve,
        Hello: serving.hello,
        GetBuckets: serving.buckets,
        GetHeads: serving.heads,
        GetPending: serving.pending,
        GetProofs: serving.proofs,
        GetSuccessions: serving.successions,
    }
