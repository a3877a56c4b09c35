"""A short-lived process of the daemon's: ``python -m swarmd.child NAME ARGUMENTS``.

It ends when the daemon does, whatever ended the daemon: the standard input is a pipe that only the daemon
holds open, and its end of file ends this process in the middle of whatever it does.
"""

from __future__ import annotations

import os
import sys
import threading
from importlib import import_module

MODULES = {
    "prepare": "swarmd.train.prepare",
    "train": "swarmd.train.__main__",
    "probe": "swarmd.gpu.probe",
}


def main(arguments: list[str]) -> int:
    """Do the work of a module of ours; its exit code."""
    threading.Thread(target=_end_with_the_daemon, name="tether", daemon=True).start()
    code: int = import_module(MODULES[arguments[0]]).main(arguments[1:])
    return code


def _end_with_the_daemon() -> None:
    while os.read(0, 1024):
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
