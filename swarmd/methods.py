"""What the daemon answers on its control socket (``protocols.control`` lists the methods)."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import asdict, replace
from typing import Any

import trio

from swarmd import __version__
from swarmd.config import Origins, shown
from swarmd.control import Method, param
from swarmd.gpu.telemetry import live
from swarmd.ledger.energy import EnergyMeter
from swarmd.ledger.methods import CreditMethods
from swarmd.ledger.wallet import Wallet
from swarmd.network import MAIN
from swarmd.protocols.advert_book import AdvertBook
from swarmd.protocols.control import FINAL_STATES, EventView, NodeView, PeerView, Snapshot, as_json
from swarmd.protocols.control_credits import SpendingView
from swarmd.protocols.control_earn import NowView
from swarmd.protocols.errors import UsageError
from swarmd.protocols.ids import PeerId
from swarmd.runs.deps import RunDeps
from swarmd.runs.estimate import estimate_job
from swarmd.runs.manager import Runs
from swarmd.runs.record import RunRecord
from swarmd.runs.view import run_view, state_words
from swarmd.scheduler.batching import batch_words
from swarmd.scheduler.wires import wire_words
from swarmd.views import hosted_views, idle_reason, now_view, peer_view

Answer = dict[str, Any]
USUAL_WATCH_SECONDS = 0.5
MIN_WATCH_SECONDS = 0.1
MAX_WATCH_SECONDS = 60.0
SHOWN_EVENTS = 100


class Methods:
    """Answers questions from what the node's parts hold; changes things only through ``Runs``."""

    def __init__(
        self,
        deps: RunDeps,
        runs: Runs,
        book: AdvertBook,
        origins: Origins,
        counters: Callable[[], dict[str, int]],
        shut_down: Callable[[], None],
        wallet: Wallet | None = None,
        meter: EnergyMeter | None = None,
    ) -> None:
        self._deps, self._runs, self._book, self._device = deps, runs, book, deps.device
        self._origins, self._counters, self._shut_down = origins, counters, shut_down
        self._started = time.monotonic()
        self._credits: CreditMethods | None = None
        if wallet is not None and meter is not None:
            self._credits = CreditMethods(
                wallet, deps.config, meter, self._now, lambda text: runs.find(text).run, self._find_name
            )
        self._wallet = wallet

    def table(self) -> dict[str, Method]:
        """Every method by its name."""
        return {
            "status": self._status,
            "peers": self._peers,
            "config": self._config,
            "submit": self._submit,
            "estimate": self._estimate,
            "resume": self._resume,
            "jobs": self._jobs,
            "job": self._job,
            "logs": self._logs,
            "watch": self._watch,
            "stop": self._stop,
            "shutdown": self._shutdown,
            **(self._credits.table() if self._credits else {}),
            **(self._network_methods(self._wallet) if self._wallet else {}),
        }

    def _network_methods(self, wallet: Wallet) -> dict[str, Method]:
        from swarmd.ledger.change import change_committee
        from swarmd.ledger.network_methods import NetworkMethods

        return NetworkMethods(
            network=self._deps.network,
            me=self._deps.identity.peer,
            addresses=self._deps.transport.addresses,
            committee=wallet.committee,
            change=lambda members: change_committee(wallet.keeper.deps, wallet, members),
        ).table()

    async def _status(self, params: Answer) -> Answer:
        return as_json(await self._node_view())

    async def _peers(self, params: Answer) -> Answer:
        return {"peers": [as_json(view) for view in self._peer_views()]}

    async def _config(self, params: Answer) -> Answer:
        return {"settings": shown(self._deps.config, self._origins)}

    async def _submit(self, params: Answer) -> Answer:
        record = await self._runs.submit(param(params, "path", str))
        return {"run": record.run, "wire": wire_words(record.spec), "batch": batch_words(record.spec)}

    async def _estimate(self, params: Answer) -> Answer:
        return as_json(await estimate_job(self._deps, param(params, "path", str)))

    async def _resume(self, params: Answer) -> Answer:
        return {"run": (await self._runs.resume(param(params, "run", str))).run}

    async def _jobs(self, params: Answer) -> Answer:
        hosted = hosted_views(self._deps.leases, self._deps.identity.peer)
        return {
            "jobs": [as_json(self._run_view(record)) for record in self._runs.records],
            "hosted": [as_json(view) for view in hosted],
        }

    async def _job(self, params: Answer) -> Answer:
        return as_json(self._run_view(self._runs.find(param(params, "run", str))))

    async def _stop(self, params: Answer) -> Answer:
        return {"run": self._runs.stop(param(params, "run", str), "stopped by its user").run}

    async def _shutdown(self, params: Answer) -> Answer:
        dropped = self._credits.unsigned() if self._credits is not None else ()
        if dropped:
            self._deps.events.warning(f"stopped before these were signed, so they are dropped: {'; '.join(dropped)}")
        trio.lowlevel.current_trio_token().run_sync_soon(self._shut_down)
        return {"dropped": list(dropped)}

    async def _logs(self, params: Answer) -> AsyncGenerator[Answer, None]:
        run = self._runs.find(param(params, "run", str)).run
        follow = param(params, "follow", bool, default=False)
        last, shown = 0, deque[EventView](maxlen=SHOWN_EVENTS)
        # What comes from here on is held for us while the past is read, so nothing falls between the two.
        async with aclosing(self._deps.events.subscribe(run=run, past=False)) as news:
            while page := await self._deps.storage.events(run, after=last):
                for _, event in page:
                    shown.append(event)
                    yield as_json(event)
                last = page[-1][0]
            while follow:
                event = await anext(news)
                if event not in shown:
                    yield as_json(event)

    async def _watch(self, params: Answer) -> AsyncGenerator[Answer, None]:
        prefix = params.get("run")
        record = self._runs.find(param(params, "run", str)) if prefix is not None else None
        every = _every(params)
        while True:
            shown_run = record or next(iter(self._runs.records), None)
            over = record is not None and state_words(record)[0] in FINAL_STATES
            yield as_json(await self._snapshot(shown_run))
            if over:
                return
            with trio.move_on_after(every):
                await self._runs.changed.wait()

    async def _snapshot(self, record: RunRecord | None) -> Snapshot:
        events = self._deps.events.recent(SHOWN_EVENTS)
        run = None if record is None else self._run_view(record)
        node = await self._node_view()
        return Snapshot(now=time.time(), node=node, peers=tuple(self._peer_views()), run=run, events=events)

    def _run_view(self, record: RunRecord) -> Any:  # noqa: ANN401 - any view
        view = run_view(record, self._deps.adverts(), time.time())
        cost = record.spending
        return view if cost is None else replace(view, spending=SpendingView(**asdict(cost)))

    def _peer_views(self) -> list[PeerView]:
        now, connected = time.time(), self._deps.transport.connected()
        return [peer_view(known, known.peer in connected, now) for known in self._book.live(now)]

    def _now(self) -> NowView:
        deps, probed = self._deps, self._device.view
        why = idle_reason(
            deps.config, deps.leases, probed is not None, len(self._book.live(time.time())), main=self._on_main
        )
        ours = next((record for record in self._runs.records if record.run in deps.leases.held), None)
        pace = None if ours is None else steps_per_second(ours)
        return now_view(deps.config, deps.leases, live(probed) if probed else None, why, pace)

    @property
    def _on_main(self) -> bool:
        return self._deps.network.id == MAIN.id

    def _find_name(self, peer: PeerId) -> str | None:
        """What its owner calls a node; empty of one that is connected without an advert, None of any other."""
        known = self._book.get(peer)
        if known is not None:
            return known.advert.name
        return "" if peer in self._deps.transport.connected() else None

    async def _node_view(self) -> NodeView:
        deps, me = self._deps, self._deps.identity.peer
        peers = len(self._book.live(time.time()))
        return NodeView(
            version=__version__,
            peer=me,
            pid=os.getpid(),
            network=deps.network.name,
            addresses=tuple(f"{address}/p2p/{me}" for address in deps.transport.addresses()),
            state_dir=str(deps.paths.state_dir),
            uptime=time.monotonic() - self._started,
            device=live(self._device.view) if self._device.view else None,
            peers=peers,
            hosting=tuple(deps.leases.held),
            idle_reason=idle_reason(deps.config, deps.leases, self._device.view is not None, peers, main=self._on_main),
            runs=len(self._runs.records),
            counters=self._counters(),
            credits=await self._credits.credits() if self._credits else None,
        )


def steps_per_second(record: RunRecord) -> float | None:
    """Of a run of ours, over the last few steps; None before the second."""
    if len(record.recent) < 2:
        return None
    (first, then), (last, now) = record.recent[0], record.recent[-1]
    return (last - first) / (now - then) if now > then else None


def _every(params: Answer) -> float:
    """Seconds between two snapshots, within bounds. Raises UsageError."""
    every = params.get("every") or USUAL_WATCH_SECONDS
    if not isinstance(every, int | float) or every != every:
        raise UsageError("the parameter 'every' must be a number of seconds", hint="see protocols/control.py")
    return min(max(every, MIN_WATCH_SECONDS), MAX_WATCH_SECONDS)
