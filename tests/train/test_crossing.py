"""What a model in subspace form sends between stages: coefficients and token ids, and what is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from swarmd.protocols.boundary import boundary_shape, frame_bytes
from swarmd.protocols.codecs import WIRES
from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.tensors import Direction
from swarmd.train.crossing import Crossing
from tests.train.test_stage import stages_of
from tests.train.test_subspace import WIDTH, narrowed

CPU = torch.device("cpu")
THERE, BACK = Direction.FORWARD, Direction.BACKWARD


@pytest.fixture
def narrow_run(tiny_run):
    return narrowed(tiny_run)


@pytest.mark.parametrize("wire", WIRES)
def test_frames_have_the_size_that_planner_slots_and_links_reckon_with(tiny_run, wire):
    run = narrowed(tiny_run, wire)
    first, last = stages_of(run, (1, 3))
    x = first.forward(1, 0)
    last.forward(1, 0, x)
    sent = (x.nbytes, first.evaluate(0).nbytes, last.backward(1, 0).nbytes)
    assert sent == tuple(frame_bytes(run.spec, way) for way in (THERE, Direction.EVALUATE, BACK))


@pytest.mark.parametrize(("wire", "there", "back"), [("raw", 34, 32), ("bf16", 18, 16), ("int4", 8, 6)])
def test_a_token_takes_fewer_bytes_than_at_full_rank(tiny_run, wire, there, back):
    run = narrowed(tiny_run, wire)
    tokens = math.prod(boundary_shape(run.spec)[:2])
    full = replace(run.spec, model=tiny_run.spec.model)
    for way, row in ((THERE, there), (BACK, back)):
        assert frame_bytes(run.spec, way) == tokens * row < frame_bytes(full, way)


def test_the_stages_after_the_first_have_the_tokens_from_the_frame(narrow_run):
    first = stages_of(narrow_run, (1, 3))[0]
    _, ids = Crossing(narrow_run.spec, CPU).came_forth(first.forward(1, 2))
    assert torch.equal(ids, torch.from_numpy(narrow_run.data.micro_batch(1, 2)[0]))


@pytest.mark.parametrize(("dtype", "vocabulary"), [("u16", 300), ("u32", 70_000)])
def test_ids_of_either_width_come_back_as_they_went(narrow_run, dtype, vocabulary):
    spec = narrow_run.spec
    spec = replace(spec, data=replace(spec.data, dtype=dtype), model=replace(spec.model, vocab_size=vocabulary))
    crossing, c = Crossing(spec, CPU), torch.linspace(-1, 1, 2 * 16 * WIDTH).view(2, 16, WIDTH)
    ids = torch.arange(vocabulary - 32, vocabulary).view(2, 16)
    came, told = crossing.came_forth(crossing.forth(c, ids))
    assert torch.equal(came, c)
    assert torch.equal(told, ids)


@pytest.mark.parametrize("ends", [(1, 3), (1, 2, 3)])
def test_an_id_of_no_token_is_refused(narrow_run, ends):
    stages = stages_of(narrow_run, ends)
    x = stages[0].forward(1, 0)
    x[1, 5, -1] = 1
    for call in (lambda: stages[1].forward(1, 0, x), lambda: stages[1].evaluate(0, x)):
        with pytest.raises(ProtocolViolation, match=r"token id \d+ in a vocabulary of 256"):
            call()


@pytest.mark.parametrize(
    "x",
    [
        None,
        torch.zeros(2, 16, WIDTH),
        torch.zeros(2, 16, 4 * WIDTH, dtype=torch.uint8),
        torch.zeros(2, 15, 4 * WIDTH + 2, dtype=torch.uint8),
    ],
)
def test_a_frame_of_another_form_is_refused(narrow_run, x):
    stage = stages_of(narrow_run, (1, 3))[1]
    with pytest.raises(ProtocolViolation, match=r"a boundary tensor is torch.uint8 of shape \(2, 16, 34\)"):
        stage.forward(1, 0, x)


def test_a_gradient_has_as_many_numbers_as_there_are_coefficients(narrow_run):
    first = stages_of(narrow_run, (1, 3))[0]
    first.forward(1, 0)
    with pytest.raises(ProtocolViolation, match=r"a boundary tensor is torch.float32 of shape \(2, 16, 8\)"):
        first.backward(1, 0, torch.zeros(2, 16, 32))
