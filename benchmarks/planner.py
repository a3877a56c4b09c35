"""How good plans with replicas are, and how long they take: ``python benchmarks/planner.py [--short] [--json]``.

*Quality* against every plan there is, on sets of peers small enough to look at all of them; against an upper bound that
no plan exceeds, on larger ones. *Time* at 1,000 peers, of the chain's exact planner and of the one with replicas. Peers
are seeded: speeds spread by a lognormal, four sizes of memory, uplinks from 20 to 1,000 Mbit/s.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from statistics import mean
from typing import Any

from swarmd.scheduler.partition import partition
from swarmd.scheduler.replicas import plan_replicas

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.scheduler.planning_cases import best_of_all, uneven

SMALL = ((4, 4), (6, 5), (8, 5))
LARGER = ((24, 24), (48, 48))
MANY = (32, 1000)


def small(layers: int, peers: int, cases: int) -> dict[str, Any]:
    """Found rate by best rate."""
    found = [uneven(layers, peers, seed) for seed in range(cases)]
    ratios = [plan_replicas(*case).rate / best_of_all(*case) for case in found]
    return {"layers": layers, "peers": peers, "cases": cases, "mean": mean(ratios), "min": min(ratios)}


def larger(layers: int, peers: int, cases: int) -> dict[str, Any]:
    """Found rate by the bound."""
    plans = [plan_replicas(*uneven(layers, peers, seed)) for seed in range(cases)]
    ratios = [plan.rate / plan.at_most for plan in plans]
    return {"layers": layers, "peers": peers, "cases": cases, "mean": mean(ratios), "min": min(ratios)}


def many(layers: int, peers: int) -> dict[str, Any]:
    """Processor seconds of both planners, and quality of the one with replicas."""
    workers, model = uneven(layers, peers, 0)
    began = time.process_time()
    partition(workers, model)
    chain = time.process_time() - began
    began = time.process_time()
    plan = plan_replicas(workers, model)
    spent = time.process_time() - began
    return {
        "layers": layers, "peers": peers, "chain_seconds": chain, "replicas_seconds": spent,
        "of_bound": plan.rate / plan.at_most, "stages": len(plan.stages),
    }  # fmt: skip


def main() -> None:
    """Measure and print; with --json one object on the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="in under a minute")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    cases = 3 if args.short else 12
    figures = {
        "of_best": [small(layers, peers, cases) for layers, peers in SMALL],
        "of_bound": [larger(layers, peers, cases) for layers, peers in LARGER],
        "many": many(*MANY),
    }
    for name in ("of_best", "of_bound"):
        for row in figures[name]:
            shape = f"{row['layers']} layers, {row['peers']} peers"
            print(f"{name:10} {shape:22} mean {row['mean']:.4f}  min {row['min']:.4f}")
    row = figures["many"]
    print(f"{row['peers']} peers: chain {row['chain_seconds']:.2f} s, replicas {row['replicas_seconds']:.2f} s, "
          f"{row['of_bound']:.4f} of the bound")  # fmt: skip
    if args.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
