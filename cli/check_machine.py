"""Checks of the machine: Python, packages, torch, disk, clock."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from swarmd.cli.finding import Finding, fail, ok, warn
from swarmd.cli.units import size

PYTHON_FIRST, PYTHON_AFTER = (3, 11), (3, 14)
DISK_LOW, DISK_LEAST = 10 << 30, 1 << 30
CLOCK_SLACK_SECONDS = 60.0
TORCH_SECONDS = 60.0

_REINSTALL = "pip install --upgrade swarmd"
_REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?\s*([^;]*)(;.*)?$")
_NVIDIA = Path("/proc/driver/nvidia/version")
_TORCH_PROBE = """
import json, torch
cuda = torch.cuda.is_available()
names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())] if cuda else []
print(json.dumps({"version": torch.__version__, "built_for": torch.version.cuda, "names": names}))
"""


def python(version: tuple[int, ...]) -> Finding:
    """Whether this Python is one that swarmd runs on."""
    text = ".".join(map(str, version))
    if PYTHON_FIRST <= version < PYTHON_AFTER:
        return ok("python", text)
    return fail("python", f"{text} is not supported", "install Python 3.11, 3.12 or 3.13 and reinstall swarmd with it")


def packages(distribution: str = "swarmd") -> Finding:
    """Whether the installed packages are the versions swarmd was made for."""
    try:
        requirements = metadata.requires(distribution) or []
    except metadata.PackageNotFoundError:
        return warn("packages", f"{distribution} is not installed as a package", _REINSTALL)
    wrong = [problem for each in requirements if (problem := requirement_problem(each))]
    if wrong:
        return fail("packages", "; ".join(wrong), _REINSTALL)
    return ok("packages", f"{sum('extra ==' not in each for each in requirements)} as required")


def requirement_problem(requirement: str) -> str:
    """What is wrong with the package a requirement names; empty when nothing is, or an extra asks for it."""
    match = _REQUIREMENT.match(requirement)
    if match is None or "extra ==" in requirement:
        return ""
    name, clauses = match[1], match[2]
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return f"{name} is missing"
    return "" if satisfies(version, clauses.split(",")) else f"{name} is {version}, and {clauses.strip()} is needed"


def satisfies(version: str, clauses: Iterable[str]) -> bool:
    """Whether a version meets ``==``, ``>=`` and ``<`` clauses. A local part (``+cpu``) does not count."""
    have = _numbers(version)
    for clause in filter(None, (clause.strip() for clause in clauses)):
        sign, wanted = re.split(r"(?<=[=<>!~])(?=[^=<>])", clause, maxsplit=1)
        want = _numbers(wanted)
        width = max(len(have), len(want))
        left, right = _padded(have, width), _padded(want, width)
        if not {"==": left == right, ">=": left >= right, "<": left < right}.get(sign, True):
            return False
    return True


def torch(command: list[str] | None = None) -> Finding:
    """Whether torch can be imported, and what it can compute on; asked in a process of its own."""
    try:
        done = subprocess.run(
            command or [sys.executable, "-P", "-c", _TORCH_PROBE],
            capture_output=True,
            text=True,
            timeout=TORCH_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return fail("torch", f"does not start within {TORCH_SECONDS:g} s", "is the driver well? try nvidia-smi")
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]
        return fail("torch", f"cannot be imported: {reason}", "pip install --force-reinstall torch")
    return torch_finding(json.loads(done.stdout), _NVIDIA.exists())


def torch_finding(facts: dict[str, object], has_driver: bool) -> Finding:
    """What to say of an imported torch on a machine with or without an NVIDIA driver."""
    names = facts["names"]
    if isinstance(names, list) and names:
        return ok("torch", f"{facts['version']} on {', '.join(map(str, names))}")
    if has_driver and facts["built_for"] is None:
        return warn("torch", f"{facts['version']} cannot use this machine's GPU", "install a build of torch for CUDA")
    if has_driver:
        fix = f"update the NVIDIA driver to one for CUDA {facts['built_for']}"
        return warn("torch", f"{facts['version']} finds no GPU, and there is a driver", fix)
    return ok("torch", f"{facts['version']} on the CPU")


def disk(folder: Path) -> Finding:
    """Whether there is room for checkpoints and shards."""
    there = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(there).free
    fix = "make room, or choose another --state-dir"
    if free < DISK_LEAST:
        return fail("disk", f"{size(free)} free at {there}", fix)
    return ok("disk", f"{size(free)} free") if free >= DISK_LOW else warn("disk", f"{size(free)} free at {there}", fix)


def clock(folder: Path, now: float | None = None) -> Finding:
    """Whether the clock is later than what was written here: adverts and certificates expire by it."""
    present = time.time() if now is None else now
    seen = [Path(__file__), *(folder.iterdir() if folder.is_dir() else ())]
    newest = max(path.lstat().st_mtime for path in seen)
    if present < newest - CLOCK_SLACK_SECONDS:
        late = time.strftime("%Y-%m-%d %H:%M", time.localtime(present))
        return fail("clock", f"it says {late}, and a file here was written later", "timedatectl set-ntp true")
    return ok("clock", time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(present)))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version.partition("+")[0]))


def _padded(numbers: tuple[int, ...], width: int) -> tuple[int, ...]:
    return numbers + (0,) * (width - len(numbers))
