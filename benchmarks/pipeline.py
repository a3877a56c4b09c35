"""Pipeline efficiency on one machine: real daemons on loopback against plain loops, and against gloo.

    python -m benchmarks.pipeline [--json] [--short] [--stages N] [--layers N] [--hidden N] [--micro-batches N] ...

Every part has one thread. In each round, in turn: as many plain loops at once as there are cores for the stages
(the ceiling: what the same cores do without a pipeline), a gloo pipeline, and a swarm of one daemon per stage
with control plane, TLS links and checkpoints. Ratios are taken within a round, and their medians given. Rates
count from the end of the first step to the end of the last.
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

if __name__ == "__main__":  # by path, the folder above is not where Python looks
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from swarmd.cli.client import call, stream
from swarmd.cli.demo.swarm import local_swarm
from swarmd.protocols.control import FINAL_STATES

ROOT = Path(__file__).resolve().parent.parent
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
JOB = """
name = "pipeline"
steps = {steps}
[model]
layers = {layers}
hidden = {hidden}
heads = {heads}
kv_heads = {heads}
feed_forward = {feed_forward}
[data]
embedded = true
[batch]
sequence_length = {tokens}
micro_batch_size = {sequences}
micro_batches = {micro_batches}
[evaluation]
every = {steps}
windows = {sequences}
[checkpoint]
every = {steps}
[run]
min_stages = {stages}
"""
Rates = dict[str, float]


def plain_loops(job: Path, count: int) -> float:
    """Tokens per second of so many plain loops together."""
    return sum(_rates([["plain", str(job)]] * count))


def gloo(job: Path, stages: int) -> float:
    """Tokens per second of the gloo pipeline; what its last stage says."""
    meet = job.parent / "meet"
    meet.unlink(missing_ok=True)
    with_rank = [["gloo", str(job), "--rank", str(rank), "--of", str(stages), "--meet", str(meet)] for rank in
                 range(stages)]  # fmt: skip
    return _rates(with_rank)[-1]


def swarm(job: Path, stages: int) -> float:
    """Tokens per second of a swarm with one daemon per stage."""
    with tempfile.TemporaryDirectory() as folder, local_swarm(Path(folder), stages) as nodes:
        first = nodes.nodes[0].paths
        run = call(first, "submit", path=str(job), wait=300.0)["run"]
        rate = 0.0
        for snapshot in stream(first, "watch", idle=300.0, run=run, every=0.25):
            view = snapshot["run"]
            if view["step"] > 1 and view["tokens_per_s"]:
                rate = float(view["tokens_per_s"])
            if view["state"] in FINAL_STATES:
                assert view["state"] == "done", view["reason"]
                return rate
    raise AssertionError("the daemon went away")


def _rates(arguments: list[list[str]]) -> list[float]:
    running = [
        subprocess.Popen([sys.executable, "-P", "-m", "benchmarks.yardsticks", *each], stdout=subprocess.PIPE,
                         text=True, cwd=ROOT, env={**os.environ, **ONE_THREAD, "PYTHONPATH": str(ROOT)})
        for each in arguments
    ]  # fmt: skip
    return [float(each.communicate()[0].splitlines()[-1]) for each in running]


def measure(args: argparse.Namespace) -> Rates:
    """One round."""
    with tempfile.TemporaryDirectory() as scratch:
        job = Path(scratch) / "job.toml"
        feed_forward = args.feed_forward or args.hidden * 8 // 3 // 32 * 32
        job.write_text(JOB.format(**{**vars(args), "feed_forward": feed_forward}))
        return {
            "ceiling_tokens_per_s": plain_loops(job, min(args.stages, args.cores)),
            "swarmd_tokens_per_s": swarm(job, args.stages),
            **({} if args.no_gloo else {"gloo_tokens_per_s": gloo(job, args.stages)}),
        }


def summary(args: argparse.Namespace, rounds: list[Rates], load: list[float]) -> dict[str, object]:
    """Medians of the rates, and of the ratios within each round."""

    def ratio(over: str) -> dict[str, object]:
        each = [round(r["swarmd_tokens_per_s"] / r[over], 3) for r in rounds]
        return {"median": median(each), "each": each}

    against = {"ceiling": ratio("ceiling_tokens_per_s")} | (
        {} if args.no_gloo else {"gloo": ratio("gloo_tokens_per_s")}
    )
    shape = ("stages", "layers", "hidden", "tokens", "sequences", "micro_batches", "steps", "cores")
    medians = {name: round(median(r[name] for r in rounds), 1) for name in rounds[0]}
    return {
        "benchmark": "pipeline",
        **{name: getattr(args, name) for name in shape},
        **medians,
        "ratio_to_ceiling": against["ceiling"]["median"],
        **({} if args.no_gloo else {"ratio_to_gloo": against["gloo"]["median"]}),
        "ratios_to_ceiling": against["ceiling"]["each"],
        "load_average": load,
    }


def main() -> None:
    """Measure, and print the figures; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    numbers = {"stages": 2, "layers": 8, "hidden": 384, "heads": 6, "feed_forward": 0, "tokens": 256, "sequences": 4,
               "micro_batches": 8, "steps": 4, "rounds": 5}  # fmt: skip
    for name, default in numbers.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default)
    parser.add_argument("--no-gloo", action="store_true")
    parser.add_argument("--short", action="store_true", help="one round of a small model: does it run at all")
    parser.add_argument("--json", action="store_true", help="nothing but the JSON object")
    args = parser.parse_args()
    args.cores = len(os.sched_getaffinity(0))
    if args.short:
        args.hidden, args.heads, args.tokens, args.steps, args.rounds = 96, 4, 64, 12, 1
    rounds, load = [], []
    for _ in range(args.rounds):
        load.append(round(os.getloadavg()[0], 1))
        rounds.append(measure(args))
        if not args.json:
            print("  ".join(f"{name} {value:,.0f}" for name, value in rounds[-1].items()), flush=True)
    print(json.dumps(summary(args, rounds, load)))


if __name__ == "__main__":
    main()
