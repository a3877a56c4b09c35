"""A job's wire is settled from what peers declare, before the spec id exists."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from pathlib import Path

import pytest

from swarmd.protocols.spec import WireSpec
from swarmd.runs.deps import RunDeps
from swarmd.runs.wiring import settled_spec
from tests.protocols.keys import advert
from tests.runs.nodes import open_swarm
from tests.runs.values import FOUR_LAYERS, A, B


@pytest.fixture
async def deps(tmp_path: Path) -> RunDeps:
    """Of a node that knows A and B, with uplinks of 1 kbit/s."""
    async with open_swarm(tmp_path) as swarm:
        known = {peer: advert(up_bits=1000) for peer in (A, B)}
        return replace((await swarm.add()).deps, adverts=lambda: known)


def answer(codec: str, boundaries: list[int] | None = None) -> dict[str, object]:
    """What resolving a job file answers."""
    wire, run = {"codec": codec, "boundaries": boundaries}, {"min_stages": 1, "max_stages": None}
    return {"spec": b64encode(FOUR_LAYERS.to_bytes()).decode(), "wire": wire, "run": run}


async def test_narrow_uplinks_lead_to_a_smaller_wire(deps: RunDeps) -> None:
    spec, words = settled_spec(answer("auto", [2]), deps)
    assert spec.wire == WireSpec(forward="int4", backward="int4", boundaries=(2,))
    assert "one boundary, every 2 layers (chosen: the uplink of" in words


async def test_a_named_wire_is_left_alone(deps: RunDeps) -> None:
    spec, words = settled_spec(answer("raw"), deps)
    assert spec == FOUR_LAYERS
    assert words == "wire raw: 32 bytes a token there, 32 back; stages may be cut anywhere"
