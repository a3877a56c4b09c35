"""What this machine's device is, and how fast it multiplies.

``python -m swarmd.gpu.probe`` prints one line of JSON: the fields of ``DeviceView``, or the error. With
``--words`` it is told to a person.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict

import psutil  # type: ignore[import-untyped]
import torch

from swarmd.gpu.devices import hardware, resolve
from swarmd.gpu.numerics import numerics_class
from swarmd.protocols.control import DeviceView
from swarmd.protocols.errors import StateError, SwarmdError

MEASURE_SECONDS = 0.5
CPU_SIDE = 1024
GPU_SIDE = 4096


def probe(name: str = "auto", threads: int = 0) -> DeviceView:
    """Look at a device and measure it for about half a second; 0 threads: one for each core.

    Raises UsageError for a device that is not there, StateError for one that does not work.
    """
    device = resolve(name)
    threads = threads or psutil.cpu_count(logical=False) or 1
    try:
        return _measured(device, threads)
    except RuntimeError as error:
        raise StateError(
            f"device {device} does not work: {str(error).splitlines()[0]}",
            hint="check its driver, or use --device cpu",
        ) from error


def _measured(device: torch.device, threads: int) -> DeviceView:
    found = hardware(device)
    numerics = numerics_class(device)
    torch.set_num_threads(threads)
    return DeviceView(
        name=found.name,
        kind=device.type,
        threads=threads,
        memory_bytes=found.memory_bytes,
        flops=matmul_flops(device),
        numerics=numerics,
    )


def matmul_flops(device: torch.device, seconds: float = MEASURE_SECONDS) -> float:
    """Float32 operations per second of large matrix products."""
    side = CPU_SIDE if device.type == "cpu" else GPU_SIDE
    left = torch.full((side, side), 0.5, device=device)
    _multiply(left)
    began, rounds = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        _multiply(left)
        rounds += 1
    return 2.0 * side**3 * rounds / (time.perf_counter() - began)


def _multiply(left: torch.Tensor) -> None:
    (left @ left)[0, 0].item()  # reading one value waits for the device


def main(arguments: list[str]) -> int:
    """Print the device, or the error, as one JSON line. Gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m swarmd.gpu.probe", description="Measure this device.")
    parser.add_argument("--device", default="auto", help="auto, cpu, mps, cuda or cuda:N")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads to measure with; 0: all cores")
    parser.add_argument("--words", action="store_true", help="for a person; without it, JSON")
    chosen = parser.parse_args(arguments)
    try:
        view = probe(chosen.device, chosen.threads)
    except SwarmdError as error:
        _fail(error, words=chosen.words)
        return error.exit_code
    print(_words(view) if chosen.words else json.dumps(asdict(view)))
    return 0


def _words(view: DeviceView) -> str:
    threads = "1 thread" if view.threads == 1 else f"{view.threads} threads"
    kind = threads if view.kind == "cpu" else view.kind
    memory, speed = f"{view.memory_bytes / 2**30:.1f} GiB", f"{view.flops / 1e9:,.0f} GFLOP/s"
    return f"{view.name} ({kind}), {memory}, {speed}"


def _fail(error: SwarmdError, *, words: bool) -> None:
    if words:
        print(f"swarmd: {error.message}" + (f"\n  next: {error.hint}" if error.hint else ""), file=sys.stderr)
    else:
        print(json.dumps({"error": {"code": error.code, "message": error.message, "hint": error.hint}}))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
