"""A job's wire is settled from what peers declare, before the spec id exists."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from swarmd.protocols.batchtable import BatchTable, usual_windows
from swarmd.protocols.budget import Budget
from swarmd.protocols.spec import WireSpec
from swarmd.runs.deps import RunDeps
from swarmd.runs.wiring import settled_spec
from tests.protocols.keys import advert
from tests.runs.nodes import open_swarm
from tests.runs.values import FOUR_LAYERS, A, B

NAMED = BatchTable(sequence_length=16, micro_batch_size=2, micro_batches=3)


@pytest.fixture
async def deps(tmp_path: Path) -> RunDeps:
    """Of a node that knows A and B, with uplinks of 1 kbit/s."""
    async with open_swarm(tmp_path) as swarm:
        known = {peer: advert(up_bits=1000, accepts="network") for peer in (A, B)}
        return replace((await swarm.add()).deps, adverts=lambda: known)


def answer(codec: str, boundaries: list[int] | None = None, batch: BatchTable = NAMED) -> dict[str, object]:
    """What resolving a job file answers."""
    wire, run = {"codec": codec, "boundaries": boundaries}, {"min_stages": 1, "max_stages": None}
    spec = b64encode(FOUR_LAYERS.to_bytes()).decode()
    return {"spec": spec, "wire": wire, "run": run, "batch": asdict(batch), "budget": asdict(Budget())}


async def test_narrow_uplinks_lead_to_a_smaller_wire(deps: RunDeps) -> None:
    settled = await settled_spec(answer("auto", [2]), deps)
    assert settled.spec.wire == WireSpec(forward="int4", backward="int4", boundaries=(2,))
    assert "one boundary, every 2 layers (chosen: the uplink of" in settled.wire


async def test_a_named_wire_and_batch_are_left_alone(deps: RunDeps) -> None:
    settled = await settled_spec(answer("raw"), deps)
    assert settled.spec == FOUR_LAYERS
    assert settled.wire == "wire raw: 32 bytes a token there, 32 back; stages may be cut anywhere"
    assert settled.batch == "6 sequences a step: 3 micro-batches of 2"


async def test_slow_links_lead_to_micro_batches_that_fill_the_pipeline(deps: RunDeps) -> None:
    open_batch = BatchTable(sequence_length=16, sequences=64)
    settled = await settled_spec(answer("raw", batch=open_batch), deps)
    batch = settled.spec.batch
    assert batch.micro_batch_size * batch.micro_batches == 64
    assert settled.spec.schedule.eval_windows == usual_windows(batch.micro_batch_size)
    assert settled.batch.startswith(f"64 sequences a step: {batch.micro_batches} micro-batches of")
    assert "(chosen: 1 stage would take" in settled.batch


async def test_peers_that_take_no_stages_do_not_count(deps: RunDeps) -> None:
    none = replace(deps, adverts=lambda: {A: advert(max_stages=0, free_stages=0)})
    settled = await settled_spec(answer("raw", batch=BatchTable(sequence_length=16, sequences=64)), none)
    assert settled.batch.endswith("(chosen: the smallest within 5% of the fastest, in one process)")
