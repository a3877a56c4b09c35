"""What the planner knows of peers and of a model: measured numbers, and nothing that was only claimed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from math import isfinite

from swarmd.protocols.ids import PeerId


class Place(Enum):
    """Where in the pipeline a stage stands: what else than layers it computes, and what it sends."""

    ONLY = "only"
    FIRST = "first"
    MIDDLE = "middle"
    LAST = "last"

    @property
    def embeds(self) -> bool:
        """Whether the stage turns tokens into activations."""
        return self in (Place.ONLY, Place.FIRST)

    @property
    def heads(self) -> bool:
        """Whether the stage computes the loss."""
        return self in (Place.ONLY, Place.LAST)

    @property
    def sends(self) -> int:
        """Boundary tensors it sends per micro-batch: activations on, gradients back."""
        return 2 - self.embeds - self.heads


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelProfile:
    """What one micro-batch of a model costs, wherever it runs."""

    layers: int
    """All alike."""
    layer_bytes: int
    """Memory of a layer: weights, gradients, optimizer state, and activations of every micro-batch held."""
    embed_bytes: int
    head_bytes: int
    boundary_bytes: int
    """One boundary tensor on the wire, per micro-batch and direction."""

    def __post_init__(self) -> None:
        """Raises ValueError for a model without layers, or of layers without weights."""
        if self.layers < 1 or self.layer_bytes < 1:
            raise ValueError("a model has at least one layer, and a layer at least one byte")

    def memory(self, layers: int, place: Place) -> int:
        """Bytes that a stage of so many layers needs."""
        return layers * self.layer_bytes + place.embeds * self.embed_bytes + place.heads * self.head_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerProfile:
    """What the coordinator's probe measured of one peer; seconds are per micro-batch, both passes.

    Raises ValueError for a negative number, or one that is not finite.
    """

    peer: PeerId
    seconds_per_layer: float
    seconds_embed: float
    seconds_head: float
    memory_bytes: int
    """What its owner lets a run have."""
    uplink_bytes_per_s: float = 0.0
    """0: unknown, taken as unlimited."""
    numerics: str = ""
    """The numerics class: equal classes give equal bits."""

    def __post_init__(self) -> None:
        times = (self.seconds_per_layer, self.seconds_embed, self.seconds_head)
        measured = (*times, self.uplink_bytes_per_s, self.memory_bytes)
        if not all(isfinite(number) and number >= 0 for number in measured):
            raise ValueError(f"a profile with an impossible number: {self}")

    def compute_seconds(self, layers: int, place: Place) -> float:
        """Time to compute a stage of so many layers."""
        ends = place.embeds * self.seconds_embed + place.heads * self.seconds_head
        return layers * self.seconds_per_layer + ends

    def uplink_seconds(self, model: ModelProfile, place: Place) -> float:
        """Time to send what a stage sends."""
        sent = place.sends * model.boundary_bytes
        return sent / self.uplink_bytes_per_s if self.uplink_bytes_per_s else 0.0

    def seconds(self, model: ModelProfile, layers: int, place: Place) -> float:
        """Time per micro-batch of a stage: computing and sending overlap, the slower one counts."""
        return max(self.compute_seconds(layers, place), self.uplink_seconds(model, place))

    def fitting_layers(self, model: ModelProfile, place: Place) -> int:
        """The most layers whose memory this peer has; anywhere but alone, it leaves one to the others."""
        most = model.layers if place is Place.ONLY else model.layers - 1
        room = self.memory_bytes - model.memory(0, place)
        return max(0, min(most, room // model.layer_bytes))
