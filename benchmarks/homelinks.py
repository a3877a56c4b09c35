"""Pipelines over home-like links: real daemons, one to a host of ``benchmarks.netlab``, against gloo on the same hosts.

    python -m benchmarks.homelinks [--json] [--short] [--stages N] [--up MBIT] [--down MBIT] [--round-trip MS] ...

Root is needed, for the network namespaces. In each round every contender starts anew, warms up, and is timed over some
whole steps: for each wire of ``--wires`` as many plain loops of the same spec at once as there are stages, outside the
lab and in steps of fewer micro-batches, and then a swarm; gloo's 1F1B with float32 and with bfloat16 between its
stages, over one step. The bound of a wire is the lower of its plain loops' rate and of what the busiest link carries.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

if __name__ == "__main__":  # by path, the folder above is not where Python looks
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.netlab.hosts import Host, LabError, same_hosts
from benchmarks.netlab.lab import Lab, lab
from benchmarks.pipeline import JOB, ROOT, STEPS, Rates, arguments, settle, show, swarm
from benchmarks.turns import Contender, yardstick
from swarmd.cli.demo.swarm import Home
from swarmd.protocols.codecs import WIRES, payload_bytes

PATIENCE_SECONDS = 240.0
PLAIN_MICRO_BATCHES = 16
"""Of a plain loop's step: its rate hardly depends on it, and a step of many takes minutes."""
GLOO_WIRES = {"gloo_float32": "float32", "gloo_bfloat16": "bfloat16"}
Start = Callable[[], AbstractContextManager[Contender]]


@dataclass(frozen=True, slots=True)
class Turn:
    """One contender of a round: how to start it, and which of its steps are timed."""

    name: str
    start: Start
    warm: int
    steps: int
    micro_batches: int


def turns(args: argparse.Namespace, made: Lab, scratch: Path) -> Iterator[Turn]:
    """A round: for each wire its plain loops, which do to numbers what it does, and the swarm; then gloo."""
    homes = [Home(made.address(host), made.enter(host)) for host in range(args.stages)]
    few, all_of_them = min(args.micro_batches, PLAIN_MICRO_BATCHES), args.micro_batches
    for number, wire in enumerate(args.wires):
        plain = [["plain", str(_job(args, wire, few, scratch / f"plain-{number}.toml"))]] * args.stages
        yield Turn(f"ceiling_{wire}", _plain(plain), 1, 1, few)
        job = _job(args, wire, all_of_them, scratch / f"{number}.toml")
        yield Turn(f"swarmd_{wire}", _swarm(job, args.stages, homes), args.warm, args.measured, all_of_them)
    for name, dtype in GLOO_WIRES.items() if not args.no_gloo else ():
        yield Turn(name, _gloo(name, dtype, scratch / "0.toml", homes), 1, 1, all_of_them)


def _job(args: argparse.Namespace, wire: str, micro_batches: int, path: Path) -> Path:
    values = {**vars(args), "steps": STEPS, "wire": wire, "micro_batches": micro_batches}
    path.write_text(JOB.format(**values))
    return path


def _plain(commands: list[list[str]]) -> Start:
    return lambda: yardstick("ceiling", commands, lines=len(commands), root=ROOT)


def _swarm(job: Path, stages: int, homes: list[Home]) -> Start:
    return lambda: swarm(job, stages, homes)


def _gloo(name: str, wire: str, job: Path, homes: list[Home]) -> Start:
    @contextmanager
    def start() -> Iterator[Contender]:
        with tempfile.TemporaryDirectory() as folder:
            meet = ["--of", str(len(homes)), "--meet", f"{folder}/meet", "--wire", wire]
            commands = [["gloo", str(job), "--rank", str(rank), *meet] for rank in range(len(homes))]
            enter = [(*home.enter, "env", "GLOO_SOCKET_IFNAME=tun0") for home in homes]
            with yardstick(name, commands, lines=1, root=ROOT, enter=enter) as contender:
                yield contender

    return start


def link_bound(args: argparse.Namespace, forward: str, backward: str) -> float:
    """Tokens per second that the busiest link carries, with the codecs of both directions."""
    shape = (args.sequences, args.tokens, args.hidden)
    there, back = (payload_bytes(codec, shape) for codec in (forward, backward))
    inner = args.stages > 2  # a stage between two others sends both, and receives both
    up, down = (there + back, there + back) if inner else (max(there, back),) * 2
    seconds = max(up / args.up, down / args.down) * 8e-6
    return args.sequences * args.tokens / seconds


def summary(args: argparse.Namespace, rounds: list[Rates], load: float) -> dict[str, object]:
    """Medians of tokens per second, and of the ratios to bounds and to gloo within each round."""
    shape = ("stages", "up", "down", "round_trip", "layers", "hidden", "tokens", "sequences", "micro_batches", "rounds")
    found: dict[str, object] = {"benchmark": "homelinks", **{name: getattr(args, name) for name in shape}}
    found |= {f"{name}_tokens_per_s": round(median(each[name] for each in rounds), 1) for name in rounds[0]}
    for wire in args.wires:
        bound = link_bound(args, *WIRES[wire])
        each = [rates[f"swarmd_{wire}"] / min(rates[f"ceiling_{wire}"], bound) for rates in rounds]
        found |= {f"{wire}_link_bound": round(bound, 1), f"{wire}_of_bound": round(median(each), 3)}
        for name in rounds[0].keys() & GLOO_WIRES.keys():
            ratios = [rates[f"swarmd_{wire}"] / rates[name] for rates in rounds]
            found[f"{wire}_to_{name}"] = round(median(ratios), 3)
    return found | {"load_before": round(load, 1), "load_after": round(os.getloadavg()[0], 1)}


def measure(args: argparse.Namespace) -> list[Rates]:
    """Tokens per second of each contender in each round."""
    host = Host(up=args.up, down=args.down, delay=args.round_trip / 4)
    rounds: list[Rates] = []
    with tempfile.TemporaryDirectory() as scratch, lab(same_hosts(args.stages, host)) as made:
        for _ in range(args.rounds):
            rates: Rates = {}
            for turn in turns(args, made, Path(scratch)):
                tokens = args.tokens * args.sequences * turn.micro_batches
                with turn.start() as contender:
                    rates[turn.name] = tokens * contender.pace(turn.warm, turn.steps, PATIENCE_SECONDS)
                print(f"{turn.name} {rates[turn.name]:,.0f}", file=sys.stderr, flush=True)
            rounds.append(rates)
    return rounds


def main() -> int:
    """Measure, and print the figures; the last line is one JSON object. 2 where no lab can be made."""
    parser = arguments(__doc__, micro_batches=32, rounds=5, warm=2, measured=3)
    for name, value in {"up": 40.0, "down": 100.0, "round_trip": 100.0}.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=value)
    parser.add_argument("--wires", nargs="+", choices=WIRES, default=["raw", "int8/int4"])
    args = parser.parse_args()
    settle(args, micro_batches=8)
    load = os.getloadavg()[0]
    try:
        rounds = measure(args)
    except LabError as error:
        print(f"homelinks: {error}", file=sys.stderr)
        return 2
    show(args, rounds)
    print(json.dumps(summary(args, rounds, load)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
