"""A lost replica costs a run some steps done again, and neither its term nor a bit of its result."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from swarmd.runs.record import RunRecord
from tests.runs.nodes import TestNode, open_swarm, until
from tests.runs.test_runs import all_free, plain_loop, submit

pytestmark = [pytest.mark.slow, pytest.mark.net]

STEPS = 30


def replicas(record: RunRecord, keep: TestNode) -> list[str]:
    """Those that another one can stand in for, but for the coordinator's own."""
    groups = [[record.plan.stages[place].peer for place in group] for group in record.plan.groups]
    return [peer for group in groups if len(group) > 1 for peer in group if peer != keep.peer]


@pytest.mark.parametrize(("stages", "count"), [(1, 2), (2, 4), (2, 5)])
@pytest.mark.parametrize("after", [0, 7])
async def test_another_replica_takes_over_and_the_bits_are_the_same(
    tmp_path: Path, stages: int, count: int, after: int
) -> None:
    async with open_swarm(tmp_path) as swarm:
        nodes = [await swarm.add() for _ in range(count)]
        record = await submit(nodes[0], tmp_path, stages=stages, steps=STEPS, replicas=3)
        await until(lambda: record.state and record.state.phase.name == "TRAINING" and record.step >= after)
        lost = replicas(record, nodes[0])[-1]
        swarm.network.cut(lost)
        assert await nodes[0].finished(record) == ("done", "", "")
        assert (record.term, record.plan.number) == (1, 2)
        assert lost not in {stage.peer for stage in record.plan.stages}
        (recovery,) = record.recoveries.all
        assert (recovery.rung, recovery.again) == ("replica", 0)
        assert record.weights_sha256 == plain_loop(record, nodes[0], tmp_path / "plain")
        rows = [json.loads(line) for line in (record.directory / "metrics.jsonl").read_text().splitlines()]
        assert [row["step"] for row in rows if "loss" in row] == list(range(1, STEPS + 1))
        metrics = (record.directory / "model" / "metrics.jsonl").read_text()
        assert metrics == (tmp_path / "plain" / "metrics.jsonl").read_text()
        swarm.network.mend(lost)
        await all_free(nodes)


async def test_replicas_may_be_lost_one_after_the_other(tmp_path: Path) -> None:
    async with open_swarm(tmp_path) as swarm:
        nodes = [await swarm.add() for _ in range(4)]
        record = await submit(nodes[0], tmp_path, stages=1, steps=STEPS, replicas=4)
        await until(lambda: record.step >= 3)
        gone = replicas(record, nodes[0])
        for number, lost in enumerate(gone, start=2):
            reached = record.step
            swarm.network.cut(lost)
            await until(lambda number=number, reached=reached: record.plan.number == number and record.step > reached)
        assert await nodes[0].finished(record) == ("done", "", "")
        assert record.term == 1
        assert [each.rung for each in record.recoveries.all] == ["replica"] * len(gone)
        assert record.weights_sha256 == plain_loop(record, nodes[0], tmp_path / "plain")


async def test_two_lost_at_once_are_left_out_together(tmp_path: Path) -> None:
    async with open_swarm(tmp_path) as swarm:
        nodes = [await swarm.add() for _ in range(4)]
        record = await submit(nodes[0], tmp_path, stages=1, steps=STEPS, replicas=4)
        await until(lambda: record.step >= 3)
        for lost in replicas(record, nodes[0])[:2]:
            swarm.network.cut(lost)
        assert await nodes[0].finished(record) == ("done", "", "")
        assert record.term == 1
        assert record.weights_sha256 == plain_loop(record, nodes[0], tmp_path / "plain")


