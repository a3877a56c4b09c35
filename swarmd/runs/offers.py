"""Offers of runs: who may make them and how often, and what becomes of one."""

from __future__ import annotations

import trio

from swarmd.net.transport import Stream, StreamLimits
from swarmd.protocols.errors import ProtocolViolation, Refused
from swarmd.protocols.ids import PeerId, SpecId, short
from swarmd.protocols.messages import FROM_COORDINATOR, FROM_MEMBER, SESSION_PROTOCOL, Declined, Offer, words
from swarmd.protocols.pacing import RateLimit
from swarmd.protocols.spec import JobSpec, parse_spec
from swarmd.protocols.speccheck import check_spec
from swarmd.protocols.statements import open_run
from swarmd.runs.deps import RunDeps
from swarmd.runs.hosting import decide, refuse_stranger
from swarmd.runs.leases import LEASE_SECONDS
from swarmd.runs.member import Membership
from swarmd.runs.session import Session

OFFER_SECONDS = 10.0
OFFERS = (0.5, 20)
"""Offers that one peer may make: a second in the long run, and at once."""


def serve_sessions(deps: RunDeps) -> None:
    """Take offers from other nodes from now on."""
    offers: RateLimit[PeerId] = RateLimit(*OFFERS)

    async def handler(stream: Stream) -> None:
        if not offers.allow(stream.remote, trio.current_time()):
            session = Session(stream, FROM_MEMBER, FROM_COORDINATOR)
            await session.send(Declined("too many offers", "wait a minute"))
            return
        await take_part(stream, deps)

    limits = StreamLimits(streams_per_peer=2, read_deadline=LEASE_SECONDS)
    deps.transport.handle(SESSION_PROTOCOL, handler, limits)


async def take_part(stream: Stream, deps: RunDeps) -> None:
    """One session, from the offer to its end, whichever way it ends."""
    session = Session(stream, FROM_MEMBER, FROM_COORDINATOR)
    with trio.move_on_after(OFFER_SECONDS) as scope:
        offer = await session.receive()
    if scope.cancelled_caught or not isinstance(offer, Offer):
        raise ProtocolViolation("a session that does not begin with an offer")
    statement = open_run(offer.statement, deps.network.id)
    if statement.submitter != session.remote or offer.term < 1:
        raise ProtocolViolation("an offer for another's run, or of no term")
    try:
        refuse_stranger(statement.submitter, deps)  # before the work of reading a spec
        spec = _checked(offer.spec, statement.spec)
        await deps.leases.give_way(statement.run, statement.submitter, offer.term)
        room = decide(statement, spec, deps)
    except Refused as refusal:
        deps.events.info(f"refused a job of {short(session.remote)}: {refusal.message}")
        await session.send(Declined(words(refusal.message), words(refusal.hint)))
        return
    with deps.leases.hold(statement.run, statement.submitter, offer.term, room) as lease:
        deps.wake_advert()
        try:
            await Membership(deps, session, statement, spec, offer, lease).serve()
        finally:
            deps.wake_advert()
            deps.events.info("the stage and its files are gone", run=statement.run)


def _checked(raw: bytes, name: SpecId) -> JobSpec:
    spec = parse_spec(raw)
    check_spec(spec)
    if spec.spec_id != name:
        raise ProtocolViolation("an offer with another spec than its statement names")
    return spec
