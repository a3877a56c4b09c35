"""Taking a job: what it may need here is known before, and a refusal says what would change it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from swarmd.compute.layout import layout_of
from swarmd.config import Config
from swarmd.protocols.errors import Refused
from swarmd.protocols.footprint import stage_memory
from swarmd.protocols.ids import PeerId, RunId
from swarmd.protocols.statements import RunStatement, StageAssignment
from swarmd.runs.deps import RunDeps
from swarmd.runs.hosting import decide, make_room
from swarmd.runs.leases import Room
from swarmd.scheduler.fitting import Fit
from tests.protocols.specs import SPEC
from tests.runs.nodes import open_swarm

pytestmark = pytest.mark.net
STRANGER = PeerId("12D3KooWStranger")
OURS = ""
"""Stands for the node itself as the submitter."""


@pytest.fixture
async def deps(tmp_path: Path) -> AsyncIterator[RunDeps]:
    async with open_swarm(tmp_path) as swarm:
        yield (await swarm.add()).deps


def asked_by(deps: RunDeps, who: str) -> RunStatement:
    submitter = deps.identity.peer if who == OURS else PeerId(who)
    return RunStatement(deps.network.id, SPEC.spec_id, submitter, bytes(16), 1_700_000_000)


def with_settings(deps: RunDeps, **settings: Any) -> RunDeps:
    return replace(deps, config=Config(**{"device": "cpu", "threads": 1, **settings}))


@pytest.mark.parametrize(
    ("who", "settings"),
    [
        (OURS, {"accept": "self"}),
        (OURS, {"accept": "list"}),
        (STRANGER, {"accept": "network"}),
    ],
)
async def test_a_job_that_is_taken_keeps_room_free(deps: RunDeps, who: str, settings: dict[str, Any]) -> None:
    room = decide(asked_by(deps, who), SPEC, with_settings(deps, **settings))
    assert room.memory > 0
    assert room.disk > (SPEC.data.train_tokens + SPEC.data.held_out_tokens) * 2


@pytest.mark.parametrize(
    ("who", "settings", "words"),
    [
        (STRANGER, {"accept": "self"}, "takes its owner's jobs only"),
        (STRANGER, {"accept": "list"}, "not on this node's allow list"),
        (OURS, {"max_stages": 0}, "holds no stages, for anybody"),
        (OURS, {"disk_quota": 1000}, "of disk"),
    ],
)
async def test_a_refusal_says_what_is_short(deps: RunDeps, who: str, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(Refused, match=words):
        decide(asked_by(deps, who), SPEC, with_settings(deps, **settings))


async def test_a_device_that_is_not_probed_has_no_memory_to_lend(deps: RunDeps) -> None:
    deps.device.view = None
    with pytest.raises(Refused, match="of memory, and 0 bytes"):
        decide(asked_by(deps, OURS), SPEC, deps)


async def test_one_run_has_one_stage_here(deps: RunDeps) -> None:
    statement = asked_by(deps, OURS)
    with deps.leases.hold(statement.run, statement.submitter, 1, Room(1, 1)), pytest.raises(Refused) as refusal:
        decide(statement, SPEC, deps)
    assert refusal.value.hint == "wait until its lease has ended"
    assert decide(statement, SPEC, deps).memory > 0


async def test_one_submitter_does_not_get_the_whole_node(deps: RunDeps) -> None:
    deps = with_settings(deps, accept="network", max_stages_per_submitter=2)
    with ExitStack() as held:
        for number in range(2):
            held.enter_context(deps.leases.hold(RunId(f"{number:064x}"), STRANGER, 1, Room(1, 1)))
        with pytest.raises(Refused, match="all it takes of one submitter"):
            decide(asked_by(deps, STRANGER), SPEC, deps)
        assert decide(asked_by(deps, OURS), SPEC, deps).memory > 0


async def test_what_is_promised_to_one_is_not_promised_to_another(deps: RunDeps) -> None:
    all_of_it = Room(deps.device.memory_limit(), 0)
    with deps.leases.hold(RunId("f" * 64), STRANGER, 1, all_of_it), pytest.raises(Refused, match="of memory"):
        decide(asked_by(deps, OURS), SPEC, deps)


class TestRoom:
    """Micro-batches that a stage with a planned credit of 2 gets memory for."""

    LONG = replace(SPEC, batch=replace(SPEC.batch, micro_batches=16))

    def fit(self, deps: RunDeps, index: int, memory: int = 0) -> Fit:
        stage = StageAssignment(deps.identity.peer, 1, 2, 2, ())
        short = deps.device.memory_limit() - memory if memory else 0
        with (
            deps.leases.hold(RunId("f" * 64), STRANGER, 1, Room(short, 0)),
            deps.leases.hold(RunId("e" * 64), STRANGER, 1, Room(0, 0)) as lease,
        ):
            fit = make_room(deps, lease, self.LONG, stage, index)
            assert lease.room.memory == fit.needed == self.needed(fit.room, recompute=fit.recompute)
            return fit

    def needed(self, held: int, *, recompute: bool = False) -> int:
        return stage_memory(self.LONG, 1, 2, held, recompute=recompute) + layout_of(self.LONG).frame_bytes

    async def test_the_first_gets_twice_its_credit_and_others_what_a_deferral_needs(self, deps: RunDeps) -> None:
        assert [self.fit(deps, index).room for index in range(3)] == [4, 10, 16]

    async def test_it_takes_no_more_than_is_free(self, deps: RunDeps) -> None:
        assert self.fit(deps, 2, self.needed(3) + 1).room == 3

    async def test_without_room_for_the_credit_activations_are_computed_twice_and_it_is_said(
        self, deps: RunDeps
    ) -> None:
        fit = self.fit(deps, 2, self.needed(2) - 1)
        assert (fit.credit, fit.recompute) == (2, True)
        assert "it computes activations twice" in deps.events.recent(1)[0].text

    async def test_without_room_for_one_micro_batch_the_stage_is_refused(self, deps: RunDeps) -> None:
        with pytest.raises(
            Refused, match=r"need [\d,]+ bytes of memory for one micro-batch at a time, and [\d,]+ bytes"
        ):
            self.fit(deps, 2, self.needed(1) - 1)
