"""The probe and the telemetry: what the device is, in words that fit an advert; never a traceback."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict

import pynvml
import pytest
import torch

from swarmd.gpu import nvml, probe, telemetry
from swarmd.gpu.devices import resolve
from swarmd.gpu.numerics import fingerprint
from swarmd.protocols.control import DeviceView
from swarmd.protocols.errors import StateError, UsageError

CPU = torch.device("cpu")
VIEW = DeviceView(name="card", kind="cuda", threads=1, memory_bytes=1, flops=1.0, numerics="native/x")


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(probe, "CPU_SIDE", 64)
    monkeypatch.setattr(probe, "matmul_flops", lambda device: 2.0e9)


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch):
    monkeypatch.setattr(telemetry, "_last", None)
    nvml.library.cache_clear()
    yield
    nvml.library.cache_clear()


def test_the_probe_prints_the_fields_of_a_device_view(quick, capsys):
    assert probe.main(["--device", "cpu", "--threads", "1"]) == 0
    view = DeviceView(**json.loads(capsys.readouterr().out))
    assert (view.kind, view.threads) == ("cpu", 1)
    assert view.memory_bytes > 1 << 28
    assert view.name
    assert view.numerics.startswith(f"native/torch-{torch.__version__}/")
    assert len(view.numerics) <= 200


@pytest.mark.slow
def test_multiplication_is_measured():
    assert 1e8 < probe.matmul_flops(CPU, seconds=0.05) < 1e15


@pytest.mark.parametrize("name", ["tpu:0", "cuda:99", "nonsense", "meta"])
def test_a_device_that_is_not_there_is_one_json_error(name, capsys):
    assert probe.main(["--device", name]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "usage"
    assert "--device" in error["hint"] or "auto" in error["hint"]


def test_for_a_person_the_probe_speaks_in_words(quick, capsys):
    assert probe.main(["--device", "cpu", "--threads", "1", "--words"]) == 0
    said = capsys.readouterr().out
    assert "(1 thread)" in said
    assert "2 GFLOP/s" in said
    assert probe.main(["--device", "nonsense", "--words"]) == 2
    assert capsys.readouterr().err.startswith("swarmd: 'nonsense' is no device\n  next: ")


def test_a_device_that_breaks_is_an_error_in_words(monkeypatch):
    def broken(device):
        raise RuntimeError("CUDA error: unspecified launch failure\nand forty lines more")

    monkeypatch.setattr(probe, "matmul_flops", broken)
    with pytest.raises(StateError, match=r"does not work: CUDA error: unspecified launch failure$"):
        probe.probe("cpu", 1)


def test_auto_finds_a_device():
    assert resolve("auto").type in ("cpu", "cuda", "mps")
    with pytest.raises(UsageError):
        resolve("")


@pytest.mark.slow
def test_a_fingerprint_is_the_same_in_every_process():
    code = "import torch; from swarmd.gpu.numerics import fingerprint; print(fingerprint(torch.device('cpu')))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout
    assert printed.strip() == fingerprint(CPU) == fingerprint(CPU)


def test_telemetry_needs_no_torch():
    code = "import sys, swarmd.gpu.telemetry; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_cpu_tells_its_load_and_memory():
    view = telemetry.live(VIEW.__class__(**asdict(VIEW) | {"kind": "cpu"}))
    assert 0 <= view.utilization <= 1
    assert view.memory_used_bytes > 0


def test_without_an_nvidia_driver_nothing_is_filled_in(monkeypatch):
    def absent():
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", absent)
    assert telemetry.live(VIEW) == VIEW
    assert nvml.driver() == ""


@pytest.fixture
def card(monkeypatch):
    """A driver with one card, which does not tell its power."""

    def refuse(handle):
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    class Rates:
        gpu = 75

    class Memory:
        used = 123

    answers = {
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetCount": lambda: 1,
        "nvmlDeviceGetHandleByIndex": lambda index: "handle",
        "nvmlDeviceGetName": lambda handle: b"card",
        "nvmlDeviceGetUtilizationRates": lambda handle: Rates,
        "nvmlDeviceGetTemperature": lambda handle, sensor: 61,
        "nvmlDeviceGetPowerUsage": refuse,
        "nvmlDeviceGetMemoryInfo": lambda handle: Memory,
        "nvmlSystemGetDriverVersion": lambda: "570.1",
    }
    for name, answer in answers.items():
        monkeypatch.setattr(pynvml, name, answer)


def test_a_card_tells_what_it_can(card):
    view = telemetry.live(VIEW)
    assert (view.utilization, view.temperature_c, view.power_w, view.memory_used_bytes) == (
        0.75,
        61.0,
        None,
        123,
    )
    assert nvml.driver() == "570.1"


def test_a_card_of_another_name_is_not_ours(card):
    assert nvml.load("another") is None


def test_the_device_is_asked_at_most_twice_a_second(card, monkeypatch):
    first = telemetry.live(VIEW)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetTemperature", lambda handle, sensor: 99)
    assert telemetry.live(VIEW) == first
    monkeypatch.setattr(telemetry, "FRESH_SECONDS", 0.0)
    assert telemetry.live(VIEW).temperature_c == 99.0
