"""Forgetting what nobody will ask about any more."""

from __future__ import annotations

import logging

import trio

from swarmd.ledger.keeper import Keeper
from swarmd.ledger.schemas import HISTORY_SECONDS
from swarmd.protocols.errors import StateError

_DAY = 86_400.0
_LOG = logging.getLogger(__name__)


async def prune_daily(keeper: Keeper) -> None:
    """Keep our history, receipts and invoices for HISTORY_SECONDS, for ever."""
    while True:
        before = keeper.deps.clock() - HISTORY_SECONDS
        try:
            await keeper.deps.self_store.prune(before)
            await keeper.deps.job_store.prune(before)
        except StateError as error:
            _LOG.warning("old records were not pruned: %s", error)
        await trio.sleep(_DAY)
