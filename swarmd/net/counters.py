"""Totals since the start, by name; the same names whichever network counts."""

from __future__ import annotations

NAMES = (
    "handler_errors",  # exceptions that left a stream handler
    "violations",  # streams that ended because the peer broke a protocol's rules
    "peers_banned",  # peers thrown out for a while: far too many of all of these
    "streams_lost",  # handlers that ended because the peer went away
    "streams_over_cap",  # streams reset because the peer held too many
    "read_deadlines",  # reads that waited too long
    "write_deadlines",  # writes whose reader took nothing for too long
    "negotiations_failed",  # streams that never agreed on a protocol
    "malformed_frames",  # connections closed for breaking the multiplexer's rules
    "handshakes_failed",  # inbound connections that did not become secure in time
    "connections_refused",  # inbound connections over a limit
    "peers_frozen",  # connections closed because the peer answered no ping
    "dials_failed",  # dials in which no address answered
    "records_refused",  # records that failed the check
    "gossip_published",  # messages of our own
    "gossip_received",  # messages that neighbours passed on, repeated ones included
    "gossip_duplicates",  # of them, those seen before
    "gossip_accepted",  # messages judged worth passing on
    "gossip_ignored",  # messages judged not worth passing on, and nobody's fault
    "gossip_rejected",  # messages no honest peer sends, once for each neighbour that sent them
    "gossip_muted",  # times a neighbour was no longer listened to for a while
    "gossip_throttled",  # messages dropped unread, because nobody listens to the sender for now
    "gossip_unsubscribed",  # messages dropped unread, on topics we do not take part in
    "gossip_oversize",  # messages over the limit
    "gossip_dropped",  # messages to or from a neighbour for which there was no room
    "gossip_judge_errors",  # judges that failed or took too long
)


def is_only(error: BaseException, *kinds: type[Exception]) -> bool:
    """Whether an error is of these kinds, or a group of nothing else."""
    if isinstance(error, ExceptionGroup):
        return error.split(kinds)[1] is None
    return isinstance(error, kinds)


class Counters:
    """A dictionary of totals; every name is there from the start."""

    def __init__(self) -> None:
        self._totals = dict.fromkeys(NAMES, 0)

    def add(self, name: str) -> None:
        """One more of ``name``, which must be one of NAMES."""
        self._totals[name] += 1

    def snapshot(self) -> dict[str, int]:
        """A copy."""
        return dict(self._totals)
