"""Tensor links: a second TCP port, TLS 1.3 in threads, one connection per direction.

A link is opened in four steps. The end that can be dialled serves a `TensorListener` and issues a
`Ticket`; the ticket travels over an authenticated stream; the other end calls `dial_link` while this
one waits in `TensorListener.accept`; each end gives its `Connection` to an `OutgoingLink` or an
`IncomingLink` and runs that in the nursery of whatever the link serves.
"""

from __future__ import annotations

from swarmd.net.tensorlink.bulk import receive_bulk, send_bulk
from swarmd.net.tensorlink.connection import Connection
from swarmd.net.tensorlink.dial import dial_link
from swarmd.net.tensorlink.incoming import IncomingLink
from swarmd.net.tensorlink.limits import LinkLimits
from swarmd.net.tensorlink.listener import DoorLimits, TensorListener
from swarmd.net.tensorlink.outgoing import OutgoingLink
from swarmd.net.tensorlink.slots import FrameSink, HeapSlot, HeapSlots, Slot
from swarmd.net.tensorlink.throttle import NO_CAPS, Rates, Share, Throttle, rates_of
from swarmd.net.tensorlink.tickets import Flow, LinkSpec, Ticket

__all__ = [
    "NO_CAPS",
    "Connection",
    "DoorLimits",
    "Flow",
    "FrameSink",
    "HeapSlot",
    "HeapSlots",
    "IncomingLink",
    "LinkLimits",
    "LinkSpec",
    "OutgoingLink",
    "Rates",
    "Share",
    "Slot",
    "TensorListener",
    "Throttle",
    "Ticket",
    "dial_link",
    "rates_of",
    "receive_bulk",
    "send_bulk",
]
