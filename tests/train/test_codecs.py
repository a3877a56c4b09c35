"""Wire codecs: exact bytes, defined ends of the range, and a decoder that no bytes upset."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from swarmd.protocols.codecs import CODECS, LEVELS, payload_bytes
from swarmd.protocols.errors import ProtocolViolation, RunFailed
from swarmd.protocols.spec import WireSpec
from swarmd.train.codecs import LARGEST, SMALLEST_SCALE, cross, decode, encode, round_trip, wire_empty

LOSSY = CODECS[1:]
shapes = st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 100).map(lambda half: 2 * half))
finite = st.floats(-LARGEST, LARGEST, width=32)


def bits(x: torch.Tensor) -> bytes:
    return x.numpy().tobytes()


def tensors(draw, shape):
    """Numbers of all magnitudes, often zero, mostly smooth."""
    chance = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    x = torch.from_numpy(
        chance.standard_normal(shape).astype(np.float32) * np.float32(2.0 ** draw(st.integers(-149, 120)))
    )
    for number in draw(st.lists(finite, max_size=5)):
        x.view(-1)[draw(st.integers(0, x.numel() - 1))] = number
    return x


def bfloat16(x: np.ndarray) -> np.ndarray:
    """float32 rounded to bfloat16, ties to even, by its bits."""
    raw = x.astype(np.float32).view(np.uint32)
    return ((raw + 0x7FFF + (raw >> 16 & 1)) & 0xFFFF0000).view(np.float32)


def by_the_book(codec: str, row: np.ndarray) -> bytes:
    """One row, written with nothing but the words of the layout."""
    numbers, scales = [], []
    for at in range(0, len(row), 64):
        block = row[at : at + 64]
        scale = bfloat16(np.abs(block).max(keepdims=True) * np.float32(1 / LEVELS[codec]))
        if scale[0] < SMALLEST_SCALE:
            scale, block = np.zeros(1, np.float32), np.zeros_like(block)
        numbers += [int(number) for number in np.rint(block / (scale if scale[0] else 1))]
        scales.append(scale)
    tail = b"".join((scale.view(np.uint32) >> 16).astype("<u2").tobytes() for scale in scales)
    if codec == "int8":
        return bytes(number & 255 for number in numbers) + tail
    return bytes(a + 8 | b + 8 << 4 for a, b in zip(numbers[::2], numbers[1::2], strict=True)) + tail


class TestBytes:
    @given(st.data(), st.sampled_from(list(LEVELS)), shapes)
    def test_they_are_those_of_the_layout(self, data, codec, shape):
        x = tensors(data.draw, shape)
        expected = b"".join(by_the_book(codec, row) for row in x.view(-1, shape[-1]).numpy())
        assert bits(encode(codec, x)) == expected
        assert len(expected) == payload_bytes(codec, shape)

    def test_int8_example(self):
        x = torch.tensor([[127.0, -127.0, 0.5, 1.5, -2.5, 0.0]])
        assert bits(encode("int8", x)) == bytes([127, 129, 0, 2, 254, 0]) + b"\x80\x3f"

    def test_int4_example(self):
        x = torch.tensor([[14.0, -14.0, 1.0, 3.0, -5.0, 0.0]])
        assert bits(encode("int4", x)) == bytes([0xF | 0x1 << 4, 0x8 | 0xA << 4, 0x6 | 0x8 << 4]) + b"\x00\x40"

    def test_bf16_ties_go_to_even(self):
        x = torch.tensor([[1 + 2**-8, 1 + 3 * 2**-8]])
        assert torch.equal(round_trip("bf16", x), torch.tensor([[1.0, 1 + 2**-6]]))

    def test_raw_is_the_tensor(self):
        x = torch.randn(2, 3)
        assert encode("raw", x) is x
        assert torch.equal(decode("raw", x, 3), x)

    @pytest.mark.parametrize("codec", LOSSY)
    def test_rows_stand_for_themselves(self, codec):
        x = torch.randn(3, 700, 96)
        whole = encode(codec, x)
        assert torch.equal(whole[1, 650:], encode(codec, x[1, 650:]))
        assert torch.equal(decode(codec, whole[1, 650:], 96), decode(codec, whole, 96)[1, 650:])

    @pytest.mark.parametrize("codec", LOSSY)
    def test_where_a_tensor_lies_does_not_matter(self, codec):
        x = torch.randn(4, 10, 66)
        assert torch.equal(encode(codec, x.transpose(0, 1)), encode(codec, x.transpose(0, 1).contiguous()))
        assert torch.equal(encode(codec, x[:, ::3]), encode(codec, x[:, ::3].contiguous()))


class TestNumbers:
    @given(st.data(), st.sampled_from(LOSSY), shapes)
    def test_a_round_trip_is_encoding_and_decoding(self, data, codec, shape):
        x = tensors(data.draw, shape)
        before = x.clone()
        made = round_trip(codec, x)
        assert bits(made) == bits(decode(codec, encode(codec, x), shape[-1]))
        assert made.is_contiguous()
        assert torch.equal(x, before)

    @given(st.data(), st.sampled_from(list(LEVELS)), st.integers(1, 50).map(lambda half: 2 * half))
    def test_no_number_moves_by_more_than_half_a_step(self, data, codec, width):
        x = tensors(data.draw, (1, width))
        blocks = [x[:, at : at + 64] for at in range(0, width, 64)]
        steps = torch.cat([(b.abs().max() / LEVELS[codec] * (1 + 2**-8)).expand_as(b) for b in blocks], -1)
        allowed = steps.double() / 2 * (1 + 2**-7) + SMALLEST_SCALE * LEVELS[codec]
        assert ((round_trip(codec, x).double() - x.double()).abs() <= allowed).all()

    @pytest.mark.parametrize("codec", LOSSY)
    def test_zeros_stay_zeros(self, codec):
        x = torch.zeros(2, 130)
        x[0, 70] = 3.0
        assert torch.equal(round_trip(codec, x)[:, :64], torch.zeros(2, 64))
        assert round_trip(codec, x)[0, 70].item() == pytest.approx(3.0, rel=2**-8)

    @pytest.mark.parametrize("codec", list(LEVELS))
    def test_a_block_too_small_for_a_scale_is_zero(self, codec):
        x = torch.tensor([[LEVELS[codec] * 2.0**-127, 1e-45]])
        assert torch.equal(round_trip(codec, x), torch.zeros(1, 2))
        assert set(bits(encode(codec, x))) <= {0, 0x88}
        assert round_trip(codec, 4 * x)[0, 0] == pytest.approx(4 * x[0, 0].item(), rel=2**-6)

    def test_bf16_keeps_subnormal_numbers(self):
        x = torch.tensor([[2.0**-133, -(2.0**-127)]])
        assert torch.equal(round_trip("bf16", x), x)

    @pytest.mark.parametrize("codec", LOSSY)
    def test_gradients_of_large_steps_are_not_lost(self, codec):
        x = torch.randn(4, 64) * 1e-12
        assert (round_trip(codec, x) - x).norm() < 0.2 * x.norm()

    @pytest.mark.parametrize("codec", LOSSY)
    @pytest.mark.parametrize("number", [LARGEST, -LARGEST])
    def test_the_largest_number_passes(self, codec, number):
        x = torch.full((2, 66), number)
        assert torch.isfinite(round_trip(codec, x)).all()
        assert torch.equal(decode(codec, encode(codec, x), 66), round_trip(codec, x))

    @pytest.mark.parametrize("codec", LOSSY)
    @pytest.mark.parametrize("number", [torch.nan, torch.inf, -torch.inf, LARGEST * 1.001, -LARGEST * 1.001])
    def test_what_is_not_finite_or_larger_ends_the_run(self, codec, number):
        x = torch.ones(3, 66)
        x[2, 65] = number
        for work in (encode, round_trip):
            with pytest.raises(RunFailed, match="which its codec cannot carry"):
                work(codec, x)


class TestHostileBytes:
    @given(st.data(), st.sampled_from(LOSSY), shapes)
    def test_any_bytes_give_finite_numbers_or_a_violation(self, data, codec, shape):
        wire = wire_empty(codec, shape)
        size = wire.numel()
        raw = data.draw(st.binary(min_size=1, max_size=64))
        wire.view(-1).copy_(torch.frombuffer(bytearray((raw * size)[:size]), dtype=torch.uint8))
        try:
            x = decode(codec, wire, shape[-1])
        except ProtocolViolation:
            return
        assert x.shape == shape
        assert torch.isfinite(x).all()

    @given(st.data(), st.sampled_from(LOSSY), shapes)
    def test_any_changed_byte_does_no_harm(self, data, codec, shape):
        wire = encode(codec, tensors(data.draw, shape))
        wire.view(-1)[data.draw(st.integers(0, wire.numel() - 1))] ^= data.draw(st.integers(1, 255))
        try:
            assert torch.isfinite(decode(codec, wire, shape[-1])).all()
        except ProtocolViolation:
            return

    @pytest.mark.parametrize("codec", list(LEVELS))
    @pytest.mark.parametrize("scale", ["nan", "inf", "-1", "1e-39", "3e38"])
    def test_a_scale_that_no_sender_makes_is_a_violation(self, codec, scale):
        wire = encode(codec, torch.ones(1, 64))
        wire[0, -2:] = torch.tensor([float(scale)], dtype=torch.bfloat16).view(torch.uint8)
        with pytest.raises(ProtocolViolation, match="with a scale that no sender makes"):
            decode(codec, wire, 64)

    @pytest.mark.parametrize("number", ["nan", "-inf", "3e38"])
    def test_a_bf16_number_that_no_sender_makes_is_a_violation(self, number):
        wire = torch.tensor([[float(number), 1.0]], dtype=torch.bfloat16).view(torch.uint8)
        with pytest.raises(ProtocolViolation, match="not finite, or over"):
            decode("bf16", wire, 2)


class TestInsideAProcess:
    def test_values_go_forward_and_gradients_back_as_over_a_link(self):
        x = torch.randn(2, 3, 64, requires_grad=True)
        above = torch.randn(2, 3, 64)
        y = cross(WireSpec(forward="int8", backward="int4", boundaries=(1,)), x)
        assert torch.equal(y, round_trip("int8", x.detach()))
        (back,) = torch.autograd.grad(y, x, above)
        assert torch.equal(back, round_trip("int4", above))

    def test_a_gradient_that_is_not_finite_ends_the_run(self):
        x = torch.randn(1, 64, requires_grad=True)
        y = cross(WireSpec(forward="int8", backward="int4", boundaries=(1,)), x)
        with pytest.raises(RunFailed, match="which its codec cannot carry"):
            torch.autograd.grad(y, x, torch.full((1, 64), torch.nan))
