"""Pipeline efficiency on one machine: the swarm against as many plain loops at once as there are cores.

    .venv/bin/python benchmarks/pipeline.py [--stages N] [--steps N] [--rounds N]

Both train the demo's model, the plain loops each the whole of it, the swarm one of it over daemons of one thread
each, so a ratio of 1 would mean that splitting costs nothing. Rounds alternate; the medians are compared.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from swarmd.cli.client import call, stream
from swarmd.cli.demo.swarm import local_swarm
from swarmd.protocols.control import FINAL_STATES

JOB = Path(__file__).parent.parent / "cli" / "demo" / "job.toml"


def plain_loops(job: Path, folder: Path, count: int) -> float:
    """Tokens a second of so many plain loops together."""
    command = [sys.executable, "-P", "-m", "swarmd.train", "local", str(job), "--json", "--out"]
    running = [
        subprocess.Popen([*command, str(folder / f"loop-{number}")], stdout=subprocess.PIPE, text=True)
        for number in range(count)
    ]
    return sum(json.loads(each.communicate()[0].splitlines()[-1])["tokens_per_s"] for each in running)


def swarm(job: Path, folder: Path, stages: int) -> float:
    """Tokens a second of a swarm of so many daemons."""
    with local_swarm(folder / "nodes", stages) as nodes:
        first = nodes.nodes[0].paths
        run = call(first, "submit", path=str(job), wait=300.0)["run"]
        for snapshot in stream(first, "watch", idle=300.0, run=run, every=5.0):
            view = snapshot["run"]
            if view["state"] in FINAL_STATES:
                assert view["state"] == "done", view["reason"]
                return float(view["tokens_per_s_mean"])
    raise AssertionError("the daemon went away")


def main() -> None:
    """Measure, and print the figures and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stages", type=int, default=4)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    figures: dict[str, list[float]] = {"plain loops": [], "swarm": []}
    for _ in range(args.rounds):
        with tempfile.TemporaryDirectory() as scratch:
            job = Path(scratch) / "job.toml"
            job.write_text(JOB.read_text(encoding="utf-8").format(steps=args.steps, nodes=args.stages))
            figures["plain loops"].append(plain_loops(job, Path(scratch), cores))
            figures["swarm"].append(swarm(job, Path(scratch), args.stages))
    middle = {name: median(values) for name, values in figures.items()}
    for name, values in figures.items():
        print(f"{name:12} {middle[name]:8,.0f} tokens/s   of {', '.join(f'{value:,.0f}' for value in values)}")
    print(f"ratio        {middle['swarm'] / middle['plain loops']:8.2f}   {args.stages} stages on {cores} cores")


if __name__ == "__main__":
    main()
