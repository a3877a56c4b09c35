"""What the planner knows of peers and of a model: measured numbers, and nothing that was only claimed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from math import isfinite
from typing import TypeVar

from swarmd.protocols.boundary import frame_bytes
from swarmd.protocols.errors import RunFailed
from swarmd.protocols.footprint import (
    embedding_parameters,
    frozen_bytes,
    head_parameters,
    held_memory,
    layer_parameters,
    logits_bytes,
    most_held,
    part_bytes,
    past_bytes,
    unit_memory,
)
from swarmd.protocols.ids import PeerId
from swarmd.protocols.spec import JobSpec
from swarmd.protocols.tensors import Direction
from swarmd.protocols.wirerules import group_of

T = TypeVar("T")


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


def place_of(first: int, end: int, layers: int) -> Place:
    """Where a stage of layers ``first`` to ``end - 1`` stands in a model of so many layers."""
    if first == 0:
        return Place.ONLY if end == layers else Place.FIRST
    return Place.LAST if end == layers else Place.MIDDLE


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
    """A micro-batch's activations on the wire."""
    gradient_bytes: int | None = None
    """Their gradients on the wire; None: as many."""
    stage_bytes: int = 0
    """Memory that a stage needs whatever its layers."""
    group: int = 1
    """Layers between two places where stages may be cut; the last group may be shorter."""
    part_bytes: tuple[int, int, int] = (0, 0, 0)
    """What replicas send each other in a step, for each layer, for the embedding and for the head."""

    def __post_init__(self) -> None:
        """Raises ValueError for a model without layers, or of layers without weights, or of empty groups."""
        if self.layers < 1 or self.layer_bytes < 1 or self.group < 1:
            raise ValueError("a model has at least one layer, a layer at least one byte, a group at least one layer")

    @property
    def groups(self) -> int:
        """The most stages that the model can be cut into."""
        return -(-self.layers // self.group)

    def layers_of(self, groups: int, place: Place) -> int:
        """Layers of a stage of so many groups. Where the short group is, at the end, there are fewer."""
        return groups * self.group - place.heads * self._short

    def groups_of(self, layers: int, place: Place) -> int:
        """The most groups that have at most so many layers."""
        return (layers + place.heads * self._short) // self.group

    @property
    def _short(self) -> int:
        return self.groups * self.group - self.layers

    def sent_bytes(self, place: Place) -> int:
        """What a stage sends per micro-batch: activations to the next one, gradients to the one before."""
        back = self.boundary_bytes if self.gradient_bytes is None else self.gradient_bytes
        return (not place.heads) * self.boundary_bytes + (not place.embeds) * back

    def exchanged(self, layers: int, place: Place) -> int:
        """Bytes that a replica of a stage sends to each other one in a step."""
        layer, embed, head = self.part_bytes
        return layers * layer + place.embeds * embed + place.heads * head

    def memory(self, layers: int, place: Place) -> int:
        """Bytes that a stage of so many layers needs."""
        ends = place.embeds * self.embed_bytes + place.heads * self.head_bytes
        return layers * self.layer_bytes + ends + self.stage_bytes


def in_memory(spec: JobSpec, plan: Callable[[ModelProfile], T], *, shared: bool = False) -> T:
    """A plan of stages that have all the memory they can use; where there is none, of stages that make do with less.

    Raises RunFailed when there is none of either.
    """
    try:
        return plan(model_profile(spec, shared=shared))
    except RunFailed:
        return plan(model_profile(spec, least=True, shared=shared))


def model_profile(spec: JobSpec, *, least: bool = False, shared: bool = False) -> ModelProfile:
    """What a micro-batch of this spec costs; memory counts as many held ones as there can be.

    With ``least`` it counts one at a time, of which a layer keeps its input (``swarmd.scheduler.fitting``).
    ``shared``: a stage may have replicas, which keep each other's sums as well, and all keep the version before.
    """
    model, batch, held = spec.model, spec.batch, 1 if least else most_held(spec)
    one, two = (held_memory(spec, layers, held, recompute=least) for layers in (1, 2))
    counts = (layer_parameters(model), embedding_parameters(model), head_parameters(model))
    more = [part_bytes(count) + past_bytes(count) if shared else 0 for count in counts]
    layer, embed, head = (unit_memory(spec, count) + also for count, also in zip(counts, more, strict=True))
    return ModelProfile(
        layers=model.num_hidden_layers,
        layer_bytes=layer + two - one,
        embed_bytes=embed,
        head_bytes=head + logits_bytes(model, batch),
        part_bytes=(part_bytes(counts[0]), part_bytes(counts[1]), part_bytes(counts[2])),
        boundary_bytes=frame_bytes(spec, Direction.FORWARD),
        gradient_bytes=frame_bytes(spec, Direction.BACKWARD),
        stage_bytes=frozen_bytes(model) + 2 * one - two,
        group=group_of(spec.wire),
    )


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
        sent = model.sent_bytes(place)
        return sent / self.uplink_bytes_per_s if self.uplink_bytes_per_s else 0.0

    def seconds(self, model: ModelProfile, layers: int, place: Place) -> float:
        """Time per micro-batch of a stage: computing and sending overlap, the slower one counts."""
        return max(self.compute_seconds(layers, place), self.uplink_seconds(model, place))

    def fitting_groups(self, model: ModelProfile, place: Place) -> int:
        """The most groups whose memory this peer has; anywhere but alone, it leaves one to the others."""
        most = model.groups if place is Place.ONLY else model.groups - 1
        room = self.memory_bytes - model.memory(0, place)
        return max(0, min(most, model.groups_of(room // model.layer_bytes, place)))
