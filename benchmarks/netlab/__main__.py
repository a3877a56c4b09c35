"""``python -m benchmarks.netlab [options] -- COMMAND``."""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import benchmarks.netlab
from benchmarks.netlab.hosts import NUMBERS, Host, LabError, read_hosts, same_hosts
from benchmarks.netlab.lab import lab
from benchmarks.netlab.queueing import Queues

_UNITS = {"up": "Mbit/s", "down": "Mbit/s", "delay": "ms", "loss": "0..1", "buffer": "ms"}


def main() -> int:
    """The command's exit status, or 2 with a reason."""
    options = _options()
    try:
        hosts = read_hosts(options.spec) if options.spec else same_hosts(options.hosts, _host(options))
        return run(hosts, options.command, seed=options.seed, mtu=options.mtu, as_json=options.json)
    except LabError as error:
        print(f"netlab: {error}", file=sys.stderr)
        return 2


def run(hosts: tuple[Host, ...], command: list[str], *, seed: int, mtu: int, as_json: bool) -> int:
    """Make the lab, run the command in it, and tell what crossed the links. Raises LabError."""
    with lab(hosts, seed=seed, mtu=mtu) as made:
        status = _command(command, {"NETLAB_HOSTS": str(len(hosts)), "NETLAB_CONTROL": str(made.control)})
    _tell(made.queues, as_json)
    return status


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.netlab",
        description=benchmarks.netlab.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--hosts", type=int, default=2)
    default = Host()
    for name in NUMBERS:
        parser.add_argument(f"--{name}", type=float, default=getattr(default, name), help=_UNITS[name])
    parser.add_argument("--spec", type=Path, help="a TOML file with a [[host]] table for each host")
    parser.add_argument("--mtu", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0, help="of the losses")
    parser.add_argument("--json", action="store_true", help="tell what crossed each link as one JSON object")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    options.command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not options.command:
        parser.error("name a command to run, after --")
    return options


def _host(options: argparse.Namespace) -> Host:
    return Host(**{name: getattr(options, name) for name in NUMBERS})


def _command(command: list[str], environment: dict[str, str]) -> int:
    try:
        process = subprocess.Popen(command, env={**os.environ, **environment})
    except OSError as error:
        raise LabError(f"cannot run {command[0]}: {error.strerror}") from error
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        return process.wait()
    except KeyboardInterrupt:
        return process.wait()


def _tell(queues: Queues, as_json: bool) -> None:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    links = queues.statistics()
    if as_json:
        print(json.dumps({"cpu_s": round(usage.ru_utime + usage.ru_stime, 3), "hosts": links}), file=sys.stderr)
        return
    for number, link in enumerate(links):
        lost = ", ".join(f"{link[name]} {name}" for name in ("lost", "overflowed", "blocked"))
        print(
            f"netlab: host {number}: sent {link['sent_bytes'] / 1e6:.2f} MB, received "
            f"{link['received_bytes'] / 1e6:.2f} MB; packets {lost}; longest queue {link['longest_queue_ms']:.0f} ms",
            file=sys.stderr,
        )


if __name__ == "__main__":
    sys.exit(main())
