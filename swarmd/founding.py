"""Making a network: who holds its credits, who votes on them, who may change that."""

from __future__ import annotations

import secrets
from collections import Counter
from dataclasses import dataclass, field

from swarmd.network import PSK_BYTES, Network
from swarmd.protocols.errors import ProtocolViolation, UsageError
from swarmd.protocols.ids import PeerId, public_key_of
from swarmd.protocols.ledger.amounts import MICRO, format_credits, parse_credits
from swarmd.protocols.ledger.genesis import Genesis, Grant, Limits, Member

USUAL_SUPPLY = 1_000_000 * MICRO
SALT_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a founder chooses."""

    name: str
    supply: int = USUAL_SUPPLY
    """All micro-credits there will ever be."""
    grants: tuple[Grant, ...] = ()
    """To others; the founder holds the rest."""
    members: tuple[PeerId, ...] = ()
    """Who votes beside the founder."""
    limits: Limits = field(default_factory=Limits)
    open: bool = False
    """Anybody may connect: there is no pre-shared key."""


def found_network(founder: PeerId, plan: Plan) -> Network:
    """A network nobody is on yet: fresh salt, fresh pre-shared key. Raises UsageError for what cannot be."""
    try:
        genesis = Genesis(
            name=plan.name,
            salt=secrets.token_bytes(SALT_BYTES),
            operator=founder,
            grants=_grants(founder, plan),
            committee=tuple(Member(peer, 1) for peer in sorted({founder, *plan.members})),
            limits=plan.limits,
        )
    except ValueError as error:
        raise UsageError(f"this network cannot be made: {error}", hint="swarmd network init --help") from error
    return Network(genesis, None if plan.open else secrets.token_bytes(PSK_BYTES))


def parse_grant(text: str) -> Grant:
    """A grant typed as ``PEER=CREDITS``. Raises UsageError."""
    peer, found, amount = text.partition("=")
    if not found:
        raise UsageError(f"{text[:80]!r} is not a grant", hint="write it as PEER=CREDITS")
    return Grant(parse_peer(peer), parse_credits(amount))


def parse_peer(text: str) -> PeerId:
    """A peer id that was typed. Raises UsageError."""
    try:
        public_key_of(PeerId(text.strip()))
    except ProtocolViolation as error:
        raise UsageError(f"{text[:80]!r} is not a peer id", hint="on that node: swarmd id") from error
    return PeerId(text.strip())


def _grants(founder: PeerId, plan: Plan) -> tuple[Grant, ...]:
    held: Counter[PeerId] = Counter()
    for grant in plan.grants:
        held[grant.account] += grant.amount
    if (rest := plan.supply - held.total()) < 0:
        raise UsageError(
            f"grants of {format_credits(held.total())} credits are more than the supply of "
            f"{format_credits(plan.supply)}",
            hint="raise --supply, or lower --grant",
        )
    held[founder] += rest
    return tuple(Grant(account, amount) for account, amount in sorted(held.items()) if amount)
