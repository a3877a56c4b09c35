"""The device: measured once, remembered, and never more than its owner lends."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from swarmd import __version__, device
from swarmd.config import Config
from swarmd.device import Device
from swarmd.log import EventLog
from swarmd.protocols.control import DeviceView
from swarmd.protocols.errors import StateError

VIEW = DeviceView(name="8-core CPU", kind="cpu", threads=2, memory_bytes=1 << 34, flops=1.5e9, numerics="native/x")
CONFIG = Config(device="cpu", threads=2)
KEY = f"{__version__}/cpu/2"


class Probe:
    """Stands for the child process that measures."""

    def __init__(self, answer: DeviceView | StateError) -> None:
        self.answer = answer
        self.asked: list[tuple[str, ...]] = []

    async def __call__(self, *words: str) -> dict[str, Any]:
        self.asked.append(words)
        if isinstance(self.answer, StateError):
            raise self.answer
        return asdict(self.answer)


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> Probe:
    probe = Probe(VIEW)
    monkeypatch.setattr(device, "run_child", probe)
    return probe


async def test_a_device_is_measured_once_and_remembered(probe: Probe, tmp_path: Path) -> None:
    for _ in range(2):
        found = Device(CONFIG, tmp_path / "probe.json")
        await found.probe(EventLog())
        assert found.view == VIEW
        assert found.probed.is_set()
    assert probe.asked == [("probe", "--device", "cpu", "--threads", "2")]


@pytest.mark.parametrize(
    "kept",
    [
        "",
        "[]",
        "{}",
        json.dumps({"key": "another device", "device": asdict(VIEW)}),
        json.dumps({"key": KEY, "device": {"name": "only"}}),
        json.dumps({"key": KEY, "device": 3}),
    ],
)
async def test_a_cache_of_another_device_or_damaged_is_measured_anew(probe: Probe, tmp_path: Path, kept: str) -> None:
    cache = tmp_path / "probe.json"
    cache.write_text(kept)
    found = Device(CONFIG, cache)
    await found.probe(EventLog())
    assert found.view == VIEW
    assert len(probe.asked) == 1
    assert json.loads(cache.read_text())["key"] == KEY


async def test_a_cache_that_cannot_be_written_costs_only_the_next_start(probe: Probe, tmp_path: Path) -> None:
    found = Device(CONFIG, tmp_path)
    await found.probe(EventLog())
    assert found.view == VIEW


async def test_a_probe_that_fails_is_told_and_the_node_goes_on(probe: Probe, tmp_path: Path) -> None:
    probe.answer = StateError("no such device", hint="use --device cpu")
    events = EventLog()
    found = Device(CONFIG, tmp_path / "probe.json")
    await found.probe(events)
    assert found.view is None
    assert found.probed.is_set()
    assert [event.text for event in events.recent(9)] == [
        "the device could not be probed: no such device use --device cpu"
    ]


@pytest.mark.parametrize(("setting", "lent"), [(0, 1 << 34), (1 << 30, 1 << 30), (1 << 40, 1 << 34)])
def test_stages_get_what_the_owner_lends_and_the_device_has(tmp_path: Path, setting: int, lent: int) -> None:
    found = Device(Config(device="cpu", threads=2, memory_limit=setting), tmp_path / "probe.json")
    assert found.memory_limit() == 0
    found.view = VIEW
    assert found.memory_limit() == found.advert().memory_bytes == lent


def test_a_device_that_is_not_probed_offers_nothing(tmp_path: Path) -> None:
    offered = Device(CONFIG, tmp_path / "probe.json").advert()
    assert (offered.flops, offered.memory_bytes, offered.name) == (0, 0, "not probed yet")


def test_an_advert_takes_no_more_words_than_fit(tmp_path: Path) -> None:
    found = Device(CONFIG, tmp_path / "probe.json")
    found.view = replace(VIEW, name="  " + "x" * 200, numerics="y" * 500)
    offered = found.advert()
    assert (len(offered.name), len(offered.numerics), offered.flops) == (96, 256, 1_500_000_000)
