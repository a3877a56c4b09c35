"""What the device is doing now, for the daemon. Needs no torch, never blocks for long, and never fails."""

from __future__ import annotations

import time
from dataclasses import replace

import psutil  # type: ignore[import-untyped]

from swarmd.gpu import nvml
from swarmd.protocols.control import DeviceView

FRESH_SECONDS = 0.5

_last: tuple[float, DeviceView] | None = None


def live(view: DeviceView) -> DeviceView:
    """The view with utilisation, temperature, power and memory filled in as far as the device tells.

    Asks the device at most every half second; in between, the last answer is given again.
    """
    global _last
    now = time.monotonic()
    if _last is not None and now - _last[0] < FRESH_SECONDS and _last[1].name == view.name:
        return _last[1]
    _last = (now, _asked(view))
    return _last[1]


def _asked(view: DeviceView) -> DeviceView:
    if view.kind == "cuda":
        load = nvml.load(view.name)
        return (
            view
            if load is None
            else replace(
                view,
                utilization=load.utilization,
                temperature_c=load.temperature_c,
                power_w=load.power_w,
                memory_used_bytes=load.memory_used_bytes,
            )
        )
    # A GPU that shares the CPU's memory tells nothing of its own load without special rights.
    utilization = psutil.cpu_percent(interval=None) / 100 if view.kind == "cpu" else None
    return replace(view, utilization=utilization, memory_used_bytes=psutil.virtual_memory().used)
