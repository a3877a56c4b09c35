"""What NVIDIA's management library says of a GPU; nothing, where there is no such GPU. Needs no torch."""

from __future__ import annotations

import atexit
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class GpuLoad:
    """What a GPU is doing now; None for what it does not tell."""

    utilization: float | None
    """0 to 1."""
    temperature_c: float | None
    power_w: float | None
    memory_used_bytes: int | None


@cache
def library() -> Any | None:  # noqa: ANN401 - an untyped module
    """The library, ready for use, or None if this machine has no NVIDIA driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    atexit.register(pynvml.nvmlShutdown)
    return pynvml


def driver() -> str:
    """The driver's version, or nothing."""
    nvml = library()
    version = _asked(nvml.nvmlSystemGetDriverVersion) if nvml else None
    return "" if version is None else _text(version)


def load(name: str) -> GpuLoad | None:
    """What the first GPU of this name is doing; None if there is none."""
    nvml = library()
    handle = _handle(nvml, name) if nvml else None
    if nvml is None or handle is None:
        return None
    rates = _asked(lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
    degrees = _asked(lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU))
    milliwatts = _asked(lambda: nvml.nvmlDeviceGetPowerUsage(handle))
    used = _asked(lambda: nvml.nvmlDeviceGetMemoryInfo(handle).used)
    return GpuLoad(
        utilization=None if rates is None else rates / 100,
        temperature_c=None if degrees is None else float(degrees),
        power_w=None if milliwatts is None else milliwatts / 1000,
        memory_used_bytes=None if used is None else int(used),
    )


def _handle(nvml: Any, name: str) -> Any | None:  # noqa: ANN401
    for index in range(_asked(nvml.nvmlDeviceGetCount) or 0):
        handle = _asked(partial(nvml.nvmlDeviceGetHandleByIndex, index))
        if handle is not None and _text(_asked(partial(nvml.nvmlDeviceGetName, handle)) or "") == name:
            return handle
    return None


def _asked(question: Callable[[], T]) -> T | None:
    """The answer, or None: cards differ in what they tell, and one may fall off its bus."""
    from pynvml import NVMLError

    try:
        return question()
    except NVMLError:
        return None


def _text(value: str | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
