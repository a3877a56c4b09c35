"""Copying a run's model out of the state folder: whole and checked, or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from swarmd.protocols.control import RunView
from swarmd.protocols.errors import NotFound, StateError, UsageError

WEIGHTS = "model.safetensors"


def fetch(view: RunView, to: Path, *, force: bool = False) -> list[str]:
    """Copy the run's model folder to ``to``, which appears only when it is complete; the files' names.

    Raises:
        NotFound: the run has no model yet.
        UsageError: ``to`` exists and ``force`` is not given.
        StateError: the copied weights are not those the run wrote.
    """
    model = Path(view.directory) / "model"
    if not model.is_dir():
        raise NotFound(
            f"run {view.run[:8]} is {view.state} and has no model yet",
            hint=f"swarmd jobs show {view.run[:8]}",
        )
    target = to.absolute()
    if os.path.lexists(target) and not force:
        raise UsageError(f"{to} exists", hint="name another folder, or replace it with --force")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as work:
        copy = Path(work) / "new"
        shutil.copytree(model, copy)
        _check(view, copy)
        if os.path.lexists(target):
            target.rename(Path(work) / "old")
        copy.rename(target)
    return sorted(str(path.relative_to(target)) for path in target.rglob("*") if path.is_file())


def _check(view: RunView, copy: Path) -> None:
    if view.weights_sha256 is None:
        return
    with open(copy / WEIGHTS, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != view.weights_sha256:
        raise StateError(
            f"{WEIGHTS} hashes to {found[:16]}…, and the run wrote {view.weights_sha256[:16]}…",
            hint="the disk or another program changed it; resume the run to write it again",
        )
