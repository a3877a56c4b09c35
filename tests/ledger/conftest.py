from __future__ import annotations

from collections.abc import Iterator

import pytest
import trio.testing

from tests.ledger.nodes import threads_stop_the_clock


@pytest.fixture
def ledger_clock(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> Iterator[trio.testing.MockClock]:
    with threads_stop_the_clock(autojump_clock, monkeypatch):
        yield autojump_clock
