"""Vouchers: what a payer signs for work every few steps, off the ledger; and a provider's word that it is done.

The amount is cumulative, so the newest voucher is worth all that were before it, and a lost one costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.ids import NetworkId, PeerId, RunId
from swarmd.protocols.ledger.amounts import check_amounts
from swarmd.protocols.records import from_value, to_value
from swarmd.protocols.signing import Sign, parse_signed, sign, verify

MAX_VOUCHER_BYTES = 1024
_VOUCHER_TAG = "swarmd/voucher/1"
_RELEASE_TAG = "swarmd/lane-release/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Voucher:
    """The payer owes the provider ``total`` from this lane, for the receipts under ``work_root``."""

    payer: PeerId
    lane: int
    run: RunId
    provider: PeerId
    number: int
    """Counts the lane's vouchers from 1."""
    total: int
    """Micro-credits since the lane was opened."""
    work_root: bytes
    """Merkle root over the receipts this voucher added (``receipts.work_root``)."""

    def __post_init__(self) -> None:
        check_amounts(self.total, self.lane, self.number)
        if len(self.work_root) != 32:
            raise ValueError("a root has 32 bytes")


@dataclass(frozen=True, slots=True)
class LaneRelease:
    """The provider is content with ``total``: the payer may close the lane before it expires."""

    payer: PeerId
    lane: int
    provider: PeerId
    total: int

    def __post_init__(self) -> None:
        check_amounts(self.lane)
        check_amounts(self.total, least=0)


def sign_voucher(voucher: Voucher, network: NetworkId, key: Sign) -> bytes:
    """The signed wire form."""
    return sign(_VOUCHER_TAG, network, voucher.payer, key, to_value(voucher)).to_bytes()


def open_voucher(raw: bytes, network: NetworkId) -> Voucher:
    """The voucher inside, once its payer's signature holds. Raises ProtocolViolation."""
    signed = parse_signed(raw, limit=MAX_VOUCHER_BYTES)
    voucher = from_value(Voucher, verify(_VOUCHER_TAG, network, signed, limit=MAX_VOUCHER_BYTES))
    if voucher.payer != signed.signer:
        raise ProtocolViolation("a voucher signed by another than its payer")
    return voucher


def sign_release(release: LaneRelease, network: NetworkId, key: Sign) -> bytes:
    """The signed wire form."""
    return sign(_RELEASE_TAG, network, release.provider, key, to_value(release)).to_bytes()


def open_release(raw: bytes, network: NetworkId) -> LaneRelease:
    """The release inside, once its provider's signature holds. Raises ProtocolViolation."""
    signed = parse_signed(raw, limit=MAX_VOUCHER_BYTES)
    release = from_value(LaneRelease, verify(_RELEASE_TAG, network, signed, limit=MAX_VOUCHER_BYTES))
    if release.provider != signed.signer:
        raise ProtocolViolation("a lane released by another than its provider")
    return release
