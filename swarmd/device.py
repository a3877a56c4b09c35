"""The node's compute device: probed once in a process of its own, remembered in the state folder."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import trio

from swarmd import __version__
from swarmd.children import run_child
from swarmd.config import Config
from swarmd.log import EventLog
from swarmd.protocols.advert import DeviceAdvert
from swarmd.protocols.control import DeviceView
from swarmd.protocols.errors import SwarmdError


class Device:
    """What the device is, once ``probe`` has found out."""

    def __init__(self, config: Config, cache: Path) -> None:
        self._config, self._cache = config, cache
        self.view: DeviceView | None = None
        self.probed = trio.Event()
        """The probe has ended, well or not."""

    async def probe(self, events: EventLog) -> None:
        """Learn the device, from the cache if nothing has changed. A failed probe is said and leaves None."""
        key = f"{__version__}/{self._config.device}/{self._config.threads}"
        try:
            self.view = await trio.to_thread.run_sync(_cached, self._cache, key)
            if self.view is None:
                self.view = await self._measure()
                await trio.to_thread.run_sync(_keep, self._cache, key, self.view)
        except SwarmdError as error:
            events.error(f"the device could not be probed: {error.message} {error.hint}".strip())
        finally:
            self.probed.set()

    def memory_limit(self) -> int:
        """Bytes that stages may take: the setting, at most what the device has."""
        has = self.view.memory_bytes if self.view else 0
        return min(has, self._config.memory_limit) if self._config.memory_limit else has

    def advert(self) -> DeviceAdvert:
        """The advert's part about the device. Before the probe has ended it offers nothing: rate and memory 0."""
        view = self.view
        if view is None:
            return DeviceAdvert(
                kind="cpu", name="not probed yet", memory_bytes=0, flops=0, threads=1, numerics="unknown"
            )
        return DeviceAdvert(
            kind=view.kind,
            name=view.name.strip()[:96],
            memory_bytes=self.memory_limit(),
            flops=int(view.flops),
            threads=view.threads,
            numerics=view.numerics[:256],
        )

    async def _measure(self) -> DeviceView:
        answer = await run_child("probe", "--device", self._config.device, "--threads", str(self._config.threads))
        return DeviceView(**answer)


def _cached(cache: Path, key: str) -> DeviceView | None:
    try:
        kept: dict[str, Any] = json.loads(cache.read_text(encoding="utf-8"))
        return DeviceView(**kept["device"]) if kept["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None  # no cache, or not one of ours: measure again


def _keep(cache: Path, key: str, view: DeviceView) -> None:
    try:
        cache.write_text(json.dumps({"key": key, "device": asdict(view)}), encoding="utf-8")
    except OSError:
        return  # a full disk costs the next start a second
