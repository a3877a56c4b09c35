"""What a coordinator may say to its member, and when: each request once, in order; heartbeats and halts not too often.

So whatever a hostile one sends, the member starts one compute process at most, and holds a place in vain for
a bounded time.
"""

from __future__ import annotations

from swarmd.protocols.errors import PeerLost, ProtocolViolation
from swarmd.protocols.messages import Assign, Begin, Connect, Halt, Heartbeat, Probe, Release
from swarmd.protocols.pacing import RateLimit
from swarmd.protocols.pay_messages import AskRelease, LastReceipts, Terms, VoucherNote

HEARTBEATS = (5.0, 60)
"""A second in the long run, and at once: a coordinator sends one a second, a slow network several together."""
VOUCHERS = (5.0, 60)
HALTS = (0.5, 20)
"""Each is a peer lost or won: many at once, when a household's line goes down."""
PREPARE_SECONDS = 900.0
"""A lease ends when training has not begun by then."""
_ORDER: tuple[type[object], ...] = (Probe, Assign, Terms, Connect, Begin)
_AT_THE_END: tuple[type[object], ...] = (LastReceipts, AskRelease)


class Orders:
    """One coordinator's messages so far. Times are seconds of any clock that only moves forward."""

    def __init__(self, now: float) -> None:
        self._heartbeats: RateLimit[None] = RateLimit(*HEARTBEATS)
        self._vouchers: RateLimit[None] = RateLimit(*VOUCHERS)
        self._halts: RateLimit[None] = RateLimit(*HALTS)
        self._begin_by = now + PREPARE_SECONDS
        self._asked = self._ending = 0

    def check(self, message: object, now: float) -> None:
        """Raises ProtocolViolation for what no honest coordinator says now; PeerLost when it never begins."""
        if isinstance(message, Heartbeat):
            self._check_patience(now)
        elif isinstance(message, VoucherNote):
            if not self._vouchers.allow(None, now):
                raise ProtocolViolation("too many vouchers")
        elif isinstance(message, Halt):
            self._halt(now)
        elif type(message) in _AT_THE_END:
            self._ending = _next(message, _AT_THE_END, self._ending)
        elif not isinstance(message, Release):
            self._asked = _next(message, _ORDER, self._asked)

    def _halt(self, now: float) -> None:
        """After it a stage is told its place anew."""
        if self._asked <= _ORDER.index(Assign) or not self._halts.allow(None, now):
            raise ProtocolViolation("Halt came out of turn, or too often")
        self._asked, self._begin_by = _ORDER.index(Assign), now + PREPARE_SECONDS

    def _check_patience(self, now: float) -> None:
        if not self._heartbeats.allow(None, now):
            raise ProtocolViolation("too many heartbeats")
        if now > self._begin_by and self._asked < len(_ORDER):
            raise PeerLost(f"training did not begin within {PREPARE_SECONDS:.0f} s")


def _next(message: object, order: tuple[type[object], ...], asked: int) -> int:
    place = order.index(type(message)) if type(message) in order else -1
    if place < asked:
        raise ProtocolViolation(f"{type(message).__name__} came out of turn")
    return place + 1
