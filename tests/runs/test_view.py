"""A run as people see it, from what its coordinator remembers."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from swarmd.protocols.messages import Accepted
from swarmd.runs.record import RunRecord, StepRow
from swarmd.runs.view import MAX_POINTS, decided_state, run_view, state_words, thin
from swarmd.scheduler.run import apply
from swarmd.scheduler.runstate import Ended, Phase, RunState
from tests.protocols.keys import advert
from tests.runs.nodes import open_swarm
from tests.runs.values import A, B, beat, plan_over, record_of

NOW = 2_000.0
TOKENS = 16 * 2 * 3
"""Per step of the small spec."""


@pytest.fixture
async def record(tmp_path: Path) -> RunRecord:
    async with open_swarm(tmp_path) as swarm:
        return record_of((await swarm.add()).deps)


def in_phase(phase: Phase) -> RunState:
    return RunState(phase=phase, since=0.0, min_stages=1)


def trained(record: RunRecord) -> RunRecord:
    """Four of ten steps in eight seconds, the last two of them in two."""
    record.state = in_phase(Phase.TRAINING)
    record.began = NOW - 8
    record.planned(plan_over(record, A, B), ())
    record.rows = {step: StepRow(step, 5.0 - step, 1.0, NOW) for step in range(1, 5)}
    record.recent.extend([(2, NOW - 2), (4, NOW)])
    record.evals = {2: 3.5, 0: 5.0}
    return record


@pytest.mark.parametrize(
    ("phase", "word"),
    [
        (Phase.RECRUITING, "recruiting"),
        (Phase.PLANNING, "probing"),
        (Phase.CONNECTING, "loading"),
        (Phase.DONE, "done"),
    ],
)
async def test_people_read_fewer_states_than_there_are(record: RunRecord, phase: Phase, word: str) -> None:
    assert state_words(record)[0] == "preparing"
    record.state = in_phase(phase)
    assert decided_state(record) == (word, "", "")


async def test_an_end_is_told_once_it_is_on_disk(record: RunRecord) -> None:
    record.remembered = ("training", "", "")
    record.state = apply(Ended(Phase.FAILED, "peer_lost", "gone"), in_phase(Phase.TRAINING), 1.0)
    assert state_words(record) == ("training", "", "")
    record.settled = True
    assert state_words(record) == ("failed", "peer_lost", "gone")


async def test_a_run_that_has_not_begun_has_no_figures(record: RunRecord) -> None:
    view = run_view(record, {}, NOW)
    assert (view.state, view.step, view.steps, view.loss, view.eta) == ("preparing", 0, 10, None, None)
    assert (view.elapsed, view.tokens_per_s, view.tokens_per_s_mean, view.stages) == (0.0, 0.0, 0.0, ())


async def test_speed_is_of_the_last_steps_and_the_time_left_follows(record: RunRecord) -> None:
    trained(record).remembered = ("training", "", "")
    view = run_view(record, {}, NOW)
    assert view.tokens_per_s == TOKENS
    assert view.tokens_per_s_mean == 4 * TOKENS / 8
    assert view.eta == 6.0
    assert (view.loss, view.losses[0], view.evals) == (1.0, (1, 4.0), ((0, 5.0), (2, 3.5)))


async def test_after_its_end_a_run_has_a_mean_speed_only(record: RunRecord) -> None:
    trained(record).remembered = ("done", "", "")
    record.ended, record.trained_before = NOW - 4, 12.0
    view = run_view(record, {}, NOW + 1000)
    assert (view.elapsed, view.tokens_per_s, view.eta) == (16.0, 0.0, None)
    assert view.tokens_per_s_mean == 4 * TOKENS / 16


async def test_two_reports_in_one_instant_are_no_infinite_speed(record: RunRecord) -> None:
    trained(record).remembered = ("training", "", "")
    record.recent.extend([(4, NOW)] * 32)
    assert run_view(record, {}, NOW).tokens_per_s == 4 * TOKENS / 8


async def test_a_stage_is_its_owner_s_words_and_its_own_beats(record: RunRecord) -> None:
    trained(record).reasons = ("first", "last")
    record.member(A).accepted = Accepted(30, 77)
    record.beat(A, beat(1, busy=1.0, sent=0), NOW - 4)
    record.beat(A, beat(2, step=4, busy=3.0, sent=1_000_000), NOW)
    first, last = run_view(record, {A: advert(name="attic")}, NOW).stages
    assert (first.name, first.device, first.first_layer, first.last_layer) == ("attic", "8-core CPU", 0, 1)
    assert (first.busy, first.link_mbit, first.step, first.micro_batches, first.pid) == (0.5, 2.0, 4, 40, 77)
    assert (first.forward_ms, first.backward_ms, first.cpu_seconds, first.bytes_received) == (2.0, 4.0, 3.0, 7)
    assert (last.name, last.busy, last.link_mbit, last.pid, last.reason) == ("", 0.0, 0.0, 0, "last")


async def test_a_stage_is_never_more_than_busy(record: RunRecord) -> None:
    trained(record)
    record.beat(A, beat(1, busy=0.0), NOW - 1)
    record.beat(A, beat(2, busy=9.0), NOW)
    assert run_view(record, {}, NOW).stages[0].busy == 1.0


@pytest.mark.parametrize("count", [0, 1, MAX_POINTS, MAX_POINTS + 1, 10_000])
def test_a_curve_is_thinned_evenly_and_keeps_its_last_point(count: int) -> None:
    points = tuple((step, 1.0 / (step + 1)) for step in range(count))
    kept = thin(points)
    assert len(kept) <= MAX_POINTS
    assert kept[-1:] == points[-1:]
    assert list(kept) == sorted(kept)
    assert len({after[0] - before[0] for before, after in pairwise(kept)}) <= 1
