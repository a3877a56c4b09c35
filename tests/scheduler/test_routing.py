"""Which replica a micro-batch goes to, and the way back."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmd.protocols.errors import ProtocolViolation
from swarmd.scheduler.routing import ReturnPaths, Router, deal

seconds = st.floats(0.001, 10.0)


def given_out(router: Router, count: int) -> list[int | None]:
    return [router.choose((1, number)) for number in range(count)]


class TestChoice:
    def test_a_replica_twice_as_fast_gets_twice_the_micro_batches(self):
        shares = Counter(given_out(Router([1.0, 2.0], [100, 100]), 30))
        assert shares == {0: 20, 1: 10}

    def test_of_equals_the_first_is_taken(self):
        assert given_out(Router([1.0, 1.0], [4, 4]), 4) == [0, 1, 0, 1]

    def test_a_full_window_waits_where_waiting_is_shorter(self):
        router = Router([1.0, 10.0], [2, 2])
        assert given_out(router, 3) == [0, 0, None]
        router.returned((1, 0), 0)
        assert router.choose((1, 2)) == 0

    def test_a_full_window_is_passed_by_where_another_would_be_done_sooner(self):
        assert given_out(Router([1.0, 2.0], [1, 1]), 2) == [0, None]
        assert given_out(Router([1.0, 1.9], [1, 1]), 3) == [0, 1, None]

    def test_after_a_full_window_a_replica_gets_its_share_and_no_more(self):
        router = Router([1.0, 1.5], [1, 100])
        first = given_out(router, 20)
        assert (first[:2], set(first[2:])) == ([0, 1], {None})
        router.returned((1, 0), 0)
        assert [router.choose((2, number)) for number in range(3)] == [0, 1, None]

    def test_a_new_measurement_moves_the_shares(self):
        router = Router([1.0, 1.0], [100, 100])
        router.retime(1, 3.0)
        assert Counter(given_out(router, 40)) == {0: 30, 1: 10}

    def test_a_micro_batch_that_is_on_its_way_is_not_chosen_for_again(self):
        router = Router([1.0], [2])
        router.choose((1, 0))
        with pytest.raises(ValueError, match="already"):
            router.choose((1, 0))

    @pytest.mark.parametrize(
        ("service", "windows"),
        [([], []), ([1.0], [0]), ([1.0], [1, 1]), ([0.0], [1]), ([float("nan")], [1]), ([1.0] * 1025, [1] * 1025)],
        ids=["none", "no window", "unequal", "no time", "not a number", "too many"],
    )
    def test_numbers_of_no_stage(self, service, windows):
        with pytest.raises(ValueError, match=r"a stage has|a service time"):
            Router(service, windows)


class TestDeal:
    def test_each_micro_batch_goes_where_it_would_be_done_first_and_to_the_first_of_equals(self):
        assert deal([1, 1], 4) == (0, 1, 0, 1)
        assert deal([1, 2], 6) == (0, 0, 1, 0, 0, 1)
        assert deal([5], 3) == (0, 0, 0)

    @given(services=st.lists(st.integers(1, 10**6), min_size=1, max_size=5), count=st.integers(0, 60))
    def test_no_other_dealing_ends_sooner(self, services, count):
        dealt = Counter(deal(services, count))
        end = max((dealt[number] * service for number, service in enumerate(services)), default=0)
        assert sum(dealt.values()) == count
        assert sum((end - 1) // service for service in services) < max(count, 1)

    def test_a_service_time_is_a_time(self):
        with pytest.raises(ValueError, match="finite and above zero"):
            deal([1, 0], 1)


class TestWayBack:
    def test_a_gradient_counts_only_from_the_replica_its_forward_went_to_and_once(self):
        router = Router([1.0, 1.0], [1, 1])
        router.choose((1, 0))
        for item, replica in (((1, 0), 1), ((1, 7), 0)):
            with pytest.raises(ProtocolViolation, match="does not owe"):
                router.returned(item, replica)
        router.returned((1, 0), 0)
        with pytest.raises(ProtocolViolation):
            router.returned((1, 0), 0)

    def test_what_a_lost_replica_owed_is_chosen_for_anew(self):
        router = Router([1.0, 1.0], [4, 4])
        given_out(router, 4)
        assert router.lost(0) == ((1, 0), (1, 2))
        assert [router.choose(item) for item in ((1, 0), (1, 2))] == [1, 1]
        assert router.choose((1, 4)) is None
        router.lost(1)
        assert router.choose((1, 5)) is None

    def test_each_stage_answers_the_one_that_asked(self):
        paths = ReturnPaths(2)
        paths.came((1, 0), 3)
        paths.came((1, 1), 5)
        assert [paths.back((1, 1)), paths.back((1, 0))] == [5, 3]
        with pytest.raises(ProtocolViolation, match="nowhere"):
            paths.back((1, 0))

    def test_a_return_path_is_bounded(self):
        paths = ReturnPaths(1)
        paths.came((1, 0), 0)
        with pytest.raises(ProtocolViolation, match="twice"):
            paths.came((1, 0), 0)
        with pytest.raises(ProtocolViolation, match="over 1"):
            paths.came((1, 1), 0)
        with pytest.raises(ValueError, match="at least one"):
            ReturnPaths(0)


@given(service=st.lists(seconds, min_size=1, max_size=6), count=st.integers(1, 200))
def test_with_room_everywhere_no_replica_is_more_than_one_service_from_its_share(service, count):
    shares = Counter(given_out(Router(service, [count] * len(service)), count))
    spent = [shares[number] * each for number, each in enumerate(service)]
    assert all(spent[a] - service[a] <= spent[b] + service[b] + 1e-6 for a in shares for b in range(len(service)))


@settings(max_examples=60)
@given(data=st.data())
def test_no_window_is_overdrawn_and_all_that_is_owed_can_return(data):
    service = data.draw(st.lists(seconds, min_size=1, max_size=5))
    windows = data.draw(st.lists(st.integers(1, 4), min_size=len(service), max_size=len(service)))
    router, owed, number = Router(service, windows), [], 0
    for out in data.draw(st.lists(st.booleans(), max_size=80)):
        if out:
            chosen = router.choose((1, number))
            assert chosen is not None or owed
            owed += [] if chosen is None else [((1, number), chosen)]
            number += 1
        elif owed:
            router.returned(*owed.pop(data.draw(st.integers(0, len(owed) - 1))))
        held = Counter(replica for _, replica in owed)
        assert all(held[replica] <= window for replica, window in enumerate(windows))
