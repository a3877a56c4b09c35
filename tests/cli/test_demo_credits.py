"""The demo's books: read from all nodes, waited for while lanes settle, and never longer than allowed."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from swarmd.cli.demo.credits import Credits, settled_credits
from swarmd.cli.demo.founding import SUPPLY, found
from swarmd.cli.offline import ask_folder
from swarmd.paths import Paths
from swarmd.protocols.control import as_json
from swarmd.protocols.control_credits import InvoiceView, LedgerView, SupplyView
from swarmd.protocols.ledger.amounts import MICRO
from tests.cli.fake_daemon import FakeDaemon, fake_daemon

RUN = "ab" * 32
NETWORK = "cd" * 32


def invoice(*, invoiced: int = 5, receipted: int = 5, paid: int = 5, locked: int = 0) -> dict[str, Any]:
    return as_json(
        InvoiceView(
            enabled=True,
            run=RUN,
            payer="",
            role="payer",
            lines=(),
            more=False,
            invoiced=invoiced,
            receipted=receipted,
            paid=paid,
            locked=locked,
            refunded=0,
            balanced=True,
            problems=(),
        )
    )


def ledger(root: str = "ee" * 32, total: int = SUPPLY * MICRO) -> dict[str, Any]:
    supply = SupplyView(
        granted=total, balances=total, locked=0, bonded=0, unbonding=0, burned=0, in_flight=0, total=total
    )
    return as_json(LedgerView(enabled=True, network=NETWORK, network_name="demo", root=root, supply=supply))


@pytest.fixture
def nodes() -> Iterator[list[FakeDaemon]]:
    """Two daemons whose books balance."""
    folder = Path(tempfile.mkdtemp(prefix="swarmd-t-"))
    with ExitStack() as stack:
        running = [stack.enter_context(fake_daemon(Paths(folder / name))) for name in ("1", "2")]
        for node, name in zip(running, ("1", "2"), strict=True):
            node.paths = Paths(folder / name)  # type: ignore[attr-defined]
            node.answers |= {
                "invoice": lambda _: invoice(),
                "ledger": lambda _: ledger(),
                "wallet": lambda _: {"pending_in": 0},
            }
        yield running
    shutil.rmtree(folder)


def books(nodes: list[FakeDaemon], within: float = 0.0) -> Credits:
    return settled_credits([node.paths for node in nodes], RUN, within=within)  # type: ignore[attr-defined]


def after(count: int, early: Callable[[], Any], late: Callable[[], Any]) -> Callable[[Any], Any]:
    """An answer that changes after so many questions."""
    asked = iter(range(1 << 30))
    return lambda _: late() if next(asked) >= count else early()


def test_books_that_balance_are_told_at_once(nodes: list[FakeDaemon]) -> None:
    found = books(nodes)
    assert found.balanced
    assert found == Credits(genesis=NETWORK, supply=SUPPLY * MICRO, invoiced=5, receipted=5, paid=5, heads_equal=True)
    assert nodes[0].asked[0] == ("invoice", {"run": RUN})


@pytest.mark.parametrize(
    ("node", "method", "early"),
    [
        (0, "invoice", lambda: invoice(paid=2)),
        (0, "invoice", lambda: invoice(invoiced=0, receipted=0, paid=0, locked=9)),
        (1, "ledger", lambda: ledger(root="ff" * 32)),
        (1, "wallet", lambda: {"pending_in": 3}),
    ],
)
def test_what_is_still_settling_is_waited_for(
    nodes: list[FakeDaemon], monkeypatch: pytest.MonkeyPatch, node: int, method: str, early: Callable[[], Any]
) -> None:
    monkeypatch.setattr("swarmd.cli.demo.credits._LOOK_EVERY", 0.0)
    late = nodes[node].answers[method]
    nodes[node].answers[method] = after(3, early, lambda: late({}))
    assert books(nodes, within=30.0).balanced
    assert len([1 for asked, _ in nodes[node].asked if asked == method]) == 4


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("invoice", invoice(paid=4)),
        ("invoice", invoice(receipted=4)),
        ("ledger", ledger(root="ff" * 32)),
        ("ledger", ledger(total=1)),
        ("ledger", as_json(LedgerView(enabled=False, network=NETWORK, network_name="main"))),
    ],
)
def test_books_that_never_balance_are_told_as_they_are(
    nodes: list[FakeDaemon], method: str, answer: dict[str, Any]
) -> None:
    nodes[0].answers[method] = lambda _: answer
    assert not books(nodes).balanced


@pytest.mark.slow
def test_the_nodes_are_put_on_one_network_that_all_of_them_vote_on(tmp_path: Path) -> None:
    nodes = [Paths(tmp_path / name) for name in ("1", "2", "3", "4")]
    network = found(nodes)
    shown = [ask_folder(paths, "network_show") for paths in nodes]
    peers = [ask_folder(paths, "key_show")["peer"] for paths in nodes]
    assert [each["network"] for each in shown] == [network] * 4
    assert shown[0]["grants"] == [[peers[0], SUPPLY * MICRO]]
    assert shown[0]["operator"] == peers[0]
    assert shown[0]["committee"] == [[peer, 1] for peer in sorted(peers)]
    assert shown[0]["private"]
