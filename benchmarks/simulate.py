"""The simulator's prediction beside a real run on loopback: ``python benchmarks/simulate.py [--short] [--json]``.

Real daemons of one thread each train a small model. The simulator gets the plan they made, and the seconds of each
stage once as the members' probes measured them before the run, and once as the run itself measured forward and
backward. What the simulator knows nothing of, such as optimizer steps, copies and other programs on the machine, is in
the difference.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from pathlib import Path
from typing import Any

from swarmd.cli.client import call, stream
from swarmd.cli.demo.swarm import local_swarm
from swarmd.protocols.control import FINAL_STATES
from swarmd.scheduler.credit import credits
from swarmd.scheduler.scenario import FORWARD_SHARE
from swarmd.scheduler.simulate import simulate
from swarmd.scheduler.simulated import Node, Pipeline

MICRO_BATCHES, TOKENS = 16, 128
ROUND_TRIP = 0.05
"""Seconds that the daemon's planner assumes when it gives credits."""
JOB = f"""
name = "simulated"
steps = {{steps}}
[model]
layers = 8
hidden = 128
heads = 4
kv_heads = 2
feed_forward = 352
[data]
embedded = true
[batch]
sequence_length = {TOKENS}
micro_batch_size = 1
micro_batches = {MICRO_BATCHES}
[evaluation]
every = {{steps}}
windows = 4
[checkpoint]
every = {{steps}}
[run]
min_stages = {{stages}}
max_stages = {{stages}}
"""
_PROBED = re.compile(r", ([0-9.e+-]+) ms")


def real_run(folder: Path, stages: int, steps: int) -> dict[str, Any]:
    """The last view of a run of so many daemons."""
    job = folder / "job.toml"
    job.write_text(JOB.format(stages=stages, steps=steps))
    with local_swarm(folder / "nodes", stages) as nodes:
        first = nodes.nodes[0].paths
        run = call(first, "submit", path=str(job), wait=300.0)["run"]
        for snapshot in stream(first, "watch", idle=300.0, run=run, every=2.0):
            view: dict[str, Any] = snapshot["run"]
            if view["state"] in FINAL_STATES:
                assert view["state"] == "done", view["reason"]
                return view
    raise AssertionError("the daemon went away")


def probed(stage: dict[str, Any]) -> tuple[float, float]:
    """Forward and backward seconds of a stage by the probes, as its reason says them."""
    found = _PROBED.search(stage["reason"])
    assert found, stage["reason"]
    seconds = float(found[1]) / 1000
    return seconds * FORWARD_SHARE, seconds * (1 - FORWARD_SHARE)


def measured(stage: dict[str, Any]) -> tuple[float, float]:
    """The same as the run measured them."""
    return stage["forward_ms"] / 1000, stage["backward_ms"] / 1000


def predicted(times: list[tuple[float, float]], steps: int) -> float:
    """Tokens a second of a pipeline of these stages, from the first step to the last."""
    period = max(map(sum, times))

    def credit(index: int, forward: float, backward: float) -> int:
        shared = {"transfer": 0.0, "round_trip": ROUND_TRIP, "period": period}
        return min(MICRO_BATCHES, credits(index, len(times), forward=forward, backward=backward, **shared))

    stages = tuple(
        (Node(name=str(index), forward=forward, backward=backward, credit=credit(index, forward, backward)),)
        for index, (forward, backward) in enumerate(times)
    )
    flow = Pipeline(stages=stages, micro_batches=MICRO_BATCHES, steps=steps, forward_bytes=0, backward_bytes=0)
    return steps * MICRO_BATCHES * TOKENS / simulate(flow, lambda _, __: 0.0).ends[-1]


def main() -> None:
    """Run, predict, compare; with --json one object on the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stages", type=int, default=2)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--short", action="store_true", help="in about a minute")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    steps = min(args.steps, 15) if args.short else args.steps
    with tempfile.TemporaryDirectory() as folder:
        view = real_run(Path(folder), args.stages, steps)
    real = float(view["tokens_per_s_mean"])
    figures: dict[str, Any] = {"stages": args.stages, "steps": steps, "real_tokens_per_s": real}
    for name, times in (("probes", probed), ("run", measured)):
        said = predicted([times(stage) for stage in view["stages"]], steps)
        figures[name] = {"tokens_per_s": said, "real_by_predicted": real / said}
        print(f"by the {name:7} {said:9,.0f} tokens/s predicted, {real:9,.0f} real, ratio {real / said:.3f}")
    if args.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
