"""Faults strike where they are named, once, and nowhere else."""

from __future__ import annotations

import os
import signal

import pytest

from swarmd.compute.messages import Load
from swarmd.scheduler.around import chain_around
from swarmd.train.faults import Strikes, lag
from swarmd.train.stage import Stage


def load(fault: str, *, term: int = 1, plan: int = 1) -> Load:
    """For the first of two stages."""
    return Load(b"", "1" * 64, term, plan, 0, 2, 0, 3, 1, chain_around(0, 2), None, fault)


@pytest.fixture
def stage(tiny_run):
    return Stage(tiny_run.spec, 0, 3, tiny_run.data)


def test_only_slow_takes_time():
    assert [lag(fault) for fault in ("", "slow:250", "kill:1:2")] == [0.0, 0.25, 0.0]


@pytest.mark.parametrize(
    ("told", "strikes"),
    [
        (load(""), False),
        (load("slow:5"), False),
        (load("flip:0:2"), False),
        (load("flip:1:1"), False),
        (load("flip:0:1:forward"), False),
        (load("flip:0:1", term=2), False),
        (load("flip:0:1", plan=2), False),
        (load("flip:0:1"), True),
        (load("flip:0:1:commit"), True),
    ],
)
def test_a_fault_strikes_its_place_at_its_point(stage, told, strikes):
    before = {name: weight.clone() for name, weight in stage.parameters.items()}
    Strikes(told, stage).reached(1, "commit")
    changed = [name for name, weight in stage.parameters.items() if not weight.equal(before[name])]
    assert len(changed) == strikes


def test_a_fault_strikes_once(stage, monkeypatch):
    sent = []
    monkeypatch.setattr(os, "kill", lambda pid, what: sent.append((pid, what)))
    for fault, expected in {
        "kill:0:1:forward": [(os.getppid(), signal.SIGKILL)],
        "crash:0:1:forward": [(os.getpid(), signal.SIGKILL)],
        "freeze:0:1:forward": [(os.getppid(), signal.SIGSTOP), (os.getpid(), signal.SIGSTOP)],
    }.items():
        strikes = Strikes(load(fault), stage)
        for _ in range(2):
            strikes.reached(1, "forward")
        assert sent == expected
        sent.clear()


@pytest.mark.parametrize("fault", ["melt:0:1", "kill:0:1:noon"])
def test_an_unknown_fault_is_refused(stage, fault):
    with pytest.raises(ValueError, match=f"unknown fault '{fault}'"):
        Strikes(load(fault), stage)
