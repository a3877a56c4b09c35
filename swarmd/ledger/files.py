"""The ledger's three files, open."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import trio

from swarmd.ledger.jobsdb import JobStore, serve_job_store
from swarmd.ledger.ledgerdb import LedgerStore, serve_ledger_store
from swarmd.ledger.ownership import Owner, hold_to
from swarmd.ledger.schemas import JOBS_SCHEMA, LEDGER_SCHEMA, SELF_SCHEMA
from swarmd.ledger.selfdb import SelfStore, serve_self_store
from swarmd.paths import Paths
from swarmd.sqlitefile import Schema, explained, open_database


@dataclass(frozen=True, slots=True)
class LedgerFiles:
    """They live as long as the nursery they were opened in."""

    own: SelfStore
    ledger: LedgerStore
    jobs: JobStore


async def open_ledger_files(paths: Paths, nursery: trio.Nursery, owner: Owner, *, mark: bool) -> LedgerFiles:
    """Open all three; they are made where they are missing, and with ``mark`` become ``owner``'s.

    Raises StateError for one that cannot be used, or is of another account or network.
    """
    for place, schema in ((paths.self_db, SELF_SCHEMA), (paths.ledger_db, LEDGER_SCHEMA), (paths.jobs_db, JOBS_SCHEMA)):
        await trio.to_thread.run_sync(_check_owner, place, schema, owner, mark)
    return LedgerFiles(
        await nursery.start(serve_self_store, paths.self_db),
        await nursery.start(serve_ledger_store, paths.ledger_db),
        await nursery.start(serve_job_store, paths.jobs_db),
    )


def _check_owner(place: Path, schema: Schema, owner: Owner, mark: bool) -> None:
    with closing(open_database(place, schema)) as db, explained(place, schema.cure):
        hold_to(db, place, owner, mark=mark)
