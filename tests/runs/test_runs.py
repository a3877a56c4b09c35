"""Runs from submission to model, over several nodes in one process."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

from swarmd.protocols.codecs import WIRES, wire_name
from swarmd.protocols.errors import UsageError
from swarmd.runs.record import RunRecord
from swarmd.train.data import TokenData
from swarmd.train.export import export
from swarmd.train.loop import train
from swarmd.train.metrics import metrics_lines
from tests.runs.nodes import Swarm, TestNode, open_swarm, until
from tests.train.specs import small_job

pytestmark = [pytest.mark.slow, pytest.mark.net]


async def submit(
    node: TestNode,
    folder: Path,
    *,
    stages: int,
    steps: int = 4,
    codec: str = "raw",
    mode: str = "flow-sync",
    subspace: int = 0,
    replicas: int = 1,
    lanes: int = 1,
    restarts: int = 0,
    spares: int = 0,
) -> RunRecord:
    job = small_job(folder, steps=steps)
    text = job.read_text().replace("[model]", f"[model]\nsubspace = {subspace}")
    shared = f"max_stages = {stages}\nreplicas = {replicas}\n" if replicas > 1 else ""
    more = f"[run]\nmin_stages = {stages}\nrestarts = {restarts}\nspares = {spares}\n{shared}"
    more += f'[wire]\ncodec = "{codec}"\n[schedule]\nmode = "{mode}"\n'
    if lanes > 1:
        more += f"[averaging]\nreplicas = {lanes}\nevery = 2\n"
        text = text.replace("micro_batches = 3", "micro_batches = 4")
    if mode == "flow-async":
        more += "async_after = 2\n"
    job.write_text(text + more)
    return await node.runs.submit(str(job))


async def three(swarm: Swarm, **settings: object) -> list[TestNode]:
    return [await swarm.add(**settings) for _ in range(3)]


def plain_loop(record: RunRecord, node: TestNode, out: Path) -> str:
    """SHA-256 of the model file that the plain loop writes for this spec."""
    data = TokenData(record.spec, node.deps.blobs.get)
    trained = train(record.spec, data)
    weights = {name: unit.weight_bytes() for name, unit in trained.units.items()}
    return export(record.spec, weights, node.deps.blobs, data, metrics_lines(trained.rows), out).weights_sha256


async def test_three_nodes_write_the_plain_loops_file(tmp_path: Path) -> None:
    async with open_swarm(tmp_path) as swarm:
        nodes = await three(swarm)
        record = await submit(nodes[0], tmp_path, stages=3)
        assert await nodes[0].finished(record) == ("done", "", "")
        model = record.directory / "model"
        assert record.weights_sha256 == plain_loop(record, nodes[0], tmp_path / "plain")
        assert hashlib.sha256((model / "model.safetensors").read_bytes()).hexdigest() == record.weights_sha256
        assert (model / "metrics.jsonl").read_text() == (tmp_path / "plain" / "metrics.jsonl").read_text()
        assert len({stage.peer for stage in record.plan.stages}) == 3
        await all_free(nodes)


@pytest.mark.parametrize("codec", [name for name in WIRES if name != "raw"])
async def test_with_a_lossy_wire_too_two_nodes_write_the_plain_loops_file(tmp_path: Path, codec: str) -> None:
    async with open_swarm(tmp_path) as swarm:
        nodes = [await swarm.add() for _ in range(2)]
        record = await submit(nodes[0], tmp_path, stages=2, codec=codec)
        assert await nodes[0].finished(record) == ("done", "", "")
        wire = record.spec.wire
        assert (wire_name(wire.forward, wire.backward), wire.boundaries) == (codec, (1, 2))
        assert record.weights_sha256 == plain_loop(record, nodes[0], tmp_path / "plain")
        metrics = (record.directory / "model" / "metrics.jsonl").read_text()
        assert metrics == (tmp_path / "plain" / "metrics.jsonl").read_text()


@pytest.mark.parametrize(("stages", "count"), [(1, 2), (2, 4), (3, 4)])
@pytest.mark.parametrize("codec", ["raw", "int8/int4"])
async def test_with_replicas_too_the_plain_loops_file_is_written(
    tmp_path: Path, stages: int, count: int, codec: str
) -> None:
    async with open_swarm(tmp_path) as swarm:
        nodes = [await swarm.add() for _ in range(count)]
        record = await submit(nodes[0], tmp_path, stages=stages, codec=codec, replicas=2)
        assert await nodes[0].finished(record) == ("done", "", "")
        assert record.plan.shared
        assert len(record.plan.groups) == stages
        assert record.weights_sha256 == plain_loop(record, nodes[0], tmp_path / "plain")
        metrics = (record.directory / "model" / "metrics.jsonl").read_text()
        assert metrics == (tmp_path / "plain" / "metrics.jsonl").read_text()
        await all_free(nodes)


@pytest.mark.parametrize(("stages", "count"), [(1, 2), (2, 5)])
async def test_replicas_that_train_apart_write_the_plain_loops_file(tmp_path: Path, stages: int, count: int) -> None:
    async with open_swarm(tmp_path) as swarm:
        nodes = [await swarm.add() for _ in range(count)]
        record = await submit(nodes[0], tmp_path, stages=stages, steps=6, lanes=2)
        assert await nodes[0].finished(record) == ("done", "", "")
        assert [len(group) for group in record.plan.groups] == [2] * stages
        assert record.weights_sha256 == plain_loop(record, nodes[0], tmp_path / "plain")
        metrics = (record.directory / "model" / "metrics.jsonl").read_text()
        assert metrics == (tmp_path / "plain" / "metrics.jsonl").read_text()
        await all_free(nodes)


@pytest.mark.parametrize("codec", ["raw", "int8/int4"])
async def test_in_subspace_form_too_two_nodes_write_the_plain_loops_file(tmp_path: Path, codec: str) -> None:
    async with open_swarm(tmp_path) as swarm:
        nodes = [await swarm.add() for _ in range(2)]
        record = await submit(nodes[0], tmp_path, stages=2, codec=codec, subspace=4)
        assert await nodes[0].finished(record) == ("done", "", "")
        assert record.spec.model.subspace == 4
        assert record.weights_sha256 == plain_loop(record, nodes[0], tmp_path / "plain")
        metrics = (record.directory / "model" / "metrics.jsonl").read_text()
        assert metrics == (tmp_path / "plain" / "metrics.jsonl").read_text()


async def test_micro_batches_that_the_swarm_chose_give_the_plain_loops_file(tmp_path: Path) -> None:
    async with open_swarm(tmp_path) as swarm:
        nodes = await three(swarm)
        job = small_job(tmp_path)
        text = re.sub("micro_batch.*\n", "", job.read_text()).replace("[batch]", "[batch]\nsequences = 8")
        job.write_text(re.sub("windows.*\n", "", text) + "[run]\nmin_stages = 2\n")
        record = await nodes[0].runs.submit(str(job))
        assert await nodes[0].finished(record) == ("done", "", "")
        batch = record.spec.batch
        assert batch.micro_batch_size * batch.micro_batches == 8
        assert record.weights_sha256 == plain_loop(record, nodes[0], tmp_path / "plain")
        told = [event.text for event in nodes[0].deps.events.recent(100)]
        assert any(
            words.startswith("8 sequences a step: ") and "(chosen: 2 stages would take" in words for words in told
        )


async def test_the_same_file_twice_gives_two_runs_and_equal_weights(tmp_path: Path) -> None:
    async with open_swarm(tmp_path) as swarm:
        nodes = await three(swarm)
        first = await submit(nodes[0], tmp_path, stages=2)
        second = await submit(nodes[1], tmp_path, stages=2)
        await nodes[0].finished(first)
        await nodes[1].finished(second)
        assert first.run != second.run
        assert first.spec.spec_id == second.spec.spec_id
        assert first.weights_sha256 == second.weights_sha256 is not None


async def test_a_flipped_bit_at_one_stage_is_another_file(tmp_path: Path) -> None:
    async with open_swarm(tmp_path) as swarm:
        nodes = await three(swarm, fault="flip:1:2")
        record = await submit(nodes[0], tmp_path, stages=3)
        assert (await nodes[0].finished(record))[0] == "done"
        assert record.weights_sha256 != plain_loop(record, nodes[0], tmp_path / "plain")


@pytest.mark.parametrize("mode", ["flow-sync", "flow-async"])
async def test_a_lost_stage_ends_the_run_and_resuming_gives_the_same_bits(tmp_path: Path, mode: str) -> None:
    async with open_swarm(tmp_path) as swarm:
        nodes = await three(swarm)
        record = await submit(nodes[0], tmp_path, stages=3, steps=40, mode=mode)
        await until(lambda: record.checkpoint is not None)
        last = next(stage.peer for stage in record.plan.stages if stage.peer != nodes[0].peer)
        swarm.network.cut(last)
        state, code, reason = await nodes[0].finished(record)
        assert (state, code) == ("failed", "peer_lost")
        assert last[-8:] in reason
        step = record.checkpoint[0]
        assert 2 <= step < 40
        await all_free([node for node in nodes if node.peer != last])
        swarm.network.mend(last)
        for node in nodes:
            if node.peer != last:
                await node.transport.dial(last, (f"/memory/{last}",))
        await all_free(nodes)
        resumed = await nodes[0].runs.resume(record.run[:8])
        assert await nodes[0].finished(resumed) == ("done", "", "")
        assert resumed.term == 2
        assert resumed.weights_sha256 == plain_loop(record, nodes[0], tmp_path / "plain")
        rows = [json.loads(line) for line in (record.directory / "metrics.jsonl").read_text().splitlines()]
        assert [row["step"] for row in rows if "loss" in row] == list(range(1, 41))


async def test_a_run_that_loses_a_stage_goes_on_by_itself_with_another_peer(tmp_path: Path) -> None:
    async with open_swarm(tmp_path) as swarm:
        nodes = [*await three(swarm), await swarm.add()]
        record = await submit(nodes[0], tmp_path, stages=3, steps=40, restarts=5)
        await until(lambda: record.checkpoint is not None)
        lost = next(stage.peer for stage in record.plan.stages if stage.peer != nodes[0].peer)
        swarm.network.cut(lost)
        assert await nodes[0].finished(record) == ("done", "", "")
        assert record.term == 2
        assert lost not in {stage.peer for stage in record.plan.stages}
        assert record.weights_sha256 == plain_loop(record, nodes[0], tmp_path / "plain")
        rows = [json.loads(line) for line in (record.directory / "metrics.jsonl").read_text().splitlines()]
        assert [row["step"] for row in rows if "loss" in row] == list(range(1, 41))


async def test_a_run_without_enough_peers_waits_for_the_lost_one(tmp_path: Path) -> None:
    async with open_swarm(tmp_path) as swarm:
        nodes = await three(swarm)
        record = await submit(nodes[0], tmp_path, stages=3, steps=40, restarts=5)
        await until(lambda: record.checkpoint is not None)
        lost = next(stage.peer for stage in record.plan.stages if stage.peer != nodes[0].peer)
        swarm.network.cut(lost)
        await until(lambda: record.term == 2)
        swarm.network.mend(lost)
        await nodes[0].transport.dial(lost, (f"/memory/{lost}",))
        assert await nodes[0].finished(record) == ("done", "", "")
        assert record.weights_sha256 == plain_loop(record, nodes[0], tmp_path / "plain")


async def test_a_run_that_waits_for_its_next_term_can_be_stopped(tmp_path: Path) -> None:
    async with open_swarm(tmp_path) as swarm:
        nodes = await three(swarm)
        record = await submit(nodes[0], tmp_path, stages=3, steps=2000, restarts=5)
        await until(lambda: record.step > 0)
        lost = next(stage.peer for stage in record.plan.stages if stage.peer != nodes[0].peer)
        swarm.network.cut(lost)
        await until(lambda: record.term == 2)
        nodes[0].runs.stop(record.run, "enough")
        assert await nodes[0].finished(record) == ("stopped", "stopped", "enough")
        await all_free([node for node in nodes if node.peer != lost])


async def test_a_stranger_is_refused_with_the_reason_and_nothing_is_kept(tmp_path: Path) -> None:
    async with open_swarm(tmp_path) as swarm:
        submitter = await swarm.add(max_stages=0)
        owner = await swarm.add(accept="self")
        record = await submit(submitter, tmp_path, stages=1)
        state, code, reason = await submitter.finished(record)
        assert (state, code) == ("failed", "refused")
        assert "takes its owner's jobs only" in reason
        assert not owner.deps.leases.held
        assert not owner.deps.paths.leases.exists()


async def test_stopping_a_run_frees_every_stage(tmp_path: Path) -> None:
    async with open_swarm(tmp_path) as swarm:
        nodes = await three(swarm)
        record = await submit(nodes[0], tmp_path, stages=3, steps=2000)
        await until(lambda: record.step > 0)
        nodes[0].runs.stop(record.run, "enough")
        assert await nodes[0].finished(record) == ("stopped", "stopped", "enough")
        await all_free(nodes)
        with pytest.raises(UsageError):
            nodes[0].runs.stop(record.run, "again")


async def test_a_restarted_daemon_remembers_its_runs(tmp_path: Path) -> None:
    async with open_swarm(tmp_path) as swarm:
        node = await swarm.add(state="same")
        record = await submit(node, tmp_path, stages=1)
        await node.finished(record)
    async with open_swarm(tmp_path) as swarm:
        again = await swarm.add(state="same")
        remembered = again.runs.find(record.run[:6])
        assert await again.finished(remembered) == ("done", "", "")
        assert remembered.rows.keys() == record.rows.keys()
        assert remembered.evals == record.evals
        assert remembered.weights_sha256 == record.weights_sha256


async def all_free(nodes: list[TestNode]) -> None:
    """Wait until no node holds a lease, and see that no lease left a file."""
    await until(lambda: not any(node.deps.leases.held for node in nodes))
    assert not [file for node in nodes for file in node.deps.paths.leases.glob("**/*") if file.is_file()]
