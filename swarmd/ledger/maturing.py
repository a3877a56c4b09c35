"""Stake on its way back: when its cooldown is over, the committee certifies that, and we take it."""

from __future__ import annotations

import trio

from swarmd.ledger.author import Author
from swarmd.ledger.collect import Collector
from swarmd.ledger.keeper import Keeper
from swarmd.protocols.errors import SwarmdError
from swarmd.protocols.ledger.account import Unbonding
from swarmd.protocols.ledger.amounts import format_credits
from swarmd.protocols.ledger.entry import Release
from swarmd.protocols.ledger.messages import AskMaturityVote, Evidence
from swarmd.protocols.ledger.votes import MaturityVote, Vote, certificate_of


async def release_matured(keeper: Keeper, collector: Collector, author: Author) -> None:
    """Release what has matured, for ever."""
    while True:
        for item in keeper.replica.state(keeper.account).unbonding:
            if _over(keeper, item):
                try:
                    await _release(keeper, collector, author, item)
                except SwarmdError as error:
                    keeper.deps.events.warning(f"the stake of entry {item.seq} is not back yet: {error.message}")
        await trio.sleep(keeper.deps.settings.look_every)


def _over(keeper: Keeper, item: Unbonding) -> bool:
    seen = keeper.first_seen.get(keeper.account, {}).get(item.seq)
    return seen is not None and keeper.deps.clock() >= seen + keeper.deps.genesis.limits.cooldown_seconds


async def _release(keeper: Keeper, collector: Collector, author: Author, item: Unbonding) -> None:
    ask = AskMaturityVote(keeper.account, item.seq)

    def fits(vote: Vote) -> bool:
        return isinstance(vote, MaturityVote) and (vote.account, vote.seq) == (keeper.account, item.seq)

    ballots = await collector.certify(lambda: ask, fits)
    evidence = Evidence(maturities=(certificate_of(ballots.in_order()),))
    note = f"{format_credits(item.amount)} of stake came back"
    await author.write((Release(item.seq),), evidence, note, wait=True)
