"""The simulator's prediction beside real runs over emulated links.

    python -m benchmarks.simulate [--json] [--short] [--stages N] [--layers N] [--hidden N] [--micro-batches N] ...

Root is needed, for the network namespaces of ``benchmarks.netlab``. Under each of six link settings real daemons, one
to a host, train over some whole steps. The simulator is then given the links as they were set, the plan's stages, and
what forward, backward and optimizer step took in that very run; what is judged is how
these become a pipeline's rate.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

if __name__ == "__main__":  # by path, the folder above is not where Python looks
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.netlab.hosts import Host, LabError, same_hosts
from benchmarks.netlab.lab import lab
from benchmarks.pipeline import JOB, STEPS, arguments, settle
from swarmd.cli.client import call, stream
from swarmd.cli.demo.swarm import Home, local_swarm
from swarmd.protocols.codecs import WIRES, payload_bytes
from swarmd.scheduler.credit import credits
from swarmd.scheduler.simulate import simulate
from swarmd.scheduler.simulated import ON_THE_WIRE, Node, Pipeline

LINKS = ((100.0, 20.0), (100.0, 100.0), (40.0, 50.0), (40.0, 100.0), (20.0, 50.0), (10.0, 100.0))
"""Mbit/s up and round trip in ms; each host takes DOWN Mbit/s."""
DOWN = 100.0
PATIENCE_SECONDS = 300.0
Stage = dict[str, Any]


def real_run(job: Path, homes: Sequence[Home], args: argparse.Namespace) -> tuple[float, list[Stage]]:
    """Seconds of a step, and the last view of each stage."""
    with tempfile.TemporaryDirectory() as folder, local_swarm(Path(folder), args.stages, homes=homes) as nodes:
        first = nodes.nodes[0].paths
        run = call(first, "submit", path=str(job), wait=300.0)["run"]
        ends: list[float] = []
        for snapshot in stream(first, "watch", idle=PATIENCE_SECONDS, run=run, every=0.1):
            view = snapshot["run"]
            ends += [time.monotonic()] * (int(view["step"]) - len(ends))
            if view["state"] == "failed":
                raise RuntimeError(f"the run failed: {view['reason']}")
            if len(ends) >= args.warm + args.measured:
                return (ends[args.warm + args.measured - 1] - ends[args.warm - 1]) / args.measured, view["stages"]
    raise RuntimeError("the daemon went away")


def predicted(stages: list[Stage], up: float, round_trip: float, args: argparse.Namespace) -> float:
    """Seconds of a step by the simulator; links in Mbit/s and ms."""
    shape = (args.sequences, args.tokens, args.hidden)
    there, back = (ON_THE_WIRE * payload_bytes(codec, shape) for codec in WIRES[args.wire])
    times = [(stage["forward_ms"] / 1000, stage["backward_ms"] / 1000, stage["commit_ms"] / 1000) for stage in stages]
    uplink, downlink = up * 125_000, DOWN * 125_000
    period = max(max(forward + backward, (there + back) / 2 / uplink) for forward, backward, _ in times)
    nodes = [
        Node(
            name=str(at), forward=forward, backward=backward, commit=commit, uplink=uplink, downlink=downlink,
            credit=min(args.micro_batches, credits(
                at, len(times), forward=forward, backward=backward, transfer=there / uplink,
                round_trip=round_trip / 1000, period=period,
            )),
        )
        for at, (forward, backward, commit) in enumerate(times)
    ]  # fmt: skip
    steps = args.warm + args.measured
    pipeline = Pipeline(
        stages=tuple((node,) for node in nodes),
        micro_batches=args.micro_batches,
        steps=steps,
        forward_bytes=int(there),
        backward_bytes=int(back),
    )
    ends = simulate(pipeline, lambda _, __: round_trip / 2000).ends
    return (ends[-1] - ends[args.warm - 1]) / args.measured


def measure(args: argparse.Namespace) -> list[dict[str, float]]:
    """Each setting's link, tokens per second as run and as foretold, and the ratio of the two."""
    tokens = args.tokens * args.sequences * args.micro_batches
    found: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as scratch:
        job = Path(scratch) / "job.toml"
        job.write_text(JOB.format(**vars(args), steps=STEPS))
        for up, round_trip in LINKS[: 1 if args.short else None]:
            host = Host(up=up, down=DOWN, delay=round_trip / 4)
            with lab(same_hosts(args.stages, host)) as made:
                homes = [Home(made.address(each), made.enter(each)) for each in range(args.stages)]
                real, stages = real_run(job, homes, args)
            said = predicted(stages, up, round_trip, args)
            found.append({
                "up_mbit": up, "round_trip_ms": round_trip, "real_tokens_per_s": round(tokens / real, 1),
                "predicted_tokens_per_s": round(tokens / said, 1), "real_to_predicted": round(said / real, 3),
            })  # fmt: skip
            if not args.json:
                print(found[-1], flush=True)
    return found


def main() -> int:
    """Run, predict, compare; the last line is one JSON object. 2 where no lab can be made."""
    parser = arguments(__doc__, micro_batches=16, warm=3, measured=8)
    parser.add_argument("--wire", choices=WIRES, default="raw")
    parser.set_defaults(hidden=256, heads=4, sequences=2)
    args = parser.parse_args()
    settle(args, warm=1, measured=2)
    try:
        settings = measure(args)
    except LabError as error:
        print(f"simulate: {error}", file=sys.stderr)
        return 2
    ratios = [each["real_to_predicted"] for each in settings]
    worst = max(ratios, key=lambda ratio: abs(ratio - 1))
    shape = {name: getattr(args, name) for name in ("stages", "layers", "hidden", "tokens", "micro_batches", "wire")}
    print(json.dumps({
        "benchmark": "simulate", **shape, "settings": settings, "worst_ratio": worst,
        "median_ratio": round(median(ratios), 3), "load_after": round(os.getloadavg()[0], 1),
    }))  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
