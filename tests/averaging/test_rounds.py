"""Rounds over real links: the same bits everywhere, and a report that tells what they are made of."""

from __future__ import annotations

import numpy as np
import pytest

from swarmd.averaging import CODECS, Averaged, RoundFailed, average
from swarmd.protocols.averaging import RoundPlan, Seat
from swarmd.protocols.errors import UsageError
from tests.averaging.replicas import RUN, plan_of, round_of, sessions

pytestmark = [pytest.mark.net, pytest.mark.slow]
VALUES = 300_001


def vectors_of(count: int, values: int = VALUES) -> list[np.ndarray]:
    dice = np.random.default_rng(5)
    return [dice.standard_normal(values).astype(np.float32) for _ in range(count)]


def exact_mean(vectors: list[np.ndarray]) -> np.ndarray:
    return np.mean([vector.astype(np.float64) for vector in vectors], axis=0)


@pytest.mark.parametrize("codec", list(CODECS))
async def test_all_members_get_the_same_mean(codec):
    vectors = vectors_of(3)
    async with sessions(3) as members:
        for number in range(2):
            got = await round_of(members, plan_of(members, VALUES, codec, number), vectors)
            results = [got[place] for place in range(3)]
            assert all(isinstance(result, Averaged) and result.report.complete for result in results)
            assert len({result.values.tobytes() for result in results}) == 1
            assert results[0].report.fraction == 1.0
            error = np.abs(results[0].values - exact_mean(vectors)).max()
            assert error < {"float32": 1e-6, "float16": 5e-3, "bfloat16": 5e-2, "int8": 0.1}[codec]


async def test_weights_count():
    vectors = vectors_of(2, 1000)
    async with sessions(2) as members:
        seats = (Seat(members[0].me, 3, 1), Seat(members[1].me, 1, 2))
        got = await round_of(members, RoundPlan(RUN, 1, 0, "float32", 1000, seats), vectors)
    assert np.allclose(got[1].values, (3 * vectors[0] + vectors[1]) / 4, atol=1e-6)


async def test_a_member_that_never_comes_is_missing_in_the_report():
    vectors = vectors_of(2)
    async with sessions(3) as members:
        got = await round_of(members, plan_of(members, VALUES), vectors)
        report = got[0].report
    assert not report.complete
    assert report.missing == (members[2].me,)
    assert report.fraction == 0.0
    assert report.contributed == {members[0].me: 1.0, members[1].me: 1.0, members[2].me: 0.0}
    assert np.abs(got[1].values - exact_mean(vectors)).max() < 1e-6


async def test_without_its_leader_a_round_fails():
    async with sessions(2) as members:
        members[1].drop(members[0].me)
        with pytest.raises(RoundFailed, match="leader was lost"):
            await average(members[1], plan_of(members, 64), np.zeros(64, np.float32))


async def test_values_that_cannot_travel_are_refused_before_anything_is_sent():
    async with sessions(1) as members:
        plan = plan_of(members, 64, "float16")
        with pytest.raises(UsageError, match="cannot travel"):
            await average(members[0], plan, np.full(64, 1e6, np.float32))
        with pytest.raises(UsageError, match="float32 vector"):
            await average(members[0], plan, np.zeros(63, np.float32))
        alone = await average(members[0], plan, np.ones(64, np.float32))
    assert alone.report.complete
