"""Starting from a Hugging Face Llama folder: its config as model sizes, its weights as one blob per unit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarmd.blobs import BlobStore
from swarmd.protocols.checkpoint import Checkpoint, UnitState, unit_names
from swarmd.protocols.errors import NotFound, UsageError
from swarmd.protocols.spec import ModelSpec
from swarmd.train.safefile import SafeFile
from swarmd.train.units import unit_shapes

MAX_CONFIG_BYTES = 1 << 20
LARGEST = 1e12
HINT = "use the config.json of a plain Llama checkpoint"
FIXED: dict[str, tuple[Any, ...]] = {
    "model_type": ("llama",),
    "hidden_act": ("silu", None),
    "attention_bias": (False, None),
    "mlp_bias": (False, None),
    "tie_word_embeddings": (False, None),
    "rope_scaling": (None,),
}
"""What this model family fixes: config.json must say so, or (None) nothing."""


def import_checkpoint(folder: Path, blobs: BlobStore) -> ModelSpec:
    """The model in a folder with config.json and model.safetensors; its ``weights`` name the manifest.

    Raises:
        NotFound: a file is not there.
        UsageError: not a Llama as built here, or tensors that do not fit the config.
    """
    model = read_config(folder)
    file = SafeFile(folder / "model.safetensors")
    units = unit_names(model.num_hidden_layers)
    shapes = {unit: unit_shapes(model, unit) for unit in units}
    _check_shapes(file, {name: shape for unit in shapes.values() for name, shape in unit.items()})
    states = [
        UnitState(unit, blobs.put(pack_unit({name: file.float32(name) for name in shapes[unit]}))) for unit in units
    ]
    manifest = blobs.put(Checkpoint(step=0, units=tuple(states)).to_bytes())
    return replace(model, weights=manifest)


def pack_unit(tensors: dict[str, NDArray[np.float32]]) -> bytes:
    """One unit as a safetensors file, tensors in the order of their names."""
    from safetensors.numpy import save

    raw: bytes = save({name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)})
    return raw


def _check_shapes(file: SafeFile, expected: dict[str, tuple[int, ...]]) -> None:
    there = {name for name in file.names() if not name.endswith("rotary_emb.inv_freq")}
    for name in sorted(expected.keys() ^ there):
        word = "has no" if name in expected else "has an unknown tensor"
        raise UsageError(f"{file.path} {word} {name}", hint="only plain Llama checkpoints are read")
    for name, shape in expected.items():
        if file.shape(name) != shape:
            raise UsageError(
                f"{name} in {file.path} has shape {file.shape(name)}; config.json asks for {shape}",
                hint="use the config.json that belongs to the weights",
            )


def read_config(folder: Path) -> ModelSpec:
    """The sizes in a folder's config.json. Raises NotFound or UsageError naming the setting."""
    path = folder / "config.json"
    config = _json_object(path)
    for key, allowed in FIXED.items():
        if config.get(key) not in allowed:
            raise UsageError(
                f"{path}: {key} = {json.dumps(config.get(key))[:60]} is not built yet",
                hint=f"use a Llama checkpoint with {key} = {json.dumps(allowed[0])}",
            )
    model = _sizes(config, path)
    if config.get("head_dim") not in (None, model.head_dim):
        raise UsageError(f"{path}: head_dim is not hidden_size / num_attention_heads: not built yet", hint=HINT)
    return model


def _sizes(config: dict[str, Any], path: Path) -> ModelSpec:
    heads = _whole(config, "num_attention_heads", path)
    return ModelSpec(
        vocab_size=_whole(config, "vocab_size", path),
        hidden_size=_whole(config, "hidden_size", path),
        intermediate_size=_whole(config, "intermediate_size", path),
        num_hidden_layers=_whole(config, "num_hidden_layers", path),
        num_attention_heads=heads,
        num_key_value_heads=_whole(config, "num_key_value_heads", path, heads),
        max_position_embeddings=_whole(config, "max_position_embeddings", path),
        rms_norm_eps=_exact(config.get("rms_norm_eps", 1e-6), "rms_norm_eps", path),
        rope_theta=_exact(_rope_theta(config, path), "rope_theta", path),
        initializer_range=_exact(config.get("initializer_range", 0.02), "initializer_range", path),
    )


def _rope_theta(config: dict[str, Any], path: Path) -> object:
    rope = config.get("rope_parameters") or {}
    if not isinstance(rope, dict) or rope.get("rope_type", "default") != "default":
        raise UsageError(f"{path}: only plain rotary positions are built", hint="use rope_type = default")
    return rope.get("rope_theta", config.get("rope_theta", 10000.0))


def _whole(config: dict[str, Any], key: str, path: Path, otherwise: int | None = None) -> int:
    value = config.get(key, otherwise)
    if type(value) is not int or value < 1:
        raise UsageError(f"{path}: {key} = {json.dumps(value)[:60]} is no size", hint=HINT)
    return value


def _exact(value: object, key: str, path: Path) -> str:
    if isinstance(value, int | float) and abs(value) <= LARGEST:
        return repr(float(value))
    raise UsageError(f"{path}: {key} is not a number", hint=HINT)


def _json_object(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise UsageError(f"{path} is over {MAX_CONFIG_BYTES >> 20} MiB", hint=HINT)
        value: object = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise NotFound(f"{path} is not there", hint="name a Hugging Face checkpoint folder") from error
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", hint="check its permissions") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not JSON: {error}", hint=HINT) from error
    if not isinstance(value, dict):
        raise UsageError(f"{path} is no JSON object", hint=HINT)
    return value
