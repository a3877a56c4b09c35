"""What a member does about pay, beside its stage: take terms, sign receipts, keep vouchers, stop if unpaid."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

import trio

from swarmd.protocols.errors import ProtocolViolation, Refused, RemoteError, SwarmdError
from swarmd.protocols.pay_messages import (
    AskRelease,
    LaneReleased,
    LastReceipts,
    Receipted,
    ReceiptsDone,
    Terms,
    VoucherNote,
)
from swarmd.protocols.tensors import FrameHeader
from swarmd.runs.deps import RunDeps
from swarmd.runs.providing import Post, Provider, check_terms
from swarmd.runs.receipting import Reach, Receipting, Signer
from swarmd.runs.session import Session

QUEUE = 64
"""Of the payer's messages that wait for the disk or for the ledger."""


class Earning:
    """One member's pay. A run that pays nobody sends no terms, and then nothing here does anything."""

    def __init__(self, deps: RunDeps, session: Session) -> None:
        self._deps, self._session = deps, session
        self._asked = 0 if session.remote == deps.identity.peer else deps.config.price
        self._receipting: Receipting | None = None
        self._provider: Provider | None = None
        self._put, self._taken = trio.open_memory_channel[object](QUEUE)

    def begin(self, terms: Terms, post: Post) -> None:
        """Take the terms for this stage. Raises Refused for less than this node asks."""
        check_terms(terms, self._asked)
        here = post.plan.stages[post.stage]
        signer = Signer(_reach(post, terms), self._deps.network.id, self._deps.identity)
        self._receipting = Receipting(signer, (here.first, here.end), post.spec.model.num_hidden_layers)
        if terms.lane:
            self._provider = Provider(self._deps, post, terms)

    def check(self) -> None:
        """Before work begins. Raises Refused if this node asks for pay and was offered none."""
        if self._receipting is None:
            check_terms(None, self._asked)

    def note(self, header: FrameHeader) -> None:
        """A frame crosses one of the stage's boundaries; from any thread."""
        if self._receipting is not None:
            self._receipting.note(header)

    def committed(self, step: int) -> None:
        """The stage has committed a step; ``stepped`` follows when the loop gets to it. From any thread."""
        if self._receipting is not None:
            self._receipting.committed(step)

    async def stepped(self, step: int, loss: str | None) -> None:
        """A step is committed. Raises Refused if the payer owes for too many."""
        if self._receipting is None:
            return
        for signed in await self._receipting.stepped(step, loss):
            await self._session.send(Receipted(signed))
        words = self._provider.refusal(step) if self._provider else ""
        if words:
            raise Refused(words)

    def hear(self, message: object) -> None:
        """One of the payer's messages; ``serve`` acts on it. Raises ProtocolViolation if too many wait."""
        try:
            self._put.send_nowait(message)
        except trio.WouldBlock:
            raise ProtocolViolation("more vouchers than can be kept") from None

    async def serve(self, failed: Callable[[SwarmdError], Awaitable[None]]) -> None:
        """Act on the payer's messages in their order, until cancelled; ``failed`` gets what goes wrong."""
        try:
            if self._provider is not None:
                await self._provider.begin()
            async for message in self._taken:
                await self._act(message)
        except SwarmdError as error:
            await failed(error)

    async def sign_last(self) -> None:
        """Send receipts for all that crossed since the last ones."""
        if self._receipting is not None:
            for signed in await self._receipting.last():
                await self._session.send(Receipted(signed))

    async def farewell(self) -> None:
        """The stage ends before its run does: sign what crossed, if the coordinator still listens."""
        with suppress(RemoteError):
            await self.sign_last()

    async def _act(self, message: object) -> None:
        match message:
            case LastReceipts():
                await self.sign_last()
                await self._session.send(ReceiptsDone())
            case VoucherNote() if self._provider is not None:
                await self._provider.take(message)
            case AskRelease(total) if self._provider is not None:
                await self._session.send(LaneReleased(await self._provider.release(total)))
            case _:
                raise ProtocolViolation(f"{type(message).__name__} for a stage without terms")


def _reach(post: Post, terms: Terms) -> Reach:
    return Reach(
        run=post.plan.run,
        spec=post.spec.spec_id,
        term=post.plan.term,
        micro_batches=post.spec.batch.micro_batches,
        start=post.start,
        steps=post.spec.schedule.steps,
        pay_every=terms.pay_every,
    )
