"""Dialling: every address a peer is known by, a little apart, until one answers as that peer."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable

import trio

_APART = 0.3
_PER_ADDRESS = 5.0
"""Seconds: the head start of one address over the next, and the time each has."""
_MOST_ADDRESSES = 16
_MOST_PEERS = 1024


class AddressBook:
    """Addresses that worked, so that a lost peer can be dialled again; the least recent are forgotten."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[str, ...]] = OrderedDict()

    def remember(self, peer: str, addresses: Iterable[str]) -> None:
        """Put addresses before those already known."""
        merged = dict.fromkeys((*addresses, *self._known.pop(peer, ())))
        self._known[peer] = tuple(merged)[:_MOST_ADDRESSES]
        while len(self._known) > _MOST_PEERS:
            self._known.popitem(last=False)

    def of(self, peer: str) -> tuple[str, ...]:
        """What is known, best first."""
        return self._known.get(peer, ())


async def first_to_answer(addresses: Iterable[str], attempt: Callable[[str], Awaitable[None]]) -> dict[str, str]:
    """Attempt every address until one succeeds; the reasons of those that failed before it.

    An attempt fails with any exception: the library raises many kinds, and an address is a guess.
    When none succeeds, there is a reason for every address.
    """
    reasons: dict[str, str] = {}
    async with trio.open_nursery() as nursery:
        for address in tuple(dict.fromkeys(addresses))[:_MOST_ADDRESSES]:
            done = trio.Event()
            nursery.start_soon(_one, address, attempt, reasons, done, nursery.cancel_scope)
            with trio.move_on_after(_APART):
                await done.wait()
    return reasons


async def _one(
    address: str,
    attempt: Callable[[str], Awaitable[None]],
    reasons: dict[str, str],
    done: trio.Event,
    others: trio.CancelScope,
) -> None:
    try:
        with trio.fail_after(_PER_ADDRESS):
            await attempt(address)
    except Exception as error:  # noqa: BLE001
        reasons[address] = _reason(error)
    else:
        others.cancel()
    done.set()


def _reason(error: BaseException) -> str:
    if isinstance(error, trio.TooSlowError):
        return f"no answer in {_PER_ADDRESS:g} s"
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error) or type(error).__name__
