"""Pipeline efficiency on one machine: real daemons on loopback against plain loops, and against gloo.

    python -m benchmarks.pipeline [--json] [--short] [--stages N] [--layers N] [--hidden N] [--micro-batches N] ...

Every part has one thread. As many plain loops at once as there are stages (the ceiling: what the same cores do without
a pipeline), a gloo pipeline, and a swarm of one daemon per stage with control plane and TLS
links take turns of some seconds on the machine; in others' turns a contender stands still (of the swarm, its
compute processes). Rates are steps over a contender's own time. Ratios are taken within a round of some turns,
and their medians given.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from statistics import median

import psutil  # type: ignore[import-untyped]

if __name__ == "__main__":  # by path, the folder above is not where Python looks
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.turns import Contender, yardstick
from swarmd.cli.client import call, stream
from swarmd.cli.demo.swarm import Home, local_swarm
from swarmd.paths import Paths
from swarmd.protocols.errors import SwarmdError

ROOT = Path(__file__).resolve().parent.parent
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
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
[wire]
codec = "{wire}"
[evaluation]
every = {steps}
windows = {sequences}
[checkpoint]
every = {steps}
[run]
min_stages = {stages}
"""
STEPS = 100_000
Rates = dict[str, float]


@contextmanager
def swarm(job: Path, stages: int, homes: Sequence[Home] = ()) -> Iterator[Contender]:
    """A swarm of so many daemons; they go on in others' turns, with nothing to do."""
    with tempfile.TemporaryDirectory() as folder, local_swarm(Path(folder), stages, homes=homes) as nodes:
        ends: list[float] = []
        first = nodes.nodes[0].paths
        run = call(first, "submit", path=str(job), wait=300.0)["run"]
        daemons = [psutil.Process(node.process.pid) for node in nodes.nodes]
        contender = Contender("swarmd", lambda: [child for daemon in daemons for child in _compute(daemon)], [ends])
        threading.Thread(target=_watch, args=(first, run, contender), daemon=True).start()
        try:
            yield contender
        finally:
            contender.signal(signal.SIGCONT)


def _watch(paths: Paths, run: str, contender: Contender) -> None:
    (ends,) = contender.ends
    with suppress(SwarmdError):  # the daemon goes away when all is measured
        for snapshot in stream(paths, "watch", run=run, every=0.2):
            ends += [time.monotonic()] * (int(snapshot["run"]["step"]) - len(ends))
            if snapshot["run"]["state"] == "failed":
                contender.failure = f"the run failed: {snapshot['run']['reason']}"


def _compute(daemon: psutil.Process) -> list[psutil.Process]:
    children = daemon.children(recursive=True)
    return [child for child in children if any("swarmd.train.worker" in word for word in child.cmdline())]


def measure(args: argparse.Namespace, job: Path) -> list[Rates]:
    """Tokens per second of each contender in each round."""
    plain = [["plain", str(job)]] * args.stages
    meet = ["--of", str(args.stages), "--meet", str(job.parent / "meet")]
    gloo = [["gloo", str(job), "--rank", str(rank), *meet] for rank in range(args.stages)]
    with ExitStack() as stack:
        contenders: list[Contender] = []
        for made in (
            yardstick("ceiling", plain, lines=len(plain), root=ROOT),
            swarm(job, args.stages),
            *([] if args.no_gloo else [yardstick("gloo", gloo, lines=1, root=ROOT)]),
        ):
            contenders.append(stack.enter_context(made))
            contenders[-1].begin()
        for _ in range(args.rounds * args.turns):
            for contender in contenders:
                contender.turn(args.seconds)
        tokens = args.tokens * args.sequences * args.micro_batches
        return [
            {
                f"{each.name}_tokens_per_s": tokens * each.steps(at * args.turns, (at + 1) * args.turns)
                for each in contenders
            }
            for at in range(args.rounds)
        ]


def summary(args: argparse.Namespace, rounds: list[Rates], load: tuple[float, float]) -> dict[str, object]:
    """Medians of the rates, and of the ratios within each round."""
    shape = (
        "stages",
        "layers",
        "hidden",
        "tokens",
        "sequences",
        "micro_batches",
        "rounds",
        "turns",
        "seconds",
        "cores",
    )
    medians = {name: round(median(r[name] for r in rounds), 1) for name in rounds[0]}
    found: dict[str, object] = {"benchmark": "pipeline", **{name: getattr(args, name) for name in shape}, **medians}
    for name in ("ceiling", *([] if args.no_gloo else ["gloo"])):
        each = [round(r["swarmd_tokens_per_s"] / r[f"{name}_tokens_per_s"], 3) for r in rounds]
        found |= {f"ratio_to_{name}": median(each), f"ratios_to_{name}": each}
    return found | {"load_before": round(load[0], 1), "load_after": round(load[1], 1)}


def arguments(description: str | None, **more: int) -> argparse.ArgumentParser:
    """Sizes of the model and of a step, and what else every pipeline benchmark asks; ``more`` numbers by name."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    numbers = {"stages": 2, "layers": 8, "hidden": 384, "heads": 6, "feed_forward": 0, "tokens": 256, "sequences": 4}
    for name, default in {**numbers, **more}.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default)
    parser.add_argument("--no-gloo", action="store_true")
    parser.add_argument("--short", action="store_true", help="one round of a small model: does it run at all")
    parser.add_argument("--json", action="store_true", help="nothing but the JSON object")
    return parser


def settle(args: argparse.Namespace, **short: int) -> None:
    """Fill in what follows from the rest, with ``short`` sizes where asked; parts started later have one thread."""
    args.cores = len(os.sched_getaffinity(0))
    if args.short:
        vars(args).update({"hidden": 96, "heads": 4, "tokens": 64, "rounds": 1, **short})
    args.feed_forward = args.feed_forward or args.hidden * 8 // 3 // 32 * 32
    os.environ.update(ONE_THREAD)


def show(args: argparse.Namespace, rounds: list[Rates]) -> None:
    """A line for each round, unless only the JSON object is wanted."""
    if not args.json:
        for each in rounds:
            print("  ".join(f"{name} {value:,.0f}" for name, value in each.items()))


def main() -> None:
    """Measure, and print the figures; the last line is one JSON object."""
    args = arguments(__doc__, micro_batches=8, rounds=5, turns=4, seconds=4).parse_args()
    settle(args, turns=2, seconds=2)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as scratch:
        job = Path(scratch) / "job.toml"
        job.write_text(JOB.format(**vars(args), steps=STEPS, wire="raw"))
        rounds = measure(args, job)
    show(args, rounds)
    print(json.dumps(summary(args, rounds, (load, os.getloadavg()[0]))))


if __name__ == "__main__":
    main()
