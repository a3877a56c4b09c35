"""Routing over uneven replicas of a stage: real daemons, against what the replicas could do together.

    python -m benchmarks.routing [--json] [--short] [--delays MS ...] [--micro-batches N]

One daemon has the first of three layers and one the last. The second has a replica for each of ``--delays``: so many
milliseconds that it waits in every forward, on top of computing. The joint capacity is the sum of what each replica
does alone at the time per micro-batch that it reports. *Fixed columns* give each replica the same number of
micro-batches, and last as long as the slowest one needs for its own.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

if __name__ == "__main__":  # by path, the folder above is not where Python looks
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.pipeline import JOB, STEPS, settle
from swarmd.cli.client import call, stream
from swarmd.cli.demo.swarm import Home, local_swarm

PATIENCE_SECONDS = 120.0
REPLICAS = "replicas = {count}\n"


def real_run(job: Path, args: argparse.Namespace) -> tuple[list[float], list[dict[str, Any]]]:
    """Seconds of each measured step, and the last view of each place."""
    homes = [Home(), Home(), *(Home(fault=f"slow:{delay}") for delay in args.delays)]
    with tempfile.TemporaryDirectory() as folder, local_swarm(Path(folder), len(homes), homes=homes) as nodes:
        first = nodes.nodes[0].paths
        run = call(first, "submit", path=str(job), wait=300.0)["run"]
        ends: list[float] = []
        for snapshot in stream(first, "watch", idle=PATIENCE_SECONDS, run=run, every=0.05):
            view = snapshot["run"]
            ends += [time.monotonic()] * (int(view["step"]) - len(ends))
            if view["state"] == "failed":
                raise RuntimeError(f"the run failed: {view['reason']}")
            if len(ends) >= args.warm + args.measured:
                last = ends[args.warm - 1 : args.warm + args.measured]
                return [b - a for a, b in pairwise(last)], view["stages"]
    raise RuntimeError("the daemon went away")


def summary(args: argparse.Namespace, seconds: list[float], places: list[dict[str, Any]]) -> dict[str, object]:
    """Micro-batches per second beside the joint capacity, and what fixed columns could reach of it."""
    replicas = [place for place in places if place["index"] == 1]
    if len(replicas) != len(args.delays):
        raise RuntimeError(f"the plan has {len(replicas)} replicas of the second stage, not {len(args.delays)}")
    services = [(place["forward_ms"] + place["backward_ms"]) / 1000 for place in replicas]
    capacity = sum(1 / service for service in services)
    rate = args.micro_batches / median(seconds)
    return {
        "benchmark": "routing", "delays_ms": args.delays, "micro_batches": args.micro_batches,
        "steps": len(seconds), "services_ms": [round(1000 * each, 1) for each in services],
        "joint_capacity_per_s": round(capacity, 2), "swarmd_per_s": round(rate, 2),
        "swarmd_of_capacity": round(rate / capacity, 3),
        "fixed_columns_of_capacity": round(len(services) / max(services) / capacity, 3),
        "load_after": round(os.getloadavg()[0], 1),
    }  # fmt: skip


def main() -> None:
    """Measure, and print the figures; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--delays", type=int, nargs="+", default=[100, 200, 400, 800], metavar="MS")
    for name, default in {"micro_batches": 128, "warm": 2, "measured": 5}.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default)
    parser.add_argument("--short", action="store_true", help="two steps: does it run at all")
    parser.add_argument("--json", action="store_true", help="nothing but the JSON object")
    args = parser.parse_args()
    vars(args).update(stages=3, layers=3, hidden=64, heads=4, feed_forward=0, tokens=64, sequences=1)
    settle(args)
    if args.short:
        args.micro_batches, args.warm, args.measured = 16, 1, 2
    with tempfile.TemporaryDirectory() as scratch:
        job = Path(scratch) / "job.toml"
        job.write_text(JOB.format(**vars(args), steps=STEPS, wire="raw") + REPLICAS.format(count=len(args.delays)))
        seconds, places = real_run(job, args)
    if not args.json:
        print("seconds of a step:", *(f"{each:.2f}" for each in seconds))
    print(json.dumps(summary(args, seconds, places)))


if __name__ == "__main__":
    main()
