"""Pay that is still to come when a session has ended: a provider that was away asks its payer for it.

The payer answers from its disk. When the run is over the provider releases the lane, and the payer settles it.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from swarmd.ledger.jobsdb import LaneRecord
from swarmd.net.rpc import call, serve_rpc
from swarmd.net.transport import StreamLimits
from swarmd.protocols.errors import NotFound, ProtocolViolation, RemoteError, SwarmdError
from swarmd.protocols.ids import PeerId, RunId
from swarmd.protocols.ledger.vouchers import LaneRelease, open_release, open_voucher
from swarmd.protocols.pay_messages import PAY_PROTOCOL, GetVoucher, GiveRelease, LaneClosing, NewestVoucher
from swarmd.runs.deps import RunDeps
from swarmd.runs.paying import settle
from swarmd.runs.providing import sign_lane_release
from swarmd.runs.record import RunRecord

FIRST_SECONDS, EVERY_SECONDS = 3.0, 30.0
DIAL_SECONDS = 10.0
_LIMITS = StreamLimits(streams_per_peer=2, read_deadline=10.0)


def serve_pay(deps: RunDeps, over: Callable[[RunId, int], RunRecord | None], nursery: trio.Nursery) -> None:
    """Answer our providers from now on. ``over`` gives the run of a lane that no more work is paid from.

    Settlements run in ``nursery``.
    """
    us = deps.identity.peer

    async def lane_of(peer: PeerId, number: int) -> LaneRecord:
        lane = await deps.jobs.lane(us, number)
        if lane is None or lane.provider != peer or lane.role != "payer":
            raise NotFound(f"lane {number} is not yours")
        return lane

    async def voucher(peer: PeerId, request: GetVoucher) -> NewestVoucher:
        lane = await lane_of(peer, request.lane)
        return NewestVoucher(lane.voucher, over(lane.run, lane.lane) is not None)

    async def release(peer: PeerId, request: GiveRelease) -> LaneClosing:
        given = open_release(request.release, deps.network.id)
        lane = await lane_of(peer, given.lane)
        if given != LaneRelease(us, lane.lane, peer, lane.total):
            raise ProtocolViolation("a release at another total than the newest voucher")
        record = over(lane.run, lane.lane)
        if record is not None and lane.state == "open":
            nursery.start_soon(settle, record, deps, lane.lane, lane.voucher, request.release)
        return LaneClosing()

    serve_rpc(deps.transport, PAY_PROTOCOL, {GetVoucher: voucher, GiveRelease: release}, limits=_LIMITS)


async def collect_pay(deps: RunDeps) -> None:
    """Ask the payers of our open lanes for what we missed, now and again, until cancelled."""
    await trio.sleep(FIRST_SECONDS)
    while True:
        try:
            for lane in await deps.jobs.lanes(role="provider", state="open"):
                held = deps.leases.held.get(lane.run)
                if held is None or held.lane != lane.lane:
                    await _ask(deps, lane)
        except SwarmdError as error:
            deps.events.warning(f"our open lanes cannot be read: {error.message}")
        await trio.sleep(EVERY_SECONDS)


async def _ask(deps: RunDeps, lane: LaneRecord) -> None:
    """One lane; a payer that is away, or wrong, is asked again later."""
    try:
        await _dial(deps, lane.payer)
        answer = await call(deps.transport, lane.payer, PAY_PROTOCOL, GetVoucher(lane.lane), NewestVoucher)
        if answer.voucher and answer.voucher != lane.voucher:
            await _keep(deps, lane, answer.voucher)
        if answer.over:
            release = await sign_lane_release(deps, lane.payer, lane.lane)
            await call(deps.transport, lane.payer, PAY_PROTOCOL, GiveRelease(release), LaneClosing)
    except RemoteError as error:
        deps.events.info(f"nothing new of lane {lane.lane}: {error.message}", run=lane.run)


async def _dial(deps: RunDeps, peer: PeerId) -> None:
    if peer not in deps.transport.connected():
        advert = deps.adverts().get(peer)
        with trio.move_on_after(DIAL_SECONDS):
            await deps.transport.dial(peer, advert.addresses if advert else ())


async def _keep(deps: RunDeps, lane: LaneRecord, raw: bytes) -> None:
    voucher = open_voucher(raw, deps.network.id)
    named = (voucher.payer, voucher.lane, voucher.run, voucher.provider)
    if named != (lane.payer, lane.lane, lane.run, lane.provider) or voucher.total > lane.cap:
        raise ProtocolViolation("a voucher of another lane, or for more than it holds")
    await deps.jobs.keep_voucher(voucher.payer, voucher.lane, raw, voucher.total, voucher.number, (), ())
