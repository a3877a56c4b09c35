"""From probes to a plan: every figure reaches the planner, and every stage gets enough credit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from swarmd.protocols.budget import Budget
from swarmd.protocols.errors import RunFailed
from swarmd.protocols.footprint import most_held, stage_memory
from swarmd.protocols.ids import PeerId
from swarmd.protocols.jobtables import RunTable
from swarmd.protocols.spec import JobSpec
from swarmd.runs.deps import RunDeps
from swarmd.runs.planning import make_plan, worker_profile
from swarmd.runs.record import RunRecord
from swarmd.scheduler.profiles import ModelProfile, Place, WorkerProfile, in_memory, model_profile
from tests.protocols.keys import advert
from tests.runs.nodes import open_swarm
from tests.runs.values import FOUR_LAYERS, A, B, profile, record_of

C = PeerId("12D3KooWCCCC")
STALE = replace(FOUR_LAYERS, schedule=replace(FOUR_LAYERS.schedule, async_after=5))
NARROW = replace(FOUR_LAYERS, model=replace(FOUR_LAYERS.model, subspace=4))


@pytest.fixture
async def deps(tmp_path: Path) -> RunDeps:
    """Of a node that knows A and B by their adverts."""
    async with open_swarm(tmp_path) as swarm:
        known = {peer: advert(addresses=(f"/ip4/10.0.0.{at}/tcp/4801",)) for at, peer in enumerate((A, B, C), 1)}
        return replace((await swarm.add()).deps, adverts=lambda: known)


def probed(deps: RunDeps, **milliseconds: float) -> RunRecord:
    record = record_of(deps)
    for peer, each in milliseconds.items():
        record.member({"a": A, "b": B, "c": C}[peer]).profile = profile(each)
    return record


def test_a_probe_is_taken_in_seconds() -> None:
    told = replace(profile(2.0, memory=1 << 30), uplink_bytes_per_s=125_000)
    assert worker_profile(A, told) == WorkerProfile(
        peer=A,
        seconds_per_layer=0.002,
        seconds_embed=0.002,
        seconds_head=0.002,
        memory_bytes=1 << 30,
        uplink_bytes_per_s=125_000.0,
        numerics="native/test",
    )


@pytest.mark.parametrize(
    ("place", "first", "end"), [(Place.FIRST, 0, 2), (Place.MIDDLE, 1, 3), (Place.LAST, 2, 4), (Place.ONLY, 0, 4)]
)
@pytest.mark.parametrize("spec", [FOUR_LAYERS, STALE, NARROW], ids=["flow-sync", "flow-async", "subspace"])
def test_a_stage_that_the_planner_lets_fit_fits(spec: JobSpec, place: Place, first: int, end: int) -> None:
    assert model_profile(spec).memory(end - first, place) >= stage_memory(spec, first, end, most_held(spec))
    least = model_profile(spec, least=True).memory(end - first, place)
    assert least >= stage_memory(spec, first, end, 1, recompute=True)
    assert least < stage_memory(spec, first, end, most_held(spec))


def test_where_not_all_micro_batches_fit_stages_that_make_do_with_less_are_planned() -> None:
    def plan(model: ModelProfile) -> int:
        if (needed := model.memory(2, Place.FIRST)) > enough:
            raise RunFailed("too little memory")
        return needed

    enough = 1 << 40
    most = in_memory(FOUR_LAYERS, plan)
    enough = most - 1
    assert in_memory(FOUR_LAYERS, plan) < most
    enough = 1
    with pytest.raises(RunFailed, match="too little"):
        in_memory(FOUR_LAYERS, plan)


def test_in_subspace_form_the_planner_reckons_with_coefficients_and_ids() -> None:
    model = model_profile(NARROW)
    tokens = NARROW.batch.sequence_length * NARROW.batch.micro_batch_size
    assert (model.boundary_bytes, model.gradient_bytes) == (tokens * (4 * 4 + 2), tokens * 4 * 4)


@pytest.mark.parametrize(("first", "end", "place"), [(0, 2, Place.FIRST), (2, 4, Place.LAST), (0, 4, Place.ONLY)])
def test_a_replica_that_the_planner_lets_fit_fits(first: int, end: int, place: Place) -> None:
    needed = stage_memory(FOUR_LAYERS, first, end, most_held(FOUR_LAYERS), shared=True)
    assert model_profile(FOUR_LAYERS, shared=True).memory(end - first, place) >= needed
    assert needed > stage_memory(FOUR_LAYERS, first, end, most_held(FOUR_LAYERS))


async def test_where_a_job_allows_it_peers_share_a_stage(deps: RunDeps) -> None:
    record = probed(deps, a=1.0, b=1.0)
    record.asked = RunTable(min_stages=1, max_stages=1, replicas=2)
    plan, reasons = await make_plan(record, (A, B), deps)
    assert [len(group) for group in plan.groups] == [2]
    assert {stage.peer: stage.addresses[0] for stage in plan.stages}[B] == "/ip4/10.0.0.2/tcp/4801"
    assert len(reasons) == 2


async def test_peers_that_ask_something_share_no_stage(deps: RunDeps) -> None:
    record = probed(deps, a=1.0, b=1.0)
    record.asked = RunTable(min_stages=1, max_stages=2, replicas=2)
    record.budget = Budget(max_credits=10**12)
    plan, _ = await make_plan(record, (A, B), deps, {B: 1})
    assert not plan.shared


async def test_a_plan_covers_the_layers_and_says_why(deps: RunDeps) -> None:
    record = probed(deps, a=1.0, b=1.0)
    plan, reasons = await make_plan(record, (A, B), deps)
    assert (plan.run, plan.term, plan.number, plan.checkpoint) == (record.run, 1, 1, None)
    assert [(stage.first, stage.end) for stage in plan.stages] == [(0, 2), (2, 4)]
    assert {stage.peer: stage.addresses[0] for stage in plan.stages} == {
        A: "/ip4/10.0.0.1/tcp/4801",
        B: "/ip4/10.0.0.2/tcp/4801",
    }
    assert len(reasons) == 2
    assert all("layers" in reason for reason in reasons)


async def test_no_stage_holds_more_than_a_step_has_and_the_first_holds_most(deps: RunDeps) -> None:
    plan, _ = await make_plan(probed(deps, a=40.0, b=40.0), (A, B), deps)
    first, last = plan.stages
    assert FOUR_LAYERS.batch.micro_batches >= first.credit >= last.credit >= 1


async def test_a_member_without_a_probe_has_no_stage(deps: RunDeps) -> None:
    plan, _ = await make_plan(probed(deps, a=1.0, b=1.0), (A, B, C), deps)
    assert {stage.peer for stage in plan.stages} == {A, B}


async def test_too_few_members_are_no_plan(deps: RunDeps) -> None:
    with pytest.raises(RunFailed, match="a pipeline of 2 or more stages cannot be made"):
        await make_plan(probed(deps, a=1.0), (A,), deps)
