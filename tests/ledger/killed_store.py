"""A process whose children write to a store as fast as they can, for the tests that kill them.

``python -m tests.ledger.killed_store KIND PATH``: for each line on its input, a fresh child prints its process id
and then, line by line, what it was told is on disk; when it is dead, ``dead``.
"""

from __future__ import annotations

import os
import random
import sys
import traceback
from dataclasses import replace
from pathlib import Path

import trio

from swarmd.ledger.jobsdb import serve_job_store
from swarmd.protocols.errors import Refused
from swarmd.protocols.ids import EntryId
from swarmd.protocols.ledger.entry import FIRST_PREV, Entry, Pay, SignedEntry, sign_entry
from tests.ledger.statements import ANNA, BERT, claim_vote, close_vote, entry_vote, self_store, served
from tests.ledger.test_job_store import LANE, LINE
from tests.protocols.keys import NETWORK

LANES = 200
SEQS = 200
LANES_AT_ONCE = 3


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def signed(seq: int, prev: EntryId, amount: int) -> SignedEntry:
    made = Entry(account=ANNA.peer, seq=seq, prev=prev, time=0, ops=(Pay(BERT.peer, amount),), state_hash=bytes(32))
    return sign_entry(made, NETWORK, ANNA.sign)


async def sign_entries(store, chance):
    """Each child signs other entries: a second one for a number would show."""
    while True:
        newest = await store.newest()
        seq, prev = (newest.seq + 1, newest.id) if newest else (1, FIRST_PREV)
        entry = signed(seq, prev, chance.randint(1, 1 << 60))
        await store.add_entry(entry, b"state", b"", "", 0.0)
        say("entry", seq, entry.id)


async def vote(store, chance):
    while True:
        try:
            stands = await cast(store, chance)
        except Refused:
            continue
        kind, parts = type(stands.vote).__name__, stands.vote
        say(kind, *(getattr(parts, name) for name in parts.__slots__ if name not in ("committee", "account", "payer")))


async def cast(store, chance):
    match chance.randrange(3):
        case 0:
            return await store.cast_entry(entry_vote(chance.randint(1, SEQS), chance.randint(1, 9)), b"entry")
        case 1:
            return await store.cast_claim(claim_vote(chance.randint(1, LANES), chance.randint(1, 99)), b"voucher")
        case _:
            return await store.cast_close(close_vote(chance.randint(1, LANES), chance.randint(0, 99)), b"")


async def write_self(path, chance):
    async with self_store(path) as store, trio.open_nursery() as nursery:
        nursery.start_soon(sign_entries, store, chance)
        for _ in range(3):
            nursery.start_soon(vote, store, chance)


async def keep_vouchers(store, lane):
    known = await store.lane(ANNA.peer, lane)
    number = known.number
    while True:
        number += 1
        receipts = tuple(b"%d %d" % (number, n) for n in range(3))
        lines = (replace(LINE, voucher=number),) * 2
        await store.keep_voucher(ANNA.peer, lane, b"%d" % number, number, number, receipts, lines)
        say("voucher", lane, number)


async def write_jobs(path, chance):
    del chance
    async with served(serve_job_store, path) as store, trio.open_nursery() as nursery:
        for lane in range(1, LANES_AT_ONCE + 1):
            if await store.lane(ANNA.peer, lane) is None:
                await store.save_lane(replace(LANE, lane=lane))
            nursery.start_soon(keep_vouchers, store, lane)


def write(kind, path, seed):
    say("child", os.getpid())
    try:
        trio.run({"self": write_self, "jobs": write_jobs}[kind], path, random.Random(seed))
    finally:
        traceback.print_exc()
        os._exit(1)


def main() -> None:
    kind, path = sys.argv[1], Path(sys.argv[2])
    for seed in sys.stdin:
        child = os.fork()
        if child == 0:
            write(kind, path, int(seed))
        os.waitpid(child, 0)
        say("dead")


if __name__ == "__main__":
    main()
