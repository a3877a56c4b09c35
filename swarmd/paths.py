"""Where everything lies: one state folder per node, and the control socket.

Light on imports, since the command line starts with it.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from platformdirs import user_state_path

from swarmd.protocols.errors import StateError

SOCKET_PATH_BYTES = 100
"""Longest socket path we bind; the kernel's limit is 104 bytes on macOS and 108 on Linux."""


def runtime_folder(env: Mapping[str, str]) -> Path:
    """The folder for sockets whose place in the state folder would be too long a path."""
    session = env.get("XDG_RUNTIME_DIR", "")
    if session.startswith("/") and len(session) < 48:
        return Path(session) / "swarmd"
    return Path(tempfile.gettempdir()) / f"swarmd-{os.geteuid()}"


@dataclass(frozen=True, slots=True)
class Paths:
    """The place of every file of one node. Building it touches no file."""

    state_dir: Path
    """Made absolute, links resolved: two spellings of a folder are one node."""
    runtime_dir: Path = field(default_factory=lambda: runtime_folder(os.environ))

    def __post_init__(self) -> None:
        object.__setattr__(self, "state_dir", self.state_dir.expanduser().resolve())

    @property
    def key(self) -> Path:
        """The node's private key."""
        return self.state_dir / "key.pem"

    @property
    def lock(self) -> Path:
        """Held by the running daemon; contains its process id."""
        return self.state_dir / "lock"

    @property
    def network(self) -> Path:
        """Which network the node is on."""
        return self.state_dir / "network.toml"

    @property
    def config(self) -> Path:
        """The user's settings."""
        return self.state_dir / "config.toml"

    @property
    def database(self) -> Path:
        """Runs, metrics, events, adverts, counters."""
        return self.state_dir / "node.db"

    @property
    def self_db(self) -> Path:
        """What our key has signed in the ledger: with the key it is the account."""
        return self.state_dir / "self.db"

    @property
    def ledger_db(self) -> Path:
        """What is certified of every account; peers have it too."""
        return self.state_dir / "ledger.db"

    @property
    def jobs_db(self) -> Path:
        """Lanes, vouchers, receipts and lines of invoices."""
        return self.state_dir / "jobs.db"

    @property
    def blobs(self) -> Path:
        """Content-addressed files."""
        return self.state_dir / "blobs"

    @property
    def leases(self) -> Path:
        """Files of the stages held here; each goes with its lease."""
        return self.state_dir / "leases"

    @property
    def runs(self) -> Path:
        """The parent of every run's folder."""
        return self.state_dir / "runs"

    def run(self, run: str) -> Path:
        """One run's results and records."""
        return self.runs / run

    @property
    def probe(self) -> Path:
        """What the last measurement of the device found."""
        return self.state_dir / "probe.json"

    @property
    def energy(self) -> Path:
        """Kilowatt-hours that the work here took, by day."""
        return self.state_dir / "energy.json"

    @property
    def log(self) -> Path:
        """The daemon's log; older parts beside it are numbered."""
        return self.state_dir / "swarmd.log"

    @property
    def control(self) -> Path:
        """The control socket; elsewhere and named by a hash if the state folder's path is too long."""
        beside = self.state_dir / "control.sock"
        if len(os.fsencode(beside)) <= SOCKET_PATH_BYTES:
            return beside
        name = hashlib.sha256(os.fsencode(self.state_dir)).hexdigest()[:16]
        return self.runtime_dir / f"{name}.sock"


def find_paths(flag: str | Path | None, env: Mapping[str, str]) -> Paths:
    """The node in ``--state-dir``, else in SWARMD_STATE_DIR, else where the platform keeps state."""
    chosen = flag or env.get("SWARMD_STATE_DIR")
    folder = Path(chosen) if chosen else user_state_path("swarmd", appauthor=False)
    return Paths(folder, runtime_folder(env))


def private_folder(folder: Path) -> None:
    """Make a folder only we can enter, or check that an existing one is.

    Raises:
        StateError: not a folder, a link, another's, open to others, or it cannot be made.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError:
        raise StateError(f"{folder} is not a folder", hint="move it away or choose another --state-dir") from None
    except OSError as error:
        raise StateError(
            f"cannot make the folder {folder}: {error.strerror}", hint="choose a --state-dir you can write to"
        ) from error
    check_private_folder(folder)


def check_private_folder(folder: Path) -> None:
    """Refuse a folder that others could enter. A client does this before it trusts a socket in there.

    Raises:
        StateError: as ``private_folder``, also when the folder is missing.
    """
    try:
        facts = os.lstat(folder)
    except OSError as error:
        raise StateError(f"cannot read {folder}: {error.strerror}", hint="start the daemon: swarmd up") from error
    if not stat.S_ISDIR(facts.st_mode):
        raise StateError(f"{folder} is not a folder", hint="move it away or choose another --state-dir")
    check_private(folder, facts, "700")


def check_private(path: Path, facts: os.stat_result, mode: str) -> None:
    """Refuse what belongs to another user or is open to others. ``mode`` is the octal one the hint asks for.

    Raises:
        StateError: with the command that cures it.
    """
    if facts.st_uid != os.geteuid():
        raise StateError(
            f"{path} belongs to user {facts.st_uid}, and swarmd runs as user {os.geteuid()}",
            hint=f"run swarmd as its owner, or: sudo chown {os.geteuid()} {path}",
        )
    if stat.S_IMODE(facts.st_mode) & 0o077:
        raise StateError(
            f"{path} is open to other users (mode {stat.S_IMODE(facts.st_mode):o})",
            hint=f"chmod {mode} {path}",
        )
