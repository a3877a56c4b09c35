"""Waiting times and rate limits."""

from __future__ import annotations

from swarmd.protocols.pacing import RateLimit, Retry, Waits

WAITS = Waits(first=1.0, longest=10.0)


def test_waits_double_up_to_the_longest():
    assert [WAITS.after(attempts) for attempts in (0, 1, 2, 3, 4, 5, 10_000)] == [1, 1, 2, 4, 8, 10, 10]


def test_an_attempt_is_due_again_after_its_wait():
    retry: Retry[str] = Retry(WAITS)
    assert retry.due("a", 0.0)
    retry.tried("a", 0.0)
    retry.tried("a", 1.0)
    assert not retry.due("a", 2.9)
    assert retry.due("a", 3.0)
    assert retry.due("b", 0.0)
    assert retry.attempts("a") == 2


def test_success_starts_over():
    retry: Retry[str] = Retry(WAITS)
    retry.tried("a", 0.0)
    retry.succeeded("a")
    retry.succeeded("never tried")
    assert retry.due("a", 0.0)
    assert retry.attempts("a") == 0


def test_only_a_first_attempt_can_be_postponed():
    retry: Retry[str] = Retry(WAITS)
    retry.postpone("a", 5.0)
    retry.postpone("a", 50.0)
    assert not retry.due("a", 4.0)
    assert retry.due("a", 5.0)
    retry.tried("a", 5.0)
    assert retry.due("a", 6.0)


def test_the_longest_untouched_is_forgotten():
    retry: Retry[int] = Retry(WAITS, max_keys=2)
    for key in (1, 2, 1, 3):
        retry.tried(key, 0.0)
    assert [retry.attempts(key) for key in (1, 2, 3)] == [2, 0, 1]


def test_a_burst_passes_and_then_the_rate_holds():
    limit: RateLimit[str] = RateLimit(0.5, burst=3)
    assert [limit.allow("a", 0.0) for _ in range(4)] == [True, True, True, False]
    assert not limit.allow("a", 1.0)
    assert limit.allow("a", 2.0)
    assert not limit.allow("a", 2.0)
    assert limit.allow("b", 2.0)


def test_idle_time_saves_up_no_more_than_a_burst():
    limit: RateLimit[str] = RateLimit(1.0, burst=2)
    limit.allow("a", 0.0)
    assert [limit.allow("a", 1000.0) for _ in range(3)] == [True, True, False]


def test_buckets_are_bounded():
    limit: RateLimit[int] = RateLimit(1.0, burst=1, max_keys=2)
    for key in (1, 2, 3):
        assert limit.allow(key, 0.0)
    assert not limit.allow(3, 0.0)
    assert limit.allow(1, 0.0), "forgotten, so it starts afresh"