async def test_a_stage_without_another_replica_is_planned_anew_from_the_checkpoint(tmp_path: Path) -> None:
    async with open_swarm(tmp_path) as swarm:
        nodes = [await swarm.add() for _ in range(4)]
        record = await submit(nodes[0], tmp_path, stages=3, steps=STEPS, replicas=2, restarts=5)
        await until(lambda: record.checkpoint is not None)
        alone = [record.plan.stages[group[0]].peer for group in record.plan.groups if len(group) == 1]
        lost = next(peer for peer in alone if peer != nodes[0].peer)
        swarm.network.cut(lost)
        assert await nodes[0].finished(record) == ("done", "", "")
        assert (record.term, record.plan.number) == (1, 2)
        assert [each.rung for each in record.recoveries.all] == ["checkpoint"]
        assert record.weights_sha256 == plain_loop(record, nodes[0], tmp_path / "plain")


def lossy(record: RunRecord, keep: TestNode) -> str:
    """A stage's holder that is not the coordinator's own."""
    return next(stage.peer for stage in record.plan.stages if stage.peer != keep.peer)


async def test_a_spare_takes_the_place_of_a_lost_stage(tmp_path: Path) -> None:
    async with open_swarm(tmp_path) as swarm:
        nodes = [await swarm.add() for _ in range(4)]
        record = await submit(nodes[0], tmp_path, stages=3, steps=STEPS, restarts=5, spares=1)
        await until(lambda: record.checkpoint is not None)
        assert len(record.state.ready) == 1
        lost = lossy(record, nodes[0])
        swarm.network.cut(lost)
        assert await nodes[0].finished(record) == ("done", "", "")
        assert (record.term, record.plan.number, len(record.plan.stages)) == (1, 2, 3)
        assert [each.rung for each in record.recoveries.all] == ["checkpoint"]
        assert record.weights_sha256 == plain_loop(record, nodes[0], tmp_path / "plain")
        rows = [json.loads(line) for line in (record.directory / "metrics.jsonl").read_text().splitlines()]
        assert [row["step"] for row in rows if "loss" in row] == list(range(1, STEPS + 1))
        swarm.network.mend(lost)
        await all_free(nodes)


async def test_before_the_first_checkpoint_all_begin_again(tmp_path: Path) -> None:
    async with open_swarm(tmp_path) as swarm:
        nodes = [await swarm.add() for _ in range(3)]
        record = await submit(nodes[0], tmp_path, stages=2, steps=STEPS, restarts=5, spares=1)
        await until(lambda: record.state and record.state.phase.name == "TRAINING")
        swarm.network.cut(lossy(record, nodes[0]))
        assert await nodes[0].finished(record) == ("done", "", "")
        assert record.term == 1
        assert record.weights_sha256 == plain_loop(record, nodes[0], tmp_path / "plain")


async def test_peers_that_come_while_a_run_trains_become_its_spares(tmp_path: Path) -> None:
    async with open_swarm(tmp_path) as swarm:
        nodes = [await swarm.add() for _ in range(2)]
        record = await submit(nodes[0], tmp_path, stages=2, steps=400, restarts=5, spares=1)
        await until(lambda: record.checkpoint is not None)
        for number in (2, 3):
            nodes.append(await swarm.add())
            await until(lambda: record.state.ready)
            lost = lossy(record, nodes[0])
            swarm.network.cut(lost)
            await until(lambda number=number: record.plan.number == number and record.state.phase.name == "TRAINING")
            assert nodes[-1].peer in record.holders
            swarm.network.mend(lost)
        assert record.term == 1
        nodes[0].runs.stop(record.run, "enough")
        await nodes[0].finished(record)


async def test_without_a_spare_another_term_begins(tmp_path: Path) -> None:
    async with open_swarm(tmp_path) as swarm:
        nodes = [await swarm.add() for _ in range(4)]
        record = await submit(nodes[0], tmp_path, stages=3, steps=STEPS, restarts=5)
        await until(lambda: record.checkpoint is not None)
        swarm.network.cut(lossy(record, nodes[0]))
        assert await nodes[0].finished(record) == ("done", "", "")
        assert record.term == 2
        assert [each.rung for each in record.recoveries.all] == ["term"]
