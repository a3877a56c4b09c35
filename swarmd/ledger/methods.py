"""What the daemon answers about credits on its control socket (``protocols.control`` lists the methods)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import trio

from swarmd.config import Config
from swarmd.control import Method, param
from swarmd.ledger.books import PAYER, PROVIDER, Books
from swarmd.ledger.earning import credits_view, earned_view, energy_view, pending_of
from swarmd.ledger.energy import EnergyMeter
from swarmd.ledger.explaining import explain_view
from swarmd.ledger.invoicing import free_of_charge, invoice_view
from swarmd.ledger.members import who_answers
from swarmd.ledger.payees import payee_view
from swarmd.ledger.views import history_lines, ledger_view, unsigned_words, wallet_view
from swarmd.ledger.wallet import Wallet
from swarmd.ledger.writing import Stream, amount_param, peer_param, write_stream
from swarmd.protocols.control import as_json
from swarmd.protocols.control_credits import CreditsView, LedgerView, WalletView
from swarmd.protocols.control_earn import EarnedView, EarnView, NowView
from swarmd.protocols.errors import NotFound, UsageError
from swarmd.protocols.ids import PeerId, RunId
from swarmd.protocols.ledger.entry import Pay, Stake, Unstake

Answer = dict[str, Any]
USUAL_LINES, MAX_LINES = 50, 500
MAX_NOTE = 200
CLAIMS_SEARCHED = 500
"""Entries in which ``earn`` looks for claims."""
LINE_SECONDS = 1.0
"""How old the account's line on other screens may be."""


