"""The ledger's three files, open."""

from __future__ import annotations

from dataclasses import dataclass

import trio

from swarmd.ledger.jobsdb import JobStore, serve_job_store
from swarmd.ledger.ledgerdb import LedgerStore, serve_ledger_store
from swarmd.ledger.selfdb import SelfStore, serve_self_store
from swarmd.paths import Paths


@dataclass(frozen=True, slots=True)
class LedgerFiles:
    """They live as long as the nursery they were opened in."""

    own: SelfStore
    ledger: LedgerStore
    jobs: JobStore


async def open_ledger_files(paths: Paths, nursery: trio.Nursery) -> LedgerFiles:
    """Open all three; they are made where they are missing. Raises StateError."""
    return LedgerFiles(
        await nursery.start(serve_self_store, paths.self_db),
        await nursery.start(serve_ledger_store, paths.ledger_db),
        await nursery.start(serve_job_store, paths.jobs_db),
    )
