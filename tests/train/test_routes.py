"""The ways of micro-batches through one place."""

from __future__ import annotations

import pytest
import torch

from swarmd.protocols.errors import ProtocolViolation
from swarmd.scheduler.around import Around, Seat, chain_around
from swarmd.train.routes import OPEN_STEPS, Routes

X = torch.zeros(1)
SHARED = Around(2, (Seat(0, 1, 5), Seat(1, 1, 5)), (Seat(2),), (Seat(3, 2, 10), Seat(4, 1, 25)))


def left(routes, count):
    for index in range(count):
        routes.leave((1, index), X)
    return [(to, item[1]) for to, item, _ in routes.onward()]


def test_in_a_chain_there_is_one_way():
    routes = Routes(chain_around(1, 3), 4)
    assert left(routes, 3) == [(2, 0), (2, 1), (2, 2)]
    assert routes.home((1, 0)) == 0
    assert routes.look == 2


def test_outputs_wait_in_order_while_every_window_is_full():
    routes = Routes(SHARED, 8)
    assert left(routes, 5) == [(3, 0), (3, 1), (4, 2)]
    routes.returned((1, 1), 3)
    assert [(to, item) for to, item, _ in routes.onward()] == [(3, (1, 3))]


def test_a_gradient_goes_back_where_its_forward_came_from():
    routes = Routes(SHARED, 8)
    routes.came((1, 0), 1)
    routes.came((1, 1), 0)
    assert [routes.home((1, index)) for index in (1, 0)] == [0, 1]


def test_a_gradient_from_where_its_forward_did_not_go_is_refused():
    routes = Routes(SHARED, 8)
    left(routes, 1)
    for sender in (4, 9):
        with pytest.raises(ProtocolViolation, match="does not owe"):
            routes.returned((1, 0), sender)


def test_evaluations_come_from_the_head():
    routes = Routes(SHARED, 8)
    routes.looked(0)
    with pytest.raises(ProtocolViolation, match="place 1, which is no head"):
        routes.looked(1)


def test_inputs_of_a_few_steps_are_kept_and_no_more():
    routes = Routes(SHARED, 2)
    for index in range(2 * OPEN_STEPS):
        routes.came((1, index), 0)
    with pytest.raises(ProtocolViolation, match="at hand"):
        routes.came((9, 0), 0)
