"""What the ledger needs of the node, in one value."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from swarmd.identity import Identity
from swarmd.ledger.jobsdb import JobStore
from swarmd.ledger.ledgerdb import LedgerStore
from swarmd.ledger.selfdb import SelfStore
from swarmd.log import EventLog
from swarmd.net.transport import Gossip, Transport
from swarmd.protocols.ids import PeerId
from swarmd.protocols.ledger.genesis import Genesis
from swarmd.protocols.pacing import Waits


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerSettings:
    """How eager the ledger is. Times in seconds of trio's clock, unless they say Unix."""

    vote_timeout: float = 10.0
    """One committee member's time to answer."""
    retry: Waits = field(default_factory=lambda: Waits(first=1.0, longest=60.0))
    """Between rounds of asking the committee for what it did not certify yet."""
    sync_every: float = 30.0
    """Between comparisons with a random peer."""
    meet_every: float = 1.0
    """Between looks at who is connected."""
    syncs_at_once: int = 4
    """With committee members, and as many with others."""
    sync_longest: float = 120.0
    """One comparison; what it brought stays, and the next goes on from there."""
    claim_after: float = 1.0
    """From the first unclaimed payment until it is claimed, so that several share an entry."""
    look_every: float = 60.0
    """Between looks at lanes that expire and stake that matures."""
    claim_before: float = 600.0
    """Before a lane expires, its provider claims what it holds vouchers for."""
    save_every: float = 1.0
    """Between writes of newly learned heads to disk."""
    own_check_every: float = 5.0
    """Between questions for our own newest entry, until a committee member has answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerDeps:
    """Built once, by the composition root."""

    genesis: Genesis
    identity: Identity
    transport: Transport
    gossip: Gossip
    peers: Callable[[], tuple[PeerId, ...]]
    """Those connected now."""
    dial: Callable[[PeerId], Awaitable[None]]
    """Try to connect to a peer by what is known of it; never raises."""
    self_store: SelfStore
    ledger_store: LedgerStore
    job_store: JobStore
    events: EventLog
    clock: Callable[[], float]
    """Unix seconds."""
    target_stake: int = 0
    """Micro-credits: half of what lanes earn is staked until this much is bonded; 0: nothing is held back."""
    settings: LedgerSettings = field(default_factory=LedgerSettings)
