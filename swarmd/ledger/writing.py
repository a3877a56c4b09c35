"""Writing an entry at a person's word: what the control socket streams until it is final."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

import trio

from swarmd.control import param
from swarmd.ledger.views import pending_view
from swarmd.ledger.wallet import Wallet
from swarmd.protocols.control import as_json
from swarmd.protocols.control_credits import FINAL, PENDING, QUEUED, WriteView
from swarmd.protocols.errors import ProtocolViolation, SwarmdError, UsageError
from swarmd.protocols.ids import PeerId, public_key_of
from swarmd.protocols.ledger.amounts import MAX_AMOUNT
from swarmd.protocols.ledger.entry import Op, SignedEntry

Stream = AsyncGenerator[dict[str, Any], None]

PEER_HINT = "a peer id is whole, as 12D3Koo...; those known here: swarmd peers --json; on that machine: swarmd id"
PATIENCE_SECONDS = 0.2
"""Before it is said that a write waits for its turn."""
TELL_SECONDS = 1.0
"""Between two words on a pending entry, at most."""


async def write_stream(wallet: Wallet, op: Op, note: str) -> Stream:
    """WriteViews until the entry is final; a signed entry stays when the reader goes. Raises as ``Wallet.write``."""
    async with _views(wallet, op, note) as views:
        async for view in views:
            yield as_json(view)


def amount_param(params: dict[str, Any]) -> int:
    """Micro-credits from a request. Raises UsageError."""
    amount = param(params, "amount", int)
    if not 0 < amount <= MAX_AMOUNT:
        raise UsageError(f"{amount} is no amount of micro-credits", hint="the smallest is 1, a millionth of a credit")
    return amount


def peer_param(params: dict[str, Any], name: str) -> PeerId:
    """A peer's whole id from a request. Raises UsageError."""
    peer = PeerId(param(params, name, str))
    try:
        public_key_of(peer)
    except ProtocolViolation as error:
        raise UsageError(f"{peer[:64]!r} is no peer id", hint=PEER_HINT) from error
    return peer


@dataclass(slots=True)
class _Signing:
    """A write on its way into our chain."""

    over: trio.Event = field(default_factory=trio.Event)
    signed: SignedEntry | None = None
    error: SwarmdError | None = None

    async def run(self, wallet: Wallet, op: Op, note: str) -> None:
        try:
            self.signed = await wallet.write((op,), note=note, wait=False)
        except SwarmdError as error:
            self.error = error
        finally:
            self.over.set()


@trio.as_safe_channel
async def _views(wallet: Wallet, op: Op, note: str) -> AsyncGenerator[WriteView, None]:
    signing = _Signing()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(signing.run, wallet, op, note)
        with trio.move_on_after(PATIENCE_SECONDS):
            await signing.over.wait()
        while not signing.over.is_set():
            yield WriteView(state=QUEUED, why=_why_queued(wallet))
            with trio.move_on_after(TELL_SECONDS):
                await signing.over.wait()
    if signing.error is not None:
        raise signing.error
    while signing.signed is not None:
        changed, view = wallet.changed, _written(wallet, signing.signed)
        yield view
        if view.state == FINAL:
            return
        with trio.move_on_after(TELL_SECONDS):
            await changed.wait()


def _why_queued(wallet: Wallet) -> str:
    standing = wallet.standing()
    if standing.obstacle:
        return standing.obstacle
    words = standing.pending.words if standing.pending else ""
    return "the entry before it is not final yet" + (f": {words}" if words else "")


def _written(wallet: Wallet, signed: SignedEntry) -> WriteView:
    entry, pending = signed.entry, wallet.standing().pending
    if wallet.replica.seq(entry.account) >= entry.seq:
        return WriteView(state=FINAL, entry=signed.id, seq=entry.seq)
    before = wallet.replica.state(entry.account)
    ours = pending if pending is not None and pending.id == signed.id else None
    return WriteView(state=PENDING, entry=signed.id, seq=entry.seq, pending=pending_view(ours, before))
