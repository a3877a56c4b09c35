"""A background transfer over a link on virtual time: it fills the link, keeps its queue short, and gives way."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from swarmd.scheduler.background import FIRST, LARGEST, SMALLEST, TARGET_SECONDS, BackgroundWindow, Path

PIECE = 16 * 1024


@dataclass
class Link:
    """A queue served at a rate, seen through a delay; ``others`` is what others keep in it, in seconds."""

    rate: float
    delay: float
    others: float = 0.0
    now: float = 0.0
    window: BackgroundWindow = field(default_factory=BackgroundWindow)
    free: float = 0.0
    sent: int = 0
    acks: list[tuple[float, int]] = field(default_factory=list)
    queues: list[tuple[float, float]] = field(default_factory=list)
    last: float = 0.0

    def path(self) -> Path:
        done = [size for at, size in self.acks if at <= self.now]
        self.acknowledged = getattr(self, "acknowledged", 0) + sum(done)
        self.acks = self.acks[len(done) :]
        return Path(self.delay + self.last, self.delay, self.acknowledged, self.sent - self.acknowledged)

    def run(self, until: float) -> None:
        while self.now < until:
            pause = self.window.pause(self.path())
            if pause:
                self.now += pause
                continue
            begins = max(self.now + self.others, self.free)
            self.free = begins + PIECE / self.rate
            self.last = begins - self.now
            self.queues.append((self.now, self.last))
            self.sent += PIECE
            self.acks.append((self.free + self.delay, PIECE))


@pytest.mark.parametrize("mbit", [10, 40, 100])
@pytest.mark.parametrize("delay", [0.005, 0.04, 0.15])
def test_it_fills_a_link_and_keeps_its_queue_short(mbit: float, delay: float) -> None:
    link = Link(mbit * 125_000, delay)
    link.run(20.0)
    late = [queue for at, queue in link.queues if at > 10.0]
    assert link.sent > 0.7 * 20.0 * link.rate
    piece = PIECE / link.rate
    assert sorted(late)[len(late) * 99 // 100] < 2.5 * TARGET_SECONDS + piece + SMALLEST / link.rate


def test_it_gives_way_to_others_and_comes_back() -> None:
    link = Link(5e6, 0.02)
    link.run(10.0)
    link.others = 0.05
    link.run(20.0)
    assert link.window.size == SMALLEST
    link.others = 0.0
    begun = link.sent
    link.run(40.0)
    assert link.sent - begun > 0.5 * 20.0 * 5e6


def test_a_link_without_delay_gets_the_largest_window() -> None:
    window, acknowledged = BackgroundWindow(), 0
    for _ in range(10):
        full = int(window.size)
        assert window.pause(Path(0.0001, 0.0001, acknowledged, full)) > 0.0
        acknowledged += full
        assert window.pause(Path(0.0001, 0.0001, acknowledged, 0)) == 0.0
    assert window.size == LARGEST


def test_a_window_that_is_not_used_does_not_grow() -> None:
    window = BackgroundWindow()
    for number in range(100):
        window.pause(Path(0.001, 0.001, number * FIRST, 0))
    assert window.size == FIRST


def test_it_looks_again_soon_but_never_at_once() -> None:
    for round_trip, expected in ((0.00001, 0.001), (0.012, 0.003), (10.0, 0.005)):
        assert BackgroundWindow().pause(Path(round_trip, round_trip, 0, LARGEST)) == expected