class CreditMethods:
    """Answers from the wallet and its files; writes only through the wallet."""

    def __init__(
        self,
        wallet: Wallet,
        config: Config,
        meter: EnergyMeter,
        now: Callable[[], NowView],
        find_run: Callable[[str], RunId],
        find_name: Callable[[PeerId], str | None],
    ) -> None:
        """``now``: what this node does; ``find_run``: a run of ours by the beginning of its id, or NotFound.

        ``find_name``: what a node's owner calls it, empty if only its id is known; None: no such node is known.
        """
        self._wallet, self._config, self._meter = wallet, config, meter
        self._now, self._find_run, self._find_name = now, find_run, find_name
        self._deps = wallet.keeper.deps
        self._books = Books(self._deps, wallet.replica)
        self._line: CreditsView | None = None
        self._fresh_until = float("-inf")

    def table(self) -> dict[str, Method]:
        """Every method by its name."""
        return {
            "wallet": self._wallet_view,
            "history": self._history,
            "explain": self._explain,
            "payee": self._payee,
            "pay": self._pay,
            "stake": self._stake,
            "unstake": self._unstake,
            "earn": self._earn,
            "invoice": self._invoice,
            "receipts": self._receipts,
            "ledger": self._ledger,
        }

    async def credits(self) -> CreditsView | None:
        """The account in one line, a second old at most; None on a network without credits."""
        if not self._wallet.enabled:
            return None
        if trio.current_time() >= self._fresh_until:
            self._line = credits_view(self._wallet.replica.state(self._wallet.account), await self._earned(0))
            self._fresh_until = trio.current_time() + LINE_SECONDS
        return self._line

    def unsigned(self) -> tuple[str, ...]:
        """In words what waits for its entry and is lost when the daemon ends."""
        return unsigned_words(self._wallet.standing(), self._wallet.replica.state(self._wallet.account))

    async def _wallet_view(self, params: Answer) -> Answer:
        wallet, (network, name) = self._wallet, self._network()
        if not wallet.enabled:
            return as_json(WalletView(enabled=False, account=wallet.account, network=network, network_name=name))
        keeper, target = wallet.keeper, self._deps.target_stake
        return as_json(
            wallet_view(
                wallet.account, wallet.replica, wallet.standing(), keeper.first_seen.get(wallet.account, {}), target
            )
        )

    async def _history(self, params: Answer) -> Answer:
        limit = min(max(1, param(params, "limit", int, USUAL_LINES)), MAX_LINES)
        before = param(params, "before", int, 0) or None
        self._check_enabled()
        entries = await self._deps.self_store.entries(before, limit + 1)
        lines = history_lines(entries, self._wallet.replica)
        return {"lines": [as_json(line) for line in lines[:limit]]}

    async def _explain(self, params: Answer) -> Answer:
        self._check_enabled()
        own = await self._wallet.explain(param(params, "entry", str))
        previous = await self._deps.self_store.entry(own.seq - 1) if own.seq > 1 else None
        behind, pending = await self._books.behind(own), self._wallet.standing().pending
        return as_json(
            await trio.to_thread.run_sync(explain_view, own, previous, self._wallet.replica, pending, behind)
        )

    async def _payee(self, params: Answer) -> Answer:
        self._check_enabled()
        peer = peer_param(params, "peer")
        return as_json(payee_view(peer, self._wallet.account, self._wallet.replica, self._find_name(peer)))

    def _pay(self, params: Answer) -> Stream:
        note = param(params, "note", str, "")[:MAX_NOTE]
        return write_stream(self._wallet, Pay(peer_param(params, "peer"), amount_param(params)), note)

    def _stake(self, params: Answer) -> Stream:
        return write_stream(self._wallet, Stake(amount_param(params)), "")

    def _unstake(self, params: Answer) -> Stream:
        return write_stream(self._wallet, Unstake(amount_param(params)), "")

    async def _earn(self, params: Answer) -> Answer:
        earned = await self._earned(CLAIMS_SEARCHED)
        view = EarnView(
            enabled=self._wallet.enabled,
            network_name=self._wallet.replica.genesis.name,
            now=await self._now_view(),
            earned=earned,
            energy=energy_view(self._meter, self._config, earned),
        )
        return as_json(view)

    async def _now_view(self) -> NowView:
        """What this node does; of another's run only its vouchers tell the pace."""
        now = self._now()
        if now.steps_per_s is None and now.run:
            return replace(now, steps_per_s=await self._books.pace(now.run))
        return now

    async def _earned(self, searched: int) -> EarnedView:
        """``searched``: entries in which claims are looked for, newest first, to name them by day."""
        account, replica = self._wallet.account, self._wallet.replica
        state, lanes = replica.state(account), await self._books.earning_lanes()
        pending = pending_of(lanes, replica, account)
        entries = await self._books.entries(searched) if searched else ()
        return earned_view(
            lanes,
            replica,
            pending,
            await self._books.receipt_counts(lane for lane in lanes if pending.get((lane.payer, lane.lane))),
            history_lines(entries, replica),
            held=state.bonded,
            slashed=replica.burned(account),
            now=self._deps.clock(),
        )

    async def _invoice(self, params: Answer) -> Answer:
        detail, after = param(params, "detail", bool, False), max(0, param(params, "after", int, 0))
        run, ours = await self._run(param(params, "run", str))
        if ours and not self._wallet.enabled:
            return as_json(free_of_charge(run, self._wallet.account))
        role = PAYER if ours else PROVIDER
        accounts = await self._books.accounts(run, role)
        payer = accounts[0].lane.payer if accounts else self._wallet.account
        return as_json(invoice_view(run, payer, role, accounts, detail=detail, after=after))

    async def _run(self, prefix: str) -> tuple[RunId, bool]:
        """A run of ours, else one that pays us. Raises NotFound, UsageError."""
        try:
            return self._find_run(prefix), True
        except NotFound:
            return await self._books.find_run(prefix)

    async def _receipts(self, params: Answer) -> Answer:
        payer, lane, number = peer_param(params, "payer"), param(params, "lane", int), param(params, "number", int)
        return as_json(await self._books.receipts(payer, lane, number))

    async def _ledger(self, params: Answer) -> Answer:
        wallet, (network, name) = self._wallet, self._network()
        if not wallet.enabled:
            return as_json(LedgerView(enabled=False, network=network, network_name=name))
        return as_json(ledger_view(wallet.replica, wallet.account, await who_answers(self._deps, wallet.replica)))

    def _check_enabled(self) -> None:
        if not self._wallet.enabled:
            raise UsageError("this network has no credits", hint="swarmd network init NAME makes one that has")

    def _network(self) -> tuple[str, str]:
        return self._wallet.replica.network, self._wallet.replica.genesis.name
