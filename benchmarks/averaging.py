"""Replica averaging beside hivemind 1.1.12: real processes on loopback, rounds by turns, the same precision.

    python -m benchmarks.averaging [--json] [--short] [--codec float32|float16] [--hivemind VENV]

A round's time is from the parent's word to the last process that has the mean. Hivemind's group is matched
before, so its matchmaking is not counted; ours counts everything. Then one of ours is killed in a round: the
survivors must hold the same bits, right for the contributors that their report names, and say what is missing.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

PEERS = Path(__file__).parent / "averaging_peers"
VENV = Path.home() / ".cache/swarmd-bench/hivemind-1.1.12"
COUNT = 4
Report = dict[str, Any]


class Group:
    """Processes that average together."""

    def __init__(self, python: str, script: str, values: int, codec: str) -> None:
        self.children = [
            subprocess.Popen(
                [python, str(PEERS / script), str(place), str(COUNT), str(values), codec],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                start_new_session=True,
            )
            for place in range(COUNT)
        ]

    def tell(self, place: int, **order: object) -> None:
        """One line to a process."""
        stdin = self.children[place].stdin
        assert stdin is not None
        stdin.write(json.dumps(order) + "\n")
        stdin.flush()

    def hear(self, place: int) -> Report:
        """One line from a process. Raises RuntimeError when it has ended."""
        stdout = self.children[place].stdout
        assert stdout is not None
        line = stdout.readline()
        if not line:
            raise RuntimeError(f"process {place} has ended")
        report: Report = json.loads(line)
        return report

    def prepare(self, number: int) -> None:
        """Everybody has its values, and waits for the word."""
        for place in range(COUNT):
            self.tell(place, round=number)
        for place in range(COUNT):
            self.hear(place)

    def round(self, number: int) -> Report:
        """One round: seconds, the largest error, whether all have the same bits."""
        self.prepare(number)
        begun = time.perf_counter()
        for place in range(COUNT):
            self.tell(place, go=number)
        done = [self.hear(place) for place in range(COUNT)]
        seconds = time.perf_counter() - begun
        if any("failed" in each for each in done):
            raise RuntimeError(f"a round failed: {done}")
        found = [self.hear(place) for place in range(COUNT)]
        return {
            "seconds": seconds,
            "error": max(each["error"] for each in found),
            "equal": len({each["digest"] for each in found}) == 1,
            "complete": all(each.get("complete", True) for each in found),
            "cpu": sum(each.get("cpu", 0.0) for each in done),
        }

    def killed(self, number: int, victim: int, after: float) -> Report:
        """A round in which one process is killed ``after`` seconds."""
        self.prepare(number)
        begun = time.perf_counter()
        for place in range(COUNT):
            self.tell(place, go=number)
        time.sleep(after)
        self.children[victim].send_signal(signal.SIGKILL)
        rest = [place for place in range(COUNT) if place != victim]
        done = [self.hear(place) for place in rest]
        seconds = time.perf_counter() - begun
        if any("failed" in each for each in done):
            return {"killed_after": after, "seconds": seconds, "failed": [each.get("failed") for each in done]}
        found = [self.hear(place) for place in rest]
        return {
            "killed_after": after,
            "seconds": seconds,
            "equal": len({each["digest"] for each in found}) == 1,
            "error": max(each["error"] for each in found),
            "complete": any(each["complete"] for each in found),
            "missing": found[0]["missing"],
            "fraction": found[0]["fraction"],
            "contributed": found[0]["contributed"],
        }

    def close(self) -> None:
        """End all processes, and what they have started: hivemind's children outlive their parents."""
        for child in self.children:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def ours(values: int, codec: str) -> Group:
    """Our processes, connected."""
    group = Group(sys.executable, "ours.py", values, codec)
    tickets = [group.hear(place)["tickets"] for place in range(COUNT)]
    for place in range(COUNT):
        others = {str(other): tickets[other][str(place)] for other in range(COUNT) if other != place}
        group.tell(place, tickets=others)
    for place in range(COUNT):
        group.hear(place)
    return group


def hivemind(venv: Path, values: int, codec: str) -> Group:
    """Hivemind's processes, each with its DHT."""
    group = Group(str(venv / "bin/python"), "hivemind_peer.py", values, codec)
    known: list[str] = []
    for place in range(COUNT):
        group.hear(place)
        group.tell(place, initial=known)
        known += group.hear(place)["addresses"]
    for place in range(COUNT):
        group.hear(place)
    return group


def provided(venv: Path) -> str:
    """Make the environment if it is not there; why not, or nothing."""
    if (venv / "bin/python").exists():
        return ""
    try:
        subprocess.run(["python3.11", "-m", "venv", str(venv)], check=True, capture_output=True, timeout=120)
        pip = [str(venv / "bin/pip"), "install", "-q", "hivemind==1.1.12"]
        subprocess.run(pip, check=True, capture_output=True, timeout=1800)
    except (OSError, subprocess.SubprocessError) as error:
        return f"hivemind 1.1.12 cannot be had here: {error}"
    return ""


def median_of(rounds: list[Report]) -> Report:
    """Medians and worst cases."""
    return {
        "median_seconds": statistics.median(each["seconds"] for each in rounds),
        "seconds": [round(each["seconds"], 3) for each in rounds],
        "max_error": max(each["error"] for each in rounds),
        "equal": all(each["equal"] for each in rounds),
        "complete": all(each["complete"] for each in rounds),
        "cpu_seconds": statistics.median(each["cpu"] for each in rounds),
    }


def compare(values: int, codec: str, rounds: int, venv: Path) -> Report:
    """Everything."""
    missing = provided(venv)
    groups = {"ours": ours(values, codec)}
    try:
        if not missing:
            groups["hivemind"] = hivemind(venv, values, codec)
        found: dict[str, list[Report]] = {name: [] for name in groups}
        for number in range(rounds + 1):
            for name, group in groups.items():
                result = group.round(number)
                if number:  # the first one warms up
                    found[name].append(result)
        report: Report = {"peers": COUNT, "values": values, "codec": codec, "rounds": rounds}
        report |= {name: median_of(each) for name, each in found.items()}
        if missing:
            report["hivemind"] = missing
        else:
            report["ratio"] = report["ours"]["median_seconds"] / report["hivemind"]["median_seconds"]
            groups.pop("hivemind").close()
        report["killed"] = groups["ours"].killed(rounds + 1, COUNT - 1, 0.4 * report["ours"]["median_seconds"])
        return report
    finally:
        for group in groups.values():
            group.close()


def main() -> None:
    """Print what was found; with --json, on one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--short", action="store_true", help="a million values instead of ten")
    parser.add_argument("--codec", choices=("float32", "float16"), default="float32")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--hivemind", type=Path, default=VENV, metavar="VENV")
    options = parser.parse_args()
    values = 1_000_000 if options.short else 10_000_000
    report = compare(values, options.codec, options.rounds, options.hivemind)
    print(json.dumps(report, indent=None if options.json else 2))


if __name__ == "__main__":
    main()
