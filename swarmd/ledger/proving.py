"""What an entry and a voucher rest on, with every signature checked anew."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from swarmd.protocols.canonical import decode, encode
from swarmd.protocols.control_entries import EvidenceView, ReceiptsView, ReceiptView
from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.ids import NetworkId, PeerId, short
from swarmd.protocols.ledger.amounts import format_credits
from swarmd.protocols.ledger.committee import Committee, check_certificate
from swarmd.protocols.ledger.heads import open_head
from swarmd.protocols.ledger.messages import Evidence
from swarmd.protocols.ledger.receipts import CountersignedReceipt, check_receipt, work_root
from swarmd.protocols.ledger.votes import Certificate, ClaimVote, CloseCertificate, CloseVote, MaturityVote, Vote
from swarmd.protocols.ledger.vouchers import open_release, open_voucher
from swarmd.protocols.records import from_value, to_value

MAX_RECEIPT_BYTES = 4096


def evidence_views(
    evidence: Evidence, network: NetworkId, committees: tuple[Committee, ...]
) -> tuple[EvidenceView, ...]:
    """The certificates and heads that an entry's members were shown."""
    heads = tuple(_head_view(raw, network, committees) for raw in evidence.heads)
    certificates: list[Certificate | CloseCertificate] = [*evidence.claims, *evidence.closes, *evidence.maturities]
    return heads + tuple(_certificate_view(each, network, committees) for each in certificates)


def voucher_view(raw: bytes, network: NetworkId, numbers: tuple[int, ...]) -> EvidenceView:
    """A voucher; ``numbers``: those of its lane that receipts are kept of."""
    digest = hashlib.sha256(raw).hexdigest()
    try:
        voucher = open_voucher(raw, network)
    except ProtocolViolation as error:
        return EvidenceView(kind="voucher", words=error.message, sha256=digest, holds=False)
    words = (
        f"voucher {voucher.number} of lane {voucher.lane}: {short(voucher.payer)} owes {short(voucher.provider)} "
        f"{format_credits(voucher.total)} in all for run {short(voucher.run)}"
    )
    return EvidenceView(
        kind="voucher",
        words=words,
        sha256=digest,
        holds=True,
        payer=voucher.payer,
        lane=voucher.lane,
        vouchers=numbers,
    )


def release_view(raw: bytes, network: NetworkId) -> EvidenceView:
    """A provider's word that a lane is done."""
    digest = hashlib.sha256(raw).hexdigest()
    try:
        release = open_release(raw, network)
    except ProtocolViolation as error:
        return EvidenceView(kind="release", words=error.message, sha256=digest, holds=False)
    words = f"{short(release.provider)} is content with {format_credits(release.total)} from lane {release.lane}"
    return EvidenceView(kind="release", words=words, sha256=digest, holds=True, payer=release.payer, lane=release.lane)


def receipts_view(
    payer: PeerId, lane: int, number: int, root: bytes, raw: Sequence[bytes], network: NetworkId
) -> ReceiptsView:
    """The receipts behind one voucher. ``root`` is the voucher's. Raises ProtocolViolation for bytes that are none."""
    receipts = [from_value(CountersignedReceipt, decode(each, limit=MAX_RECEIPT_BYTES)) for each in raw]
    return ReceiptsView(
        payer=payer,
        lane=lane,
        number=number,
        work_root=root.hex(),
        root_matches=work_root(receipt.one.receipt for receipt in receipts) == root,
        receipts=tuple(_receipt_view(pair, each, network) for pair, each in zip(receipts, raw, strict=True)),
    )


def _receipt_view(pair: CountersignedReceipt, raw: bytes, network: NetworkId) -> ReceiptView:
    receipt = pair.one.receipt
    return ReceiptView(
        term=receipt.term,
        boundary=receipt.boundary,
        first_step=receipt.first_step,
        end_step=receipt.end_step,
        forwards=receipt.forwards,
        backwards=receipt.backwards,
        root=receipt.root.hex(),
        sha256=hashlib.sha256(raw).hexdigest(),
        signers=(pair.one.signer, pair.other.signer),
        holds=holds(lambda: check_receipt(pair.one, network)) and holds(lambda: check_receipt(pair.other, network)),
        raw=raw.hex(),
    )


def _head_view(raw: bytes, network: NetworkId, committees: tuple[Committee, ...]) -> EvidenceView:
    digest = hashlib.sha256(raw).hexdigest()
    try:
        entry = open_head(raw, network, committees).signed.entry
    except ProtocolViolation as error:
        return EvidenceView(kind="head", words=error.message, sha256=digest, holds=False)
    return EvidenceView(
        kind="head", words=f"certified entry {entry.seq} of {short(entry.account)}", sha256=digest, holds=True
    )


def _certificate_view(
    certificate: Certificate | CloseCertificate, network: NetworkId, committees: tuple[Committee, ...]
) -> EvidenceView:
    vote = certificate.votes[0].vote
    kind, words, payer, lane = _certified(vote, certificate)
    return EvidenceView(
        kind=f"{kind} certificate",
        words=f"{len(certificate.votes)} members of committee {vote.committee}: {words}",
        sha256=hashlib.sha256(encode(to_value(certificate))).hexdigest(),
        holds=holds(lambda: check_certificate(certificate, committees, network)),
        payer=payer,
        lane=lane,
    )


def _certified(vote: Vote, certificate: Certificate | CloseCertificate) -> tuple[str, str, str, int]:
    """(kind, words, payer, lane) of what a certificate says."""
    match vote:
        case ClaimVote():
            words = f"lane {vote.lane} of {short(vote.payer)} is open and covers {format_credits(vote.total)}"
            return "claim", words, vote.payer, vote.lane
        case CloseVote():
            paid = certificate.paid if isinstance(certificate, CloseCertificate) else vote.highest
            words = f"lane {vote.lane} of {short(vote.payer)} is closed at {format_credits(paid)}"
            return "close", words, vote.payer, vote.lane
        case MaturityVote():
            return "maturity", f"the cooldown of entry {vote.seq} is over", "", 0
        case _:
            return "entry", f"entry {vote.seq} of {short(vote.account)}", "", 0


def holds(check: Callable[[], None]) -> bool:
    """Whether a check of a signature passes."""
    try:
        check()
    except ProtocolViolation:
        return False
    return True
