"""Work that was done and paid for by hand: lanes, receipts, vouchers and invoice lines as a run makes them."""

from __future__ import annotations

from dataclasses import replace

from swarmd.identity import Identity
from swarmd.ledger.jobsdb import JobStore, LaneRecord, WorkLine
from swarmd.protocols.canonical import encode
from swarmd.protocols.ids import NetworkId, PeerId, RunId
from swarmd.protocols.ledger.receipts import CountersignedReceipt, LinkReceipt, sign_receipt, work_root
from swarmd.protocols.ledger.vouchers import Voucher, sign_voucher
from swarmd.protocols.records import to_value
from swarmd.protocols.work import amount_of
from tests.ledger.nodes import EPOCH

RUN = RunId("ab" * 32)
PRICE = 2_000_000
"""Two credits for 10^12 operations."""
OPERATIONS = 10**12 + 700_001
"""Of one voucher: an amount that does not come out even."""


def receipts(network: NetworkId, one: Identity, other: Identity, number: int) -> tuple[LinkReceipt, bytes]:
    """What crossed a link in eight steps, signed by both ends, as it is kept."""
    receipt = LinkReceipt(
        run=RUN,
        term=1,
        boundary=2,
        first_step=8 * (number - 1),
        end_step=8 * number,
        forwards=32,
        backwards=32,
        root=bytes([number]) * 32,
    )
    pair = CountersignedReceipt(*(sign_receipt(receipt, network, who.peer, who.sign) for who in (one, other)))
    return receipt, encode(to_value(pair))


def lane_record(payer: PeerId, number: int, provider: PeerId, role: str, cap: int) -> LaneRecord:
    """A lane as it is opened."""
    return LaneRecord(
        payer=payer,
        lane=number,
        run=RUN,
        provider=provider,
        role=role,
        price=PRICE,
        cap=cap,
        expires=int(EPOCH) + 3600,
        stage="stage 1, layers 2-3",
        created=EPOCH,
        updated=EPOCH,
    )


async def work(
    store: JobStore, lane: LaneRecord, vouchers: int, network: NetworkId, payer: Identity, provider: Identity
) -> bytes:
    """Save a lane, and as many vouchers of it with a receipt each; the newest one."""
    await store.save_lane(lane)
    newest, before = b"", 0
    for number in range(1, vouchers + 1):
        total = amount_of(OPERATIONS * number, PRICE)
        receipt, raw = receipts(network, payer, provider, number)
        root = work_root((receipt,))
        voucher = Voucher(
            payer=lane.payer,
            lane=lane.lane,
            run=RUN,
            provider=lane.provider,
            number=number,
            total=total,
            work_root=root,
        )
        newest = sign_voucher(voucher, network, payer.sign)
        line = replace(LINE, provider=lane.provider, voucher=number, amount=total - before, work_root=root)
        line = replace(line, first_step=receipt.first_step, end_step=receipt.end_step)
        assert await store.keep_voucher(lane.payer, lane.lane, newest, total, number, (raw,), (line,))
        before = total
    return newest


LINE = WorkLine(
    run=RUN,
    term=1,
    stage=1,
    provider=PeerId(""),
    first_layer=2,
    last_layer=3,
    first_step=0,
    end_step=8,
    forwards=32,
    backwards=32,
    operations=OPERATIONS,
    amount=0,
    voucher=1,
    work_root=bytes(32),
)
