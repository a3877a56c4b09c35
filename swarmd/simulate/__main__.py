"""``python -m swarmd.simulate JOB --peers FILE``: print one line of JSON, what the simulation gave or the error."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from swarmd.protocols.errors import SwarmdError
from swarmd.simulate.answer import answer
from swarmd.simulate.peers import read_peers
from swarmd.train.prepare import read_job


def main(arguments: list[str]) -> int:
    """Simulate a job on described peers. Gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m swarmd.simulate", description=main.__doc__)
    parser.add_argument("job", type=Path)
    parser.add_argument("--peers", type=Path, required=True)
    parser.add_argument("--replicas", action="store_true")
    chosen = parser.parse_args(arguments)
    try:
        described = read_peers(chosen.peers)
        found = answer(read_job(chosen.job), chosen.job.parent, described, replicas=chosen.replicas)
        print(json.dumps({"result": found}))
    except SwarmdError as error:
        print(json.dumps({"error": {"code": error.code, "message": error.message, "hint": error.hint}}))
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
