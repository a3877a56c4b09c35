"""A stage of the pipeline: some layers, their optimizer, and what backward still needs.

A stage computes what it is told, when it is told: the schedule is not its business. Whatever order the
micro-batches come in, the weights after a step have the bits that ``loop.train`` gives them. Backward
goes over the weights that its forward used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from swarmd.gpu.devices import resolve
from swarmd.protocols.checkpoint import Checkpoint
from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.rounds import Round
from swarmd.protocols.spec import JobSpec
from swarmd.train.checkpoint import Read, Unit, open_units
from swarmd.train.crossing import Crossing
from swarmd.train.determinism import deterministic
from swarmd.train.evaluate import Batches, Ids, loss_share, loss_sum, on_device
from swarmd.train.model import Model
from swarmd.train.outer import Outer
from swarmd.train.parts import PartIn, part_slices
from swarmd.train.split import Deferred, all_at_once, input_first
from swarmd.train.staging import Staging
from swarmd.train.sums import ExactSums, sums_of
from swarmd.train.units import stage_units
from swarmd.train.versions import Versions

__all__ = ["Stage", "StageStep", "deterministic"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StageStep:
    """What a stage has to say of a step it committed."""

    loss: float | None
    """Mean training loss of the step in nats; None but for the last stage."""
    squared_norms: tuple[tuple[str, float], ...]
    """Squared gradient norm of each unit, before clipping."""


@dataclass(frozen=True, slots=True)
class _Graph:
    """The two ends of what one forward recorded, and the weights between them."""

    entered: Tensor
    left: Tensor
    model: Model


class Stage:
    """Layers [first, end), with the embedding before layer 0 and the head after the last layer.

    Hidden states and their gradients come and go as they are on the wire (``Crossing``): float32 [B, T, D] for ``raw``,
    else the codec's rows, uint8 [B, T, row bytes]; they come on the CPU, and go on the stage's device. Steps count from
    1, micro-batches from 0. ``version`` is the number of steps in the weights; only step ``version + 1`` may be
    computed, and forwards of the next if it is stale.

    Every method raises ProtocolViolation for a call out of turn or a tensor of another shape.
    """

    def __init__(
        self,
        spec: JobSpec,
        first: int,
        end: int,
        data: Batches | None,
        *,
        device: str = "cpu",
        checkpoint: Checkpoint | None = None,
        read: Read | None = None,
        lane: int = 0,
        recompute: bool = False,
    ) -> None:
        """``data`` is for the first and the last stage; ``read`` gives the blobs of a checkpoint.

        ``lane``: which of the replicas that train apart. With ``recompute`` a layer keeps its input alone for the
        backward pass, and no weight gradient is put off.
        """
        layers = spec.model.num_hidden_layers
        if not 0 <= first < end <= layers:
            raise ProtocolViolation(f"no stage has layers {first} to {end - 1} of {layers}")
        if not {first, end} <= {0, layers, *(spec.wire.boundaries or range(layers))}:
            raise ProtocolViolation(f"the run cannot be cut at layers {first} and {end}; its wire has boundaries")
        self.first, self.last = first == 0, end == layers
        if data is None and (self.first or self.last):
            raise ProtocolViolation("the first and the last stage need the run's tokens")
        self._spec, self._data, self._device = spec, data, resolve(device)
        self._crossing = Crossing(spec, self._device)
        names = stage_units(spec.model, first, end)
        units = open_units(spec, names, checkpoint, read, self._device)
        version = checkpoint.step if checkpoint else 0
        self._weights = Versions(spec, units, version, self._device, recompute=recompute)
        self.splits = not (self.first or recompute or spec.numerics.compiled)
        self._sums = sums_of(spec, names, self._device, lane)
        self._own = spec.batch.of_lane(lane, spec.lanes)
        self._outer = Outer(spec, units) if spec.lanes > 1 else None
        self._graphs: dict[tuple[int, int], _Graph] = {}
        self._deferred: dict[int, Deferred] = {}
        self._forwarded: set[tuple[int, int]] = set()
        self._losses: dict[tuple[int, int], float] = {}

    @property
    def staging(self) -> Staging:
        """The way of boundary tensors to and from the stage's device."""
        return self._crossing.staging

    @property
    def version(self) -> int:
        """Steps committed."""
        return self._weights.version

    @property
    def oldest(self) -> int:
        """The lowest version that this stage can go back to."""
        return self._weights.oldest

    @property
    def units(self) -> dict[str, Unit]:
        """The newest weights and their moments, by unit."""
        return self._weights.units

    @property
    def parameters(self) -> dict[str, Tensor]:
        """Every weight here at its newest version, by Hugging Face name."""
        return {name: weight for unit in self.units.values() for name, weight in unit.weights.items()}

    @property
    def held(self) -> int:
        """Micro-batches between their forward and their backward."""
        return len(self._graphs)

    def forward(self, step: int, micro_batch: int, x: Tensor | None = None) -> Tensor | None:
        """What the next stage needs; None from the last, which takes the loss. The first takes no ``x``."""
        model, key = self._weights.of(step), (step, micro_batch)
        self._check_index(step, micro_batch)
        if key in self._forwarded:
            raise ProtocolViolation(f"micro-batch {micro_batch} of step {step} came forward before")
        inputs, targets = self._tokens(lambda data: data.micro_batch(step, micro_batch))
        entered, ids = self._entered(x, inputs)
        if inputs is None:
            entered.requires_grad_()
        left = model(entered, ids)
        if targets is not None:
            left = loss_share(left, targets, self._spec.batch.tokens_per_step // self._spec.lanes)
            self._losses[key] = left.item()
        self._graphs[key] = _Graph(entered, left, model)
        self._forwarded.add(key)
        return None if self.last else self._crossing.forth(left.detach(), ids)

    def backward(
        self, step: int, micro_batch: int, gradient: Tensor | None = None, *, split: bool = False
    ) -> Tensor | None:
        """What the stage before needs; None from the first. The last takes no ``gradient``.

        ``split`` leaves the weights' gradients to ``weigh``; not for the first stage.
        Raises RunFailed if a gradient is not finite or too large to sum.
        """
        self._check_turn(step, micro_batch)
        if (step, micro_batch) not in self._graphs:
            raise ProtocolViolation(f"micro-batch {micro_batch} of step {step} has nothing to go back over")
        above = self._none(gradient, None) if self.last else self._crossing.came_back(gradient)
        graph = self._graphs.pop((step, micro_batch))
        parameters = graph.model.parameters
        if split and not self.first:
            part = input_first if self.splits else all_at_once
            entered, self._deferred[micro_batch] = part(graph.left, graph.entered, parameters, above)
            return self._crossing.back(entered)
        wanted = list(parameters.values()) + ([] if self.first else [graph.entered])
        found = torch.autograd.grad(graph.left, wanted, above)
        self._sums.add(step, micro_batch, dict(zip(parameters, found, strict=False)))
        return None if self.first else self._crossing.back(found[-1])

    def weigh(self, step: int, micro_batch: int) -> None:
        """Compute and count the weights' gradients of a micro-batch whose backward was split. Raises RunFailed."""
        self._check_turn(step, micro_batch)
        if micro_batch not in self._deferred:
            raise ProtocolViolation(f"no weight gradient of micro-batch {micro_batch} of step {step} was put off")
        self._sums.add(step, micro_batch, self._deferred.pop(micro_batch).gradients())

    def commit(self, step: int) -> StageStep:
        """Update the weights from the sums of all micro-batches, each counted once."""
        if step != self.version + 1 or not self._sums.complete or any(of == step for of, _ in self._graphs):
            raise ProtocolViolation(f"step {step} cannot be committed: not every micro-batch of it went back")
        norms = tuple(self._weights.update(step, self._sums))
        losses = [self._losses.pop(key) for key in sorted(self._losses) if key[0] == step]
        self._sums.clear()
        self._forwarded = {key for key in self._forwarded if key[0] > step}
        return StageStep(math.fsum(losses) if self.last else None, norms)

    def keep_past(self, wanted: bool) -> None:
        """From now on keep the version before the newest one, or keep it no longer."""
        self._weights.keep_past(wanted)

    def go_back(self, version: int) -> None:
        """Forget all that was computed of open steps, and be at this version again."""
        self._weights.go_back(version)
        self._sums.clear()
        self._graphs.clear()
        self._deferred.clear()
        self._forwarded.clear()
        self._losses.clear()

    def told(self, of: Round) -> bytes:
        """What this replica tells the others in a round, whose step is just committed. Raises RunFailed."""
        return self._averaged().told(of)

    def told_size(self, of: Round) -> int:
        """Bytes that each replica of this stage tells in a round."""
        return self._averaged().size(of)

    def use(self, of: Round, told: Sequence[bytes | bytearray]) -> None:
        """Move the weights by what all replicas told, in their order."""
        self._averaged().use(of, told)
        self._weights.changed()

    def loss_of(self, step: int, micro_batch: int) -> float:
        """The loss of a micro-batch that was counted here, as a share of its step's mean; 0 but at the last stage."""
        return self._losses.get((step, micro_batch), 0.0)

    def own_part(self, micro_batches: Set[int], most: int) -> Iterator[bytes]:
        """What this replica of the stage has in its sum, which is of these micro-batches, for the others."""
        return part_slices(self._exact(), micro_batches, most)

    def open_part(self, micro_batches: Set[int]) -> PartIn:
        """Another replica's part of the step at hand begins to arrive; add its slices, then ``close_part``."""
        return PartIn(micro_batches, self._exact())

    def close_part(self, part: PartIn, losses: Mapping[int, float]) -> None:
        """A part is whole: its micro-batches count, each once, and at the last stage so do their losses."""
        if not part.whole or losses.keys() != part.micro_batches:
            raise ProtocolViolation("a part ended before its last value, or has other losses than micro-batches")
        self._exact().close(part.micro_batches)
        if self.last:
            self._losses.update({(self.version + 1, each): loss for each, loss in losses.items()})

    def evaluate(self, batch: int, x: Tensor | None = None) -> Tensor | float:
        """One batch of held-out windows, with the newest weights.

        What the next stage needs, or the last one's sum of token losses.
        """
        with torch.no_grad():
            inputs, targets = self._tokens(lambda data: data.eval_batch(batch))
            entered, ids = self._entered(x, inputs)
            left = self._weights.newest(entered, ids)
            return self._crossing.forth(left, ids) if targets is None else loss_sum(left, targets)

    def snapshot(self) -> dict[str, tuple[bytes, bytes]]:
        """Each unit's weights and optimizer state as safetensors; between steps only."""
        if self._forwarded:
            raise ProtocolViolation("a snapshot is taken between steps")
        return {name: (unit.weight_bytes(), unit.optimizer_bytes()) for name, unit in self.units.items()}

    def _exact(self) -> ExactSums:
        if not isinstance(self._sums, ExactSums):
            raise ProtocolViolation('sum = "ordered" depends on who computed what; replicas need sum = "exact"')
        return self._sums

    def _averaged(self) -> Outer:
        if self._outer is None:
            raise ProtocolViolation("this run averages nothing")
        return self._outer

    def _check_turn(self, step: int, micro_batch: int) -> None:
        if step != self.version + 1:
            raise ProtocolViolation(f"step {step} at a stage whose weights are of step {self.version}")
        self._check_index(step, micro_batch)

    def _check_index(self, step: int, micro_batch: int) -> None:
        if micro_batch not in self._own:
            raise ProtocolViolation(f"step {step} has no micro-batch {micro_batch} here")

    def _tokens(self, pick: Callable[[Batches], tuple[Ids, Ids]]) -> tuple[Tensor | None, Tensor | None]:
        """Inputs at the first stage, targets at the last."""
        if self._data is None or not (self.first or self.last):
            return None, None
        inputs, targets = pick(self._data)
        return (
            on_device(inputs, self._device) if self.first else None,
            on_device(targets, self._device) if self.last else None,
        )

    def _entered(self, x: Tensor | None, inputs: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """What the first unit takes, and the token ids that go on with it."""
        if inputs is None:
            return self._crossing.came_forth(x)
        return self._none(x, inputs), inputs

    def _none(self, x: Tensor | None, instead: T) -> T:
        if x is not None:
            raise ProtocolViolation("this end of the pipeline takes no tensor")
        return instead
