"""hivemind's environment: the one that was named, the one made before, or a new one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

VERSION = "1.1.12"
PLACE = Path.home() / ".cache" / "swarmd-bench" / f"hivemind-{VERSION}"
_INSTALL_SECONDS = 900


class NoRival(Exception):
    """hivemind's daemon cannot be run here; the message says why."""


def hivemind_python(named: Path | None) -> str:
    """Its Python. Raises NoRival."""
    place = named or PLACE
    python = place / "bin" / "python"
    if named is None and not (place / "complete").exists():
        _install(place, python)
    _check(python)
    return str(python)


def _install(place: Path, python: Path) -> None:
    try:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(place)], check=True, capture_output=True)
        install = [str(python), "-m", "pip", "install", "--quiet", f"hivemind=={VERSION}"]
        subprocess.run(install, check=True, capture_output=True, text=True, timeout=_INSTALL_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise NoRival(f"hivemind {VERSION} took over {_INSTALL_SECONDS} s to install") from error
    except subprocess.CalledProcessError as error:
        reason = str(error.stderr).strip().splitlines()[-1:] or ["no reason given"]
        raise NoRival(f"hivemind {VERSION} cannot be installed: {reason[0]}") from error
    (place / "complete").touch()


def _check(python: Path) -> None:
    question = "import hivemind, hivemind.p2p; print(hivemind.__version__)"
    try:
        done = subprocess.run([str(python), "-c", question], capture_output=True, text=True, timeout=120, check=False)
    except OSError as error:
        raise NoRival(f"{python}: {error.strerror}") from error
    if done.stdout.strip() != VERSION:
        said = done.stdout.strip() or done.stderr.strip().splitlines()[-1:]
        raise NoRival(f"{python} has no hivemind {VERSION}: {said}")
