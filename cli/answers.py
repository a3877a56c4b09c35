"""From the daemon's answers to views, and the few words that follow from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

from swarmd import __version__
from swarmd.cli import units
from swarmd.cli.output import words
from swarmd.protocols import control, control_credits, control_earn, control_entries
from swarmd.protocols.control import DeviceView, EventView, HostedView, NodeView, PeerView, RunView, Snapshot
from swarmd.protocols.control_credits import InvoiceView, LedgerView, PayeeView, WalletView, WriteView
from swarmd.protocols.control_earn import EarnView
from swarmd.protocols.control_entries import ExplainView, HistoryLine, ReceiptsView
from swarmd.protocols.errors import ProtocolViolation

T = TypeVar("T")
MAIN = "main"
"""What the network is called that everybody is on who names no other one."""


def node(result: dict[str, Any]) -> NodeView:
    """The answer to ``status``. Raises ProtocolViolation."""
    return _read(control.node_view, result)


def run(result: dict[str, Any]) -> RunView:
    """The answer to ``job``. Raises ProtocolViolation."""
    return _read(control.run_view, result)


def snapshot(result: dict[str, Any]) -> Snapshot:
    """A result of ``watch``. Raises ProtocolViolation."""
    return _read(control.snapshot, result)


def event(result: dict[str, Any]) -> EventView:
    """A result of ``logs``. Raises ProtocolViolation."""
    return _read(lambda fields: EventView(**fields), result)


def peers(result: dict[str, Any]) -> list[PeerView]:
    """The answer to ``peers``. Raises ProtocolViolation."""
    return _read(lambda fields: [control.peer_view(each) for each in fields["peers"]], result)


def runs(result: dict[str, Any]) -> list[RunView]:
    """The answer to ``jobs``. Raises ProtocolViolation."""
    return _read(lambda fields: [control.run_view(each) for each in fields["jobs"]], result)


def hosted(result: dict[str, Any]) -> list[HostedView]:
    """The other part of the answer to ``jobs``. Raises ProtocolViolation."""
    return _read(lambda fields: [HostedView(**each) for each in fields["hosted"]], result)


def wallet(result: dict[str, Any]) -> WalletView:
    """The answer to ``wallet``. Raises ProtocolViolation."""
    return _read(control_credits.wallet_view, result)


def payee(result: dict[str, Any]) -> PayeeView:
    """The answer to ``payee``. Raises ProtocolViolation."""
    return _read(control_credits.payee_view, result)


def write(result: dict[str, Any]) -> WriteView:
    """A result of ``pay``, ``stake`` or ``unstake``. Raises ProtocolViolation."""
    return _read(control_credits.write_view, result)


def history(result: dict[str, Any]) -> list[HistoryLine]:
    """The answer to ``history``. Raises ProtocolViolation."""
    return _read(lambda fields: [control_entries.history_line(each) for each in fields["lines"]], result)


def explain(result: dict[str, Any]) -> ExplainView:
    """The answer to ``explain``. Raises ProtocolViolation."""
    return _read(control_entries.explain_view, result)


def receipts(result: dict[str, Any]) -> ReceiptsView:
    """The answer to ``receipts``. Raises ProtocolViolation."""
    return _read(control_entries.receipts_view, result)


def invoice(result: dict[str, Any]) -> InvoiceView:
    """The answer to ``invoice``. Raises ProtocolViolation."""
    return _read(control_credits.invoice_view, result)


def earn(result: dict[str, Any]) -> EarnView:
    """The answer to ``earn``. Raises ProtocolViolation."""
    return _read(control_earn.earn_view, result)


def ledger(result: dict[str, Any]) -> LedgerView:
    """The answer to ``ledger``. Raises ProtocolViolation."""
    return _read(control_credits.ledger_view, result)


def _read(make: Callable[[dict[str, Any]], T], result: dict[str, Any]) -> T:
    try:
        return make(result)
    except (KeyError, TypeError, ValueError) as error:
        raise ProtocolViolation(
            f"the daemon's answer is not of this version (swarmd {__version__}): {error}",
            hint="restart the daemon: swarmd down, then swarmd up",
        ) from error


def warn_of_skew(view: NodeView) -> None:
    """Say so when the daemon is of another version than this command."""
    if view.version != __version__:
        words(f"warning: the daemon is swarmd {view.version}, this command is {__version__}; restart the daemon")


def next_commands(view: NodeView) -> list[str]:
    """What a person may want to type after ``status``."""
    if view.hosting or view.runs:
        return ["", "  swarmd top            watch it live", "  swarmd jobs ls        the runs of this node"]
    return [
        "",
        "  swarmd train JOB.toml      train a model with these peers",
        "  swarmd id --addresses      what another node's --bootstrap takes",
    ]


def device_rows(status: dict[str, Any], known: dict[str, Any]) -> list[tuple[str, str, DeviceView]]:
    """(peer id, name, device) of this node and its peers, fastest first."""
    own = node(status)
    mine = [(own.peer, "this node", own.device)] if own.device else []
    others = [(view.peer, view.name, view.device) for view in peers(known) if view.peer != own.peer]
    return sorted(mine + others, key=lambda row: -row[2].flops)


def device_object(peer: str, name: str, device: DeviceView) -> dict[str, Any]:
    """A row of ``device_rows`` for ``--json``."""
    return {"peer": peer, "name": name, **_device(device)}


def device_total(rows: Sequence[tuple[str, str, DeviceView]]) -> str:
    """The sum under the table of devices."""
    if not rows:
        return "no device has been measured yet\n  next: swarmd status"
    measured = [row[2].flops for row in rows if row[2].flops]
    left = len(rows) - len(measured)
    more = f"; {left} not probed yet" if left else ""
    return f"{units.counted(len(measured), 'device')}, {units.flops(sum(measured))} together{more}"


def _device(device: DeviceView) -> dict[str, Any]:
    fields = asdict(device)
    return {"device": fields.pop("name"), **fields}
