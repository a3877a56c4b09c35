"""Adverts outlive a restart: what was live is known again, what expired or was changed on disk is not."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from swarmd.net.remembering import KEEP_EVERY, keep_adverts, recall_adverts
from swarmd.protocols.advert import MAX_LIFETIME
from swarmd.protocols.advert_book import AdvertBook
from swarmd.protocols.errors import StateError
from swarmd.protocols.ids import PeerId
from tests.protocols.keys import NETWORK, NOW, signed, who


class Disk:
    """A store that may fail."""

    def __init__(self) -> None:
        self.rows: dict[PeerId, bytes] = {}
        self.writes, self.full = 0, False

    async def put_advert(self, peer: PeerId, raw: bytes) -> None:
        if self.full:
            raise StateError("the disk is full")
        self.rows[peer] = raw
        self.writes += 1

    async def adverts(self) -> tuple[tuple[PeerId, bytes], ...]:
        return tuple(self.rows.items())


ONE, TWO = who(1), who(2)


def book_of_both() -> AdvertBook:
    book = AdvertBook(NETWORK)
    for owner in (ONE, TWO):
        book.accept(signed(owner), NOW)
    return book


async def kept(book: AdvertBook, disk: Disk, nursery: trio.Nursery) -> None:
    nursery.start_soon(keep_adverts, book, disk, lambda: NOW)
    await trio.testing.wait_all_tasks_blocked()


async def test_a_restarted_node_knows_whom_it_knew(autojump_clock: trio.testing.MockClock) -> None:
    disk, again = Disk(), AdvertBook(NETWORK)
    async with trio.open_nursery() as nursery:
        await kept(book_of_both(), disk, nursery)
        nursery.cancel_scope.cancel()
    await recall_adverts(again, disk, NOW)
    assert {known.peer for known in again.live(NOW)} == {ONE.peer, TWO.peer}


async def test_each_advert_is_written_once(autojump_clock: trio.testing.MockClock) -> None:
    disk, book = Disk(), book_of_both()
    async with trio.open_nursery() as nursery:
        await kept(book, disk, nursery)
        await trio.sleep(10 * KEEP_EVERY)
        assert disk.writes == 2
        book.accept(newer := signed(ONE, sequence=9), NOW)
        await trio.sleep(2 * KEEP_EVERY)
        assert disk.writes == 3
        assert disk.rows[ONE.peer] == newer
        nursery.cancel_scope.cancel()


async def test_a_disk_that_was_full_gets_the_adverts_later(autojump_clock: trio.testing.MockClock) -> None:
    disk = Disk()
    disk.full = True
    async with trio.open_nursery() as nursery:
        await kept(book_of_both(), disk, nursery)
        assert disk.rows == {}
        disk.full = False
        await trio.sleep(2 * KEEP_EVERY)
        assert disk.rows.keys() == {ONE.peer, TWO.peer}
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("owner", "raw", "now"),
    [(ONE, signed(ONE), NOW + MAX_LIFETIME), (ONE, signed(TWO), NOW), (ONE, signed(ONE)[:-1], NOW)],
    ids=["expired", "another's", "damaged"],
)
async def test_what_is_not_good_any_more_is_not_recalled(owner, raw: bytes, now: int) -> None:
    disk, again = Disk(), AdvertBook(NETWORK)
    disk.rows[owner.peer] = raw
    await recall_adverts(again, disk, now)
    assert again.live(now) == ()
