"""Hand-made views of an account, its earnings, an invoice and a ledger."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from swarmd.protocols.control import NodeView, RunView
from swarmd.protocols.control_credits import (
    CreditsView,
    InvoiceLine,
    InvoiceView,
    LedgerView,
    MemberView,
    PayeeView,
    PendingView,
    SpendingView,
    SupplyView,
    UnbondingView,
    WalletView,
    WriteView,
)
from swarmd.protocols.control_earn import DayView, EarnedView, EarnView, EnergyView, JobEarningView, NowView
from swarmd.protocols.control_entries import (
    EvidenceView,
    ExplainView,
    HistoryLine,
    OpView,
    ReceiptsView,
    ReceiptView,
    StateView,
    VoteView,
)
from tests.cli import snapshots
from tests.cli.snapshots import PEERS, RUN, START
from tests.protocols.keys import who

PEER = who(7).peer
"""One whose id is a real one."""
NETWORK = hashlib.sha256(b"a network").hexdigest()
ENTRY = hashlib.sha256(b"an entry").hexdigest()
ROOT = hashlib.sha256(b"a root").hexdigest()
CREDIT = 1_000_000


def wallet() -> WalletView:
    return WalletView(
        enabled=True,
        account=PEERS[0],
        network=NETWORK,
        network_name="home",
        seq=8,
        balance=12_500_000,
        balance_after=12_500_000,
        pending_in=3 * CREDIT,
        locked=4 * CREDIT,
        bonded=20 * CREDIT,
        unbonding=(UnbondingView(entry=7, amount=5 * CREDIT, due=START + 14 * 86400),),
        target_stake=50 * CREDIT,
    )


def pending() -> PendingView:
    return PendingView(
        entry=ENTRY,
        seq=9,
        since=START,
        weight=2,
        quorum=3,
        why="2 of 4 committee members answer; 3 are needed",
        ops=(OpView(kind="pay", words=f"2 credits to {PEERS[1][-8:]}", amount=2 * CREDIT, peer=PEERS[1]),),
        balance=10_500_000,
        reasons={PEERS[1]: "does not answer", PEERS[2]: "does not answer"},
    )


def payee(peer: str = PEER, *, name: str = "attic", seen: bool = True, us: bool = False) -> PayeeView:
    return PayeeView(peer=peer, name=name, seen=seen, us=us)


def no_credits() -> WalletView:
    return WalletView(enabled=False, account=PEERS[0], network=NETWORK, network_name="main")


def line() -> HistoryLine:
    settled = OpView(
        kind="lane_settle",
        words="lane 3 settled: 6 credits paid to 3KooWBcD, 14 of 20 back",
        amount=6 * CREDIT,
        peer=PEERS[1],
        lane=3,
        run=RUN,
    )
    return HistoryLine(
        seq=8,
        entry=ENTRY,
        time=START,
        state="final",
        ops=(settled, OpView(kind="stake", words="2 credits staked", amount=2 * CREDIT)),
        change=12 * CREDIT,
        balance=12_500_000,
        note="run 4f1c is done",
    )


def explained() -> ExplainView:
    votes = tuple(
        VoteView(member=peer, weight=1, voted=at < 2, holds=at < 2, reason="" if at < 2 else "not needed")
        for at, peer in enumerate(PEERS)
    )
    close = EvidenceView(
        kind="close certificate", words="2 members of committee 0: lane 3 is closed at 6", sha256=ROOT, holds=True
    )
    voucher = EvidenceView(
        kind="voucher", words="voucher 2 of lane 3", sha256=ENTRY, holds=True, payer=PEERS[0], lane=3, vouchers=(1, 2)
    )
    return ExplainView(
        line=line(),
        prev=ROOT,
        before=StateView(balance=500_000, locked=20 * CREDIT, bonded=18 * CREDIT, unbonding=0),
        after=StateView(balance=12_500_000, locked=0, bonded=20 * CREDIT, unbonding=0),
        signed=True,
        state_matches=True,
        committee=0,
        weight=2,
        quorum=2,
        votes=votes,
        evidence=(close, voucher),
    )


def receipts(number: int = 1, *, good: bool = True) -> ReceiptsView:
    receipt = ReceiptView(
        term=1,
        boundary=4,
        first_step=0,
        end_step=8,
        forwards=64,
        backwards=64,
        root=ROOT,
        sha256=ENTRY,
        signers=PEERS[:2],
        holds=good,
        raw="00ff",
    )
    return ReceiptsView(
        payer=PEERS[0], lane=3, number=number, work_root=ROOT, root_matches=True, receipts=(receipt, receipt)
    )


def written(state: str) -> WriteView:
    return WriteView(
        state=state,
        entry="" if state == "queued" else ENTRY,
        seq=0 if state == "queued" else 9,
        why="the entry before it is not final yet" if state == "queued" else "",
        pending=pending() if state == "pending" else None,
    )


def invoice() -> InvoiceView:
    lines = tuple(
        InvoiceLine(
            stage=at,
            provider=peer,
            lane=3 + at,
            first_layer=4 * at,
            last_layer=4 * at + 3,
            term=1,
            first_step=0,
            end_step=1000,
            forwards=8000,
            backwards=8000,
            operations=3 * 10**15,
            price=1200 * (at + 1),
            amount=3_600_000 * (at + 1),
            voucher=125,
            work_root=ROOT,
            receipts=250,
        )
        for at, peer in enumerate(PEERS[:2])
    )
    return InvoiceView(
        enabled=True,
        run=RUN,
        payer=PEERS[2],
        role="payer",
        lines=lines,
        more=False,
        invoiced=10_800_000,
        receipted=10_800_000,
        paid=10_800_000,
        locked=0,
        refunded=9_200_000,
        balanced=True,
        problems=(),
    )


def unpaid() -> InvoiceView:
    none = {"invoiced": 0, "receipted": 0, "paid": 0, "refunded": 0}
    return replace(invoice(), lines=(), **none)


def spending() -> SpendingView:
    return SpendingView(estimate=10_800_000, spent=2_600_000, locked=20 * CREDIT, left=17_400_000)


def paid_run() -> RunView:
    return replace(snapshots.training(), spending=spending())


def rich_node() -> NodeView:
    credits = CreditsView(balance=12_500_000, locked=4 * CREDIT, bonded=20 * CREDIT, pending=CREDIT, final=7 * CREDIT)
    return replace(snapshots.node(), credits=credits)


def earn() -> EarnView:
    job = JobEarningView(
        run=RUN,
        payer=PEERS[2],
        lane=3,
        stage="stage 1, layers 4-7",
        state="open",
        pending=1_250_000,
        final=2 * CREDIT,
        number=14,
        receipts=28,
        expires=int(START) + 7200,
    )
    return EarnView(
        enabled=True,
        network_name="home",
        now=NowView(
            state="working",
            why_idle="",
            run=RUN,
            stage="trains stage 1",
            steps_per_s=3.5,
            power_w=170.4,
            temperature_c=64.0,
            price=1200,
        ),
        earned=EarnedView(
            today=2 * CREDIT,
            pending=1_250_000,
            final=9 * CREDIT,
            held=4 * CREDIT,
            slashed=0,
            days=(DayView(day="2026-09-21", final=2 * CREDIT, entries=(ENTRY,)),),
            jobs=(job,),
        ),
        energy=EnergyView(
            source="measured",
            since="2026-09-20",
            kwh_today=0.4,
            kwh=1.25,
            kwh_price=0.32,
            currency="EUR",
            cost=0.4,
            credit_value=0.1,
            earned=3_250_000,
            gross=0.325,
            net=-0.075,
            warning="the energy costs 0.08 EUR more than the work brings: ask a higher price, or stop",
        ),
    )


def ledger() -> LedgerView:
    members = tuple(
        MemberView(
            peer=peer,
            weight=1,
            us=at == 0,
            answers=at < 2,
            in_step=(True, False, None)[at],
            frozen=False,
        )
        for at, peer in enumerate(PEERS)
    )
    supply = SupplyView(
        granted=1000 * CREDIT,
        balances=960 * CREDIT,
        locked=10 * CREDIT,
        bonded=20 * CREDIT,
        unbonding=5 * CREDIT,
        burned=0,
        in_flight=5 * CREDIT,
        total=1000 * CREDIT,
    )
    return LedgerView(
        enabled=True,
        network=NETWORK,
        network_name="home",
        committee=2,
        members=members,
        weight=3,
        quorum=3,
        answering=2,
        accounts=12,
        proofs=(),
        root=ROOT,
        supply=supply,
    )
