"""Units in memory, and their bytes: safetensors, the same bytes for the same numbers.

A unit is two blobs: its weights under Hugging Face's names, and AdamW's two moments as ``exp_avg.NAME`` and
``exp_avg_sq.NAME``. Bytes that came from elsewhere are checked against their hash, and their tensors against
the names, types and shapes that the spec gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
from blake3 import blake3
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from swarmd.blobs import BlobStore
from swarmd.protocols.checkpoint import Checkpoint, UnitState, parse_checkpoint
from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.ids import BlobHash
from swarmd.protocols.spec import JobSpec
from swarmd.train.units import Shapes, unit_shapes
from swarmd.train.weights import seeded_weights

T = TypeVar("T")
Read = Callable[[BlobHash], bytes]

MEAN, SQUARE = "exp_avg.", "exp_avg_sq."


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit's weights, which record gradients, and AdamW's moments: float32 by Hugging Face name."""

    name: str
    weights: dict[str, Tensor]
    exp_avg: dict[str, Tensor]
    exp_avg_sq: dict[str, Tensor]

    def copied(self) -> Unit:
        """The same values in other memory."""
        weights = {name: each.detach().clone().requires_grad_() for name, each in self.weights.items()}
        moments = [{name: each.clone() for name, each in kept.items()} for kept in (self.exp_avg, self.exp_avg_sq)]
        return Unit(self.name, weights, *moments)

    def weight_bytes(self) -> bytes:
        """The weights as safetensors."""
        return _save(self.weights)

    def optimizer_bytes(self) -> bytes:
        """The moments as safetensors."""
        return _save(_prefixed(MEAN, self.exp_avg) | _prefixed(SQUARE, self.exp_avg_sq))


def open_units(
    spec: JobSpec,
    names: Iterable[str],
    checkpoint: Checkpoint | None,
    read: Read | None,
    device: torch.device,
) -> dict[str, Unit]:
    """Units as the checkpoint has them; without one, as the spec says a run begins.

    Raises:
        NotFound: ``read`` does not have a blob.
        ProtocolViolation: a blob has another hash, or other tensors, than it must.
    """
    if checkpoint is None and spec.model.weights is not None and read is not None:
        checkpoint = parse_checkpoint(_checked(read, spec.model.weights))
        checkpoint = Checkpoint(0, tuple(UnitState(state.unit, state.weights) for state in checkpoint.units))
    if checkpoint is None:
        return {name: _unit(name, _seeded(spec, name), None, device) for name in names}
    if read is None or checkpoint.layers != spec.model.num_hidden_layers:
        raise ProtocolViolation(f"a checkpoint of {checkpoint.layers} blocks cannot be used here")
    return {name: _read_unit(spec, checkpoint, name, read, device) for name in names}


def store_units(step: int, units: Mapping[str, Unit], blobs: BlobStore) -> Checkpoint:
    """Put every unit of a model into a blob store; gives the manifest, which is not itself stored."""
    states = [
        UnitState(name, blobs.put(unit.weight_bytes()), blobs.put(unit.optimizer_bytes()))
        for name, unit in units.items()
    ]
    return Checkpoint(step, tuple(states))


def read_weights(spec: JobSpec, unit: str, raw: bytes) -> dict[str, Tensor]:
    """A unit's weights from their blob. Raises ProtocolViolation."""
    return _parse(raw, unit_shapes(spec.model, unit), unit)


def _read_unit(spec: JobSpec, checkpoint: Checkpoint, name: str, read: Read, device: torch.device) -> Unit:
    state = checkpoint.unit(name)
    if state.optimizer is None and checkpoint.step:
        raise ProtocolViolation(f"the checkpoint of step {checkpoint.step} has no optimizer state for {name}")
    moments: dict[str, Tensor] | None = None
    if state.optimizer is not None:
        shapes = unit_shapes(spec.model, name)
        wanted = _prefixed(MEAN, shapes) | _prefixed(SQUARE, shapes)
        moments = _parse(_checked(read, state.optimizer), wanted, f"{name}'s optimizer state")
    return _unit(name, read_weights(spec, name, _checked(read, state.weights)), moments, device)


def _unit(name: str, weights: dict[str, Tensor], moments: dict[str, Tensor] | None, device: torch.device) -> Unit:
    """A unit in torch's own memory on its device: alignment changes the bits of matrix products."""
    placed = {key: tensor.to(device, copy=True).requires_grad_() for key, tensor in weights.items()}
    if moments is None:
        moments = {
            prefix + key: torch.zeros_like(tensor) for prefix in (MEAN, SQUARE) for key, tensor in weights.items()
        }
    means, squares = (
        {key: moments[prefix + key].to(device, copy=True) for key in weights} for prefix in (MEAN, SQUARE)
    )
    return Unit(name, placed, means, squares)


def _seeded(spec: JobSpec, name: str) -> dict[str, Tensor]:
    return {key: torch.from_numpy(values) for key, values in seeded_weights(spec, name).items()}


def _checked(read: Read, name: BlobHash) -> bytes:
    raw = read(name)
    if blake3(raw).hexdigest() != name:
        raise ProtocolViolation(f"the bytes given for blob {name} have another hash")
    return raw


def _parse(raw: bytes, shapes: Shapes, what: str) -> dict[str, Tensor]:
    try:
        tensors = load(raw)
    except (SafetensorError, ValueError, KeyError) as error:
        raise ProtocolViolation(f"{what} is not a safetensors file: {error}") from error
    found = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in tensors.items()}
    if found != {name: (shape, torch.float32) for name, shape in shapes.items()}:
        raise ProtocolViolation(f"{what} does not hold exactly the float32 tensors of this model")
    return {name: tensors[name] for name in shapes}


def _save(tensors: Mapping[str, Tensor]) -> bytes:
    raw: bytes = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    return raw


def _prefixed(prefix: str, items: Mapping[str, T]) -> dict[str, T]:
    return {prefix + name: item for name, item in items.items()}
