"""Which compute devices there are, and their names and sizes."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import torch

from swarmd.gpu import nvml
from swarmd.protocols.errors import UsageError


@dataclass(frozen=True, slots=True)
class Hardware:
    """A device as its maker describes it."""

    name: str
    memory_bytes: int


def resolve(name: str) -> torch.device:
    """The device of a setting: ``auto``, ``cpu``, ``mps`` or ``cuda:N``.

    ``auto`` is the first CUDA device, else Apple's GPU, else the CPU. Raises UsageError if it is not there.
    """
    if name == "auto":
        cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
        name = "cuda:0" if cuda else "mps" if mps else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"{name!r} is no device", hint="use auto, cpu, mps or cuda:0") from None
    missing = _missing(device)
    if missing:
        raise UsageError(f"device {name} cannot be used: {missing}", hint="use --device auto or --device cpu")
    return torch.device("cuda", device.index or 0) if device.type == "cuda" else device


def hardware(device: torch.device) -> Hardware:
    """Name and memory of a device."""
    if device.type == "cuda":
        card = torch.cuda.get_device_properties(device)
        return Hardware(card.name, card.total_memory)
    name = platform.processor() if device.type == "mps" else _cpu_name()
    return Hardware(name or platform.machine(), psutil.virtual_memory().total)


def free_memory(device: torch.device) -> int:
    """Bytes that this process can still have there. On a CPU, and where a GPU shares its memory: the system's."""
    if device.type != "cuda":
        return int(psutil.virtual_memory().available)
    free, _ = torch.cuda.mem_get_info(device)
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    # torch's allocator gives memory out in blocks, and loses some at their edges.
    return (free + kept) * 15 // 16


def _missing(device: torch.device) -> str:
    if device.type == "cpu":
        return ""
    if device.type == "mps":
        return "" if torch.backends.mps.is_available() else "torch finds no Apple GPU here"
    if device.type != "cuda":
        return "swarmd computes on cpu, cuda and mps"
    if not torch.version.cuda:
        driver = nvml.driver()
        has = f"; the NVIDIA driver is there ({driver})" if driver else ""
        return f"torch {torch.__version__} is built without CUDA{has}"
    count = torch.cuda.device_count()
    return "" if (device.index or 0) < count else f"torch sees {count} CUDA devices"


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
