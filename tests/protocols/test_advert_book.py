"""The book of adverts: newest per peer, bounded, and not to be filled up by whoever shouts."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmd.protocols.advert import CLOCK_SKEW, MAX_ADVERT_BYTES, MAX_LIFETIME
from swarmd.protocols.advert_book import AdvertBook
from tests.protocols.keys import NETWORK, NOW, OTHER_NETWORK, Who, signed, who

ANNA, BERT, CARL, EVE = who(1), who(2), who(3), who(66)


def book_with(*owners: Who, max_peers: int = 1024, source: Who | None = None) -> AdvertBook:
    """A book with adverts handed in by ``source``, or else by each owner."""
    book = AdvertBook(NETWORK, max_peers=max_peers)
    for owner in owners:
        assert book.accept(signed(owner), NOW, source=(source or owner).peer).status == "new"
    return book


def names(book: AdvertBook, now: float = NOW) -> list[str]:
    return [known.peer for known in book.live(now)]


def test_a_good_advert_is_new_once():
    book = AdvertBook(NETWORK)
    assert book.accept(signed(ANNA), NOW).status == "new"
    assert book.accept(signed(ANNA), NOW).status == "same"
    assert names(book) == [ANNA.peer]
    assert book.counters == {"new": 1, "same": 1, "evicted": 0}


def test_the_newest_is_kept_and_an_older_one_is_a_replay():
    book = AdvertBook(NETWORK)
    for sequence in (5, 7):
        assert book.accept(signed(ANNA, sequence=sequence), NOW).status == "new"
    replayed = book.accept(signed(ANNA, sequence=5), NOW)
    assert (replayed.status, replayed.reason) == ("refused", "replayed")
    assert book.accept(signed(ANNA, sequence=7, name="other"), NOW).reason == "replayed"
    assert not replayed.dishonest, "an honest peer may not have heard of the newer one yet"
    known = book.get(ANNA.peer)
    assert known is not None
    assert known.advert.sequence == 7


@pytest.mark.parametrize(
    ("raw", "reason", "dishonest"),
    [
        (signed(ANNA, OTHER_NETWORK), "forged", True),
        (signed(ANNA, issued_at=NOW - 3600, expires_at=NOW - 1), "expired", False),
        (signed(ANNA, issued_at=NOW + 1000, expires_at=NOW + 2000), "early", False),
        (bytes(MAX_ADVERT_BYTES + 1), "oversized", True),
        (b"nonsense", "malformed", True),
    ],
)
def test_a_bad_advert_is_refused_and_counted_by_its_reason(raw, reason, dishonest):
    book = AdvertBook(NETWORK)
    outcome = book.accept(raw, NOW)
    assert (outcome.status, outcome.reason, outcome.dishonest) == ("refused", reason, dishonest)
    assert outcome.detail
    assert book.counters[reason] == 1
    assert len(book) == 0


def test_an_advert_of_another_owner_than_expected_is_forged_even_when_known():
    book = book_with(ANNA)
    assert book.accept(signed(ANNA), NOW, owner=BERT.peer).reason == "forged"
    assert book.accept(signed(ANNA), NOW, owner=ANNA.peer).status == "same"


def test_our_own_advert_is_recognised_and_left_out():
    book = AdvertBook(NETWORK, ANNA.peer)
    outcome = book.accept(signed(ANNA, sequence=4), NOW)
    assert outcome.status == "own"
    assert outcome.advert is not None
    assert outcome.advert.advert.sequence == 4
    assert len(book) == 0


def test_a_peer_whose_advert_expired_drops_out_and_comes_back_with_a_new_one():
    book = book_with(ANNA)
    assert names(book, NOW + 3599) == [ANNA.peer]
    assert names(book, NOW + 3600) == []
    assert not book.is_live(ANNA.peer, NOW + 3600)
    later = signed(ANNA, sequence=2, issued_at=NOW + 3600, expires_at=NOW + 7200)
    assert book.accept(later, NOW + 3600).status == "new"
    assert names(book, NOW + 3600) == [ANNA.peer]


def test_an_expired_entry_still_refuses_what_is_older():
    book = AdvertBook(NETWORK)
    book.accept(signed(ANNA, sequence=2, expires_at=NOW + 10), NOW)
    assert book.accept(signed(ANNA, sequence=1), NOW + 20).reason == "replayed"
    assert book.accept(signed(ANNA, sequence=2, expires_at=NOW + 10), NOW + 20).reason == "expired"
    book.forget_expired(NOW + MAX_LIFETIME + CLOCK_SKEW)
    assert len(book) == 1
    book.forget_expired(NOW + MAX_LIFETIME + CLOCK_SKEW + 1)
    assert len(book) == 0
    assert book.get(ANNA.peer) is None


def test_a_thousand_forged_adverts_displace_nobody():
    book = book_with(ANNA, BERT, max_peers=2)
    for number in range(1000):
        assert book.accept(signed(EVE, OTHER_NETWORK, sequence=number), NOW, source=EVE.peer).dishonest
    assert names(book) == [ANNA.peer, BERT.peer]
    assert book.counters["forged"] == 1000


def test_a_full_book_gives_up_the_longest_expired_first():
    book = AdvertBook(NETWORK, max_peers=3)
    for owner, lifetime in ((ANNA, 3600), (BERT, 20), (CARL, 10)):
        book.accept(signed(owner, expires_at=NOW + lifetime), NOW)
    assert book.accept(signed(who(4)), NOW + 30).evicted == CARL.peer


def test_hearsay_makes_room_for_what_a_peer_says_itself():
    heard = [who(number) for number in range(10, 14)]
    book = book_with(*heard, max_peers=4, source=EVE)
    outcome = book.accept(signed(ANNA), NOW, source=ANNA.peer)
    assert (outcome.status, outcome.evicted) == ("new", heard[0].peer)
    assert book.counters["evicted"] == 1


def test_hearsay_never_displaces_what_a_peer_said_itself():
    book = book_with(ANNA, BERT, max_peers=2)
    outcome = book.accept(signed(CARL), NOW, source=EVE.peer)
    assert (outcome.status, outcome.reason) == ("refused", "full")
    assert names(book) == [ANNA.peer, BERT.peer]


def test_a_loud_source_displaces_only_itself():
    sybils = [who(number) for number in range(100, 150)]
    book = book_with(*sybils[:3], max_peers=4, source=EVE)
    book.accept(signed(ANNA), NOW, source=BERT.peer)
    for sybil in sybils[3:]:
        outcome = book.accept(signed(sybil), NOW, source=EVE.peer)
        assert outcome.reason == "full"
    assert ANNA.peer in names(book)
    assert book.accept(signed(CARL), NOW, source=BERT.peer).evicted == sybils[0].peer


def test_hearsay_that_the_peer_confirms_counts_as_its_own_word():
    book = book_with(ANNA, max_peers=1, source=EVE)
    assert book.accept(signed(ANNA), NOW, source=ANNA.peer).status == "same"
    assert book.accept(signed(BERT), NOW, source=BERT.peer).reason == "full"


def test_a_peers_own_word_stays_so_when_others_repeat_or_renew_it():
    book = book_with(ANNA, max_peers=1)
    assert book.accept(signed(ANNA), NOW, source=EVE.peer).status == "same"
    assert book.accept(signed(ANNA, sequence=2), NOW, source=EVE.peer).status == "new"
    assert book.accept(signed(BERT), NOW, source=BERT.peer).reason == "full"


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(1, 8), st.integers(1, 3), st.integers(1, 8), st.integers(0, 400)), max_size=25))
def test_the_book_is_bounded_and_holds_only_the_newest(events):
    book, now, newest = AdvertBook(NETWORK, max_peers=4), float(NOW), dict[str, int]()
    for owner, sequence, source, wait in events:
        now += wait
        raw = signed(who(owner), sequence=sequence, issued_at=int(now), expires_at=int(now) + 600)
        outcome = book.accept(raw, now, source=who(source).peer)
        if outcome.evicted:
            del newest[outcome.evicted]
        if outcome.status == "new":
            assert sequence > newest.get(who(owner).peer, 0)
            newest[who(owner).peer] = sequence
        assert len(book) <= 4
        assert {known.peer: known.advert.sequence for known in book.live(now)}.items() <= newest.items()
