"""Opening a model folder: its spec, its weights, its held-out tokens."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from blake3 import blake3
from safetensors import SafetensorError
from safetensors.torch import load_file

from swarmd.protocols.errors import NotFound, ProtocolViolation, StateError
from swarmd.protocols.spec import JobSpec, parse_spec
from swarmd.train.determinism import deterministic
from swarmd.train.evaluate import Batches, Ids, held_out_loss
from swarmd.train.model import PLAIN, Model
from swarmd.train.shards import DTYPES
from swarmd.train.subspace import without_subspace
from swarmd.train.units import stage_units, unit_shapes
from swarmd.train.working import working

MODEL = "model.safetensors"
SPEC = "spec.json"
EVAL = "eval.json"
EVAL_TOKENS = "eval_tokens.bin"
MAX_JSON_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A held-out loss and what it was taken over."""

    loss: float
    """Mean over all targets, in nats."""
    windows: int
    targets: int
    sequence_length: int
    token_dtype: str
    dtype: str


class StoredBatches:
    """The held-out windows kept beside a model (``Batches``, for evaluation only)."""

    def __init__(self, windows: Ids, batch: int) -> None:
        self._windows, self._batch = windows, batch

    @property
    def eval_batches(self) -> int:
        """Batches in the evaluation."""
        return len(self._windows) // self._batch

    def micro_batch(self, step: int, index: int) -> tuple[Ids, Ids]:
        """A model folder holds no training text. Raises NotFound."""
        raise NotFound("a model folder holds no training text")

    def eval_batch(self, index: int) -> tuple[Ids, Ids]:
        """Inputs and targets of one batch."""
        rows = self._windows[index * self._batch : (index + 1) * self._batch]
        return np.ascontiguousarray(rows[:, :-1]), np.ascontiguousarray(rows[:, 1:])


def open_model(folder: Path) -> tuple[JobSpec, Model]:
    """The spec and the model in a folder, on the CPU; sets this process up for the spec's numerics.

    Of a spec in subspace form a folder holds the plain Llama, which has no boundaries.
    Raises NotFound or StateError for a folder that is incomplete or damaged.
    """
    spec = _spec(folder)
    deterministic(spec)
    names = stage_units(spec.model, 0, spec.model.num_hidden_layers)
    sizes = without_subspace(spec.model)
    shapes = {unit: unit_shapes(sizes, unit) for unit in names}
    try:
        tensors = load_file(folder / MODEL)
    except FileNotFoundError:
        raise _missing(folder, MODEL) from None
    except (SafetensorError, OSError) as error:
        raise StateError(f"{folder / MODEL} cannot be read: {error}", hint="export the model again") from error
    found = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in tensors.items()}
    wanted = {name: (shape, torch.float32) for unit in shapes.values() for name, shape in unit.items()}
    if found != wanted:
        raise StateError(f"{folder / MODEL} does not fit {SPEC} beside it", hint="export the model again")
    # Copies: what a file was mapped to may lie anywhere, and alignment changes the bits of matrix products.
    units = {unit: {name: tensors[name].clone() for name in names} for unit, names in shapes.items()}
    return spec, Model(sizes, working(spec, units), PLAIN if spec.model.subspace else spec.wire)


def evaluate_model(spec: JobSpec, model: Model, folder: Path) -> Evaluation:
    """The held-out loss over the tokens kept in the folder. Raises NotFound or StateError."""
    windows = _eval_windows(spec, folder)
    data = StoredBatches(windows, spec.batch.micro_batch_size)
    return Evaluation(
        loss=held_out_loss(model, data, torch.device("cpu")),
        windows=len(windows),
        targets=windows[:, 1:].size,
        sequence_length=spec.batch.sequence_length,
        token_dtype=spec.data.dtype,
        dtype=spec.numerics.dtype,
    )


def recorded(folder: Path) -> dict[str, Any]:
    """What ``eval.json`` says. Raises NotFound or StateError."""
    return _json(folder, EVAL)


def write_eval_tokens(spec: JobSpec, data: Batches, folder: Path) -> str:
    """Keep the held-out windows, T + 1 ids each, little-endian; gives the BLAKE3 of the file."""
    batches = [data.eval_batch(index) for index in range(data.eval_batches)]
    windows = [np.concatenate((inputs, targets[:, -1:]), axis=1) for inputs, targets in batches]
    raw = np.concatenate(windows).astype(DTYPES[spec.data.dtype]).tobytes()
    (folder / EVAL_TOKENS).write_bytes(raw)
    return blake3(raw).hexdigest()


def _eval_windows(spec: JobSpec, folder: Path) -> Ids:
    try:
        raw = (folder / EVAL_TOKENS).read_bytes()
    except FileNotFoundError:
        raise _missing(folder, EVAL_TOKENS) from None
    row = (spec.batch.sequence_length + 1) * DTYPES[spec.data.dtype].itemsize
    if len(raw) != row * spec.schedule.eval_windows:
        raise StateError(f"{folder / EVAL_TOKENS} was cut or changed", hint="export the model again")
    ids = np.frombuffer(raw, DTYPES[spec.data.dtype]).astype(np.int64)
    if ids.max() >= spec.model.vocab_size:
        raise StateError(f"{folder / EVAL_TOKENS} has ids that the model does not know")
    return ids.reshape(spec.schedule.eval_windows, -1)


def _spec(folder: Path) -> JobSpec:
    try:
        return parse_spec(base64.b64decode(str(_json(folder, SPEC).get("canonical")), validate=True))
    except (ValueError, ProtocolViolation) as error:
        raise StateError(f"{folder / SPEC} is damaged: {error}", hint="export the model again") from error


def _json(folder: Path, name: str) -> dict[str, Any]:
    try:
        with (folder / name).open("rb") as file:
            value: object = json.loads(file.read(MAX_JSON_BYTES))
    except FileNotFoundError:
        raise _missing(folder, name) from None
    except (OSError, ValueError, RecursionError) as error:
        raise StateError(f"{folder / name} cannot be read: {error}", hint="export the model again") from error
    if not isinstance(value, dict):
        raise StateError(f"{folder / name} is no JSON object", hint="export the model again")
    return value


def _missing(folder: Path, name: str) -> NotFound:
    return NotFound(f"{folder} has no {name}", hint="name a model folder that swarmd wrote")
