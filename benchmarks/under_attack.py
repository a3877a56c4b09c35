"""What one hostile peer costs the others: lookup and training step, idle and under attack.

    python benchmarks/under_attack.py [--seconds 20] [--rate 200]

A daemon trains a small model on one thread. An honest peer looks up its advert again and again, first in
peace, then while a hostile peer, in a process of its own at a lower priority, sends it ``rate`` messages a
second: garbage and bent messages to every protocol, garbage to every port. Times in milliseconds.
"""

from __future__ import annotations

import argparse
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import IO

import trio

from swarmd.protocols.ids import BlobHash, PeerId, RunId
from tests.e2e.daemons import Daemon, daemons, until
from tests.e2e.hostile_messages import Target
from tests.e2e.hostile_peer import STARTS, TLS_HELLO, Honest, HostilePeer, garbage_to_port, node, ports
from tests.train.specs import TEXT

JOB = """
name = "attacked"
steps = 100000
[model]
layers = 4
hidden = 64
heads = 4
feed_forward = 160
[data]
text = "text.txt"
[batch]
sequence_length = 64
micro_batch_size = 2
micro_batches = 4
[evaluation]
every = 100000
windows = 4
[checkpoint]
every = 100000
"""
MOST_AT_ONCE = 64
NICE = 10
SETTLE = 3.0
"""Seconds of the attack before its effect is measured."""


def main() -> None:
    """Run the measurement, or, as the child of one, the attack."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    parser.add_argument("--rate", type=float, default=200.0, help="hostile messages a second")
    parser.add_argument("--attack", nargs=4, metavar=("PEER", "RUN", "ADDRESS", "PORTS"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.attack:
        trio.run(attack, chosen.rate, *chosen.attack)
    else:
        trio.run(measure, chosen.seconds, chosen.rate)


async def attack(rate: float, peer: str, run: str, address: str, doors: str) -> None:
    """Send hostile messages at a steady rate until killed."""
    chance, target = random.Random(7), Target(PeerId(peer), RunId(run), BlobHash("1" * 64))
    ports, number = tuple(map(int, doors.split(","))), 2
    while True:  # with a new identity whenever the last one is banned
        async with node(number, listen=()) as (identity, transport, _):
            hostile = HostilePeer(transport, identity, target, address, chance)
            await harass(hostile, ports, rate, chance)
        number += 1


async def harass(hostile: HostilePeer, ports: tuple[int, ...], rate: float, chance: random.Random) -> None:
    """Send hostile messages at a steady rate until thrown out."""
    async with trio.open_nursery() as nursery:
        protocols = await hostile.protocols()
        due = trio.current_time()
        while hostile.connected:
            due += 1 / rate
            await trio.sleep_until(due)
            if len(nursery.child_tasks) > MOST_AT_ONCE:
                continue
            print(flush=True)  # one line a message: the other end counts them
            if chance.random() < 0.1:
                nursery.start_soon(garbage_to_port, chance.choice(ports), chance.choice((*STARTS, TLS_HELLO)), chance)
            else:
                nursery.start_soon(hostile.talk, chance.choice(protocols))


async def measure(seconds: float, rate: float) -> None:
    """One daemon, one job, one honest peer; then the attacker too."""
    with tempfile.TemporaryDirectory() as name, daemons(Path(name)) as start:
        folder = Path(name)
        (folder / "text.txt").write_text(TEXT * 4)
        (folder / "job.toml").write_text(JOB)
        daemon = start("victim")
        run = daemon.ask("submit", path=str(folder / "job.toml"))["run"]
        until(lambda: daemon.ask("job", run=run)["step"] > 5, 60)
        async with node(1) as (_, transport, records):
            honest = Honest(daemon, transport, records)
            await honest.join()
            calm = await figures(daemon, honest, run, seconds)
            with tempfile.TemporaryFile() as sent, attacker(daemon, run, rate, sent):
                await trio.sleep(SETTLE)
                before, lines = counted(daemon), os.fstat(sent.fileno()).st_size
                hostile = await figures(daemon, honest, run, seconds)
                after, lines = counted(daemon), os.fstat(sent.fileno()).st_size - lines
        report(calm, hostile, {each: after[each] - before.get(each, 0) for each in after})
        print(f"hostile messages: {lines}, {lines / seconds:.0f} a second")


@contextmanager
def attacker(daemon: Daemon, run: str, rate: float, sent: IO[bytes]) -> Iterator[None]:
    """The attacker's process, for the length of the block."""
    address, doors = daemon.addresses[0].partition("/p2p/")[0], ",".join(map(str, ports(daemon)))
    command = ["nice", "-n", str(NICE), sys.executable, __file__, "--rate", str(rate)]
    process = subprocess.Popen([*command, "--attack", daemon.peer, run, address, doors], stdout=sent)
    try:
        yield
        assert process.poll() is None, "the attacker ended before the measurement did"
    finally:
        process.kill()
        process.wait()


def counted(daemon: Daemon) -> dict[str, int]:
    """The daemon's counters."""
    found: dict[str, int] = daemon.ask("status")["counters"]
    return found


async def figures(daemon: Daemon, honest: Honest, run: str, seconds: float) -> dict[str, list[float]]:
    """Milliseconds of every lookup and every step within the next ``seconds``."""
    began, looks = time.time(), list[float]()
    while time.time() - began < seconds:
        looks.append(await honest.look_up())
        await trio.sleep(0.05)
    with closing(sqlite3.connect(f"file:{daemon.paths.database}?mode=ro", uri=True)) as db:
        rows = db.execute("SELECT time FROM metrics WHERE run = ? AND time > ? ORDER BY step", (run, began)).fetchall()
    times = [row[0] for row in rows]
    steps = [later - earlier for earlier, later in pairwise(times)]
    return {"lookup": [each * 1e3 for each in looks], "step": [each * 1e3 for each in steps]}


def report(calm: dict[str, list[float]], hostile: dict[str, list[float]], counters: dict[str, int]) -> None:
    """Print medians and 95th percentiles, and how many times the idle one each has become."""
    print(f"{'':14}{'idle':>10}{'attacked':>10}{'ratio':>8}{'samples':>14}")
    for what in ("lookup", "step"):
        for name, share in (("median", 0.5), ("p95", 0.95)):
            idle, attacked = quantile(calm[what], share), quantile(hostile[what], share)
            samples = f"{len(calm[what])}/{len(hostile[what])}"
            print(f"{what + ' ' + name:14}{idle:10.2f}{attacked:10.2f}{attacked / idle:8.2f}{samples:>14}")
    print("counted meanwhile:", ", ".join(f"{name} {value}" for name, value in counters.items() if value))


def quantile(values: list[float], share: float) -> float:
    """The value that this share of the values does not exceed."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


if __name__ == "__main__":
    main()
