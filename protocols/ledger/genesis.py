"""The genesis of a network: who holds the first credits, who votes first, and who may change the committee.

Every signature made on a network covers the hash of its genesis, so nothing said on one counts on another.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from swarmd.protocols.canonical import decode, encode
from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.ids import NetworkId, PeerId, public_key_of, tagged_hash
from swarmd.protocols.ledger.amounts import MAX_AMOUNT, check_amounts
from swarmd.protocols.records import from_value, to_value

SCHEMA = 1
MAX_GENESIS_BYTES = 1 << 18
MAX_GRANTS = 1024
MAX_MEMBERS = 64
MAX_NAME = 32
_NAME_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")
_DAY = 86_400


@dataclass(frozen=True, slots=True)
class Grant:
    """Credits an account is born with; no others are ever made."""

    account: PeerId
    amount: int

    def __post_init__(self) -> None:
        public_key_of(self.account)
        check_amounts(self.amount)


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a committee and the weight of its votes."""

    peer: PeerId
    weight: int

    def __post_init__(self) -> None:
        public_key_of(self.peer)
        if not 1 <= self.weight <= 1 << 40:
            raise ValueError("a member's weight is 1 to 2^40")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the validators of a network hold everybody to."""

    cooldown_seconds: int = 14 * _DAY
    """From unstaking to having the credits back."""
    grace_seconds: int = _DAY
    """From a lane's expiry until its payer may close it without the provider's word."""
    entry_seconds: int = 10
    """An account may write one entry in this time, in the long run ..."""
    entry_burst: int = 64
    """... and this many at once."""

    def __post_init__(self) -> None:
        if not all(0 <= each <= 366 * _DAY for each in (self.cooldown_seconds, self.grace_seconds, self.entry_seconds)):
            raise ValueError("a limit is 0 seconds to a year")
        if not 1 <= self.entry_burst <= 10_000:
            raise ValueError("a burst is 1 to 10,000 entries")


@dataclass(frozen=True, slots=True, kw_only=True)
class Genesis:
    """What a network begins with. Without a committee it has no credits, and work there is free."""

    schema: int = SCHEMA
    name: str
    salt: bytes
    """Makes two networks of one name different."""
    operator: PeerId | None = None
    """Whose key changes the committee."""
    grants: tuple[Grant, ...] = ()
    committee: tuple[Member, ...] = ()
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise ValueError(f"a genesis of schema {self.schema}; this node knows {SCHEMA}")
        if not 1 <= len(self.name) <= MAX_NAME or not _NAME_LETTERS.issuperset(self.name) or len(self.salt) > 64:
            raise ValueError(f"a network's name is 1 to {MAX_NAME} of a-z, 0-9 and '-'")
        accounts = [grant.account for grant in self.grants]
        if len(accounts) > MAX_GRANTS or accounts != sorted(set(accounts)):
            raise ValueError(f"at most {MAX_GRANTS} grants, sorted by account, one for each")
        if self.supply > MAX_AMOUNT:
            raise ValueError("grants of more than 2^63 - 1 micro-credits")
        check_members(self.committee)
        if (self.operator is None) != (not self.committee) or (self.grants and not self.committee):
            raise ValueError("a network with credits has an operator and a committee; one without has neither")

    @property
    def supply(self) -> int:
        """All micro-credits there will ever be."""
        return sum(grant.amount for grant in self.grants)

    @property
    def id(self) -> NetworkId:
        """The network's id."""
        return NetworkId(tagged_hash("swarmd/genesis/1", to_value(self)))

    def granted(self, account: PeerId) -> int:
        """What an account was born with, in micro-credits."""
        return next((grant.amount for grant in self.grants if grant.account == account), 0)

    def to_bytes(self) -> bytes:
        """The canonical form."""
        return encode(to_value(self))


def check_members(members: tuple[Member, ...]) -> None:
    """Raises ValueError for members no committee can have; of four and more, none has over a quarter of the weight."""
    peers = [member.peer for member in members]
    if len(peers) > MAX_MEMBERS or peers != sorted(set(peers)):
        raise ValueError(f"a committee has at most {MAX_MEMBERS} members, sorted, each once")
    total = sum(member.weight for member in members)
    if len(members) >= 4 and any(4 * member.weight > total for member in members):
        raise ValueError("in a committee of four and more nobody has over a quarter of the weight")


def parse_genesis(raw: bytes) -> Genesis:
    """Read the canonical form. Raises ProtocolViolation."""
    value = decode(raw, limit=MAX_GENESIS_BYTES)
    if not isinstance(value, tuple) or value[:1] != (SCHEMA,):
        raise ProtocolViolation(f"a genesis of another schema than {SCHEMA}")
    return from_value(Genesis, value)
