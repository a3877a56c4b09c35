"""Work receipts: both ends of a link sign that the same tensors crossed it.

A *half-receipt* is one crossing of one boundary by one micro-batch, named by the frame's Merkle root. Its hash is
a leaf; both ends sign the root over the leaves of the same steps, so one pair of signatures covers every micro-batch,
and a single crossing can be opened against it later. At the open ends of the pipeline, where no neighbour is, the
coordinator signs: for the first stage's input and for the loss it was told.

A signature here says "these bytes crossed this link", not "they are right".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from blake3 import blake3

from swarmd.protocols.canonical import encode
from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.ids import NetworkId, PeerId, RunId
from swarmd.protocols.records import to_value
from swarmd.protocols.signing import Sign, Signed, check_signature, sign

RECEIPT_TAG = "swarmd/link-receipt/1"
_MAX_COUNT = 1 << 40


@dataclass(frozen=True, slots=True, order=True)
class Crossing:
    """A half-receipt: this tensor crossed. ``boundary`` is the number of the layer after the cut."""

    step: int
    micro_batch: int
    direction: int
    """A ``tensors.Direction``: forward or backward."""
    attempt: int
    root: bytes
    """The frame's tile root."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkReceipt:
    """What crossed one boundary in steps ``first_step`` to ``end_step - 1`` of one term."""

    run: RunId
    term: int
    boundary: int
    first_step: int
    end_step: int
    forwards: int
    """Crossings towards the loss."""
    backwards: int
    root: bytes
    """``crossings_root``."""

    def __post_init__(self) -> None:
        numbers = (self.term, self.boundary, self.first_step, self.end_step, self.forwards, self.backwards)
        if not all(0 <= number < _MAX_COUNT for number in numbers) or self.first_step >= self.end_step:
            raise ValueError("an impossible receipt")
        if len(self.root) != 32:
            raise ValueError("a root has 32 bytes")


@dataclass(frozen=True, slots=True)
class SignedReceipt:
    """One end's signature on a link receipt."""

    receipt: LinkReceipt
    signer: PeerId
    signature: bytes

    def __post_init__(self) -> None:
        if len(self.signature) != 64:
            raise ValueError("a signature has 64 bytes")


@dataclass(frozen=True, slots=True)
class CountersignedReceipt:
    """Both ends' signatures on one link receipt. Where an end is open, the coordinator's is one of them."""

    one: SignedReceipt
    other: SignedReceipt

    def __post_init__(self) -> None:
        if self.one.receipt != self.other.receipt or self.one.signer == self.other.signer:
            raise ValueError("two ends that did not sign the same receipt")


def crossing_leaf(crossing: Crossing) -> bytes:
    """The leaf of a half-receipt: 32 bytes. Spelled out: every micro-batch passes here."""
    value = (crossing.step, crossing.micro_batch, crossing.direction, crossing.attempt, crossing.root)
    return blake3(b"\0" + encode(value)).digest()


def crossings_root(crossings: Iterable[Crossing]) -> bytes:
    """BLAKE3 Merkle root over half-receipts in order of step, micro-batch, direction, attempt; 32 zeros for none."""
    return merkle_root([crossing_leaf(crossing) for crossing in sorted(crossings)])


def work_root(receipts: Iterable[LinkReceipt]) -> bytes:
    """The root that a voucher names: over the link receipts it pays for, by boundary and first step."""
    ordered = sorted(receipts, key=lambda receipt: (receipt.term, receipt.boundary, receipt.first_step))
    return merkle_root([blake3(b"\0" + encode(to_value(receipt))).digest() for receipt in ordered])


def merkle_root(leaves: list[bytes]) -> bytes:
    """Inner nodes are ``blake3(0x01 || left || right)``; an odd node at a level's end moves up as it is."""
    level = leaves or [bytes(32)]
    while len(level) > 1:
        paired = [blake3(b"\1" + left + right).digest() for left, right in zip(level[::2], level[1::2], strict=False)]
        level = paired + level[len(paired) * 2 :]
    return level[0]


def sign_receipt(receipt: LinkReceipt, network: NetworkId, signer: PeerId, key: Sign) -> SignedReceipt:
    """One end's signature."""
    return SignedReceipt(receipt, signer, sign(RECEIPT_TAG, network, signer, key, to_value(receipt)).signature)


def check_receipt(signed: SignedReceipt, network: NetworkId) -> None:
    """Raises ProtocolViolation unless the signature holds."""
    check_signature(RECEIPT_TAG, network, Signed(signed.signer, encode(to_value(signed.receipt)), signed.signature))


def countersigned(one: SignedReceipt, other: SignedReceipt) -> CountersignedReceipt:
    """Both ends together. Raises ProtocolViolation if they did not sign the same, or are one."""
    if one.receipt != other.receipt or one.signer == other.signer:
        raise ProtocolViolation("the two ends of a link did not both sign that the same things crossed it")
    return CountersignedReceipt(one, other)
