"""The outer step of replicas that train apart (DiLoCo, Douillard et al. 2023, arXiv 2311.08105), to the bit.

A replica tells the others how far its weights went from the *anchor*, what all replicas had after the last round, in
the codec of the spec. The mean of what all told moves the anchor, and the anchor's move replaces each
replica's own: what a replica has learned since is kept on top. All decode the same bytes and add them in the same
order, so anchors have the same bits everywhere. In a full round AdamW's moments are averaged as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod

import numpy as np
import torch
from torch import Tensor

from swarmd.protocols.codecs import payload_bytes
from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.rounds import Round
from swarmd.protocols.spec import JobSpec
from swarmd.train.checkpoint import Unit
from swarmd.train.codecs import decode, encode, wire_dtype, wire_shape
from swarmd.train.units import unit_shapes

ROW = 1024
"""Values of a unit are told in rows of so many, the last one filled up with zeros."""

Tensors = dict[str, Tensor]


class Outer:
    """One replica's part in the rounds of its units."""

    def __init__(self, spec: JobSpec, units: Mapping[str, Unit]) -> None:
        self._spec, self._units = spec, units
        self._rate, self._momentum = float(spec.averaging.rate), float(spec.averaging.momentum)
        self._anchors = {name: _copied(unit.weights) for name, unit in units.items()}
        self._speeds = {name: _zeros(unit.weights) for name, unit in units.items()} if self._momentum else {}
        self._told: dict[str, Tensors] = {}

    def told(self, of: Round) -> bytes:
        """What this replica tells the others in a round, whose step it has just updated. Raises RunFailed."""
        return b"".join(self._parts(of))

    def size(self, of: Round) -> int:
        """Bytes that each replica tells in a round."""
        return sum(size for name in self._of(of) for size in _sizes(self._spec, name, of))

    def use(self, of: Round, told: Sequence[bytes | bytearray]) -> None:
        """Move the weights by what all replicas told, in their order, our own among it. Raises ProtocolViolation."""
        streams = [_Reader(each) for each in told]
        with torch.no_grad():
            for name in self._of(of):
                unit, codec = self._units[name], self._spec.averaging.codec
                mean = _mean([each.read_rows(codec, unit.weights) for each in streams])
                self._move(name, mean)
                self._follow(name, full=of.full)
                if of.full:
                    _overwrite(unit.exp_avg, _mean([each.read(unit.exp_avg) for each in streams]))
                    _overwrite(unit.exp_avg_sq, _mean([each.read(unit.exp_avg_sq) for each in streams]))
        if of.full:
            self._speeds = {name: _zeros(unit.weights) for name, unit in self._units.items()} if self._momentum else {}

    def _parts(self, of: Round) -> Iterator[bytes]:
        for name in self._of(of):
            unit, anchor = self._units[name], self._anchors[name]
            with torch.no_grad():
                self._told[name] = _copied(unit.weights)
                change = {key: weight - anchor[key] for key, weight in unit.weights.items()}
                yield _bytes(encode(self._spec.averaging.codec, _rows(change)))
                if of.full:
                    yield from (_bytes(_flat(moments)) for moments in (unit.exp_avg, unit.exp_avg_sq))

    def _move(self, name: str, mean: Tensors) -> None:
        """The anchor's outer step, with Nesterov's momentum where there is any."""
        for key, anchor in self._anchors[name].items():
            change = mean[key]
            if self._momentum:
                speed = self._speeds[name][key]
                speed.mul_(self._momentum).add_(change)
                change = change + speed * self._momentum
            anchor.add_(change if self._rate == 1.0 else change * self._rate)

    def _follow(self, name: str, *, full: bool) -> None:
        told = self._told.pop(name)
        for key, weight in self._units[name].weights.items():
            anchor = self._anchors[name][key]
            weight.copy_(anchor if full else weight + (anchor - told[key]))

    def _of(self, of: Round) -> list[str]:
        return [name for name in of.units if name in self._units]


class _Reader:
    """What one replica told, from its beginning."""

    def __init__(self, told: bytes | bytearray) -> None:
        self._bytes, self._at = np.frombuffer(told, np.uint8), 0

    def read_rows(self, codec: str, like: Tensors) -> Tensors:
        """The values of a unit, told in a codec."""
        shape = _row_shape(sum(tensor.numel() for tensor in like.values()))
        raw = self._take(payload_bytes(codec, shape))
        rows = torch.from_numpy(raw).view(wire_dtype(codec)).view(wire_shape(codec, shape))
        return _cut(decode(codec, rows.to(next(iter(like.values())).device), ROW).flatten(), like)

    def read(self, like: Tensors) -> Tensors:
        """The values of a unit, told as float32."""
        flat = torch.from_numpy(self._take(4 * sum(tensor.numel() for tensor in like.values()))).view(torch.float32)
        if not bool(flat.isfinite().all()):
            raise ProtocolViolation("a replica tells moments that are not finite")
        return _cut(flat.to(next(iter(like.values())).device), like)

    def _take(self, count: int) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
        begin, self._at = self._at, self._at + count
        if self._at > len(self._bytes):
            raise ProtocolViolation(f"a replica tells {len(self._bytes)} bytes, which is too few")
        return self._bytes[begin : self._at].copy()


def _sizes(spec: JobSpec, name: str, of: Round) -> Iterator[int]:
    count = sum(map(prod, unit_shapes(spec.model, name).values()))
    yield payload_bytes(spec.averaging.codec, _row_shape(count))
    if of.full:
        yield 2 * 4 * count


def _row_shape(count: int) -> tuple[int, int]:
    return (-(-count // ROW), ROW)


def _rows(values: Tensors) -> Tensor:
    flat = _flat(values)
    rows = flat.new_zeros(_row_shape(flat.numel()))
    rows.view(-1)[: flat.numel()] = flat
    return rows


def _flat(values: Tensors) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in values.values()])


def _cut(flat: Tensor, like: Tensors) -> Tensors:
    pieces = torch.split(flat[: sum(each.numel() for each in like.values())], [each.numel() for each in like.values()])
    return {key: piece.view(each.shape) for (key, each), piece in zip(like.items(), pieces, strict=True)}


def _mean(told: list[Tensors]) -> Tensors:
    """Added in the replicas' order, then divided: the same operations, so the same bits, at each of them."""
    total = {key: tensor.clone() for key, tensor in told[0].items()}
    for each in told[1:]:
        for key, tensor in total.items():
            tensor.add_(each[key])
    return {key: tensor.div_(len(told)) for key, tensor in total.items()}


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().numpy().tobytes()


def _copied(values: Tensors) -> Tensors:
    return {key: tensor.detach().clone() for key, tensor in values.items()}


def _zeros(values: Tensors) -> Tensors:
    return {key: torch.zeros_like(tensor, requires_grad=False) for key, tensor in values.items()}


def _overwrite(values: Tensors, by: Tensors) -> None:
    for key, tensor in values.items():
        tensor.copy_(by[key])
