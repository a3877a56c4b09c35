"""Checks of the node: its folder, its key, its daemon."""

from __future__ import annotations

import os
import stat

from swarmd import __version__
from swarmd.cli import units
from swarmd.cli.finding import Finding, fail, ok, warn
from swarmd.paths import Paths, check_private, check_private_folder
from swarmd.protocols.control import NodeView
from swarmd.protocols.errors import DaemonUnreachable, StateError


def state_folder(paths: Paths) -> Finding:
    """Whether the state folder is ours alone."""
    if not os.path.lexists(paths.state_dir):
        return ok("state folder", f"{paths.state_dir}, made by the first swarmd up")
    try:
        check_private_folder(paths.state_dir)
    except StateError as error:
        return fail("state folder", error.message, error.hint)
    return ok("state folder", str(paths.state_dir))


def key(paths: Paths) -> Finding:
    """Whether the private key is a file that only we can read."""
    try:
        facts = os.lstat(paths.key)
    except FileNotFoundError:
        return ok("key", "made by the first swarmd up")
    except OSError as error:
        return fail("key", f"{paths.key}: {error.strerror}", f"make {paths.key} readable to you")
    if not stat.S_ISREG(facts.st_mode):
        return fail("key", f"{paths.key} is not a plain file", "put the key file itself there, not a link")
    try:
        check_private(paths.key, facts, "600")
    except StateError as error:
        return fail("key", error.message, error.hint)
    return ok("key", f"{paths.key}, yours alone")


def no_daemon(error: DaemonUnreachable) -> Finding:
    """The daemon does not answer: nothing wrong if it was not started."""
    return warn("daemon", error.message, error.hint)


def socket(paths: Paths, node: NodeView) -> Finding:
    """The daemon answers; whether others could ask it too."""
    mode = stat.S_IMODE(os.stat(paths.control).st_mode)
    if mode & 0o077:
        return fail("daemon", f"{paths.control} is open to other users (mode {mode:o})", f"chmod 600 {paths.control}")
    return ok("daemon", f"process {node.pid} answers, {units.counted(node.peers, 'peer')}")


def versions(node: NodeView) -> Finding:
    """Whether the daemon is of the version of this command."""
    if node.version == __version__:
        return ok("version", __version__)
    text = f"the daemon is swarmd {node.version}, this command is {__version__}"
    return warn("version", text, "restart the daemon: swarmd down, then swarmd up")
