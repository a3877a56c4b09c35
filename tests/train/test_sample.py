"""Sampling: seeded, and as likely as the model says."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest

from swarmd.protocols.errors import UsageError
from swarmd.train.__main__ import main
from swarmd.train.export import export
from swarmd.train.loop import train
from swarmd.train.sample import Choice, choose, uniform, write

LOGITS = np.log(np.array([0.1, 0.4, 0.2, 0.3], np.float32))


@pytest.fixture
def folder(tiny_run, tmp_path):
    trained = train(tiny_run.spec, tiny_run.data)
    units = {name: unit.weight_bytes() for name, unit in trained.units.items()}
    return export(tiny_run.spec, units, tiny_run.blobs, tiny_run.data, "", tmp_path / "model").out


def test_points_are_spread_evenly_and_differ_by_seed():
    points = [uniform(1, number) for number in range(2000)]
    assert 0 <= min(points) < 0.01
    assert 0.99 < max(points) < 1
    assert np.mean(points) == pytest.approx(0.5, abs=0.02)
    assert points[:5] != [uniform(2, number) for number in range(5)]


def test_tokens_are_as_frequent_as_they_are_likely():
    choice = Choice(temperature=1, top_k=0)
    counts = Counter(choose(LOGITS, choice, (n + 0.5) / 1000) for n in range(1000))
    assert [counts[token] for token in range(4)] == [100, 400, 200, 300]


def test_temperature_zero_takes_the_likeliest_and_the_lower_id_of_two():
    assert choose(LOGITS, Choice(temperature=0), 0.99) == 1
    assert choose(np.array([1, 3, 3], np.float32), Choice(temperature=0), 0.5) == 1


def test_top_k_leaves_the_unlikely_out():
    drawn = {choose(LOGITS, Choice(temperature=1, top_k=2), n / 100) for n in range(100)}
    assert drawn == {1, 3}


def test_extreme_temperatures_give_a_token():
    assert choose(LOGITS, Choice(temperature=1e-9), 0.999) == 1
    assert choose(LOGITS * 1e30, Choice(temperature=1.0), 0.999) == 1


@pytest.mark.parametrize("wish", [{"temperature": -1.0}, {"temperature": float("nan")}, {"top_k": -1}])
def test_impossible_choices_are_refused(wish):
    with pytest.raises(UsageError):
        Choice(**wish)


def test_the_same_seed_writes_the_same_text(folder):
    texts = ["".join(write(folder, "if x", 30, Choice(seed=seed))) for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_text_may_grow_longer_than_the_window(folder):
    assert "".join(write(folder, "x" * 40, 20, Choice(temperature=0)))


def test_pieces_never_split_a_character_that_ends_well(folder):
    pieces = list(write(folder, "é", 60, Choice(temperature=1, top_k=0)))
    assert len(pieces) > 1


@pytest.mark.parametrize(("prompt", "tokens"), [("", 5), ("x", 0), ("x", 10**9)])
def test_impossible_wishes_are_refused(folder, prompt, tokens):
    with pytest.raises(UsageError):
        list(write(folder, prompt, tokens, Choice()))


def test_the_command_answers_in_text_or_json(folder, capsys):
    assert main(["sample", "--tokens=5", "--", str(folder), "-x"]) == 0
    text = capsys.readouterr().out
    assert main(["sample", "--tokens=5", "--json", "--", str(folder), "-x"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert text == answer["prompt"] + answer["text"] + "\n"
    assert main(["sample", "--json", "--", str(folder), ""]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "usage"
