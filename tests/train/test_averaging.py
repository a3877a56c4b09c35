"""Local steps: replicas train apart and average now and then, in the plain loop and in every pipeline alike."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from swarmd.blobs import BlobStore
from swarmd.compute.messages import Scored, Stepped, Stored
from swarmd.protocols.checkpoint import Checkpoint
from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.rounds import Round, over_lanes, round_of
from swarmd.protocols.spec import AveragingSpec, JobSpec, NumericsSpec
from swarmd.train.checkpoint import open_units, store_units
from swarmd.train.data import TokenData
from swarmd.train.loop import EvalRow, StepRow, train
from swarmd.train.outer import Outer
from tests.train.chain import Chain
from tests.train.specs import small_spec

CPU = torch.device("cpu")
NAMES = ("embed", "layers.0", "layers.1", "layers.2", "head")
STEPS = 8


def apart(folder: Path, blobs: BlobStore, **averaging: object) -> JobSpec:
    """Eight steps, a checkpoint after four, and rounds of some units between."""
    made = small_spec(folder, blobs)
    made = replace(made, numerics=NumericsSpec(dtype=averaging.pop("dtype", "float32")))
    schedule = replace(made.schedule, steps=STEPS, checkpoint_every=4)
    averaged = AveragingSpec(**{"replicas": 2, "every": 3, **averaging})
    return replace(made, schedule=schedule, batch=replace(made.batch, micro_batches=4), averaging=averaged)


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs")


CASES = [
    {},
    {"codec": "raw"},
    {"codec": "int4", "rate": "0.7", "momentum": "0.9"},
    {"replicas": 4, "every": 2},
    {"dtype": "bfloat16"},
]


@pytest.mark.slow
@pytest.mark.parametrize("averaging", CASES)
@pytest.mark.parametrize("cuts", [(0, 3), (0, 1, 3)])
def test_pipelines_that_train_apart_give_the_plain_loops_bits(tmp_path, blobs, averaging, cuts):
    spec = apart(tmp_path, blobs, **averaging)
    reference = train(spec, TokenData(spec, blobs.get))
    chain = Chain(spec, blobs, cuts, replicas=(spec.lanes,) * (len(cuts) - 1))
    chain.run(seed=len(averaging))
    expected = store_units(STEPS, reference.units, blobs)
    last = [stored.units for stored in chain.reported(Stored) if stored.step == STEPS]
    assert len(last) == spec.lanes * (len(cuts) - 1)
    assert {unit for units in last for unit in units} == set(expected.units)
    assert rows_of(chain, spec) == {row.step: (row.loss, row.grad_norm) for row in steps(reference.rows)}
    scores = {report.step: float(report.loss) for report in chain.reported(Scored)}
    assert scores == {row.step: row.loss for row in reference.rows if isinstance(row, EvalRow)}


def steps(rows):
    return [row for row in rows if isinstance(row, StepRow)]


def rows_of(chain, spec):
    """Loss and norm of each step over all replicas, from what each of them reports."""
    reports = chain.reported(Stepped)
    made = {}
    for step in range(1, STEPS + 1):
        here = [each for each in reports if each.step == step]
        losses = [float(each.loss) for each in here if each.loss is not None]
        squares = [float(text) for each in here for text in each.squared_norms]
        made[step] = over_lanes(losses, squares)
        assert len(losses) == spec.lanes
    return made


@pytest.mark.slow
def test_going_on_from_a_checkpoint_gives_the_same_bits(tmp_path, blobs):
    spec = apart(tmp_path, blobs, momentum="0.5")
    whole = Chain(spec, blobs, (0, 1, 3), replicas=(2, 2))
    whole.run(seed=1)
    half = {unit.unit: unit for stored in whole.reported(Stored) if stored.step == 4 for unit in stored.units}
    start = Checkpoint(4, tuple(half[name] for name in NAMES))
    rest = Chain(spec, blobs, (0, 3), blobs.put(start.to_bytes()), replicas=(2,))
    rest.run(seed=2)
    assert rest.weights() == whole.weights()
    again = train(spec, TokenData(spec, blobs.get), resume=start, blobs=blobs)
    assert {unit.unit: unit for unit in store_units(STEPS, again.units, blobs).units} == whole.weights()


@pytest.mark.slow
def test_replicas_that_average_learn_more_than_their_own_share_alone(tmp_path, blobs):
    """What is averaged is of use: the mean of the changes moves the weights about as far as each of them."""
    spec = apart(tmp_path, blobs, every=2)
    with_rounds = steps(train(spec, TokenData(spec, blobs.get)).rows)
    assert with_rounds[-1].loss < with_rounds[0].loss


class TestOuter:
    @pytest.fixture
    def spec(self, tmp_path, blobs):
        return apart(tmp_path, blobs, codec="raw")

    def pair(self, spec):
        first = open_units(spec, NAMES, None, None, CPU)
        second = {name: unit.copied() for name, unit in first.items()}
        return (first, Outer(spec, first)), (second, Outer(spec, second))

    def moved(self, units, by):
        with torch.no_grad():
            for unit in units.values():
                for weight in unit.weights.values():
                    weight.add_(by)

    def test_the_mean_of_the_changes_moves_all_and_what_came_since_stays(self, spec):
        (a, outer_a), (b, outer_b) = self.pair(spec)
        before = {name: unit.copied() for name, unit in a.items()}
        of = Round(1, ("layers.1",), full=False)
        self.moved(a, 1.0)
        self.moved(b, 3.0)
        told = [outer_a.told(of), outer_b.told(of)]
        self.moved(a, 0.5)
        for outer in (outer_a, outer_b):
            outer.use(of, told)
        for units, expected in ((a, 2.5), (b, 2.0)):
            for key, weight in units["layers.1"].weights.items():
                assert torch.allclose(weight, before["layers.1"].weights[key] + expected, atol=1e-5)
        assert torch.allclose(a["head"].weights["model.norm.weight"], before["head"].weights["model.norm.weight"] + 1.5)

    def test_after_a_full_round_all_are_equal_to_the_bit(self, spec):
        (a, outer_a), (b, outer_b) = self.pair(spec)
        self.moved(a, 0.3)
        self.moved(b, 0.1)
        next(iter(a["head"].exp_avg.values())).add_(2.0)
        told = [each.told(Round(4, NAMES, full=True)) for each in (outer_a, outer_b)]
        for outer in (outer_a, outer_b):
            outer.use(Round(4, NAMES, full=True), told)
        assert [unit.weight_bytes() for unit in a.values()] == [unit.weight_bytes() for unit in b.values()]
        assert [unit.optimizer_bytes() for unit in a.values()] == [unit.optimizer_bytes() for unit in b.values()]
        assert next(iter(b["head"].exp_avg.values())).flatten()[0] == 1.0

    @pytest.mark.parametrize("full", [False, True])
    @pytest.mark.parametrize("codec", ["raw", "bf16", "int8", "int4"])
    def test_a_rounds_size_is_known_beforehand(self, tmp_path, blobs, codec, full):
        spec = apart(tmp_path, blobs, codec=codec)
        (_, outer), _ = self.pair(spec)
        of = Round(1, NAMES if full else NAMES[:2], full=full)
        assert len(outer.told(of)) == outer.size(of)

    def test_too_few_bytes_and_moments_that_are_no_numbers_are_refused(self, spec):
        (_, outer_a), (_, outer_b) = self.pair(spec)
        of = Round(4, NAMES, full=True)
        mine, theirs = outer_a.told(of), outer_b.told(of)
        with pytest.raises(ProtocolViolation, match="too few"):
            outer_a.use(of, [mine, theirs[:-1]])
        outer_a.told(of)
        with pytest.raises(ProtocolViolation, match="not finite"):
            outer_a.use(of, [mine, theirs[:-4] + b"\xff\xff\xff\xff"])


def test_without_averaging_there_is_no_round(tmp_path, blobs):
    spec = apart(tmp_path, blobs, replicas=1)
    assert not any(round_of(spec, step) for step in range(STEPS + 1))
