"""Faults strike where they are named, and nowhere else."""

from __future__ import annotations

import pytest

from swarmd.train.faults import lag, strike
from swarmd.train.stage import Stage


def test_only_slow_takes_time():
    assert [lag(fault) for fault in ("", "slow:250", "kill:1:2")] == [0.0, 0.25, 0.0]


def test_a_fault_strikes_its_place_at_its_step(tiny_run):
    stage = Stage(tiny_run.spec, 0, 3, tiny_run.data)
    before = {name: weight.clone() for name, weight in stage.parameters.items()}

    def changed():
        return [name for name, weight in stage.parameters.items() if not weight.equal(before[name])]

    for fault in ("", "slow:5", "flip:0:2", "flip:1:1"):
        strike(fault, 0, 1, stage)
    assert changed() == []
    strike("flip:0:1", 0, 1, stage)
    assert len(changed()) == 1


def test_an_unknown_kind_is_refused(tiny_run):
    with pytest.raises(ValueError, match="unknown fault 'melt:0:1'"):
        strike("melt:0:1", 0, 1, Stage(tiny_run.spec, 0, 3, tiny_run.data))
