"""Pipelines over home-like links: real daemons, one to a host of ``benchmarks.netlab``, against gloo on the same hosts.

    python -m benchmarks.homelinks [--json] [--short] [--stages N] [--up MBIT] [--down MBIT] [--round-trip MS] ...

Root is needed, for the network namespaces. In each round every contender starts anew, warms up, and is timed over some
whole steps: as many plain loops at once as there are stages, outside the lab, over one step each; a swarm for each wire
of ``--wires``; gloo's 1F1B with float32 and with bfloat16 between its stages. The bound of a wire is the lower of
the plain loops' rate and of what the busiest uplink or downlink can carry.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
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
GLOO_WIRES = {"gloo_float32": "float32", "gloo_bfloat16": "bfloat16"}
Start = Callable[[], AbstractContextManager[Contender]]


def contenders(args: argparse.Namespace, made: Lab, scratch: Path) -> dict[str, Start]:
    """How to start each, by name."""
    homes = [Home(made.address(host), made.enter(host)) for host in range(args.stages)]
    jobs = {wire: _job(args, wire, scratch / f"{number}.toml") for number, wire in enumerate(args.wires)}
    plain = [["plain", str(next(iter(jobs.values())))]] * args.stages
    return {
        "ceiling": lambda: yardstick("ceiling", plain, lines=len(plain), root=ROOT),
        **{f"swarmd_{wire}": _swarm(job, args.stages, homes) for wire, job in jobs.items()},
        **{name: _gloo(name, wire, args, jobs, homes) for name, wire in GLOO_WIRES.items() if not args.no_gloo},
    }


def _job(args: argparse.Namespace, wire: str, path: Path) -> Path:
    path.write_text(JOB.format(**vars(args), steps=STEPS, wire=wire))
    return path


def _swarm(job: Path, stages: int, homes: list[Home]) -> Start:
    return lambda: swarm(job, stages, homes)


def _gloo(name: str, wire: str, args: argparse.Namespace, jobs: dict[str, Path], homes: list[Home]) -> Start:
    job = next(iter(jobs.values()))

    @contextmanager
    def start() -> Iterator[Contender]:
        with tempfile.TemporaryDirectory() as folder:
            meet = ["--of", str(args.stages), "--meet", f"{folder}/meet", "--wire", wire]
            commands = [["gloo", str(job), "--rank", str(rank), *meet] for rank in range(args.stages)]
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
        each = [rates[f"swarmd_{wire}"] / min(rates["ceiling"], bound) for rates in rounds]
        found |= {f"{wire}_link_bound": round(bound, 1), f"{wire}_of_bound": round(median(each), 3)}
        for name in rounds[0].keys() & GLOO_WIRES.keys():
            ratios = [rates[f"swarmd_{wire}"] / rates[name] for rates in rounds]
            found[f"{wire}_to_{name}"] = round(median(ratios), 3)
    return found | {"load_before": round(load, 1), "load_after": round(os.getloadavg()[0], 1)}


def measure(args: argparse.Namespace) -> list[Rates]:
    """Tokens per second of each contender in each round."""
    host = Host(up=args.up, down=args.down, delay=args.round_trip / 4)
    per_step = args.tokens * args.sequences * args.micro_batches
    rounds: list[Rates] = []
    with tempfile.TemporaryDirectory() as scratch, lab(same_hosts(args.stages, host)) as made:
        for _ in range(args.rounds):
            rates: Rates = {}
            for name, start in contenders(args, made, Path(scratch)).items():
                warm, steps = (1, 1) if name == "ceiling" else (args.warm, args.measured)
                with start() as contender:
                    rates[name] = per_step * contender.pace(warm, steps, PATIENCE_SECONDS)
                print(f"{name} {rates[name]:,.0f}", file=sys.stderr, flush=True)
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
