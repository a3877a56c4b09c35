"""When replicas that train apart average which units."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmd.protocols.checkpoint import unit_names
from swarmd.protocols.rounds import next_round, over_lanes, round_of
from swarmd.protocols.spec import AveragingSpec, JobSpec
from tests.protocols.specs import SPEC


def spec(*, every: int = 4, steps: int = 40, checkpoint_every: int = 20, layers: int = 6) -> JobSpec:
    return replace(
        SPEC,
        model=replace(SPEC.model, num_hidden_layers=layers),
        schedule=replace(SPEC.schedule, steps=steps, checkpoint_every=checkpoint_every),
        averaging=AveragingSpec(replicas=3, every=every),
    )


@given(
    every=st.integers(2, 12), steps=st.integers(1, 60), checkpoint_every=st.integers(1, 30), layers=st.integers(1, 9)
)
def test_every_unit_has_its_turn_and_checkpoints_have_all(every, steps, checkpoint_every, layers):
    run = spec(every=every, steps=steps, checkpoint_every=checkpoint_every, layers=layers)
    names = unit_names(layers)
    rounds = [found for step in range(1, steps + 1) if (found := round_of(run, step))]
    assert [each.step for each in rounds if each.full] == [
        step for step in range(1, steps + 1) if step == steps or step % checkpoint_every == 0
    ]
    assert all(each.units == names for each in rounds if each.full)
    for name in names:
        turns = [0, *(each.step for each in rounds if name in each.units)]
        assert max(later - before for before, later in pairwise(turns)) <= every + 1


@given(every=st.integers(2, 12), checkpoint_every=st.integers(1, 30))
def test_one_round_is_open_at_a_time_and_no_unit_is_in_two_that_follow(every, checkpoint_every):
    run = spec(every=every, checkpoint_every=checkpoint_every)
    rounds = [found for step in range(1, 41) if (found := round_of(run, step))]
    for before, after in pairwise(rounds):
        assert before.used <= after.step
        if before.used == after.step:
            assert not set(before.units) & set(after.units)


def test_units_take_turns_evenly():
    run = spec(every=4, steps=1000, checkpoint_every=1000)
    turns = Counter(len(found.units) for step in range(1, 990) if (found := round_of(run, step)))
    assert set(turns) == {2}


@pytest.mark.parametrize("after", range(41))
def test_the_next_round_is_the_first_that_follows(after):
    run = spec(every=7)
    expected = next((found for step in range(after + 1, 41) if (found := round_of(run, step))), None)
    assert next_round(run, after) == expected


def test_loss_and_norm_of_a_step_are_means_over_replicas():
    assert over_lanes([2.0, 4.0], [9.0, 16.0, 25.0]) == (3.0, 5.0)
    assert over_lanes([2.5], [0.25]) == (2.5, 0.5)


def test_alone_nothing_is_averaged():
    alone = replace(spec(), averaging=AveragingSpec())
    assert round_of(alone, 20) is None
    assert next_round(alone, 0) is None
    assert round_of(spec(), 0) is None
