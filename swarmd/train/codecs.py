"""Encoding and decoding boundary tensors (``swarmd.protocols.codecs`` has the layouts), on any device.

Every operation is one that float32 arithmetic fixes to the bit: a product with a constant, a division, roundings
to nearest with ties to even. So both ends, and every device, have the same bytes for the same numbers.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from swarmd.protocols.codecs import BF16, BLOCK, INT4, INT8, LEVELS, RAW, SCALE_BYTES, row_bytes
from swarmd.protocols.errors import ProtocolViolation, RunFailed
from swarmd.protocols.spec import WireSpec

LARGEST = 2.0**127
SMALLEST_SCALE = 2.0**-126
CHUNK = 1 << 15
"""Numbers worked on at once on a CPU: what is between steps stays in its cache."""


def wire_shape(codec: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of the tensor that ``encode`` gives: ``shape`` for ``raw``, else uint8 rows."""
    return shape if codec == RAW else (*shape[:-1], row_bytes(codec, shape[-1]))


def wire_dtype(codec: str) -> torch.dtype:
    """Type of the tensor that ``encode`` gives."""
    return torch.float32 if codec == RAW else torch.uint8


def wire_empty(codec: str, shape: tuple[int, ...]) -> Tensor:
    """Memory on the CPU for a tensor that arrives."""
    return torch.empty(wire_shape(codec, shape), dtype=wire_dtype(codec))


def encode(codec: str, x: Tensor) -> Tensor:
    """float32 [..., W] as it goes on the wire: float32 of the same shape for ``raw``, else uint8 [..., row bytes].

    Raises RunFailed for a number that is not finite or over 2^127, but for ``raw``.
    """
    if codec == RAW:
        return x
    wire = torch.empty(wire_shape(codec, tuple(x.shape)), dtype=torch.uint8, device=x.device)
    for rows, into in zip(_chunks(x), _chunks(wire, x.shape[-1]), strict=True):
        if codec == BF16:
            _check(_magnitude(rows))
            into.view(torch.bfloat16).copy_(rows)
        else:
            _write(codec, *_quantised(codec, rows), into)
    return wire


def decode(codec: str, wire: Tensor, width: int) -> Tensor:
    """float32 [..., W] from what ``encode`` gave, in memory of its own.

    Raises ProtocolViolation for bytes that no ``encode`` gives: a scale or number that is not finite, negative or tiny.
    """
    if codec == RAW:
        return wire.clone()
    x = torch.empty((*wire.shape[:-1], width), dtype=torch.float32, device=wire.device)
    for rows, into in zip(_chunks(wire, width), _chunks(x), strict=True):
        if codec == BF16:
            into.copy_(rows.view(torch.bfloat16))
        else:
            _multiply(*_read(codec, rows, width), into)
    if codec == BF16 and not _magnitude(x) <= LARGEST:
        raise ProtocolViolation("a bf16 tensor with a number that is not finite, or over 2^127")
    return x


def round_trip(codec: str, x: Tensor) -> Tensor:
    """``decode(encode(x))``, without making the bytes."""
    if codec == RAW:
        return x
    made = torch.empty(x.shape, dtype=torch.float32, device=x.device)
    for rows, into in zip(_chunks(x), _chunks(made), strict=True):
        if codec == BF16:
            _check(_magnitude(rows))
            into.copy_(rows.to(torch.bfloat16))
        else:
            _multiply(*_quantised(codec, rows), into)
    return made


def cross(wire: WireSpec, x: Tensor) -> Tensor:
    """A boundary inside one process: what the layers after it get, and the gradient that comes back, as over a link."""
    crossed: Tensor = _Crossing.apply(x, wire)  # type: ignore[no-untyped-call]
    return crossed


class _Crossing(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor, wire: WireSpec) -> Tensor:
        ctx.wire = wire  # type: ignore[attr-defined]
        return round_trip(wire.forward, x)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None]:
        return round_trip(ctx.wire.backward, gradients[0]), None  # type: ignore[attr-defined]


def _magnitude(x: Tensor) -> float:
    """The largest magnitude; NaN if there is one."""
    return torch.stack(torch.aminmax(x)).abs_().max().item()


def _check(largest: float) -> None:
    if not largest <= LARGEST:  # also true of a NaN
        raise RunFailed(
            f"a boundary tensor has a value of magnitude {largest:.3g}, which its codec cannot carry",
            hint="training has diverged: lower optimizer.lr, or warm up for longer",
        )


def _chunks(x: Tensor, width: int | None = None) -> tuple[Tensor, ...]:
    """Some rows at a time, [rows, last axis]; all at once where there is no cache to stay in."""
    rows = x.reshape(-1, x.shape[-1])
    return (rows,) if x.is_cuda else torch.split(rows, max(1, CHUNK // (width or x.shape[-1])))


def _quantised(codec: str, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Whole numbers as float32 [rows, blocks, 64], zeros where the last block is short, and bfloat16 scales."""
    short = -rows.shape[-1] % BLOCK
    blocks = (F.pad(rows, (0, short)) if short else rows).view(rows.shape[0], -1, BLOCK)
    numbers = blocks.abs()
    largest = numbers.amax(-1)
    _check(largest.max().item())
    scales = largest.mul_(1.0 / LEVELS[codec]).to(torch.bfloat16)
    tiny = scales < SMALLEST_SCALE
    divisors = scales.float().masked_fill_(tiny, torch.inf)
    torch.div(blocks, divisors[..., None], out=numbers).round_().add_(0.0)  # integers have no negative zero
    return numbers, scales.masked_fill_(tiny, 0)


def _multiply(numbers: Tensor, scales: Tensor, into: Tensor) -> None:
    short = numbers.shape[1] * BLOCK - into.shape[-1]
    wide = scales.float()[..., None]
    if short:
        into.copy_((numbers * wide).flatten(1)[:, : into.shape[-1]])
    else:
        torch.mul(numbers, wide, out=into.view(numbers.shape))


def _write(codec: str, numbers: Tensor, scales: Tensor, into: Tensor) -> None:
    held = into.shape[-1] - SCALE_BYTES * scales.shape[-1]
    flat = numbers.flatten(1)
    if codec == INT8:
        into.view(torch.int8)[:, :held].copy_(flat[:, :held])
    else:
        pairs = flat.add_(8).to(torch.int8).view(torch.int16)  # of each pair the first is in the low byte
        into[:, :held] = pairs.bitwise_or_(pairs >> 4)[:, :held]
    into[:, held:] = scales.view(torch.uint8)


def _read(codec: str, rows: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Whole numbers, int8 [rows, blocks, 64], and scales. Raises ProtocolViolation."""
    count = -(-width // BLOCK)
    held = rows.shape[-1] - SCALE_BYTES * count
    scales = rows[:, held:].clone(memory_format=torch.contiguous_format).view(torch.bfloat16)
    low, high = (bound.item() for bound in torch.aminmax(scales.masked_fill(scales == 0, SMALLEST_SCALE)))
    if not SMALLEST_SCALE <= low <= high < 2.0**128 / (LEVELS[codec] + 1):  # also true of a NaN
        raise ProtocolViolation(f"a tensor in {codec} with a scale that no sender makes")
    numbers = rows[:, :held].view(torch.int8)
    if codec == INT4:
        pairs = rows[:, :held].to(torch.int16)
        numbers = pairs.bitwise_or_(pairs << 4).bitwise_and_(0x0F0F).view(torch.int8).sub_(8)
    short = count * BLOCK - width
    return (F.pad(numbers, (0, short)) if short else numbers).view(-1, count, BLOCK), scales
