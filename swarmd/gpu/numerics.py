"""The numerics class: nodes with the same class give the same bits for the same spec.

The class names what is known to matter, and ends with a fingerprint: a hash over what one decoder block
gives, forward and backward, on fixed numbers with one thread, in float32 and in bfloat16. Two processors that a
name cannot tell apart, but whose libraries choose other kernels, differ there. The thread count is not part of it: a
spec fixes that.
"""

from __future__ import annotations

import torch
from blake3 import blake3
from torch import Tensor

from swarmd.protocols.spec import ModelSpec
from swarmd.train.determinism import set_numerics
from swarmd.train.model import Model
from swarmd.train.units import unit_shapes
from swarmd.train.working import DTYPES, ByUnit, copies

SAMPLE = ModelSpec(
    vocab_size=256,
    hidden_size=128,
    intermediate_size=352,
    num_hidden_layers=1,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=128,
)
UNIT = "layers.0"
TOKENS = 128


def numerics_class(device: torch.device) -> str:
    """Build, instruction set, attention, denormal mode, fingerprint. Sets this process to one thread."""
    update = ("fused-adamw",) if device.type == "cuda" else ()
    parts = (f"torch-{torch.__version__}", _instructions(device), "math-attention", "denormals-kept", *update)
    return "/".join(("native", *parts, f"bits-{fingerprint(device)}"))


def fingerprint(device: torch.device) -> str:
    """Eight hexadecimal digits of the bits this device computes."""
    set_numerics(threads=1)
    shapes = unit_shapes(SAMPLE, UNIT)
    weights = {name: _numbers(name, shape).to(device).requires_grad_() for name, shape in shapes.items()}
    digest = blake3()
    for dtype in DTYPES.values() if device.type != "mps" else (torch.float32,):  # older systems there lack bfloat16
        for tensor in _forward_and_backward(copies({UNIT: weights}, dtype), device):
            digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest(length=4)


def _forward_and_backward(units: ByUnit, device: torch.device) -> tuple[Tensor, ...]:
    x = _numbers("x", (1, TOKENS, SAMPLE.hidden_size)).to(device).requires_grad_()
    left = Model(SAMPLE, units)(x)
    above = _numbers("y", tuple(left.shape)).to(device)
    return (left, *torch.autograd.grad(left, [x, *units[UNIT].values()], above))


def _instructions(device: torch.device) -> str:
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        return f"cuda-{torch.version.cuda}-sm{major}{minor}"
    return device.type if device.type == "mps" else torch.backends.cpu.get_cpu_capability()


def _numbers(name: str, shape: tuple[int, ...]) -> Tensor:
    """Fixed numbers between -1/8 and 1/8."""
    size = torch.Size(shape).numel()
    raw = bytearray(blake3(name.encode()).digest(length=2 * size))
    return torch.frombuffer(raw, dtype=torch.int16).to(torch.float32).mul_(2.0**-18).view(shape)
