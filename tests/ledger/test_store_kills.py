"""A node that is killed at any moment keeps all it was told is kept, and never contradicts itself afterwards."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path

import pytest

from swarmd.ledger.jobsdb import serve_job_store
from tests.ledger.killed_store import LANES_AT_ONCE
from tests.ledger.statements import ANNA, RUN, self_store, served

ROOT = Path(__file__).parent.parent.parent
KILLS = 30


@contextmanager
def writer(kind, path):
    command = [sys.executable, "-m", "tests.ledger.killed_store", kind, str(path)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        yield process
        process.stdin.close()


def killed_at_random(process, chance):
    """What one child said was kept before it was killed, as lists of words."""
    process.stdin.write(f"{chance.randrange(1 << 30)}\n")
    child = int(process.stdout.readline().split()[1])
    said, enough = [], chance.randrange(60)
    if enough == 0:
        os.kill(child, signal.SIGKILL)
    while (line := process.stdout.readline()) != "dead\n":
        assert line, "the parent of the killed processes ended"
        said.append(line.split())
        if len(said) == enough:
            os.kill(child, signal.SIGKILL)
    assert len(said) >= enough, "a child ended before it was killed"
    return said


def run(kind, path):
    """Everything that was said in ``KILLS`` lives."""
    chance = random.Random(7)
    with writer(kind, path) as process:
        return [words for _ in range(KILLS) for words in killed_at_random(process, chance)]


@pytest.mark.slow
async def test_no_number_is_signed_twice_and_no_vote_contradicts_another(tmp_path):
    path = tmp_path / "self.db"
    told = run("self", path)
    entries, votes, closed, claims = {}, {}, {}, defaultdict(int)
    for kind, number, value in told:
        match kind:
            case "entry":
                assert entries.setdefault(int(number), value) == value
            case "EntryVote":
                assert votes.setdefault(int(number), value) == value
            case "CloseVote":
                assert closed.setdefault(int(number), int(value)) == int(value)
            case "ClaimVote":
                claims[int(number)] = max(claims[int(number)], int(value))
    assert min(map(len, (entries, votes, closed, claims))) > 20
    assert all(claims[lane] <= highest for lane, highest in closed.items())
    async with self_store(path) as store:
        for seq, entry in entries.items():
            assert (await store.entry(seq)).id == entry
        for seq, entry in votes.items():
            assert (await store.entry_vote(ANNA.peer, seq)).vote.entry == entry
        for lane, highest in claims.items():
            assert (await store.lane_mark(ANNA.peer, lane)).highest >= highest


@pytest.mark.slow
async def test_no_voucher_is_lost_and_each_has_all_its_receipts_and_lines(tmp_path):
    path = tmp_path / "jobs.db"
    told = run("jobs", path)
    async with served(serve_job_store, path) as store:
        kept = 0
        for lane in range(1, LANES_AT_ONCE + 1):
            newest = await store.lane(ANNA.peer, lane)
            assert newest.number >= max(int(number) for _, of, number in told if int(of) == lane)
            for number in range(1, newest.number + 1):
                receipts = await store.receipts(ANNA.peer, lane, number)
                assert receipts == tuple(b"%d %d" % (number, n) for n in range(3))
            kept += newest.number
        assert len(await store.work_lines(RUN)) == 2 * kept
