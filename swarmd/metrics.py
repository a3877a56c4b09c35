"""The numbers the daemon keeps for Prometheus, and a canary that measures how late its event loop runs.

Names come from fixed sets in our own code, never from what a peer sent: the number of series is bounded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import trio
from prometheus_client import CollectorRegistry, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

Figures = Callable[[], Mapping[str, int]]
"""Names from a fixed set of our own, and their values now."""

LOOK_SECONDS = 0.1
"""Between two looks at the loop: some 50 microseconds each."""
SAMPLES = 1024
_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


@dataclass(slots=True)
class Lateness:
    """How late the loop ran, in seconds, at the newest SAMPLES looks."""

    samples: deque[float] = field(default_factory=lambda: deque(maxlen=SAMPLES))

    def quantile(self, share: float) -> float:
        """The lateness that this share of looks did not exceed; 0 before the first."""
        ordered = sorted(self.samples)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


@dataclass(frozen=True, slots=True)
class Metrics:
    """Every series, in a registry of its own: two nodes in one process do not mix."""

    registry: CollectorRegistry
    loop_lateness: Histogram
    lateness: Lateness
    """The newest samples of ``loop_lateness``."""

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self.registry)


class _Asked(Collector):
    """Figures that the node keeps anyway, read when Prometheus asks."""

    def __init__(self, gauges: Figures, counters: Figures, lateness: Lateness) -> None:
        self._gauges, self._counters, self._lateness = gauges, counters, lateness

    def collect(self) -> Iterator[Metric]:
        """One gauge each, and one counter with the names as labels."""
        for name, value in self._gauges().items():
            yield GaugeMetricFamily(f"swarmd_{name}", f"{name} of this node now", value)
        events = CounterMetricFamily("swarmd_events", "What has happened since the start", labels=["name"])
        for name, value in self._counters().items():
            events.add_metric([name], value)
        yield events
        yield GaugeMetricFamily(
            "swarmd_loop_lateness_p99_seconds",
            f"How late the event loop ran, 99th percentile of the newest {SAMPLES} looks",
            self._lateness.quantile(0.99),
        )


def make_metrics(gauges: Figures, counters: Figures) -> Metrics:
    """The series of one node: these figures, its process, and how late its loop runs."""
    own, lateness = CollectorRegistry(), Lateness()
    ProcessCollector(registry=own)
    own.register(_Asked(gauges, counters, lateness))
    return Metrics(
        registry=own,
        loop_lateness=Histogram(
            "swarmd_loop_lateness_seconds", "How late the event loop ran", buckets=_BUCKETS, registry=own
        ),
        lateness=lateness,
    )


async def loop_lateness(metrics: Metrics) -> None:
    """Sleep and see how late we wake, for ever."""
    while True:
        due = trio.current_time() + LOOK_SECONDS
        await trio.sleep_until(due)
        late = max(0.0, trio.current_time() - due)
        metrics.loop_lateness.observe(late)
        metrics.lateness.samples.append(late)
