"""Boot: flags, then settings, then the node. Heavy imports come only once the settings are in order."""

from __future__ import annotations

import argparse
import json
import os
import sys

from swarmd.config import load
from swarmd.log import configure_log
from swarmd.paths import find_paths
from swarmd.protocols.errors import SwarmdError

# Flag, setting, and what argparse should know of it.
_FLAGS: tuple[tuple[str, str, dict[str, object]], ...] = (
    ("--listen", "listen", {"action": "append", "metavar": "MULTIADDR"}),
    ("--tensor-host", "tensor_host", {"metavar": "IP"}),
    ("--tensor-port", "tensor_port", {"type": int, "metavar": "PORT"}),
    ("--bootstrap", "bootstrap", {"action": "append", "metavar": "MULTIADDR"}),
    ("--no-mdns", "mdns", {"action": "store_const", "const": False}),
    ("--name", "name", {}),
    ("--device", "device", {}),
    ("--threads", "threads", {"type": int}),
    ("--memory", "memory_limit", {"metavar": "SIZE"}),
    ("--price", "price", {"type": int}),
    ("--accept", "accept", {"metavar": "self|list|network"}),
    ("--allow", "allow", {"action": "append", "metavar": "PEER"}),
    ("--max-stages", "max_stages", {"type": int}),
    ("--metrics", "metrics", {"metavar": "HOST:PORT|off"}),
    ("--log-level", "log_level", {}),
)


def main(arguments: list[str]) -> int:
    """Run a node until it is told to stop. Gives the exit code."""
    parser = argparse.ArgumentParser(prog="swarmd up", description="Join the swarm and offer this device.")
    parser.add_argument("--state-dir", metavar="DIR")
    parser.add_argument("--json", action="store_true", help="say the addresses as one JSON line")
    for flag, setting, options in _FLAGS:
        parser.add_argument(flag, dest=setting, default=None, **options)  # type: ignore[arg-type]
    parser.add_argument("--fault", default="", help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    try:
        return _run(chosen)
    except SwarmdError as error:
        print(f"swarmd: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"  {error.hint}", file=sys.stderr)
        return error.exit_code


def _run(chosen: argparse.Namespace) -> int:
    paths = find_paths(chosen.state_dir, os.environ)
    flags = {setting: getattr(chosen, setting) for _, setting, _ in _FLAGS}
    config, origins = load(paths.state_dir, flags, os.environ)
    configure_log(config.log_level)

    import trio

    from swarmd.node import Boot, run_node

    def ready(addresses: tuple[str, ...]) -> None:
        if chosen.json:
            print(json.dumps({"pid": os.getpid(), "addresses": addresses}), flush=True)
        else:
            _greet(addresses, str(paths.state_dir))

    boot = Boot(config=config, origins=origins, paths=paths, ready=ready, fault=chosen.fault)
    trio.run(run_node, boot)
    return 0


def _greet(addresses: tuple[str, ...], state_dir: str) -> None:
    print(f"swarmd is ready; its state is in {state_dir}")
    for address in addresses:
        print(f"  reach it with: swarmd up --bootstrap {address}")
    print("next: swarmd status, swarmd train JOB.toml; ctrl-C leaves the swarm in order", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
