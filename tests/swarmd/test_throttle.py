"""A node's rate caps over real links: they hold, for all links together, and no end waits for them."""

from __future__ import annotations

import threading
import time
from contextlib import AsyncExitStack

import pytest
import trio
import trio.testing

from swarmd.net.tensorlink import Throttle, rates_of
from swarmd.net.tensorlink.throttle import HEADERS, Share
from swarmd.protocols.errors import PeerLost
from swarmd.scheduler.sharing import BURST_SECONDS, Lane, Rank
from tests.swarmd.test_tensorlink import frame, linked

MBIT = 80.0


def seconds_for(count: int) -> float:
    """How long so many bytes take at the cap, after its burst."""
    return count * HEADERS * 8 / (MBIT * 1e6) - BURST_SECONDS


@pytest.mark.net
@pytest.mark.slow
@pytest.mark.parametrize("way", ["up", "down"])
async def test_links_together_keep_to_a_cap(way: str) -> None:
    throttle = Throttle(MBIT)
    async with AsyncExitStack() as stack:
        pairs = [await stack.enter_async_context(linked(**{way: throttle})) for _ in range(2)]
        header, payload = frame(1, rows=1024)
        begun = time.monotonic()
        for _ in range(3):
            for pair in pairs:
                pair.out.send(header, payload)
        for pair in pairs:
            await pair.sink.until(frames=3)
        took = time.monotonic() - begun
    expected = seconds_for(6 * payload.nbytes)
    assert expected * 0.98 <= took <= expected * 2 + 5  # a busy machine may be late, never early


@pytest.mark.net
async def test_a_link_that_waits_for_its_turn_ends_at_once() -> None:
    with trio.fail_after(30):
        async with linked(up=Throttle(0.01)) as pair:
            pair.out.send(*frame(1, rows=4096))
            await trio.testing.wait_all_tasks_blocked(0.01)
        async with linked(down=Throttle(0.01)) as pair:
            pair.out.send(*frame(1, rows=4096))
            await trio.testing.wait_all_tasks_blocked(0.01)


def test_a_thread_that_waits_is_stopped() -> None:
    share = Share(Throttle(0.001))
    share.wait(Rank.BULK, 10**6)
    threading.Timer(0.01, share.stop).start()
    with pytest.raises(PeerLost):
        share.wait(Rank.BULK, 1)


async def test_a_wait_in_the_event_loop_is_cancelled_and_leaves_nothing_behind() -> None:
    throttle, lane = Throttle(1.0), Lane()
    await throttle.wait_here(lane, Rank.BULK, 10_000)
    with trio.move_on_after(0.001) as scope:
        await throttle.wait_here(lane, Rank.BULK, 10)
    assert scope.cancelled_caught
    await throttle.wait_here(lane, Rank.GRADIENT, 1)


async def test_without_a_cap_nobody_waits() -> None:
    share = Share(rates_of(0.0, 5.0).up)
    share.wait(Rank.BULK, 10**12)
    await share.wait_here(Rank.BULK, 10**12)
    assert share.piece(10**12) == 10**12
    share.stop()


@pytest.mark.parametrize(("mbit", "piece"), [(1.0, 4096), (10.0, 6250), (1000.0, 65536)])
def test_pieces_take_five_milliseconds_within_bounds(mbit: float, piece: int) -> None:
    throttle = rates_of(0.0, mbit).down
    assert throttle is not None
    assert Share(throttle).piece(10**6) == piece
    assert Share(throttle).piece(10) == 10
