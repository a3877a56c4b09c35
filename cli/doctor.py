"""``swarmd doctor``: look at everything a node needs, and say what cures what is wrong."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from swarmd.cli import answers, check_files, check_machine, check_network, check_node
from swarmd.cli.client import call
from swarmd.cli.finding import FAIL, OK, WARN, Finding, fail, ok
from swarmd.cli.output import console, emit, named, words
from swarmd.cli.palette import BAD, DIM, GOOD
from swarmd.cli.palette import WARN as YELLOW
from swarmd.paths import Paths
from swarmd.protocols.control import NodeView
from swarmd.protocols.errors import DaemonUnreachable, SwarmdError, UsageError

if TYPE_CHECKING:
    from swarmd.config import Config

_MARKS = {OK: ("✔", GOOD), WARN: ("!", YELLOW), FAIL: ("✘", BAD)}
STATUS_SECONDS = 5.0


def run(paths: Paths, *, as_json: bool) -> int:
    """Run every check and print each as it ends; 1 if any failed."""
    found: list[Finding] = []
    for finding in findings(paths):
        found.append(finding)
        if not as_json:
            _print(finding)
    worst = [finding.level for finding in found]
    if as_json:
        emit({"ok": FAIL not in worst, "checks": [asdict(finding) for finding in found]})
    else:
        words(f"{worst.count(OK)} ok, {worst.count(WARN)} to look at, {worst.count(FAIL)} failed")
    return 1 if FAIL in worst else 0


def findings(paths: Paths) -> Iterator[Finding]:
    """Every check, the quick ones first."""
    yield check_machine.python(sys.version_info[:3])
    yield check_machine.packages()
    yield check_machine.disk(paths.state_dir)
    yield check_machine.clock(paths.state_dir)
    yield check_node.state_folder(paths)
    yield check_node.key(paths)
    yield from check_files.findings(paths)
    settings, config = _settings(paths)
    yield settings
    answer, node = _daemon(paths)
    yield answer
    if node is not None:
        yield check_node.versions(node)
    if config is not None:
        yield from check_network.ports(config, running=node is not None)
        yield from check_network.bootstrap(config.bootstrap, mdns=config.mdns)
        yield check_network.mdns(config.mdns)
    yield check_machine.torch()


def _settings(paths: Paths) -> tuple[Finding, Config | None]:
    from swarmd.config import load

    try:
        config, _ = load(paths.state_dir, {}, os.environ)
    except UsageError as error:
        return fail("settings", error.message, error.hint), None
    text = str(paths.config) if paths.config.exists() else "none of your own, so every one has its default"
    return ok("settings", text), config


def _daemon(paths: Paths) -> tuple[Finding, NodeView | None]:
    try:
        node = answers.node(call(paths, "status", wait=STATUS_SECONDS))
    except DaemonUnreachable as error:
        return check_node.no_daemon(error), None
    except SwarmdError as error:
        return fail("daemon", error.message, error.hint), None
    return check_node.socket(paths, node), node


def _print(finding: Finding) -> None:
    from rich.text import Text

    mark, style = _MARKS[finding.level]
    console().print(Text.assemble((mark, style), f" {finding.name:<14} ", finding.text), soft_wrap=True)
    if finding.fix:
        console().print(Text.assemble(f"{'':<17}", ("fix: ", DIM), named(finding.fix)), soft_wrap=True)
