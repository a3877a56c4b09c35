"""The demo's own network: the keys first, then a genesis that names them."""

from __future__ import annotations

from collections.abc import Sequence

from swarmd.cli.offline import ask_folder
from swarmd.paths import Paths

NAME = "demo"
SUPPLY = 1000
"""Credits, all with the first node, which submits the job."""
COOLDOWN_SECONDS = 60
GRACE_SECONDS = 10


def found(nodes: Sequence[Paths]) -> str:
    """Put the nodes on a network of their own, on whose credits all of them vote; its id."""
    first, *others = nodes
    members = [ask_folder(paths, "key_make")["peer"] for paths in others]
    made = ask_folder(
        first,
        "network_init",
        name=NAME,
        supply=str(SUPPLY),
        members=members,
        cooldown=COOLDOWN_SECONDS,
        grace=GRACE_SECONDS,
    )
    for paths in others:
        ask_folder(paths, "network_join", invite=str(first.network))
    return str(made["network"])
