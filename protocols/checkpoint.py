"""A checkpoint: for every unit of the model, the blobs that hold its weights and optimizer state.

Units are the embedding, each block, and the final norm with the head, in that order. A weight blob is a
safetensors file of float32 tensors under Hugging Face's names, so a node reads only its own layers.
"""

from __future__ import annotations

from dataclasses import dataclass

from swarmd.protocols.canonical import decode, encode
from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.ids import BlobHash, is_hash
from swarmd.protocols.records import from_value, to_value

MAX_CHECKPOINT_BYTES = 1 << 18
MAX_LAYERS = 512
MAX_STEP = 1 << 40
EMBED = "embed"
HEAD = "head"


def layer_unit(layer: int) -> str:
    """The unit name of a block."""
    return f"layers.{layer}"


def unit_names(layers: int) -> tuple[str, ...]:
    """Every unit of a model with this many blocks, in order."""
    return (EMBED, *(layer_unit(layer) for layer in range(layers)), HEAD)


@dataclass(frozen=True, slots=True)
class UnitState:
    """One unit: its weights, and its optimizer state if training has begun."""

    unit: str
    weights: BlobHash
    optimizer: BlobHash | None = None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A whole model after ``step`` optimizer steps."""

    step: int
    units: tuple[UnitState, ...]

    def __post_init__(self) -> None:
        """Raises ValueError unless every unit is there once, in order, all with optimizer state or none."""
        layers = len(self.units) - 2
        if not 1 <= layers <= MAX_LAYERS:
            raise ValueError(f"a checkpoint of {len(self.units)} units")
        if tuple(state.unit for state in self.units) != unit_names(layers):
            raise ValueError(f"units must be {EMBED}, {layer_unit(0)} .. {layer_unit(layers - 1)}, {HEAD}")
        if not 0 <= self.step < MAX_STEP:
            raise ValueError(f"step {self.step} is negative or absurd")
        if len({state.optimizer is None for state in self.units}) > 1:
            raise ValueError("some units have optimizer state, some have none")
        hashes = [name for state in self.units for name in (state.weights, state.optimizer)]
        if not all(is_hash(name) for name in hashes if name is not None):
            raise ValueError("a blob is not named by its hash")

    @property
    def layers(self) -> int:
        """How many blocks the model has."""
        return len(self.units) - 2

    def unit(self, name: str) -> UnitState:
        """One unit's state. Raises KeyError for a unit the model does not have."""
        return {state.unit: state for state in self.units}[name]

    def to_bytes(self) -> bytes:
        """Canonical bytes; their BLAKE3 names the checkpoint."""
        return encode(to_value(self))


def parse_checkpoint(raw: bytes) -> Checkpoint:
    """Read and check a checkpoint manifest from a peer. Raises ProtocolViolation."""
    value = decode(raw, limit=MAX_CHECKPOINT_BYTES)
    if not isinstance(value, tuple):
        raise ProtocolViolation("not a checkpoint manifest")
    return from_value(Checkpoint, value)
