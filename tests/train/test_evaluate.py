"""Evaluation: the held-out loss of a folder, recomputed anywhere; and when one is due."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from swarmd.protocols.errors import NotFound, StateError
from swarmd.protocols.spec import ScheduleSpec
from swarmd.train.__main__ import main
from swarmd.train.evaluate import evaluation_due, loss_sum
from swarmd.train.export import export
from swarmd.train.folder import evaluate_model, open_model
from swarmd.train.loop import train


@pytest.fixture
def model(tiny_run, tmp_path):
    trained = train(tiny_run.spec, tiny_run.data)
    units = {name: unit.weight_bytes() for name, unit in trained.units.items()}
    return export(tiny_run.spec, units, tiny_run.blobs, tiny_run.data, "", tmp_path / "model")


def test_it_is_due_at_the_start_at_the_end_and_every_so_often():
    schedule = ScheduleSpec(steps=7, eval_every=3, eval_windows=4, checkpoint_every=1)
    assert [step for step in range(8) if evaluation_due(schedule, step)] == [0, 3, 6, 7]
    assert not evaluation_due(replace(schedule, eval_windows=0), 3)


def test_a_loss_sum_is_the_sum_of_token_losses():
    logits = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([[0, 1, 2], [3, 4, 0]])
    expected = -logits.double().log_softmax(-1).gather(-1, targets[..., None]).sum().item()
    assert loss_sum(logits, targets) == pytest.approx(expected, rel=1e-6)


def test_a_folder_evaluates_to_the_recorded_bits(model, capsys):
    assert main(["eval", str(model.out), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["loss"] == answer["recorded_loss"] == model.loss
    assert answer["same"]
    assert answer["targets"] == 4 * 16


def test_words_say_whether_the_bits_are_the_same(model, capsys):
    assert main(["eval", str(model.out)]) == 0
    assert "the same bits as recorded" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["spec.json", "model.safetensors", "eval_tokens.bin", "eval.json"])
def test_a_file_that_is_not_there_is_named(model, name, capsys):
    (model.out / name).unlink()
    assert main(["eval", str(model.out)]) == NotFound.exit_code
    assert f"has no {name}" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["spec.json", "model.safetensors", "eval_tokens.bin"])
def test_a_file_cut_short_is_named(model, name):
    path = model.out / name
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(StateError, match=name):
        evaluate_model(*open_model(model.out), model.out)


def test_tokens_the_model_does_not_know_are_refused(model):
    path = model.out / "eval_tokens.bin"
    path.write_bytes(b"\xff" * path.stat().st_size)
    with pytest.raises(StateError, match="does not know"):
        evaluate_model(*open_model(model.out), model.out)
