"""How late a daemon's event loop runs: idle, and while its node trains and acknowledges frames.

    python -m benchmarks.looplag [--json] [--short] [--seconds N] [--stages N]

Each daemon looks at its own loop ten times a second (``swarmd.metrics``) and tells Prometheus the 99th percentile of
its newest looks. Two swarms are on the machine in turn: one that only stands, and one that trains. Compute processes
are nice to their daemons, as always; the machine's cores are all busy while a swarm trains.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

if __name__ == "__main__":  # by path, the folder above is not where Python looks
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.pipeline import JOB, ONE_THREAD, STEPS
from swarmd.cli.client import call
from swarmd.cli.demo.swarm import LocalNode, local_swarm

FIGURE = re.compile(r"^swarmd_loop_lateness_p99_seconds (\S+)$", re.MULTILINE)


def lateness(stages: int, seconds: float, job: Path | None) -> list[float]:
    """Each daemon's 99th percentile in milliseconds after so long, idle or with a job."""
    with tempfile.TemporaryDirectory() as folder, local_swarm(Path(folder), stages) as swarm:
        if job is not None:
            call(swarm.nodes[0].paths, "submit", path=str(job), wait=300.0)
        time.sleep(seconds)
        return [1e3 * _p99(node) for node in swarm.nodes]


def _p99(node: LocalNode) -> float:
    """As the daemon tells Prometheus; its log says where."""
    log = (node.paths.state_dir / "daemon.log").read_text(errors="replace")
    (address,) = re.findall(r"metrics are at (http://\S+/metrics)", log)[-1:]
    with urllib.request.urlopen(address, timeout=5) as page:
        return float(FIGURE.findall(page.read().decode())[0])


def main() -> None:
    """Measure, and print the figures; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"stages": 2, "seconds": 110, "rounds": 1, "micro_batches": 8}.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default)
    parser.add_argument("--short", action="store_true", help="some seconds only: does it run at all")
    parser.add_argument("--json", action="store_true", help="nothing but the JSON object")
    args = parser.parse_args()
    args.seconds = 10 if args.short else args.seconds
    os.environ.update(ONE_THREAD)
    shape = {"layers": 8, "hidden": 384, "heads": 6, "feed_forward": 1024, "tokens": 256, "sequences": 4}
    found: dict[str, list[float]] = {"idle": [], "training": []}
    with tempfile.TemporaryDirectory() as scratch:
        job = Path(scratch) / "job.toml"
        job.write_text(JOB.format(**shape, **vars(args), steps=STEPS, wire="raw"))
        for _ in range(args.rounds):
            for kind, given in (("idle", None), ("training", job)):
                found[kind] += lateness(args.stages, args.seconds, given)
                if not args.json:
                    print(f"{kind}: p99 of each daemon's loop {found[kind][-args.stages :]} ms", flush=True)
    figures = {f"{kind}_p99_ms": round(max(each), 2) for kind, each in found.items()}
    gap = {"more_ms": round(figures["training_p99_ms"] - figures["idle_p99_ms"], 2)}
    print(json.dumps({"benchmark": "looplag", **vars(args), **figures, **gap, "load": round(os.getloadavg()[0], 1)}))


if __name__ == "__main__":
    main()
