"""The numbers the daemon keeps for Prometheus, and a canary that measures how late its event loop runs.

Labels come from fixed sets in our own code, never from what a peer sent: the number of series is bounded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import trio
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

BUSY_SECONDS = 0.25
IDLE_SECONDS = 1.0
"""Between two looks at the loop, with and without a stage or run here."""
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
    peers: Gauge
    adverts_refused: Counter
    """By ``reason``."""
    handler_errors: Counter
    """By ``protocol``."""
    frames: Counter
    """Tensor frames, by ``direction``: ``in`` or ``out``."""
    frame_bytes: Counter
    """Their bytes, by ``direction``."""
    steps: Counter
    """Optimizer steps of stages here."""
    stages: Gauge
    runs: Gauge
    """Of ours, not ended."""
    loop_lateness: Histogram
    lateness: Lateness
    """The newest samples of ``loop_lateness``."""

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self.registry)


def make_metrics() -> Metrics:
    """A fresh set, all zero."""
    own = CollectorRegistry()
    ProcessCollector(registry=own)
    return Metrics(
        registry=own,
        peers=Gauge("swarmd_peers", "Connected peers", registry=own),
        adverts_refused=Counter("swarmd_adverts_refused", "Adverts not believed", ["reason"], registry=own),
        handler_errors=Counter(
            "swarmd_handler_errors", "Streams ended by an error", ["protocol"], registry=own
        ),
        frames=Counter("swarmd_frames", "Tensor frames", ["direction"], registry=own),
        frame_bytes=Counter("swarmd_frame_bytes", "Bytes of tensor frames", ["direction"], registry=own),
        steps=Counter("swarmd_steps", "Optimizer steps of stages on this node", registry=own),
        stages=Gauge("swarmd_stages", "Stages held by this node", registry=own),
        runs=Gauge("swarmd_runs", "Runs submitted here that have not ended", registry=own),
        loop_lateness=Histogram(
            "swarmd_loop_lateness_seconds", "How late the event loop ran", buckets=_BUCKETS, registry=own
        ),
        lateness=Lateness(),
    )


async def loop_lateness(metrics: Metrics, busy: Callable[[], bool]) -> None:
    """Sleep and see how late we wake, for ever: often while ``busy()``, once a second otherwise."""
    while True:
        pause = BUSY_SECONDS if busy() else IDLE_SECONDS
        due = trio.current_time() + pause
        await trio.sleep_until(due)
        late = max(0.0, trio.current_time() - due)
        metrics.loop_lateness.observe(late)
        metrics.lateness.samples.append(late)
