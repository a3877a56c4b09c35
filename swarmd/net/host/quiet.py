"""The library's log records stay off the user's terminal."""

from __future__ import annotations

import logging
import os

import libp2p.network.connection.swarm_connection as swarm_connection

_LOGGER = logging.getLogger("libp2p")


def keep_quiet() -> None:
    """Silence the library, unless ``LIBP2P_DEBUG`` asks for its records. May be called again."""
    # That module logs through the root logger, whose first use installs a handler on stderr.
    swarm_connection.logging = _LOGGER
    if "LIBP2P_DEBUG" not in os.environ:
        _LOGGER.handlers = [logging.NullHandler()]
        _LOGGER.propagate = False
        _LOGGER.setLevel(logging.CRITICAL)
