"""Nodes that are killed while they train: does the run finish by itself, with the bits of the undisturbed one?

    python -m benchmarks.churn [--json] [--short] [--kills N] [--seed N] [--nodes N] [--replicas N] [--how kill|freeze]

Each run is a job of about ten seconds on real daemons on loopback, and one of them gets SIGKILL, or SIGSTOP. Who and
where is drawn from the seed: a place of the plan at a named point (``swarmd.train.faults``), the bootstrap node, which
the others were started with, or the coordinator. Whoever was killed comes back after five seconds. A run counts as good
when it ends as ``done`` without a word from anybody, with the weights of the plain loop. The score says for each which
rung of recovery was used, what it cost, and for how long no step was newly committed (``pause_s``: noticing it,
recovering, doing again).
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

if __name__ == "__main__":  # by path, the folder above is not where Python looks
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from swarmd.cli.client import call
from swarmd.cli.demo.children import local_run
from swarmd.cli.demo.swarm import Home, LocalSwarm, local_swarm
from swarmd.protocols.errors import SwarmdError
from swarmd.train.faults import POINTS

BACK_AFTER = 5.0
"""Seconds."""
BOOTSTRAP, COORDINATOR = 0, 1
SIGNALS = {"kill": signal.SIGKILL, "freeze": signal.SIGSTOP}
PATIENCE_SECONDS = 180.0
STEPS = 160
JOB = """
name = "churn"
steps = {steps}
[model]
layers = 4
hidden = 64
heads = 4
kv_heads = 2
feed_forward = 176
[data]
embedded = true
[batch]
sequence_length = 64
micro_batch_size = 1
micro_batches = 4
[evaluation]
every = 20
windows = 8
[checkpoint]
every = 10
[run]
min_stages = {stages}
max_stages = {stages}
replicas = {replicas}
"""


@dataclass(frozen=True, slots=True)
class Kill:
    """What is to happen in a run."""

    role: str
    """``place 0``, ``place 1``, ..., ``bootstrap`` or ``coordinator``."""
    how: str
    """``kill`` or ``freeze``."""
    step: int
    point: str
    """Named for a place; for the others the step alone counts."""

    @property
    def fault(self) -> str:
        """The flag of every daemon; empty where the blow comes from outside."""
        place = self.role.removeprefix("place ")
        return f"{self.how}:{place}:{self.step}:{self.point}" if place != self.role else ""


def schedule(seed: int, kills: int, places: int, how: str) -> Iterator[Kill]:
    """So many, every role in turn, the rest drawn from the seed."""
    chance = random.Random(seed)
    roles = [*(f"place {place}" for place in range(places)), "bootstrap", "coordinator"]
    for number in range(kills):
        point = chance.choice(POINTS)
        step = chance.randrange(10, STEPS - 5)
        yield Kill(roles[number % len(roles)], how, step - step % 10 if point == "checkpoint" else step, point)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a run with a kill ended."""

    kill: Kill
    good: bool
    state: str
    reason: str
    seconds: float
    terms: int
    pause_s: float
    recoveries: list[dict[str, Any]]


def run_with(kill: Kill, job: Path, reference: str, args: argparse.Namespace, folder: Path) -> Outcome:
    """One run, one kill."""
    homes = [Home(fault=kill.fault)] * args.nodes
    with local_swarm(folder, args.nodes, homes=homes) as swarm:
        began = time.monotonic()
        run = call(swarm.nodes[COORDINATOR].paths, "submit", path=str(job), wait=300.0)["run"]
        view, pause = watch(swarm, run, kill)
        good = view["state"] == "done" and view["weights_sha256"] == reference
        return Outcome(
            kill=kill, good=good, state=view["state"], reason=view["reason"], terms=view["term"],
            seconds=round(time.monotonic() - began, 1), pause_s=round(pause, 2), recoveries=view["recoveries"],
        )  # fmt: skip


def watch(swarm: LocalSwarm, run: str, kill: Kill) -> tuple[dict[str, Any], float]:
    """Follow a run to its end, strike where that is ours to do, and start again who is gone for long enough.

    Its last view, and the longest time without a newly committed step.
    """
    gone: dict[int, float] = {}
    victim = {"bootstrap": BOOTSTRAP, "coordinator": COORDINATOR}.get(kill.role)
    view: dict[str, Any] = {"state": "silent", "reason": "no word", "term": 0, "recoveries": [], "step": 0}
    deadline = time.monotonic() + PATIENCE_SECONDS
    reached, since, pause = 0, 0.0, 0.0
    while time.monotonic() < deadline and view["state"] not in ("done", "failed", "stopped"):
        with suppress(SwarmdError):
            view = call(swarm.nodes[COORDINATOR].paths, "job", run=run, wait=2.0)
        if view["step"] > reached:
            pause = max(pause, time.monotonic() - since) if reached else 0.0
            reached, since = view["step"], time.monotonic()
        if victim is not None and view["step"] >= kill.step:
            swarm.nodes[victim].process.send_signal(SIGNALS[kill.how])
            victim = None
        bring_back(swarm, gone)
        time.sleep(0.02)
    return view, pause


def bring_back(swarm: LocalSwarm, gone: dict[int, float]) -> None:
    """Whoever is dead for five seconds is started again."""
    for at, node in enumerate(swarm.nodes):
        if node.process.poll() is not None and time.monotonic() - gone.setdefault(at, time.monotonic()) >= BACK_AFTER:
            del gone[at]
            swarm.restart(at)


def summary(args: argparse.Namespace, outcomes: list[Outcome]) -> dict[str, object]:
    """The score."""
    rungs: dict[str, list[float]] = {}
    pauses = [outcome.pause_s for outcome in outcomes]
    for outcome in outcomes:
        for recovery in outcome.recoveries:
            rungs.setdefault(recovery["rung"], []).append(recovery["seconds"])
    return {
        "benchmark": "churn", "seed": args.seed, "kills": len(outcomes), "good": sum(each.good for each in outcomes),
        "roles": dict(Counter(each.kill.role for each in outcomes)),
        "pauses_s": {"median": median(pauses), "worst": max(pauses)},
        "rungs": {rung: {"times": len(each), "median_s": round(median(each), 2), "worst_s": round(max(each), 2)}
                  for rung, each in rungs.items()},
        "bad": [asdict(each) for each in outcomes if not each.good],
    }  # fmt: skip


def main() -> int:
    """Kill, and print the score; the last line is one JSON object. 1 if a run was not good."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"kills": 60, "seed": 1, "nodes": 4, "stages": 3, "replicas": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=default, metavar="N")
    parser.add_argument("--how", choices=tuple(SIGNALS), default="kill")
    parser.add_argument("--short", action="store_true", help="two kills: does it run at all")
    parser.add_argument("--json", action="store_true", help="nothing but the JSON object")
    args = parser.parse_args()
    args.kills = 2 if args.short else args.kills
    outcomes = []
    with tempfile.TemporaryDirectory() as scratch:
        job = Path(scratch) / "job.toml"
        job.write_text(JOB.format(steps=STEPS, **vars(args)))
        reference = local_run(job, Path(scratch) / "reference").weights_sha256
        for number, kill in enumerate(schedule(args.seed, args.kills, args.stages * args.replicas, args.how)):
            outcome = run_with(kill, job, reference, args, Path(scratch) / f"nodes-{number}")
            outcomes.append(outcome)
            if not args.json:
                print(json.dumps(asdict(outcome)), flush=True)
    print(json.dumps(summary(args, outcomes)))
    return 0 if all(outcome.good for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
