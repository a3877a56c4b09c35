"""A model folder: the same bytes every time, whole or not there."""

from __future__ import annotations

import hashlib
import json

import pytest
from safetensors import safe_open

from swarmd.protocols.errors import ProtocolViolation, UsageError
from swarmd.protocols.spec import parse_spec
from swarmd.train.__main__ import main
from swarmd.train.checkpoint import store_units
from swarmd.train.export import export
from swarmd.train.folder import open_model
from swarmd.train.loop import train
from swarmd.train.metrics import metrics_lines

FILES = {
    "model.safetensors",
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "spec.json",
    "eval.json",
    "eval_tokens.bin",
    "metrics.jsonl",
}


@pytest.fixture
def trained(tiny_run):
    return train(tiny_run.spec, tiny_run.data)


def export_to(out, run, trained):
    units = {name: unit.weight_bytes() for name, unit in trained.units.items()}
    return export(run.spec, units, run.blobs, run.data, metrics_lines(trained.rows), out)


def test_a_folder_has_all_that_other_tools_and_ours_need(tiny_run, trained, tmp_path):
    made = export_to(tmp_path / "deep" / "model", tiny_run, trained)
    assert {file.name for file in made.out.iterdir()} == FILES
    raw = (made.out / "model.safetensors").read_bytes()
    assert made.weights_sha256 == hashlib.sha256(raw).hexdigest()
    with safe_open(made.out / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}
    assert made.loss == trained.rows[-1].loss
    assert json.loads((made.out / "eval.json").read_text())["weights_sha256"] == made.weights_sha256
    assert len((made.out / "metrics.jsonl").read_text().splitlines()) == tiny_run.spec.schedule.steps + 1


def test_the_spec_in_a_folder_is_the_spec(tiny_run, trained, tmp_path):
    made = export_to(tmp_path / "model", tiny_run, trained)
    spec, _ = open_model(made.out)
    assert spec == tiny_run.spec
    assert json.loads((made.out / "spec.json").read_text())["spec"]["batch"]["micro_batches"] == 4


def test_the_same_weights_give_the_same_bytes(tiny_run, trained, tmp_path):
    one, other = (export_to(tmp_path / name, tiny_run, trained).out for name in ("one", "other"))
    assert all((one / name).read_bytes() == (other / name).read_bytes() for name in FILES)


def test_an_older_model_is_replaced_and_nothing_is_left_beside(tiny_run, trained, tmp_path):
    out = tmp_path / "models" / "model"
    export_to(out, tiny_run, trained)
    (out / "old").touch()
    export_to(out, tiny_run, trained)
    assert {file.name for file in out.iterdir()} == FILES
    assert [file.name for file in out.parent.iterdir()] == ["model"]


def test_what_is_no_model_is_not_replaced(tiny_run, trained, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("dear")
    with pytest.raises(UsageError, match="is no model"):
        export_to(tmp_path / "home", tiny_run, trained)
    assert (tmp_path / "home" / "letter.txt").read_text() == "dear"


def test_a_failed_export_leaves_nothing(tiny_run, trained, tmp_path):
    units = {name: unit.weight_bytes() for name, unit in trained.units.items()}
    units["head"] = units["embed"]
    with pytest.raises(ProtocolViolation):
        export(tiny_run.spec, units, tiny_run.blobs, tiny_run.data, "", tmp_path / "models" / "model")
    assert list((tmp_path / "models").iterdir()) == []


def test_a_checkpoint_is_assembled_into_the_model_of_the_loop(tiny_run, trained, tmp_path, capsys):
    expected = export_to(tmp_path / "loop", tiny_run, trained)
    checkpoint = tiny_run.blobs.put(store_units(5, trained.units, tiny_run.blobs).to_bytes())
    spec, metrics = tmp_path / "spec.bin", tmp_path / "metrics.jsonl"
    spec.write_bytes(tiny_run.spec.to_bytes())
    metrics.write_text("")
    flags = {"spec": spec, "blobs": tiny_run.blobs.root, "checkpoint": checkpoint, "metrics": metrics}
    words = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
    assert main(["assemble", *words, "--out", str(tmp_path / "model")]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["weights_sha256"] == expected.weights_sha256
    assert parse_spec(spec.read_bytes()) == open_model(tmp_path / "model")[0]


def test_a_missing_or_damaged_unit_is_one_json_error(tiny_run, trained, tmp_path, capsys):
    manifest = store_units(5, trained.units, tiny_run.blobs)
    checkpoint = tiny_run.blobs.put(manifest.to_bytes())
    (tmp_path / "spec.bin").write_bytes(tiny_run.spec.to_bytes())
    (tmp_path / "metrics.jsonl").touch()
    words = ["assemble", f"--spec={tmp_path / 'spec.bin'}", f"--blobs={tiny_run.blobs.root}"]
    words += [
        f"--checkpoint={checkpoint}",
        f"--metrics={tmp_path / 'metrics.jsonl'}",
        f"--out={tmp_path / 'out'}",
    ]
    place = tiny_run.blobs.path(manifest.unit("layers.0").weights)
    raw = bytearray(place.read_bytes())
    raw[-1] ^= 1
    place.write_bytes(raw)
    assert main(words) == 1
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "state"
    place.unlink()
    assert main(words) == 6
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "not_found"


def test_the_local_command_writes_the_model_of_the_loop(tiny_run, trained, tmp_path, capsys):
    expected = export_to(tmp_path / "loop", tiny_run, trained)
    (tmp_path / "run.spec").write_bytes(tiny_run.spec.to_bytes())
    words = [str(tmp_path / "run.spec"), f"--blobs={tiny_run.blobs.root}", f"--out={tmp_path / 'model'}"]
    assert main(["local", *words, "--json", "--progress"]) == 0
    said = capsys.readouterr()
    answer = json.loads(said.out)
    assert answer["weights_sha256"] == expected.weights_sha256
    assert answer["loss"] == expected.loss
    assert "step 5 of 5  loss" in said.err


def test_the_local_command_replaces_a_result_only_when_forced(tiny_run, tmp_path, capsys):
    (tmp_path / "run.spec").write_bytes(tiny_run.spec.to_bytes())
    words = ["local", str(tmp_path / "run.spec"), f"--blobs={tiny_run.blobs.root}", f"--out={tmp_path / 'model'}"]
    (tmp_path / "model").mkdir()
    assert main(words) == 0
    weights = (tmp_path / "model" / "model.safetensors").read_bytes()
    capsys.readouterr()
    assert main(words) == 2
    assert "--force" in capsys.readouterr().err
    assert main([*words, "--force"]) == 0
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == weights


def test_a_job_that_is_not_there_is_an_error_in_words(tmp_path, capsys):
    assert main(["local", str(tmp_path / "job.toml"), f"--out={tmp_path / 'x'}"]) == 6
    assert "job.toml is not there" in capsys.readouterr().err
