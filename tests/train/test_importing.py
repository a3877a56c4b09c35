"""Going on from a Hugging Face folder: sizes from its config, weights unit by unit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save_file

from swarmd.blobs import BlobStore
from swarmd.protocols.checkpoint import parse_checkpoint, unit_names
from swarmd.protocols.errors import NotFound, SwarmdError, UsageError
from swarmd.protocols.jobfile import parse_job
from swarmd.protocols.spec import ModelSpec
from swarmd.protocols.speccheck import check_spec
from swarmd.train.importing import import_checkpoint, read_config
from swarmd.train.prepare import prepare
from swarmd.train.units import unit_shapes

CONFIG: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 256,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500000,
    "hidden_act": "silu",
    "head_dim": 4,
}
MODEL = ModelSpec(
    vocab_size=256,
    hidden_size=16,
    intermediate_size=24,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=128,
    rope_theta="500000.0",
)


def weights() -> dict[str, np.ndarray]:
    draw = np.random.default_rng(0)
    units = [unit_shapes(MODEL, unit) for unit in unit_names(MODEL.num_hidden_layers)]
    shapes = {name: shape for unit in units for name, shape in unit.items()}
    return {name: draw.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def write_folder(folder: Path, config: dict[str, Any], tensors: dict[str, np.ndarray]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "llama", CONFIG, weights())


def test_a_folder_becomes_one_blob_per_unit(folder: Path, tmp_path: Path) -> None:
    blobs = BlobStore(tmp_path / "blobs")
    model = import_checkpoint(folder, blobs)
    assert model.weights is not None
    checkpoint = parse_checkpoint(blobs.get(model.weights))
    assert [state.unit for state in checkpoint.units] == ["embed", "layers.0", "layers.1", "head"]
    assert (checkpoint.step, checkpoint.units[0].optimizer) == (0, None)
    found = {name: array for state in checkpoint.units for name, array in load(blobs.get(state.weights)).items()}
    expected = weights()
    assert found.keys() == expected.keys()
    assert all((found[name] == expected[name]).all() for name in expected)
    assert sorted(load(blobs.get(checkpoint.units[-1].weights))) == ["lm_head.weight", "model.norm.weight"]


def test_the_same_folder_gives_the_same_manifest(folder: Path, tmp_path: Path) -> None:
    first = import_checkpoint(folder, BlobStore(tmp_path / "a"))
    assert first == import_checkpoint(folder, BlobStore(tmp_path / "b"))


@pytest.mark.parametrize(("dtype", "tolerance"), [("bfloat16", 2**-8), ("float16", 2**-10)])
@pytest.mark.slow
def test_half_precision_is_widened_exactly(dtype: str, tolerance: float, folder: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file as save_torch

    narrow = {name: torch.from_numpy(array).to(getattr(torch, dtype)) for name, array in weights().items()}
    save_torch(narrow, folder / "model.safetensors")
    blobs = BlobStore(tmp_path / "blobs")
    manifest = import_checkpoint(folder, blobs).weights
    assert manifest is not None
    layer = load(blobs.get(parse_checkpoint(blobs.get(manifest)).unit("layers.1").weights))
    for name, array in layer.items():
        assert array.dtype == np.float32
        assert (array == narrow[name].float().numpy()).all()
        assert np.allclose(array, weights()[name], rtol=tolerance)


@pytest.mark.slow
def test_what_transformers_saves_is_read(tmp_path: Path) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    theirs = LlamaForCausalLM(LlamaConfig(**{**CONFIG, "rope_theta": 500000.0, "tie_word_embeddings": False}))
    theirs.save_pretrained(tmp_path / "theirs")
    blobs = BlobStore(tmp_path / "blobs")
    model = import_checkpoint(tmp_path / "theirs", blobs)
    assert model.weights is not None
    assert model.hidden_size == 16
    head = load(blobs.get(parse_checkpoint(blobs.get(model.weights)).unit("head").weights))
    assert (head["lm_head.weight"] == theirs.lm_head.weight.detach().numpy()).all()


def test_a_job_with_a_checkpoint_takes_its_sizes(folder: Path, tmp_path: Path) -> None:
    text = "model.checkpoint = 'llama'\ntokenizer.kind = 'bytes'\ndata.embedded = true\n"
    spec = prepare(parse_job(text, "job.toml"), tmp_path, BlobStore(tmp_path / "blobs"))
    check_spec(spec)
    assert spec.model == import_checkpoint(folder, BlobStore(tmp_path / "blobs"))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("", "tokenizer.json is not there, and the job names no tokenizer"),
        ("tokenizer.kind = 'bytes'\nbatch.sequence_length = 256", "is over the model's context (128)"),
        ("tokenizer.kind = 'bytes'\nrun.max_stages = 3", "a stage holds at least one of the 2 layers"),
    ],
)
def test_what_does_not_fit_the_checkpoint_is_said(lines: str, message: str, folder: Path, tmp_path: Path) -> None:
    text = f"{lines}\nmodel.checkpoint = '{folder.name}'\ndata.embedded = true\n"
    with pytest.raises(SwarmdError) as caught:
        prepare(parse_job(text, "job.toml"), tmp_path, BlobStore(tmp_path / "blobs"))
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "gpt2"}, 'model_type = "gpt2" is not built yet'),
        ({"tie_word_embeddings": True}, "tie_word_embeddings = true is not built yet"),
        ({"attention_bias": True}, "attention_bias = true is not built yet"),
        ({"hidden_act": "gelu"}, 'hidden_act = "gelu" is not built yet'),
        ({"rope_scaling": {"type": "yarn"}}, "rope_scaling = "),
        ({"rope_parameters": {"rope_type": "llama3"}}, "only plain rotary positions are built"),
        ({"rope_parameters": 5}, "only plain rotary positions are built"),
        ({"head_dim": 8}, "head_dim is not hidden_size / num_attention_heads: not built yet"),
        ({"hidden_size": "16"}, 'hidden_size = "16" is no size'),
        ({"num_attention_heads": 0}, "num_attention_heads = 0 is no size"),
        ({"vocab_size": True}, "vocab_size = true is no size"),
        ({"rms_norm_eps": "small"}, "rms_norm_eps is not a number"),
        ({"rms_norm_eps": float("nan")}, "rms_norm_eps is not a number"),
    ],
)
def test_a_config_that_is_not_built_is_refused_by_name(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    write_folder(tmp_path / "llama", {**CONFIG, **change}, {})
    with pytest.raises(UsageError) as caught:
        read_config(tmp_path / "llama")
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "is no JSON object"),
        (" " * 1_048_577, "over 1 MiB"),
    ],
)
def test_a_config_that_is_no_config_is_refused(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(UsageError, match=message):
        read_config(tmp_path)


def changed(name: str, array: np.ndarray | None) -> dict[str, np.ndarray]:
    tensors = weights()
    del tensors[name]
    return tensors if array is None else {**tensors, name: array}


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (changed("lm_head.weight", None), "has no lm_head.weight"),
        ({**weights(), "model.extra": np.zeros(1, np.float32)}, "has an unknown tensor model.extra"),
        (changed("model.norm.weight", np.zeros(8, np.float32)), "has shape (8,); config.json asks for (16,)"),
        (changed("model.norm.weight", np.full(16, np.nan, np.float32)), "has values that are not finite"),
        (changed("model.norm.weight", np.zeros(16, np.int32)), "numbers of type I32"),
    ],
)
def test_weights_that_do_not_fit_are_refused(tensors: dict[str, np.ndarray], message: str, tmp_path: Path) -> None:
    write_folder(tmp_path / "llama", CONFIG, tensors)
    with pytest.raises(UsageError) as caught:
        import_checkpoint(tmp_path / "llama", BlobStore(tmp_path / "blobs"))
    assert message in caught.value.message


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: b"",
        lambda raw: raw[:100],
        lambda raw: raw[:-1],
        lambda raw: b"\xff" * 8 + raw[8:],
        lambda raw: raw[:8] + b"[" * (len(raw) - 8),
        lambda raw: raw.replace(b'"data_offsets"', b'"data_offsetz"'),
        lambda raw: raw.replace(b'"shape":[16]', b'"shape":[-1]', 1),
        lambda raw: raw.replace(b'"shape":[16]', b'"shape":"16"', 1),
    ],
)
def test_a_damaged_weight_file_is_refused(damage: Any, folder: Path, tmp_path: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(UsageError, match=r"model\.safetensors"):
        import_checkpoint(folder, BlobStore(tmp_path / "blobs"))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(name: str, folder: Path, tmp_path: Path) -> None:
    (folder / name).unlink()
    with pytest.raises(NotFound, match=name):
        import_checkpoint(folder, BlobStore(tmp_path / "blobs"))
