"""The operator's change of committee: name the members, have the old ones hand over, tell everybody."""

from __future__ import annotations

import trio

from swarmd.ledger.deps import LedgerDeps
from swarmd.ledger.greeting import greet
from swarmd.ledger.members import who_answers
from swarmd.ledger.wallet import Wallet
from swarmd.protocols.errors import ProtocolViolation, Refused, RemoteError, UsageError
from swarmd.protocols.ids import PeerId, short
from swarmd.protocols.ledger.committee import Committee
from swarmd.protocols.ledger.genesis import Member
from swarmd.protocols.ledger.handover import (
    CommitteeChange,
    Handover,
    Succession,
    change_id,
    check_handover,
    parse_report,
    sign_change,
)
from swarmd.protocols.ledger.messages import AskHandover, HandedOver


async def change_committee(deps: LedgerDeps, wallet: Wallet, members: tuple[Member, ...]) -> Committee:
    """Let these members vote from now on. It can be called again after a failure, with the same members.

    Raises:
        UsageError: we are not the network's operator, or no committee can have these members.
        Refused: too few of the members, old or new, answer, and nothing was changed; or not enough of the old ones
            hand over, with a report that can be had: says who does not, and why.
    """
    replica = wallet.replica
    if deps.identity.peer != deps.genesis.operator:
        raise UsageError(
            "only the network's operator changes its committee",
            hint="on the operator's node: swarmd network committee set PEER...",
        )
    now = replica.committee
    wanted = _change(now, members)
    await _check_answers(deps, wallet, now, Committee(wanted.number, wanted.members))
    change = sign_change(wanted, replica.network, deps.identity.peer, deps.identity.sign)
    handovers = await _collect(wallet, change, now)
    committee = await wallet.keeper.take_succession(Succession(change, handovers))
    told = {*now.peers, *(member.peer for member in members), *deps.peers()}
    await greet(wallet.keeper, wallet.parts.asking, told)
    return committee or replica.committee


async def _check_answers(deps: LedgerDeps, wallet: Wallet, now: Committee, then: Committee) -> None:
    """A member that handed over votes no more: so nobody is asked to before enough of all are there."""
    everybody = tuple(sorted({*now.peers, *then.peers}))
    answering = await who_answers(deps, wallet.replica, everybody)
    for committee, which in ((now, "committee that votes now"), (then, "new committee")):
        if not committee.has_quorum(answering):
            away = ", ".join(short(peer) for peer in committee.peers if peer not in answering)
            raise Refused(
                f"members of weight {committee.weight_of(answering)} of the {which} answer, and {committee.quorum} is "
                f"needed; not there: {away}. Nothing was changed",
                hint="try again when they run and are connected; `swarmd peers` lists who is known here",
            )


def _change(now: Committee, members: tuple[Member, ...]) -> CommitteeChange:
    ordered = tuple(sorted(members, key=lambda member: member.peer))
    try:
        return CommitteeChange(now.number + 1, now.hash, ordered)
    except ValueError as error:
        raise UsageError(f"these cannot be a committee: {error}", hint="name each member once") from error


async def _collect(wallet: Wallet, change: bytes, now: Committee) -> tuple[Handover, ...]:
    """Hand-overs of a quorum, by member; the new members could not begin without the reports they name."""
    given: dict[PeerId, Handover] = {}
    reasons: dict[PeerId, str] = {}

    async def ask(member: PeerId) -> None:
        try:
            handover = await _ask(wallet, member, change)
            await trio.to_thread.run_sync(parse_report, await wallet.parts.reports.fetch(handover))
            given[member] = handover
        except RemoteError as error:
            reasons[member] = error.message

    async with trio.open_nursery() as nursery:
        for member in now.peers:
            nursery.start_soon(ask, member)
    if not now.has_quorum(given):
        why = "; ".join(_not_handing(short(peer), reason) for peer, reason in sorted(reasons.items()))
        raise Refused(
            f"members of weight {now.weight_of(given)} handed over, {now.quorum} is needed, and vote no more: {why}",
            hint="repeat the same command, with the same members, until enough have handed over",
        )
    return tuple(given[member] for member in sorted(given))


def _not_handing(member: str, why: str) -> str:
    return why if member in why else f"{member}: {why}"


async def _ask(wallet: Wallet, member: PeerId, change: bytes) -> Handover:
    parts = wallet.parts
    if member == wallet.account:
        return (await parts.succession.ask(member, AskHandover(change))).handover
    answer = await parts.asking.member(member, AskHandover(change), HandedOver)
    if answer.handover.member != member or answer.handover.change != change_id(change, wallet.replica.network):
        raise ProtocolViolation("it answered with another hand-over than was asked for")
    check_handover(answer.handover, wallet.replica.network)
    return answer.handover
