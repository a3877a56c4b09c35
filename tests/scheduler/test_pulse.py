"""How long a silent peer is waited for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from swarmd.scheduler.pulse import HALF_LIFE_SECONDS, Pulse


def beating(*waits: float) -> Pulse:
    pulse = Pulse(0.0)
    for wait in waits:
        pulse = pulse.heard(pulse.last + wait)
    return pulse


def test_a_peer_on_a_good_link_is_lost_soon() -> None:
    pulse = beating(*[0.4] * 20)
    assert not pulse.silent(pulse.last + 2.0, 2.0, 8.0)
    assert pulse.silent(pulse.last + 2.1, 2.0, 8.0)


def test_a_peer_that_was_late_before_is_given_more_time_and_less_again_later() -> None:
    pulse = beating(0.5, 1.5, 0.5)
    assert not pulse.silent(pulse.last + 5.0, 2.0, 8.0)
    later = beating(0.5, 1.5, *[0.5] * int(4 * HALF_LIFE_SECONDS))
    assert later.silent(later.last + 2.1, 2.0, 8.0)


def test_when_we_did_not_listen_nobody_was_silent() -> None:
    pulse = beating(0.5).excused(60.0)
    assert not pulse.silent(pulse.last, 2.0, 8.0)
    assert pulse.heard(pulse.last).longest == 0.5 * 0.5**0.0


@given(st.lists(st.floats(0.0, 100.0), max_size=30))
def test_whatever_came_before_there_is_a_bound(waits: list[float]) -> None:
    pulse = beating(*waits)
    assert not pulse.silent(pulse.last + 1.9, 2.0, 8.0)
    assert pulse.silent(pulse.last + 8.1, 2.0, 8.0)
