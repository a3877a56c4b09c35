"""A lossy wire is part of the numerics: with it too, any cut ends with the bits of the plain loop."""

from __future__ import annotations

import random

import pytest
import torch

from swarmd.protocols.codecs import WIRES
from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.spec import WireSpec
from swarmd.train.checkpoint import store_units
from swarmd.train.codecs import wire_dtype, wire_shape
from swarmd.train.loop import train
from tests.train.test_stage import bits, comparable, one_step, pipelined, snapshot, stages_of

LOSSY = [name for name in WIRES if name != "raw"]


def wired(run, name, boundaries=(1, 2)):
    forward, backward = WIRES[name]
    return run.changed(wire=WireSpec(forward=forward, backward=backward, boundaries=boundaries))


@pytest.mark.slow
@pytest.mark.parametrize("ends", [(3,), (1, 3), (2, 3), (1, 2, 3)])
@pytest.mark.parametrize("name", LOSSY)
def test_any_cut_at_a_boundary_gives_the_bits_of_the_loop(tiny_run, name, ends):
    run = wired(tiny_run, name)
    expected = train(run.spec, run.data)
    stages = stages_of(run, ends)
    assert pipelined(run, stages, random.Random(len(ends))) == comparable(expected.rows)
    assert snapshot(stages) == bits(expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", LOSSY)
def test_codec_and_boundaries_are_part_of_the_result(tiny_run, name):
    results = [
        bits(train(run.spec, run.data)) for run in (tiny_run, wired(tiny_run, name), wired(tiny_run, name, (2,)))
    ]
    assert results[0] != results[1] != results[2] != results[0]


@pytest.mark.parametrize("name", WIRES)
def test_what_leaves_a_stage_are_the_codec_s_rows(tiny_run, name):
    run = tiny_run if name == "raw" else wired(tiny_run, name)
    first, last = stages_of(run, (1, 3))
    forward, backward = WIRES[name]
    x = first.forward(1, 0)
    last.forward(1, 0, x)
    for codec, tensor in ((forward, x), (backward, last.backward(1, 0)), (forward, first.evaluate(0))):
        assert tuple(tensor.shape) == wire_shape(codec, (2, 16, 32))
        assert tensor.dtype == wire_dtype(codec)
        assert tensor.is_contiguous()


def test_a_stage_is_cut_only_at_a_boundary(tiny_run):
    run = wired(tiny_run, "int8", (2,))
    with pytest.raises(ProtocolViolation, match="cannot be cut at layers 0 and 1"):
        stages_of(run, (1, 3))


@pytest.mark.parametrize("x", [None, torch.zeros(2, 16, 32), torch.zeros(2, 16, 33, dtype=torch.uint8)])
def test_a_tensor_in_another_codec_is_refused(tiny_run, x):
    stage = stages_of(wired(tiny_run, "int8"), (1, 3))[1]
    with pytest.raises(ProtocolViolation, match=r"a boundary tensor is torch.uint8 of shape \(2, 16, 34\)"):
        stage.forward(1, 0, x)


def test_rows_that_no_sender_makes_are_refused(tiny_run):
    first, last = stages_of(wired(tiny_run, "int8"), (1, 3))
    x = first.forward(1, 0)
    x[0, 0, -1] = 0xFF
    with pytest.raises(ProtocolViolation, match="with a scale that no sender makes"):
        last.forward(1, 0, x)


@pytest.mark.slow
def test_a_run_goes_on_with_another_cut_at_the_same_bits(tiny_run):
    run = wired(tiny_run, "int8/int4")
    expected = train(run.spec, run.data)
    stages = stages_of(run, (1, 2, 3))
    for step in (1, 2):
        one_step(stages, step, random.Random(step))
    units = {name: unit for stage in stages for name, unit in stage.units.items()}
    stages = stages_of(run, (2, 3), store_units(2, units, run.blobs))
    pipelined(run, stages, random.Random(0))
    assert snapshot(stages) == bits(expected)
